"""A user's code for the tests of evaluation, and a task with one score, which takes no time to compute."""

import shutil
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.tasks import Task, find_task
from zoo_builder.store.zoo import Zoo

HEAD = """
import numpy as np
from baselines.measures.measure import Measure
from baselines.methods import NotApplicable, Prediction

class Base:
    access = "weights"
    citation = "this test"
    name = "mine"
    def fit(self, view, target, validation, validation_target):
        self.mean = float(np.mean(target))
        return self
    def predict(self, view):
        return np.arange(view.size) / view.size
"""


@pytest.fixture(scope="session")
def write_method():
    """Writes ``code`` below ``HEAD`` to a file in ``folder`` and returns the file."""

    def write(folder: Path, code: str) -> Path:
        file = folder / "method.py"
        file.write_text(HEAD + textwrap.dedent(code))
        return file

    return write


@pytest.fixture(scope="session")
def quick():
    """The task called ``name``, with tau as its only score."""

    def find(name: str) -> Task:
        return replace(find_task(name, "small"), scores=("tau",))

    return find


@pytest.fixture
def zoo(small_zoo: Zoo, tmp_path: Path) -> Zoo:
    """A copy of the small zoo, to write beside."""
    shutil.copytree(small_zoo.root, tmp_path / "zoo")
    return Zoo.open(tmp_path / "zoo")
