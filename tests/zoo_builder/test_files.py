"""JSON files and what JSON cannot hold, files that others made, and file systems that take no more."""

import errno
import math
import os
from pathlib import Path

import pytest

from zoo_builder.errors import InputError
from zoo_builder.files import inside, no_room, read_json, write_atomically, write_json


@pytest.mark.parametrize("value", [math.nan, math.inf, [{"loss": -math.inf}]])
def test_numbers_that_json_cannot_hold_are_refused_with_the_name_of_the_file(tmp_path: Path, value: object) -> None:
    path = tmp_path / "record.json"
    path.write_text("as it was")
    with pytest.raises(
        ValueError, match=r"record.json cannot be written: .* not JSON compliant.*; write null, or omit it"
    ):
        write_json(path, {"value": value})
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 200_000, "its brackets are nested too deeply"),
        ('{"a":' * 200_000, "its brackets are nested too deeply"),
        ("[NaN]", "it holds NaN, which is not JSON"),
        ("[-Infinity]", "it holds -Infinity, which is not JSON"),
        ("9" * 5000, "Exceeds the limit"),
        ("{", "Expecting"),
        ("1" * 2_000_000, "it has 2,000,000 bytes, expected at most 1,000,000"),
    ],
)
def test_what_is_no_json_is_a_value_error(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        read_json(tmp_path / "file", largest=1_000_000)
    assert len(str(caught.value)) < 200


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file")
    with pytest.raises(OSError, match="it is a pipe or a device"):
        read_json(tmp_path / "file", largest=10)


@pytest.mark.parametrize("name", ["../file", "/etc/passwd", "a/../../file", "out/file", "loop"])
def test_names_and_links_that_lead_out_of_a_folder_are_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "zoo"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    (root / "in").symlink_to("weights")
    assert inside(root, "in/file") == root / "in" / "file"
    with pytest.raises(InputError, match="leads out of the folder"):
        inside(root, name)


def refuse_to_sync(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fsync(opened: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_sync_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As some FUSE and network file systems; the system call is replaced, because such a one cannot be mounted here."""
    refuse_to_sync(monkeypatch, number)
    write_json(tmp_path / "record.json", {"tau": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_failed_sync_names_the_file_and_leaves_it_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "record.json"
    path.write_text("as it was")
    refuse_to_sync(monkeypatch, number)
    with pytest.raises(OSError, match=os.strerror(number)) as raised:
        write_json(path, {"tau": 1})
    assert (raised.value.errno, raised.value.filename) == (number, str(path))
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_says_what_is_missing(small_disk) -> None:
    disk = small_disk("64k,nr_inodes=4")
    with pytest.raises(OSError, match="No space left") as raised:
        write_atomically(disk / "large", lambda path: path.write_bytes(bytes(100_000)))
    assert (raised.value.filename, list(disk.iterdir())) == (str(disk / "large"), [])
    assert no_room(raised.value, disk) == "No space left on device, 64.0 KiB are free: free some"
    for name in "abc":
        (disk / name).touch()
    with pytest.raises(OSError, match="No space left") as raised:
        write_json(disk / "d.json", {})
    assert no_room(raised.value, disk) == "No space left on device, no inodes (places for files) are free: free some"


def test_a_limit_on_the_size_of_files_is_named() -> None:
    error = OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    assert no_room(error, Path("/")) == "File too large: raise the limit on the size of files (`ulimit -f`)"
    assert no_room(OSError(errno.EDQUOT, ""), Path("/")) == "Disk quota exceeded: free some space"
