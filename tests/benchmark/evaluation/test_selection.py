"""Which methods a command names, and which a task takes."""

import pytest

from baselines.measures import families, measures
from benchmark.evaluation.methods import builtin_methods
from benchmark.evaluation.selection import WrongTask, find_methods, refusal
from benchmark.tasks import find_task
from zoo_builder.errors import InputError

GAP, COMPLEXITY, ACCURACY, UNLABELED = (
    find_task(name, "small") for name in ("generalization-gap", "complexity", "test-accuracy", "unlabeled-accuracy")
)


def names(*references: str, task=COMPLEXITY, **settings) -> list[str]:
    return [method.name for method in find_methods(references, task, **settings)]


def test_a_name_stands_for_a_method_a_family_or_all() -> None:
    assert names("path-norm", "path-norm") == ["path-norm"]
    assert names("norms", "weight-norm") == [measure.name for measure in families()["norms"]]
    assert {measure.name for measure in measures()} < set(names("all"))
    assert set(names("fast")) < set(names("all"))


def test_all_is_the_methods_of_the_tasks_kinds_and_every_control_it_takes() -> None:
    kinds = {task.name: {m.kind.name for m in find_methods(["all"], task)} for task in (GAP, COMPLEXITY, ACCURACY)}
    assert kinds == {
        "generalization-gap": {"measure", "predictor", "oracle"},
        "complexity": {"measure", "predictor", "oracle"},
        "test-accuracy": {"predictor", "oracle"},
    }
    assert {m.name for m in find_methods(["all"], COMPLEXITY) if m.kind.name == "predictor"} == {"hyperparameters"}
    assert "path-norm" not in names("all", left_out=["path-norm"])
    assert names("path-norm", left_out=["path-norm"]) == ["path-norm"]


@pytest.mark.parametrize(
    ("task", "method", "words"),
    [
        (
            ACCURACY,
            "path-norm",
            "a measure predicts the generalization gap .*, and the target of test-accuracy is",
        ),
        (ACCURACY, "random", "a measure predicts the generalization gap"),
        (COMPLEXITY, "nfn-np", "it is fitted, and complexity scores all models of a zoo"),
        (COMPLEXITY, "hyperparameters", None),
        (COMPLEXITY, "steps-to-cross-entropy", None),
        (GAP, "average-confidence", "every estimator reads view.targets, which is not part of 'train-data', the task"),
        (UNLABELED, "average-confidence", None),
        (ACCURACY, "margin-signature", "its access level is 'train-data', and the task's is 'weights'"),
        (ACCURACY, "hyperparameters", None),
        (ACCURACY, "oracle-0.5-sd", None),
    ],
)
def test_what_a_task_refuses(task, method: str, words: str | None) -> None:
    if words is None:
        assert refusal(task, builtin_methods()[method]) is None
    else:
        with pytest.raises(WrongTask, match=f"{method} does not fit {task.name}: {words}"):
            find_methods([method], task)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nfn-mp", r"unknown method 'nfn-mp' \(did you mean 'nfn-np'\?\)"),
        ("oracle-0.5", r"unknown method 'oracle-0.5' \(did you mean 'oracle-0.5-sd'\?\)"),
        ("nroms", r"unknown method 'nroms' \(did you mean 'norms'\?\)"),
        ("mine.py", r"mine.py is a file: add the name of the class or function in it, as mine.py:Name"),
    ],
)
def test_unknown_names_are_an_error(reference: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_methods([reference], COMPLEXITY)


def test_measures_of_a_family_that_a_task_does_not_take_are_left_out_aloud() -> None:
    lines: list[str] = []
    found = names("fast", task=GAP, note=lines.append)
    assert "path-norm" in found
    assert "steps-to-cross-entropy" not in found
    (line,) = lines
    assert line.startswith("left out of fast, because generalization-gap does not take them: ")
    assert "steps-to-cross-entropy" in line
    assert "path-norm," not in line
    with pytest.raises(WrongTask, match="steps-to-cross-entropy does not fit generalization-gap"):
        names("fast", "steps-to-cross-entropy", task=GAP)
    with pytest.raises(WrongTask, match="weight-norm does not fit test-accuracy"):
        names("norms", task=ACCURACY)


# What is wrong with a user's method: its code, the task that refuses it, and words of the error.
REFUSED = {
    "Number": ("Number = 3", ACCURACY, "Number is not a method: expected a function of a MeasureContext"),
    "Level": ("class Level(Base): access = 'wieghts'", ACCURACY, r"did you mean 'weights'\?\): use one of hyperparam"),
    "Same": ("class Same(Base): name = 'random'", ACCURACY, "Same is called 'random' like a built-in method"),
    "Blank": ("class Blank(Base): name = 'random '", ACCURACY, "Blank is called 'random' like a built-in method"),
    "Alike": (
        "class Alike(Base): name = 'Path_N0rm'",
        ACCURACY,
        "'Path_N0rm' which looks like 'path-norm', the name of",
    ),
    "Dash": ("class Dash(Base): name = 'path\\u2011norm'", ACCURACY, "U.2010 .hyphen.: use Latin or Greek letters"),
    "Wide": ("class Wide(Base): name = '\\uff52andom'", ACCURACY, "Wide is called 'random' like a built-in method"),
    "Reads": (
        "class Reads(Base): access = 'train-data'",
        ACCURACY,
        "is 'train-data', and the task's is 'weights'",
    ),
    "measure": ("def measure(context): return 0", ACCURACY, "a measure predicts the generalization gap"),
    "fitted": ("class fitted(Base): pass", COMPLEXITY, "mine does not fit complexity: it is fitted"),
    "oracle": (
        "from benchmark.evaluation.oracle import Oracle\noracle = Oracle(0)",
        ACCURACY,
        "oracle is not a method",
    ),
    "raises": ("class raises(Base):\n    def __init__(self): 1 / 0", ACCURACY, "cannot be loaded: ZeroDivisionError"),
    "missing": ("", ACCURACY, "has no 'missing'"),
}


def test_users_methods_that_do_not_fit_are_refused(tmp_path, write_method) -> None:
    file = write_method(tmp_path, "\n".join(code for code, _, _ in REFUSED.values()))
    for task in (ACCURACY, COMPLEXITY):
        chosen = {f"{file}:{name}": words for name, (_, at, words) in REFUSED.items() if at is task}
        errors: list[InputError] = []
        assert find_methods(list(chosen), task, refused=errors.append) == []
        for error, words in zip(errors, chosen.values(), strict=True):
            with pytest.raises(InputError, match=words):
                raise error


def test_files_are_loaded_apart_and_what_cannot_be_loaded_spoils_no_other(tmp_path, write_method) -> None:
    good = write_method(tmp_path, "class Mine(Base): pass\nclass Two(Base): pass")
    bad = tmp_path / "bad.py"
    bad.write_text("import elephants\n")
    dead = tmp_path / "dead.py"
    dead.write_text("import os\nos._exit(3)\n")
    errors: list[InputError] = []
    references = [f"{dead}:a", f"{bad}:a", f"{good}:Mine", f"{good}:Two", "nfn-np"]
    found = find_methods(references, ACCURACY, refused=errors.append, workers=2)
    assert [method.name for method in found] == ["mine", "nfn-np"]
    said = [
        "dead.py:a cannot be loaded: its process ended with code 3 before it gave an answer",
        "bad.py:a cannot be loaded: ModuleNotFoundError: No module named 'elephants'",
        "method.py:Two is called 'mine' like ",
    ]
    for error, words in zip(errors, said, strict=True):
        assert words in str(error)
