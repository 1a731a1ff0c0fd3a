"""Where a user's code is imported from, and which code it is."""

import sys
from pathlib import Path

import pytest

from benchmark.evaluation.user_code import code_digest, import_path


def test_nothing_is_imported_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", ".", str(tmp_path), *sys.path])
    assert str(tmp_path) not in import_path()
    root = str(Path(__file__).parents[3])
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != root])
    assert import_path()[-1] == root, "gengap itself can be imported, however this process found it"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that imports a neighbour, which imports a package, within a function; and files that nobody imports."""
    folder = tmp_path / "here"
    (folder / "far").mkdir(parents=True)
    monkeypatch.chdir(folder)
    content = {
        "net.py": "import json\nimport numpy as np\nimport near\nclass Net: pass\nraise SystemExit('executed')\n",
        "near.py": "def value():\n    from far.inner import depth\n    return depth\n",
        "far/__init__.py": "",
        "far/inner.py": "from . import sibling\ndepth = 1\n",
        "far/sibling.py": "",
        "far/other.py": "",
        "json.py": "",
        "numpy.py": "",
    }
    for name, text in content.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("reference", ["net.py:Net", "near:value", "far.inner:depth"])
def test_the_digest_depends_on_the_code_alone(files: Path, reference: str) -> None:
    before = code_digest(reference)
    assert before is not None
    for name in ("far/other.py", "json.py", "numpy.py"):
        (files / name).write_text("changed = 1")
    assert code_digest(reference) == before
    (files / "far" / "sibling.py").write_text("changed = 1")
    assert code_digest(reference) != before


def test_the_same_code_elsewhere_has_the_same_digest(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest("net.py:Net")
    elsewhere = files.rename(files.with_name("elsewhere"))
    monkeypatch.chdir(files.parent)
    assert code_digest(f"{elsewhere}/net.py:Net") == before


@pytest.mark.parametrize("text", ["def (", "\0", "(" * 10_000])
def test_what_is_no_python_has_no_digest(tmp_path: Path, text: str) -> None:
    (tmp_path / "net.py").write_text(text)
    assert code_digest(f"{tmp_path}/net.py:Net") is None
    assert code_digest(f"{tmp_path}/none.py:Net") is None
    assert code_digest("no_such_module:Net") is None
