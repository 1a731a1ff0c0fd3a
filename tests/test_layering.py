"""Who may import whom, and what an import may cost."""

import ast
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("zoo_builder", "baselines", "benchmark")
HEAVY = ("torch", "torchvision", "pandas", "sklearn", "plotly", "pyarrow")


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that ``file`` imports anywhere, for type checkers alone included."""
    package = module_name(file).split(".") if file.name == "__init__.py" else module_name(file).split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def breaches(folder: str, forbidden) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in sources(folder)
        for line, name in imported(file)
        if forbidden(name)
    ]


@pytest.mark.parametrize(
    ("folder", "siblings"), [("zoo_builder", ("baselines", "benchmark")), ("baselines", ("benchmark",))]
)
def test_imports_point_one_way(folder, siblings):
    assert breaches(folder, lambda name: name.split(".")[0] in siblings) == []


def test_the_packages_do_not_import_the_tests():
    assert [row for folder in PACKAGES for row in breaches(folder, lambda name: name.split(".")[0] == "tests")] == []


def test_scoring_needs_numpy_and_scipy_alone():
    allowed = {*sys.stdlib_module_names, "numpy", "scipy"}

    def forbidden(name: str) -> bool:
        return not (name.split(".")[0] in allowed or f"{name}.".startswith("benchmark.scoring."))

    assert breaches("benchmark/scoring", forbidden) == []


def loaded_by(modules: list[str]) -> dict[str, list[str]]:
    """Which heavy packages the import of each module, in this order and in a fresh process, brings in."""
    program = """
import importlib, json, sys
modules, heavy = json.loads(sys.argv[1])
for module in modules:
    before = set(sys.modules)
    importlib.import_module(module)
    modules_and_loaded = [module, sorted(set(heavy) & set(sys.modules) - before)]
    print(json.dumps(modules_and_loaded))
"""
    command = [sys.executable, "-c", program, json.dumps([modules, HEAVY])]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {module: loaded for module, loaded in map(json.loads, output.splitlines()) if loaded}


def test_scoring_loads_nothing_heavy():
    assert loaded_by([module_name(file) for file in sources("benchmark/scoring")]) == {}


def test_package_imports_are_light():
    assert loaded_by([module_name(f) for folder in PACKAGES for f in sources(folder) if f.name == "__init__.py"]) == {}


def test_the_command_line_loads_nothing_heavy():
    assert loaded_by(["benchmark.commands.main"]) == {}


def test_help_answers_at_once():
    """In less than half a second of processor time, which a busy machine does not stretch as it does the clock."""
    before = processor_seconds()
    command = [sys.executable, "-m", "benchmark.commands.main", "--help"]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "gengap" in output
    assert processor_seconds() - before < 0.5


def processor_seconds() -> float:
    """Of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
