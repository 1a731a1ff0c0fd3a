"""What a user reads of an error in the user's own code."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.evaluation.methods import load_own
from benchmark.evaluation.tracebacks import users_traceback
from benchmark.evaluation.worker import checked


def error_of(call: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - any error of a user's code
        call()
    # Without the frames of this test, which a worker does not have.
    error = raised.value
    while error.__traceback__ is not None and error.__traceback__.tb_frame.f_code.co_filename == __file__:
        error = error.with_traceback(error.__traceback__.tb_next)
    return error


def test_an_error_at_import_begins_in_the_users_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def helper():\n    return 1 / 0\nhelper()\n")
    said = users_traceback(error_of(lambda: load_own(f"{file}:Mine")))
    assert said.splitlines()[1].strip() == f'File "{file}", line 3, in <module>'
    assert said.endswith("ZeroDivisionError: division by zero\n")
    assert "importlib" not in said
    assert "methods.py" not in said


def test_an_error_raised_from_another_begins_there_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import importlib\ntry:\n    importlib.import_module('elephants')\nexcept ImportError as error:\n"
        "    raise RuntimeError('no elephants') from error\n"
    )
    said = users_traceback(error_of(lambda: load_own(f"{file}:Mine")))
    first, second = said.split("direct cause")
    assert first.splitlines()[1].strip() == f'File "{file}", line 3, in <module>'
    assert f'File "{file}", line 5, in <module>' in second
    assert "methods.py" not in said
    assert "No module named 'elephants'" in first


def test_a_file_that_cannot_be_parsed_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("x = 1\ndef f(:\n")
    said = users_traceback(error_of(lambda: load_own(f"{file}:Mine")))
    assert "methods.py" not in said
    assert "importlib" not in said
    assert f'File "{file}", line 2' in said
    assert "SyntaxError" in said


def test_frames_of_gengap_below_the_users_stay(tmp_path: Path) -> None:
    """They show how the user's code called gengap."""
    file = tmp_path / "mine.py"
    file.write_text("from benchmark.evaluation.worker import checked\ndef mine():\n    checked(None, 3)\n")
    spec = importlib.util.spec_from_file_location("mine_of_a_test", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    said = users_traceback(error_of(module.mine))
    assert said.index(str(file)) < said.index("worker.py")


def test_an_error_of_gengap_alone_keeps_its_frames() -> None:
    assert "worker.py" in users_traceback(error_of(lambda: checked(None, 3)))
