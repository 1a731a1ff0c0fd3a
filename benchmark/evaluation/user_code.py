"""A user's code: where it is imported from, and which code it is. Nothing here executes any of it."""

import ast
import hashlib
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

import benchmark


def import_path() -> list[str]:
    """``sys.path`` of a process that runs methods: that of this one, but nothing of the current folder.

    A user's random.py or benchmark.py there would take the place of the real one.
    """
    own = Path(benchmark.__file__).resolve().parents[1]
    here = Path.cwd()
    found = [path for path in map(os.path.abspath, sys.path) if Path(path).resolve() != here or here == own]
    return found if str(own) in found else [*found, str(own)]


def user_folders(where: str) -> list[str]:
    """The folders in which ``where``, a file or a module, and what it imports are looked for after ``import_path``."""
    folders = [str(Path(where).resolve().parent)] if where.endswith(".py") else []
    return list(dict.fromkeys([*folders, str(Path.cwd())]))


def code_digest(reference: str) -> str | None:
    """SHA-256 of a user's method: of the file that holds it, and of the user's modules that this file imports.

    Files are found by the import statements, those within functions too. Modules that are installed beside gengap do
    not count, nor do data files.

    Args:
        reference: "path/to/file.py:Name" or "package.module:Name".

    Returns:
        None if the file does not exist, cannot be read, or is no Python source.
    """
    where = reference.rpartition(":")[0]
    installed, folders = import_path(), user_folders(where)
    left = {Path(where).resolve(): ""} if where.endswith(".py") else _files(where, [*installed, *folders])
    if not left:
        return None
    digest, seen = hashlib.sha256(), set(left)
    try:
        while left:
            found: dict[Path, str] = {}
            for file, package in left.items():
                content = file.read_bytes()
                digest.update(hashlib.sha256(content).digest())
                for name in sorted(_imported(content, package)):
                    if not _installed(name, installed):
                        found |= _files(name, folders)
            left = {file: package for file, package in found.items() if file not in seen}
            seen |= left.keys()
    except (OSError, ValueError, SyntaxError, RecursionError):
        return None
    return digest.hexdigest()


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


def _installed(name: str, installed: list[str]) -> bool:
    top = name.partition(".")[0]
    return top in sys.stdlib_module_names or _find(top, installed) is not None


def _files(name: str, path: list[str]) -> dict[Path, str]:
    """The source files of the module ``name`` and of the packages around it, each with the package it belongs to."""
    parts, files = name.split("."), {}
    for count in range(1, len(parts) + 1):
        spec = _find(".".join(parts[:count]), path)
        if spec is not None and spec.origin and spec.origin.endswith(".py"):
            files[Path(spec.origin)] = spec.parent or ""
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
