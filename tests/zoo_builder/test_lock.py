"""A folder belongs to one process at a time, and is left as it was if nothing was written."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from zoo_builder.errors import InputError
from zoo_builder.lock import LOCK, only_process


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with only_process(tmp_path, "building", "choose another `out`"):
        refused = r"another process holds .* \(building, pid \d+ on .* UTC\): wait for it, or choose another `out`"
        with pytest.raises(InputError, match=refused), only_process(tmp_path, "measuring", "choose another `out`"):
            pass
    with only_process(tmp_path, "measuring", "choose another `out`"):
        assert (tmp_path / LOCK).read_text().startswith("measuring, pid ")


def test_temporary_files_go_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / ".weights.0badcafe.tmp").write_text("half")
    (tmp_path / "notes.txt").write_text("mine")
    with only_process(tmp_path, "building", "choose another"):
        assert not (tmp_path / ".weights.0badcafe.tmp").exists()
        (tmp_path / ".table.0badcafe.tmp").write_text("half")
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK, "notes.txt"]


def test_a_new_folder_stays_only_if_something_was_written(tmp_path: Path) -> None:
    with only_process(tmp_path / "zoo", "building", "choose another"):
        assert (tmp_path / "zoo").is_dir()
    assert not (tmp_path / "zoo").exists()
    with only_process(tmp_path / "zoo", "building", "choose another"):
        (tmp_path / "zoo" / "zoo.json").write_text("{}")
    assert (tmp_path / "zoo" / "zoo.json").exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match=r"cannot write to .*file/zoo \(Not a directory\): choose another `out`"),
        only_process(tmp_path / "file" / "zoo", "building", "choose another `out`"),
    ):
        pass


def locked(folder: Path) -> None:
    with only_process(folder, "measuring", "measure a copy of the zoo"):
        pass


@pytest.mark.parametrize("name", [LOCK, "measures", "outputs/digits", "weights/part-00000.safetensors"])
def test_a_folder_with_a_link_is_refused_and_what_it_leads_to_stays(tmp_path: Path, name: str) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "zoo"
    link = folder / name
    link.parent.mkdir(parents=True)
    elsewhere.write_text("mine")
    link.symlink_to(elsewhere)
    with pytest.raises(InputError, match=f"{name} is a link"):
        locked(folder)
    elsewhere.unlink()
    with pytest.raises(InputError, match=f"{name} is a link"):
        locked(folder)
    assert not elsewhere.exists()
    elsewhere.mkdir()
    (elsewhere / ".weights.0badcafe.tmp").write_text("mine")
    with pytest.raises(InputError, match=f"{name} is a link"):
        locked(folder)
    assert os.listdir(elsewhere) == [".weights.0badcafe.tmp"]


def test_a_file_of_others_in_place_of_the_lock_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("my diary")
    with pytest.raises(InputError, match=r"\.lock is not a lock of gengap: move it away, or measure a copy"):
        locked(tmp_path)
    assert (tmp_path / LOCK).read_text() == "my diary"
    (tmp_path / LOCK).unlink()
    (tmp_path / "diary").write_text("")
    (tmp_path / LOCK).hardlink_to(tmp_path / "diary")
    with pytest.raises(InputError, match=r"\.lock is not a plain file of its own"):
        locked(tmp_path)
    assert (tmp_path / "diary").read_text() == ""
    (tmp_path / LOCK).unlink()
    os.mkfifo(tmp_path / LOCK)
    with pytest.raises(InputError, match=r"\.lock is not a plain file of its own"):
        locked(tmp_path)


def test_the_temporary_files_and_folders_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / ".mine.tmp").write_text("mine")
    (tmp_path / ".weights.0badcafe.tmp").mkdir()
    locked(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".mine.tmp", ".weights.0badcafe.tmp", LOCK}


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """As some network file systems; the system call is replaced, because such a one cannot be mounted here."""

    def flock(file, operation) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    words = rf"zoo cannot be locked \({os.strerror(number)}\), .*: choose another `out`, on a file system with locks"
    with pytest.raises(InputError, match=words), only_process(tmp_path / "zoo", "building", "choose another `out`"):
        pass
    assert not (tmp_path / "zoo").exists()
