"""Temporary folders: removed at the end, and after a process that was killed by the next one; never a living one."""

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from zoo_builder.errors import InputError
from zoo_builder.temporary import MARK, remove_left_behind, temporary_folder

HOLD = """
from zoo_builder.temporary import temporary_folder
with temporary_folder() as folder:
    (folder / "weights").write_text("a copy")
    print(folder, flush=True)
    input()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def holder(place: Path) -> subprocess.Popen:
    environment = os.environ | {"TMPDIR": str(place)}
    return subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_the_folder_goes_at_the_end_and_after_an_error(place: Path) -> None:
    with temporary_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("")
        (folder / "link").symlink_to(place)
    with pytest.raises(KeyError), temporary_folder() as folder:
        raise KeyError
    assert names(place) == []


def test_a_folder_that_a_method_closed_goes_too(place: Path) -> None:
    """As root this shows little; as an ordinary user, such a folder cannot be entered."""
    with temporary_folder() as folder:
        (folder / "closed").mkdir()
        (folder / "closed" / "file").write_text("")
        (folder / "closed").chmod(0)
    assert names(place) == []


def test_the_next_process_removes_what_a_killed_one_left_and_nothing_of_a_living_one(place: Path) -> None:
    killed, living = holder(place), holder(place)
    with living, killed:
        left, alive = (Path(process.stdout.readline().strip()) for process in (killed, living))
        killed.kill()
        killed.wait()
        assert (left / "weights").exists()
        with temporary_folder() as folder:
            assert names(place) == sorted([folder.name, alive.name])
            assert (alive / "weights").read_text() == "a copy"
        living.communicate("\n")
    assert living.returncode == 0
    assert names(place) == []


def test_folders_of_others_stay(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A zoo and a file with gengap's prefix, links to elsewhere, and, as root, the folder of another user."""
    (place / "gengap-zoo").mkdir()
    (place / "gengap-zoo" / ".lock").write_text("building, pid 1\n")
    (place / "gengap-results.txt").write_text("mine")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / MARK).write_text("")
    (place / "gengap-link").symlink_to(elsewhere)
    (place / "gengap-marked-by-link").mkdir()
    (place / "gengap-marked-by-link" / MARK).symlink_to(elsewhere / MARK)
    if os.geteuid() == 0:
        (place / "gengap-other").mkdir()
        (place / "gengap-other" / MARK).write_text("")
        os.chown(place / "gengap-other", 65534, 65534)
    before = names(place)
    with temporary_folder():
        pass
    assert names(place) == before
    assert (elsewhere / MARK).exists()


def test_a_folder_that_is_taken_for_one_left_behind_before_it_is_locked_is_made_anew(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its creation and its lock, which a test can only meet in this process."""
    locked, removed = fcntl.flock, []

    def flock(file, operation) -> None:
        if not removed and not operation & fcntl.LOCK_NB:
            removed.append(Path(file.name).parent)
            remove_left_behind(place)
            assert not removed[0].exists()
        locked(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with temporary_folder() as folder:
        assert folder.exists()
        assert removed == [removed[0]] != [folder]


def test_where_there_are_no_locks_folders_are_made_and_none_is_taken_for_one_left_behind(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some network file systems; the system call is replaced, because such a one cannot be mounted here."""

    def flock(file, operation) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with temporary_folder() as living, temporary_folder():
        assert living.exists()
    assert names(place) == []


def test_files_that_find_no_room_are_one_clear_error(small_disk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = small_disk("100k")
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    words = (
        rf"temporary files do not fit into {disk} \(No space left on device, .* are free: free some\), or set TMPDIR"
    )
    with pytest.raises(InputError, match=words), temporary_folder() as folder:
        (folder / "weights").write_bytes(bytes(200_000))
    assert names(disk) == []


def test_a_full_disk_elsewhere_is_not_blamed_on_the_folder(place: Path) -> None:
    with pytest.raises(OSError, match="No space") as raised, temporary_folder():
        raise OSError(28, "No space left on device", "/results/record.json")
    assert not isinstance(raised.value, InputError)


@pytest.mark.parametrize("options", ["1m,nr_inodes=1", "1m,nr_inodes=2"])
def test_a_place_without_inodes_is_one_clear_error(small_disk, monkeypatch: pytest.MonkeyPatch, options: str) -> None:
    """There is no room for the folder, or for the file in it."""
    disk = small_disk(options)
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    with (
        pytest.raises(
            InputError, match=r"no temporary folder can be made \(.*No space left.*\): set TMPDIR to a folder"
        ),
        temporary_folder(),
    ):
        pass
    assert names(disk) == []


def test_a_folder_goes_that_is_deeper_than_a_path_may_be_long(place: Path) -> None:
    here = os.getcwd()
    with temporary_folder() as folder:
        os.chdir(folder)
        try:
            for _ in range(3000):
                os.mkdir("d")
                os.chdir("d")
            Path("file").write_text("")
            os.symlink("/", "root")
        finally:
            os.chdir(here)
    assert names(place) == []
