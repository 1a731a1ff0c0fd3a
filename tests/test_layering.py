"""The layout of the packages, the layers of their imports, and the cost of an import."""

import ast
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
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
    """Line and full name of everything that ``file`` imports, also for type checkers only."""
    package = module_name(file).split(".") if file.name == "__init__.py" else module_name(file).split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def breaches(folder: str, forbidden: Callable[[str], bool]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in sources(folder)
        for line, name in imported(file)
        if forbidden(name)
    ]


def modules() -> dict[str, Path]:
    """{full name: file} of all modules of the three packages."""
    return {module_name(file): file for folder in PACKAGES for file in sources(folder)}


# Each row may import the rows before it, and a module its own row.
LAYERS = {
    "zoo_builder": (
        ("errors", "files", "limits", "lock", "processes", "streams", "strict_toml", "tables", "temporary", "text"),
        ("networks",),
        ("recipes", "datasets"),
        ("training",),
        ("engines",),
        ("problems",),
        ("building",),
    ),
    "baselines": (
        ("levels",),
        ("access", "fields", "methods"),
        ("measures", "weight_space", "predictors", "estimators"),
    ),
    "benchmark": (
        ("scoring",),
        ("names", "tasks", "split", "records"),
        ("evaluation", "reports"),
        ("commands",),
    ),
}
# (folder, a module or folder that it must not import), beyond the rows above.
FORBIDDEN = (
    ("zoo_builder", "baselines"),
    ("zoo_builder", "benchmark"),
    ("baselines", "benchmark"),
    *(("zoo_builder/store", f"zoo_builder.{layer}") for layer in ("engines", "problems", "building")),
    *((f"zoo_builder/{layer}", "zoo_builder.store") for layer in ("training", "engines", "problems")),
    *(
        ("baselines/measures", f"zoo_builder.{name}")
        for name in ("training.loop", "training.recorder", "building", "problems")
    ),
    *(("baselines/measures", f"baselines.{layer}") for layer in ("predictors", "estimators")),
    ("benchmark/reports", "benchmark.evaluation"),
)


@pytest.mark.parametrize(("folder", "layer"), FORBIDDEN)
def test_imports_that_would_mix_layers(folder, layer):
    assert breaches(folder, lambda name: f"{name}.".startswith(f"{layer}.")) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_folder_imports_lower_layers_only(package):
    rows = LAYERS[package]
    level = {name: number for number, row in enumerate(rows) for name in row}

    def part(name: str) -> str | None:
        """The folder or module of ``package`` that a full name belongs to."""
        return name.split(".")[1] if name.startswith(f"{package}.") else None

    found = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for module, file in modules().items()
        if (own := part(module)) in level
        for line, name in imported(file)
        if (other := part(name)) in level and level[other] > level[own]
    ]
    assert found == []


def test_no_import_circle():
    """Imports that only type checkers read count too."""
    known = modules()
    needs = {
        module: {
            target
            for _, name in imported(file)
            if (target := name if name in known else name.rpartition(".")[0]) in known and target != module
        }
        for module, file in known.items()
    }
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


TOP_LEVEL = {
    "zoo_builder": {"__init__", "store", *(name for row in LAYERS["zoo_builder"] for name in row)},
    "baselines": {"__init__", *(name for row in LAYERS["baselines"] for name in row)},
    "benchmark": {"__init__", *(name for row in LAYERS["benchmark"] for name in row)},
}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_folders_are_those_of_the_design(package):
    assert {path.stem for path in (ROOT / package).iterdir() if path.name != "__pycache__"} == TOP_LEVEL[package]


def test_tests_mirror_the_packages():
    """tests/X/Y/test_Z.py tests X/Y/Z.py, so that the tests of a module are found without a search."""
    strays = [
        str(file.relative_to(ROOT))
        for folder in PACKAGES
        for file in sorted((ROOT / "tests" / folder).rglob("test_*.py"))
        if not mirrored(file)
    ]
    assert strays == []


def mirrored(test: Path) -> bool:
    """Whether a module or folder of the name exists; "test_<module>_<aspect>.py" is a second file of its tests."""
    folder = ROOT / test.parent.relative_to(ROOT / "tests")
    words = test.stem.split("_")[1:]
    names = ["_".join(words[:count]) for count in range(1, len(words) + 1)]
    return any((folder / name).is_dir() or (folder / f"{name}.py").is_file() for name in names)


def test_the_packages_do_not_import_the_tests():
    assert [row for folder in PACKAGES for row in breaches(folder, lambda name: name.split(".")[0] == "tests")] == []


def test_scoring_needs_only_numpy_and_scipy():
    allowed = {*sys.stdlib_module_names, "numpy", "scipy"}

    def forbidden(name: str) -> bool:
        return not (name.split(".")[0] in allowed or f"{name}.".startswith("benchmark.scoring."))

    assert breaches("benchmark/scoring", forbidden) == []


def loaded_by(modules: list[str]) -> dict[str, list[str]]:
    """The heavy packages that each module's import loads, in this order and in a fresh process."""
    program = """
import importlib, json, sys
modules, heavy = json.loads(sys.argv[1])
for module in modules:
    before = set(sys.modules)
    importlib.import_module(module)
    print(json.dumps([module, sorted(set(heavy) & set(sys.modules) - before)]))
"""
    command = [sys.executable, "-c", program, json.dumps([modules, HEAVY])]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {module: loaded for module, loaded in map(json.loads, output.splitlines()) if loaded}


def test_scoring_loads_nothing_heavy():
    assert loaded_by([module_name(file) for file in sources("benchmark/scoring")]) == {}


def test_boards_load_no_torch():
    """It takes seconds, and boards read tables alone."""
    assert "torch" not in loaded_by(["benchmark.reports.board_markdown"])["benchmark.reports.board_markdown"]


def test_package_imports_are_light():
    assert loaded_by([module_name(f) for folder in PACKAGES for f in sources(folder) if f.name == "__init__.py"]) == {}


def test_the_command_line_loads_nothing_heavy():
    assert loaded_by(["benchmark.commands.main"]) == {}


def test_help_takes_less_than_half_a_second():
    """Measured in processor time, which a busy machine does not change much."""
    before = processor_seconds()
    command = [sys.executable, "-m", "benchmark.commands.main", "--help"]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "gengap" in output
    assert processor_seconds() - before < 0.5


def processor_seconds() -> float:
    """Processor time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
