"""Jobs; the processes themselves are in the tests of selection (descriptions) and of evaluate (answers)."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.evaluation import sandbox
from benchmark.evaluation.methods import Method, builtin_methods
from benchmark.evaluation.process import Job, describe_in_process
from zoo_builder.errors import InputError

# Of the standard library, of what torch and pandas import if it is there, and of gengap.
SHADOWS = ("json", "random", "types", "copy", "numpy", "torch", "numexpr", "bottleneck", "sitecustomize")
OWN = ("usercustomize", "benchmark", "baselines", "zoo_builder")


def test_a_job_is_trusted_if_all_of_its_methods_are_built_in() -> None:
    method = builtin_methods()["path-norm"]
    own = replace(method, reference="mine.py:mine", name="mine")
    assert Job((method,), "weights").trusted
    assert not Job((own,), "weights").trusted
    assert not Job((method, own), "weights").trusted


@pytest.fixture
def describe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_method):
    """Describes ``Mine`` in a file of this code, in a folder full of modules with the names of others."""

    def run(code: str, package: bool = False):
        monkeypatch.chdir(tmp_path)
        for name in (*SHADOWS, *OWN):
            place = tmp_path / name / "__init__.py" if package else tmp_path / f"{name}.py"
            place.parent.mkdir(exist_ok=True)
            place.write_text("raise SystemExit('a module of the user was run')\n")
        (tmp_path / "helper.py").write_text("from helpers_helper import level\n")
        (tmp_path / "helpers_helper.py").write_text("level = 'weights'\n")
        write_method(tmp_path, code)
        (found,) = describe_in_process(["method.py:Mine"], sandbox.protection(trust=False)).values()
        return found

    return run


@pytest.mark.parametrize("package", [False, True])
def test_modules_beside_a_method_serve_it_and_shadow_no_other(describe, package: bool) -> None:
    found = describe("import json, random, helper\nclass Mine(Base): access = helper.level", package)
    assert not isinstance(found, InputError), found
    assert (found.access, len(found.code)) == ("weights", 64)


@pytest.mark.parametrize("name", ["random", "benchmark", "types"])
def test_a_methods_file_may_have_the_name_of_a_module(tmp_path: Path, write_method, name: str) -> None:
    file = write_method(tmp_path, f"import {name}\nassert {name}.__file__ != __file__\nclass Mine(Base): pass")
    file = file.rename(tmp_path / f"{name}.py")
    (found,) = describe_in_process([f"{file}:Mine"], sandbox.protection(trust=False)).values()
    assert not isinstance(found, InputError), found


@pytest.mark.parametrize(
    "code",
    [
        "import urllib.request\nurllib.request.urlopen('http://example.org')",
        "import socket\nsocket.create_connection(('192.0.2.1', 80), timeout=2)",
        "import socket, os\ntry: socket.getaddrinfo('example.org', 80)\n"
        "except OSError:\n    import traceback; traceback.print_exc(); os._exit(1)",
    ],
    ids=["urllib", "socket", "printed"],
)
def test_code_that_needs_a_network_is_told_that_there_is_none(tmp_path: Path, code: str) -> None:
    (tmp_path / "method.py").write_text(code)
    (found,) = describe_in_process([f"{tmp_path}/method.py:Mine"], sandbox.protection(trust=False)).values()
    assert " (methods have no network access)" in str(found)


def test_each_method_of_a_file_is_described_or_its_error_told(tmp_path, write_method) -> None:
    file = write_method(tmp_path, "class Good(Base): pass\nclass Bad(Base): access = 'wieghts'\ndef own(context): 'w'")
    references = [f"{file}:{name}" for name in ("Good", "Bad", "Godo", "own")]
    good, bad, missing, own = describe_in_process(references, sandbox.protection(trust=False)).values()
    assert isinstance(good, Method)
    assert isinstance(own, Method)
    assert (good.name, good.kind.name, good.control) == ("mine", "predictor", False)
    assert "did you mean 'weights'?" in str(bad)
    assert "has no 'Godo' (did you mean 'Good'?)" in str(missing)
    assert (own.kind.name, own.formula) == ("measure", "w")


def test_a_file_may_take_as_long_to_load_as_a_run(tmp_path: Path, write_method) -> None:
    reference = f"{write_method(tmp_path, 'import time; time.sleep(3600)')}:Mine"
    found = describe_in_process([reference], sandbox.protection(trust=False), timeout=1)[reference]
    assert isinstance(found, InputError)
    assert str(found).endswith("cannot be loaded: took longer than 1 s")
