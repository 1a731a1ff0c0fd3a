"""A user's code: where it is imported from, and which code it is. Nothing here executes any of it."""

import ast
import hashlib
import os
import site
import stat
import sys
import sysconfig
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

import benchmark
from zoo_builder.errors import InputError
from zoo_builder.files import size_text

# gengap's own, which its folder may hold beside others.
PACKAGES = ("benchmark", "baselines", "zoo_builder")
LARGEST_FILE = 10 * 2**20


def own_root() -> str:
    """The folder that holds gengap's own packages."""
    return str(Path(benchmark.__file__).resolve().parents[1])


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
    folders = [Path(where).resolve().parent] if where.endswith(".py") else []
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
        digest: SHA-256 of all; None if one of them is no Python source.
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
        return f"{folder}/0/{Path(where).resolve().name}:{name}" if where.endswith(".py") else reference


def read_code(reference: str) -> Code:
    """The code that ``reference`` names.

    Raises:
        InputError: there is no such file, or one of the files cannot be read, is too large, or lies outside its folder.
    """
    where = reference.rpartition(":")[0]
    folders = user_folders(where)
    left: dict[tuple[int, str], str] = {}
    if where.endswith(".py"):
        if not Path(where).is_file():
            raise InputError(f"there is no file {where}: a method is given as path/to/file.py:Name")
        left = {(0, Path(where).resolve().name): ""}
    elif not _installed(where):
        left = _files(where, folders)
    files: dict[tuple[int, str], bytes] = {}
    digest, readable = hashlib.sha256(), bool(left)
    while left:
        found: dict[tuple[int, str], str] = {}
        for place, package in left.items():
            number, name = place
            files[place] = content = _content(Path(folders[number]), name)
            digest.update(hashlib.sha256(content).digest())
            try:
                names = sorted(_imported(content, package))
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                readable, names = False, []
            for name in names:
                if not _installed(name):
                    found |= _files(name, folders)
        left = {place: package for place, package in found.items() if place not in files}
    return Code(reference, folders, files, digest.hexdigest() if readable else None)


def _content(folder: Path, name: str) -> bytes:
    """The bytes of a source file, which must not lead out of its folder: a link could show what is not to be seen."""
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{file} is a link to {file.resolve()}, outside of {folder}: copy the file to this folder")
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as source:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_FILE:
                raise InputError(f"{file} is no source file, or larger than {size_text(LARGEST_FILE)}")
            return source.read(LARGEST_FILE)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None


def _imported(source: bytes, package: str) -> set[str]:
    """Full names of all that a module of ``package`` imports; that of a module may end with that of an attribute."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            start = parents[: len(parents) - node.level + 1] if node.level else []
            names |= {".".join(filter(None, [*start, node.module, alias.name])) for alias in node.names}
    return names


def _installed(name: str) -> bool:
    top, own = name.partition(".")[0], own_root()
    if top in sys.stdlib_module_names or top in PACKAGES:
        return True
    return _find(top, [path for path in installed_path() if path != own]) is not None


def _files(name: str, folders: list[str]) -> dict[tuple[int, str], str]:
    """The source files of the module ``name`` and of the packages around it, each with the package it belongs to.

    A file is the number of its folder and its path in it.
    """
    parts, files = name.split("."), {}
    for count in range(1, len(parts) + 1):
        spec = _find(".".join(parts[:count]), folders)
        if spec is not None and spec.origin and spec.origin.endswith(".py"):
            origin = Path(spec.origin)
            root = origin.parents[count if spec.submodule_search_locations is not None else count - 1]
            files[folders.index(str(root)), str(origin.relative_to(root))] = spec.parent or ""
    return files


def _find(name: str, path: list[str]) -> ModuleSpec | None:
    """Where ``name`` would be imported from, found without the import of the packages around it."""
    folders, spec, full = path, None, ""
    for part in name.split("."):
        full = f"{full}.{part}" if full else part
        spec = PathFinder.find_spec(full, folders)
        if spec is None:
            return None
        folders = list(spec.submodule_search_locations or [])
    return spec
