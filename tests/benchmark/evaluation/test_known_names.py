"""The names of built-in methods are those of the methods, and are read without them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.evaluation import known_names
from benchmark.evaluation.measuring import named_groups
from benchmark.evaluation.methods import builtin_methods


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    known_names._names.cache_clear()
    return tmp_path / "gengap" / "names"


def test_the_names_are_those_of_the_methods(cache_folder: Path) -> None:
    for _ in range(2):
        known_names._names.cache_clear()
        assert known_names.builtin_names() == list(builtin_methods())
        assert known_names.known_names() == [*builtin_methods(), *named_groups(), "all"]
    (file,) = cache_folder.iterdir()
    file.write_text(json.dumps({"source": known_names._source(), "methods": ["kept"], "groups": []}))
    known_names._names.cache_clear()
    assert known_names.known_names() == ["kept", "all"], "read from the file"


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", '{"source": "other", "methods": ["old"], "groups": []}', "\0"])
def test_a_file_that_is_damaged_or_of_other_code_is_written_again(cache_folder: Path, text: str) -> None:
    known_names.builtin_names()
    (file,) = cache_folder.iterdir()
    file.write_text(text)
    known_names._names.cache_clear()
    assert known_names.builtin_names() == list(builtin_methods())
    assert json.loads(file.read_text())["methods"] == list(builtin_methods())


def test_nobody_waits_for_torch_to_be_told_of_a_misspelled_name() -> None:
    known_names.builtin_names()
    code = """
import sys
from benchmark.commands.main import main
code = main(["run", "complexity", "pathnorm", "--zoo", "nowhere"])
assert code == 2 and "torch" not in sys.modules, code
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "unknown method 'pathnorm' (did you mean 'path-norm'?)" in done.stderr
