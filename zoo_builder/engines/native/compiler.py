"""Compiles the source of an architecture into a shared library, once per machine."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from zoo_builder import files
from zoo_builder.engines.native.generate import source
from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import Architecture
from zoo_builder.temporary import temporary_folder

# -fno-math-errno and -fno-trapping-math change no result: nothing reads errno or floating-point traps.
_FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_HEADERS = Path(__file__).parent
_OTHERWISE = "set $CXX to another compiler, or `engine` to 'torch'"


class CompilerError(InputError):
    """No library could be compiled; the message has the reason and what to do."""


def cache_folder() -> Path:
    return files.cache_folder("native")


@cache
def compiler() -> str:
    """The C++ compiler: $CXX, or the first of g++, clang++ and c++.

    Raises:
        CompilerError: there is no compiler.
    """
    given = os.environ.get("CXX")
    for name in [given] if given else ["g++", "clang++", "c++"]:
        if found := shutil.which(name):
            return found
    raise CompilerError(
        f"$CXX is {given!r}, which is not a program here: unset it, or set it to a C++17 compiler"
        if given
        else "there is no C++ compiler: install one (Debian: apt-get install g++), or set $CXX to one"
    )


@cache
def _identity(target: str) -> str:
    """The compiler and, for "native", the processor: with the source, they determine a library."""
    version = subprocess.run([compiler(), "--version"], capture_output=True, text=True).stdout
    processor = platform.machine()
    if target == "native" and Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{compiler()}\n{version}\n{processor}\n{target}"


@cache
def instruction_set(target: str = "native") -> str:
    """The instruction set of compiled code, chosen by the same macros as in layers.hpp.

    Raises:
        CompilerError: there is no compiler.
    """
    command = [compiler(), f"-march={target}", "-dM", "-E", "-x", "c++", os.devnull]
    macros = subprocess.run(command, capture_output=True, text=True).stdout
    names = {"__AVX512F__": "AVX512", "__AVX2__": "AVX2", "__aarch64__": "NEON"}
    return next((name for macro, name in names.items() if macro in macros), platform.machine())


@cache
def library_path(architecture: Architecture, target: str = "native") -> Path:
    """The path of an architecture's library in the cache, compiled or not.

    Raises:
        CompilerError: there is no compiler, on which the path depends.
    """
    headers = [(_HEADERS / name).read_text() for name in ("layers.hpp", "network.hpp")]
    parts = [source(architecture), *headers, *_FLAGS, _identity(target)]
    return cache_folder() / f"{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:20]}.so"


def cache_problem() -> str | None:
    """A message if the cache folder cannot be written, else None."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return (
            f"{folder} cannot be written ({error.strerror}), so every process compiles again: set XDG_CACHE_HOME to "
            "another cache folder"
        )


@cache
def library(architecture: Architecture, target: str = "native") -> ctypes.CDLL:
    """The library of an architecture, compiled if it is not in the cache.

    Args:
        target: the compiler's -march: "native" is this machine; another example is "x86-64-v3".

    Raises:
        CompilerError: there is no compiler, or it fails.
    """
    path = library_path(architecture, target)
    with suppress(OSError):  # missing or damaged
        return ctypes.CDLL(str(path))
    with temporary_folder() as folder:
        compiled = folder / "network.so"
        _compile(source(architecture), target, compiled)
        try:
            loaded = ctypes.CDLL(str(compiled))
        except OSError as error:
            raise CompilerError(
                f"the library that {compiler()} made cannot be loaded ({error}): {_OTHERWISE}"
            ) from error
        if not cache_problem():
            files.write_atomically(path, lambda temporary: temporary.write_bytes(compiled.read_bytes()))
        return loaded


def _compile(text: str, target: str, out: Path) -> None:
    written = out.with_name("network.cpp")
    written.write_text(text)
    command = [compiler(), *_FLAGS, f"-march={target}", f"-I{_HEADERS}", "-o", str(out), str(written)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not out.exists():
        message = "\n".join(done.stderr.splitlines()[:20])
        raise CompilerError(
            f"{' '.join(command)} made no library (exit code {done.returncode}): {_OTHERWISE}\n{message}".rstrip()
        )
