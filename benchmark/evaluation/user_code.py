"""A user's code: where it is imported from, and which code it is. Nothing here executes any of it."""

import hashlib
import json
import os
import site
import stat
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

import benchmark
from zoo_builder.errors import InputError
from zoo_builder.files import size_text

# gengap's own, which its folder may hold beside others.
PACKAGES = ("benchmark", "baselines", "zoo_builder")
# Of all files together, which this process holds.
LARGEST_CODE = 10 * 2**20
READ_SECONDS = 60
_IMPORTS = str(Path(__file__).with_name("imports.py"))


def own_root() -> str:
    """The folder that holds gengap's own packages."""
    return str(Path(benchmark.__file__).resolve().parents[1])


def runs_from_clone() -> bool:
    """Whether ``own_root`` is a clone, which may hold a user's modules and records beside gengap's packages."""
    return os.path.isfile(os.path.join(own_root(), "pyproject.toml"))


def installed_path() -> list[str]:
    """``sys.path`` of a process that runs methods: the standard library, installed packages, and gengap.

    Of this process's own path, the current folder and others that PYTHONPATH adds are left out: a user's random.py or
    benchmark.py there would take the place of the real one.
    """
    homes = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    homes = [os.path.realpath(path) for path in (*homes, *site.getsitepackages(), site.getusersitepackages())]
    found = [os.path.realpath(path) for path in sys.path if path]
    within = [path for path in found if any(path == home or path.startswith(home + os.sep) for home in homes)]
    return list(dict.fromkeys([*within, own_root()]))


def user_folders(where: str) -> list[str]:
    """Where ``where``, a file or a module, and what it imports are looked for, after installed modules."""
    # realpath, since Path.resolve fails on links in a circle.
    folders = [Path(os.path.realpath(where)).parent] if where.endswith(".py") else []
    installed = installed_path()
    others = [path for path in map(os.path.realpath, sys.path) if path not in installed and os.path.isdir(path)]
    return list(dict.fromkeys([*map(str, folders), str(Path.cwd()), *others]))


@dataclass(frozen=True)
class Code:
    """The source files of a user's method: the file that holds it, and the user's modules that this file imports.

    Files are found by the import statements, those within functions too. Modules that are installed beside gengap do
    not count, nor do data files.

    Attributes:
        reference: "path/to/file.py:Name" or "package.module:Name".
        folders: where files are looked for, in this order.
        files: the content of each, by (number of its folder, path in it).
        digest: SHA-256 of all, with the names of modules; None if there are none, because the module is installed.
    """

    reference: str
    folders: list[str]
    files: dict[tuple[int, str], bytes]
    digest: str | None

    def write(self, folder: Path) -> None:
        """Writes the files below ``folder``, the n-th of ``folders`` as its subfolder n."""
        for number in range(len(self.folders)):
            (folder / str(number)).mkdir()
        for (number, name), content in self.files.items():
            path = folder / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def copied(self, folder: Path, reference: str) -> str:
        """``reference``, to another method of the same file or module, in what ``write`` wrote to ``folder``."""
        where, _, name = reference.rpartition(":")
        return f"{folder}/0/{Path(os.path.realpath(where)).name}:{name}" if where.endswith(".py") else reference


def read_code(reference: str) -> Code:
    """The code that ``reference`` names.

    Raises:
        InputError: there is no such file, or one of the files cannot be read or lies outside its folder; all together
            are too large, or it takes too long to find them.
    """
    where = reference.rpartition(":")[0]
    folders = user_folders(where)
    installed = [path for path in installed_path() if not (path == own_root() and runs_from_clone())]
    left: dict[tuple[int, str], str] = {}
    method = None
    if where.endswith(".py"):
        if not os.path.isfile(where):
            raise InputError(f"there is no file {where}: a method is given as path/to/file.py:Name")
        method = 0, Path(os.path.realpath(where)).name
        left = {method: ""}
    elif not _installed(where, installed):
        left = _files(where, folders)
    files: dict[tuple[int, str], bytes] = {}
    digest, size, deadline = hashlib.sha256(), 0, time.monotonic() + READ_SECONDS

    def seconds_left() -> float:
        if (left := deadline - time.monotonic()) <= 0:
            raise InputError(f"what {where} imports takes longer than {READ_SECONDS} s to find")
        return left

    while left:
        found: dict[tuple[int, str], str] = {}
        for place, package in left.items():
            number, name = place
            files[place] = content = _content(Path(folders[number]), name, LARGEST_CODE - size)
            size += len(content)
            # A method may do other things where a module has another name; the file that holds it may have any.
            known_as = "" if place == method else name
            digest.update(hashlib.sha256(known_as.encode() + b"\0" + content).digest())
            for name in _imported(content, package, seconds_left()):
                seconds_left()
                if not _installed(name, installed):
                    found |= _files(name, folders)
        left = {place: package for place, package in found.items() if place not in files}
    return Code(reference, folders, files, digest.hexdigest() if files else None)


def _content(folder: Path, name: str, room: int) -> bytes:
    """The bytes of a source file, which must not lead out of its folder: a link could show what is not to be seen."""
    file = folder / name
    real = Path(os.path.realpath(file))
    if not real.is_relative_to(os.path.realpath(folder)):
        raise InputError(f"{file} is a link to {real}, outside of {folder}: copy the file to this folder")
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as source:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise InputError(f"{file} is no source file")
            content = source.read(room + 1)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    if len(content) > room:
        raise InputError(f"with {file}, the source files have more than {size_text(LARGEST_CODE)}")
    return content


def _imported(source: bytes, package: str, seconds: float) -> list[str]:
    """Full names of all that a module of ``package`` imports, as ``imports`` finds them; none if it is no Python."""
    command = [sys.executable, "-I", "-S", _IMPORTS, package]
    try:
        parsed = subprocess.run(command, input=source, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return []
    return [] if parsed.returncode else json.loads(parsed.stdout)


def _installed(name: str, installed: list[str]) -> bool:
    top = name.partition(".")[0]
    return top in sys.stdlib_module_names or top in PACKAGES or _find(top, installed) is not None


def _files(name: str, folders: list[str]) -> dict[tuple[int, str], str]:
    """The source files of the module ``name`` and of the packages around it, each with the package it belongs to.

    A file is the number of its folder and its path in it.
    """
    parts, files = name.split("."), {}
    for count in range(1, len(parts) + 1):
        spec = _find(".".join(parts[:count]), folders)
        if spec is not None and spec.origin and spec.origin.endswith(".py"):
            origin = Path(spec.origin)
            is_package = spec.submodule_search_locations is not None
            root = origin.parents[count if is_package else count - 1]
            package = ".".join(parts[: count if is_package else count - 1])
            files[folders.index(str(root)), str(origin.relative_to(root))] = package
    return files


def _find(name: str, path: list[str]) -> ModuleSpec | None:
    """Where ``name`` would be imported from, found without the import of the packages around it."""
    folders, spec = path, None
    for part in name.split("."):
        # Not by its full name: for a folder without __init__.py, that looks at the imported package around it.
        spec = PathFinder.find_spec(part, folders)
        if spec is None:
            return None
        folders = list(spec.submodule_search_locations or [])
    return spec
