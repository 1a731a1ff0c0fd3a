"""The code in README.md, CONTRIBUTING.md, docs/ and docstrings runs."""

import doctest
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from baselines.measures import measures, norms
from baselines.measures.compute import compute
from benchmark import tasks
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.selection import find_methods
from benchmark.evaluation.views import make_view
from benchmark.tasks import Task, find_task
from zoo_builder.building.build import build
from zoo_builder.recipes.recipe import load_recipe
from zoo_builder.store.zoo import Zoo

ROOT = Path(__file__).parent.parent


def block(document: str, containing: str) -> str:
    """The one fenced block of ``document`` that contains ``containing``."""
    (found,) = (
        text
        for text in re.findall(
            r"^```(?:python|toml)\n(.*?)^```", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE
        )
        if containing in text
    )
    return found


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> Zoo:
    return build(load_recipe("digits").cut(models=48, epochs=1), tmp_path_factory.mktemp("zoo"), device="cpu")


def test_the_example_of_the_readme(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(block("README.md", "zoo.module"), {})
    taus = re.findall(
        r"^([a-z-]+) +tau ([+-]\d\.\d\d|\+?nan) on (\d+) of \d+ models$", capsys.readouterr().out, re.MULTILINE
    )
    assert {"weight-norm", "training-accuracy"} <= {name for name, *_ in taus}


@pytest.mark.parametrize(("document", "name"), [("README.md", "LastLayer"), ("CONTRIBUTING.md", "Mean")])
def test_the_predictors(zoo, tmp_path, document, name):
    file = tmp_path / "mine.py"
    file.write_text(block(document, f"class {name}:"))
    task = find_task("test-accuracy", zoo.name)
    (record,) = evaluate(task, find_methods([f"{file}:{name}"], task), zoo, tmp_path / "results")
    assert (record.status, record.reason, record.coverage) == ("ok", None, 1), record.log


def test_the_measure(zoo):
    module = dict(vars(norms))
    exec(block("CONTRIBUTING.md", "def l1_norm"), module)
    measure = module["MEASURES"][-1]
    (result,) = compute(make_view(zoo, zoo.final, "weights"), [measure]).values()
    (stack,) = zoo.weights(zoo.final.index)
    sums = [sum(float(value[model].abs().sum()) for value in stack.parameters.values()) for model in range(len(stack))]
    np.testing.assert_allclose(result.values, sums, rtol=1e-6)


def test_the_measure_of_the_readme(zoo, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(block("README.md", "def margin_spread"))
    task = find_task("complexity", zoo.name)
    (record,) = evaluate(task, find_methods([f"{file}:margin_spread"], task), zoo, tmp_path / "results")
    assert (record.status, record.method, record.coverage) == ("ok", "margin-spread", 1), record.log


def test_the_readme_counts_the_measures():
    assert f"| measures | {len(measures())}: " in (ROOT / "README.md").read_text()


def test_the_recipe(tmp_path):
    file = tmp_path / "mnist-width.toml"
    file.write_text(block("CONTRIBUTING.md", "[architecture]"))
    recipe = load_recipe(str(file))
    assert recipe.grid["width"] == (8, 16, 32)


def test_the_task(zoo):
    task = eval(block("CONTRIBUTING.md", "Task("), dict(vars(tasks)))
    assert isinstance(task, Task)
    assert np.array_equal(task.target.values(zoo.final), zoo.final["test_accuracy"])


@pytest.mark.parametrize(("page", "examples"), [("scores.md", 22), ("measures.md", 3)])
def test_the_examples_of_a_page(page, examples):
    """Everything after `>>>`; the prose of docs/scores.md rounds the same numbers."""
    result = doctest.testfile(str(ROOT / "docs" / page), module_relative=False)
    assert result.failed == 0
    assert result.attempted >= examples


def test_the_comparison_says_what_the_records_hold():
    spec = importlib.util.spec_from_file_location("comparison", ROOT / "results" / "comparison.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    assert (ROOT / "results" / "COMPARISON.md").read_text() == page.render(), "run `python results/comparison.py`"
    with pytest.raises(ValueError, match="the records no longer say: the sky is blue"):
        page.claim(False, "the sky is blue")
    assert doctest.testmod(page).failed == 0


WITH_EXAMPLES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for package in ("zoo_builder", "baselines", "benchmark")
    for file in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in file.read_text()
]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_of_docstrings(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.failed == 0
    assert result.attempted > 0
