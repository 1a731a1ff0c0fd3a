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

# Neither flag changes a result: errno and floating-point traps are not looked at.
_FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_HEADERS = Path(__file__).parent
_OTHERWISE = "name another compiler in $CXX, or train with --engine torch"


class CompilerError(InputError):
    """There is no library, and why; the message says what to do."""


def cache_folder() -> Path:
    return files.cache_folder("native")


@cache
def compiler() -> str:
    """The C++ compiler: $CXX, or the first of g++, clang++ and c++.

    Raises:
        CompilerError: there is none.
    """
    asked = os.environ.get("CXX")
    for name in [asked] if asked else ["g++", "clang++", "c++"]:
        if found := shutil.which(name):
            return found
    raise CompilerError(
        f"$CXX is {asked!r}, which is no program here: unset it, or name a C++17 compiler"
        if asked
        else "there is no C++ compiler: install one (Debian: apt-get install g++), or name it in $CXX"
    )


@cache
def _identity(target: str) -> str:
    """What a library depends on beside its source: the compiler and, for "native", the processor."""
    version = subprocess.run([compiler(), "--version"], capture_output=True, text=True).stdout
    processor = platform.machine()
    if target == "native" and Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{compiler()}\n{version}\n{processor}\n{target}"


@cache
def instruction_set(target: str = "native") -> str:
    """What layers.hpp computes with: the same macros decide.

    Raises:
        CompilerError: there is no compiler.
    """
    command = [compiler(), f"-march={target}", "-dM", "-E", "-x", "c++", os.devnull]
    macros = subprocess.run(command, capture_output=True, text=True).stdout
    names = {"__AVX512F__": "AVX512", "__AVX2__": "AVX2", "__aarch64__": "NEON"}
    return next((name for macro, name in names.items() if macro in macros), platform.machine())


@cache
def library_path(architecture: Architecture, target: str = "native") -> Path:
    """Where the library of an architecture is kept.

    Raises:
        CompilerError: there is no compiler, so nothing is known of what it would make.
    """
    headers = [(_HEADERS / name).read_text() for name in ("layers.hpp", "network.hpp")]
    parts = [source(architecture), *headers, *_FLAGS, _identity(target)]
    return cache_folder() / f"{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:20]}.so"


def cache_problem() -> str | None:
    """A line that says what is wrong with the cache folder; None where it can be written."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return (
            f"{folder} cannot be written ({error.strerror}), so every process compiles anew: name another cache folder "
            "with XDG_CACHE_HOME"
        )


@cache
def library(architecture: Architecture, target: str = "native") -> ctypes.CDLL:
    """The library of an architecture, compiled if it is not in the cache.

    Args:
        target: the compiler's -march: this machine, or for example "x86-64-v3".

    Raises:
        CompilerError: no compiler, or it fails.
    """
    path = library_path(architecture, target)
    with suppress(OSError):  # it is not there, or is no library any more
        return ctypes.CDLL(str(path))
    with tempfile.TemporaryDirectory(prefix="gengap-") as folder:
        compiled = Path(folder) / "network.so"
        _compile(source(architecture), target, compiled)
        try:
            loaded = ctypes.CDLL(str(compiled))
        except OSError as error:
            raise CompilerError(f"what {compiler()} made cannot be loaded ({error}): {_OTHERWISE}") from error
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
