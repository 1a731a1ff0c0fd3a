import time
from types import SimpleNamespace

import pytest

from baselines.estimators import estimators
from baselines.measures import measures
from baselines.predictors import predictors
from benchmark.evaluation.methods import Method, builtin_methods, checked_name, describe, load_builtin, load_own
from benchmark.evaluation.oracle import ORACLES
from benchmark.tasks import KINDS
from zoo_builder.errors import InputError


def test_every_built_in_method_has_a_description() -> None:
    methods = builtin_methods()
    assert list(methods) == [row.name for row in (*measures(), *predictors(), *estimators())] + list(ORACLES)
    assert {method.kind for method in methods.values()} == set(KINDS.values())
    assert all(method.builtin and method.citation for method in methods.values())
    assert {name for name, method in methods.items() if method.control} >= {"hyperparameters", "random", *ORACLES}


@pytest.mark.parametrize("name", ["weight-norm", "nfn-np", "disagreement"])
def test_a_built_in_method_is_loaded_by_its_kind(name: str) -> None:
    assert load_builtin(name, builtin_methods()[name].kind).name == name


def test_a_description_survives_json() -> None:
    method = builtin_methods()["nfn-np"]
    assert method.to_json()["kind"] == "predictor"
    assert Method(**method.to_json() | {"kind": method.kind}) == method


def test_a_function_is_a_measure_of_the_training_data(tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text('def path_length(context):\n    """sum of lengths\n\n    More."""\n')
    method = describe(f"{file}:path_length", load_own(f"{file}:path_length"))
    assert (method.name, method.kind.name, method.access) == ("path-length", "measure", "train-data")
    assert (method.formula, method.citation, method.builtin) == ("sum of lengths", f"{file}:path_length", False)


def test_a_file_is_executed_once_and_imports_its_neighbours(tmp_path) -> None:
    (tmp_path / "neighbour.py").write_text("import pathlib\nlog = pathlib.Path(__file__).with_name('log')\n")
    (tmp_path / "log").write_text("")
    file = tmp_path / "executed_once.py"
    code = "import neighbour\nneighbour.log.write_text(neighbour.log.read_text() + 'x')\n"
    file.write_text(code + "def a(context): 1\ndef b(context): 2\n")
    load_own(f"{file}:a", [str(tmp_path)])
    load_own(f"{file}:b", [str(tmp_path)])
    assert (tmp_path / "log").read_text() == "x"


def test_a_users_method_is_no_control(tmp_path) -> None:
    file = tmp_path / "wishful.py"
    file.write_text(
        "class Mine:\n    name, access, citation, control = 'mine', 'weights', '', True\n"
        "    def estimate(self, view): 1\n"
    )
    assert not describe(f"{file}:Mine", load_own(f"{file}:Mine")).control


@pytest.mark.parametrize("name", ["", "  ", None, 3, "a\nb", "a\x1b[31m", "a" * 81, "a\u200b", "r\u0430ndom"])
def test_a_method_needs_a_name_that_a_board_can_show(name: object) -> None:
    mine = SimpleNamespace(name=name, access="weights", citation="this test", estimate=lambda view: 1)
    with pytest.raises(InputError, match=r"mine.py:Mine has the name .*: .*give it a(nother)? `name`"):
        describe("mine.py:Mine", mine)


def test_a_name_of_any_length_is_refused_at_once() -> None:
    """Unicode's form of so many accents takes ten minutes."""
    started = time.monotonic()
    with pytest.raises(InputError, match="it has 500,001 characters, and boards show at most 80"):
        checked_name("mine.py:Mine", "a" + "\u0300\u0316" * 250_000)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("given", "name"), [(" mine ", "mine"), ("\uff4d\uff49\uff4e\uff45", "mine"), ("caf\u00e9", "caf\u00e9")]
)
def test_a_name_has_one_form(given: str, name: str) -> None:
    mine = SimpleNamespace(name=given, access="weights", citation="a\n\x1b[2J" + "x" * 5000, estimate=lambda view: 1)
    method = describe("mine.py:Mine", mine)
    assert method.name == name
    assert method.citation.startswith("a \\x1b[2Jxxx")
    assert len(method.citation) < 1100


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("mine.py:", r"'mine.py:' lacks a part: a method is given as path/to/file.py:Name"),
        (":Mine", r"':Mine' lacks a part"),
        ("no_such_package:Mine", r"cannot import 'no_such_package': .*; use path/to/file.py:Name for a file"),
        ("benchmark.tasks:TASK", r"benchmark.tasks has no 'TASK' \(did you mean 'TASKS'\?\)"),
    ],
)
def test_what_cannot_be_found_is_named(reference: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_own(reference)


def test_what_is_no_method_is_named() -> None:
    words = r"x:y is not a method: expected a function of a MeasureContext, .* it is a int without name, access"
    with pytest.raises(InputError, match=words):
        describe("x:y", 3)
