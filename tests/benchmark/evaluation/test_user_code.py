"""Where a user's code is imported from, and which code it is."""

import os
import sys
import time
from pathlib import Path

import pytest

from benchmark.evaluation import user_code
from benchmark.evaluation.user_code import LARGEST_CODE, installed_path, own_root, read_code
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


def test_the_digest_depends_on_the_names_of_modules(files: Path) -> None:
    (files / "net.py").write_text("try:\n    import near\nexcept ImportError:\n    import distant")
    before = read_code("net.py:Net").digest
    (files / "net.py").rename(files / "other.py")
    assert read_code("other.py:Net").digest == before
    (files / "near.py").rename(files / "distant.py")
    assert read_code("other.py:Net").digest != before


@pytest.mark.parametrize("text", ["def (", "\0", "(" * 10_000, "-" * 100_000 + "1"])
def test_what_is_no_python_has_a_digest_too(tmp_path: Path, text: str) -> None:
    digests = set()
    for number in range(2):
        (tmp_path / "net.py").write_text(f"# {number}\n{text}")
        digests.add(read_code(f"{tmp_path}/net.py:Net").digest)
    assert len(digests) == 2
    assert None not in digests
    assert read_code("no_such_module:Net").digest is None


def test_packages_need_no_init_file(files: Path) -> None:
    (files / "a" / "b").mkdir(parents=True)
    (files / "a" / "b" / "c.py").write_text("from . import d\nfrom ..e import f")
    for name in ("b/d.py", "e.py"):
        (files / "a" / name).write_text("")
    (files / "net.py").write_text("import a.b\nfrom a.b import c")
    names = {name for _, name in read_code("net.py:Net").files}
    assert names == {"net.py", "a/b/c.py", "a/b/d.py", "a/e.py"}


def test_a_link_in_a_circle_is_no_file(files: Path) -> None:
    (files / "circle.py").symlink_to("circle.py")
    (files / "far" / "away").symlink_to("away")
    for name in ("circle.py", "far/away/net.py", "x" * 300 + ".py"):
        with pytest.raises(InputError, match="there is no file"):
            read_code(f"{name}:Net")


# Each takes the parser of Python minutes, or gigabytes.
HARD = {
    "fields": b"f'" + b"{x}" * 300_000 + b"'",
    "codec": b"# coding: punycode\nx=1\n#-" + b"a" * 1_000_000,
    "tokens": b"0," * 5_000_000,
    "long names": b"from " + b"a" * 900_000 + b" import " + b",".join(b"b%d" % number for number in range(100_000)),
    "many names": b"from a import " + b",".join(b"b%d" % number for number in range(100_000)),
}


@pytest.mark.parametrize("name", HARD)
def test_source_that_is_hard_to_parse_stops_nobody(files: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(user_code, "READ_SECONDS", 2)
    (files / "net.py").write_bytes(HARD[name])
    started = time.monotonic()
    assert read_code("net.py:Net").files == {(0, "net.py"): HARD[name]}
    assert time.monotonic() - started < 20


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
    (files / "net.py").write_bytes(b"#" * (LARGEST_CODE + 1))
    with pytest.raises(InputError, match=r"with .*net\.py, the source files have more than 10\.0 MiB"):
        read_code("net.py:Net")
    # One file with many names counts for each, since each is read and copied.
    (files / "net.py").write_text("import near0, near1")
    (files / "near0.py").write_bytes(b"#" * (LARGEST_CODE // 2))
    (files / "near1.py").symlink_to("near0.py")
    with pytest.raises(InputError, match=r"with .*near1\.py, the source files have more than 10\.0 MiB"):
        read_code("net.py:Net")
