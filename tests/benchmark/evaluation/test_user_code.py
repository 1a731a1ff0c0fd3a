"""Where a user's code is imported from, and which code it is."""

import os
import sys
from pathlib import Path

import pytest

from benchmark.evaluation.user_code import LARGEST_FILE, installed_path, own_root, read_code
from zoo_builder.errors import InputError


def test_nothing_is_imported_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", ".", str(tmp_path), *sys.path])
    assert str(tmp_path) not in installed_path()
    assert own_root() == str(Path(__file__).parents[3])
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != own_root()])
    assert installed_path()[-1] == own_root(), "gengap itself can be imported, however this process found it"
    assert len(installed_path()) > 2, "the standard library and installed packages"


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
    before = read_code(reference).digest
    assert before is not None
    for name in ("far/other.py", "json.py", "numpy.py"):
        (files / name).write_text("changed = 1")
    assert read_code(reference).digest == before
    (files / "far" / "sibling.py").write_text("changed = 1")
    assert read_code(reference).digest != before


def test_the_same_code_elsewhere_has_the_same_digest(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_code("net.py:Net").digest
    elsewhere = files.rename(files.with_name("elsewhere"))
    monkeypatch.chdir(files.parent)
    assert read_code(f"{elsewhere}/net.py:Net").digest == before


@pytest.mark.parametrize("text", ["def (", "\0", "(" * 10_000])
def test_what_is_no_python_has_no_digest(tmp_path: Path, text: str) -> None:
    (tmp_path / "net.py").write_text(text)
    assert read_code(f"{tmp_path}/net.py:Net").digest is None
    assert read_code("no_such_module:Net").digest is None


@pytest.mark.parametrize("reference", ["net.py:Net", "near:value", "far.inner:depth"])
def test_exactly_the_code_of_the_digest_is_copied(files: Path, tmp_path: Path, reference: str) -> None:
    code = read_code(reference)
    copy = tmp_path / "copy"
    copy.mkdir()
    code.write(copy)
    copied = {str(path.relative_to(copy / "0")): path.read_bytes() for path in copy.glob("0/**/*.py")}
    assert copied.keys() <= {"net.py", "near.py", "far/__init__.py", "far/inner.py", "far/sibling.py"}
    assert copied == {name: (files / name).read_bytes() for name in copied}
    assert len(copied) == {"net.py:Net": 5, "near:value": 4, "far.inner:depth": 3}[reference]
    expected = f"{copy}/0/net.py:Net" if reference == "net.py:Net" else reference
    assert code.copied(copy, reference) == expected


def test_a_module_is_copied_to_where_its_name_leads(files: Path, tmp_path: Path) -> None:
    """The folder of the file and the current folder are two; a module of the latter may lie in the former."""
    (files / "far" / "net.py").write_text("import other\nimport far.sibling\n")
    code = read_code("far/net.py:Net")
    assert code.folders[:2] == [str(files / "far"), str(files)]
    assert code.files.keys() == {(0, "net.py"), (0, "other.py"), (1, "far/__init__.py"), (1, "far/sibling.py")}


def test_a_link_out_of_the_folder_is_refused(files: Path, tmp_path: Path) -> None:
    (tmp_path / "records.json").write_text("{}")
    (files / "labels.py").symlink_to(tmp_path / "records.json")
    (files / "net.py").write_text("import labels")
    with pytest.raises(InputError, match=r"labels\.py is a link to .*records\.json, outside of .*: copy the file"):
        read_code("net.py:Net")


def test_what_is_no_source_file_is_refused_at_once(files: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file none\.py: a method is given as path/to/file\.py:Name"):
        read_code("none.py:Net")
    (files / "net.py").write_text("import pipe")
    os.mkfifo(files / "pipe.py")
    assert read_code("net.py:Net").files.keys() == {(0, "net.py")}
    (files / "net.py").write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(InputError, match=r"net\.py is no source file, or larger than 10\.0 MiB"):
        read_code("net.py:Net")
