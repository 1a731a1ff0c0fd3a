"""Errors of the machine in one line: as Python and torch word them, and in real processes with real limits."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.commands.faults import machine_fault
from benchmark.records import read_records
from zoo_builder.store.zoo import Zoo

pytestmark = pytest.mark.system

GENGAP = f"{sys.executable} -m benchmark.commands.main"


def error(number: int, file: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), file) if file else OSError(number, os.strerror(number))


FAULTS = [
    (MemoryError(), "out of memory: use fewer --workers"),
    (
        MemoryError("Unable to allocate 74.5 GiB for an array"),
        "out of memory (Unable to allocate 74.5 GiB for an array)",
    ),
    (error(errno.ENOMEM), "out of memory ([Errno 12] Cannot allocate memory): use fewer --workers"),
    (
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 8"),
        "out of memory (",
    ),
    (RuntimeError("unable to mmap 4096 bytes from file </x>: Cannot allocate memory (12)"), "out of memory ("),
    (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "out of memory (libtorch_cpu.so: "),
    (error(errno.EMFILE, "/zoo/part"), "too many open files: raise the limit (`ulimit -n`"),
    (
        RuntimeError("unable to open shared memory object </t> in read-write mode: Too many open files (24)"),
        "too many ",
    ),
    (RuntimeError("can't start new thread"), "no more processes can be started: raise the limit (`ulimit -u`"),
    (error(errno.EAGAIN), "no more processes can be started: raise the limit (`ulimit -u`"),
    (
        error(errno.EFBIG, "/r/a.json"),
        "/r/a.json cannot be written: File too large: raise the limit on the size of files",
    ),
    (error(errno.ENOSPC, "/r/a.json"), "/r/a.json cannot be written: No space left on device, "),
    (error(errno.EDQUOT, "/r/a.json"), "/r/a.json cannot be written: Disk quota exceeded: free some space"),
    (error(errno.EROFS, "/r/a.json"), "/r/a.json cannot be used: Read-only file system"),
    (error(errno.EIO, "/r/a.json"), "/r/a.json cannot be used: Input/output error"),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=[words for _, words in FAULTS])
def test_a_fault_of_the_machine_is_one_line(fault: Exception, words: str) -> None:
    line = machine_fault(fault)
    assert line is not None
    assert line.startswith(words)
    assert "\n" not in line


def test_an_error_that_a_fault_has_caused_is_explained_by_it() -> None:
    found = KeyError("weights")
    found.__cause__ = error(errno.ENOMEM)
    assert machine_fault(found).startswith("out of memory")


@pytest.mark.parametrize(
    "other", [KeyError("x"), RuntimeError("shapes do not match"), ImportError("no torch"), error(9)]
)
def test_other_errors_keep_their_traceback(other: Exception) -> None:
    assert machine_fault(other) is None


def limited(limit: str, command: str, temporary: Path) -> tuple[int, str]:
    """The exit code and the last line of a command with a limit of the shell."""
    done = subprocess.run(
        ["bash", "-c", f"ulimit {limit}; exec {GENGAP} {command}"],
        capture_output=True,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert list(temporary.iterdir()) == []
    return done.returncode, done.stderr.splitlines()[-1]


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("-v 600000", "gengap: error: out of memory (lib"),
        ("-f 0", "gengap: error: records cannot be written to {results} (File too large): "),
        pytest.param("-f 4", "gengap: error: ", marks=pytest.mark.slow),
    ],
)
def test_a_run_with_a_limit_of_the_machine_is_one_clear_error(
    small_zoo: Zoo, tmp_path: Path, temporary: Path, limit: str, words: str
) -> None:
    results = tmp_path / "results"
    code, said = limited(limit, f"run complexity random --zoo {small_zoo.root} --results {results}", temporary)
    assert (code, said.startswith(words.format(results=results))) == (2, True), said
    assert not list(results.rglob("*.parquet"))
    assert not list(results.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("limit", "words"), [("-f 100", "raise the limit on the size of files"), ("-v 600000", "out of ")]
)
def test_a_build_with_a_limit_of_the_machine_is_one_clear_error(
    tmp_path: Path, temporary: Path, limit: str, words: str
) -> None:
    build = f"zoo build digits --models 64 --epochs 1 --workers 1 --out {tmp_path}/zoo"
    code, said = limited(limit, build, temporary)
    assert (code, said.startswith("gengap: error: "), words in said) == (2, True, True), said
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_full_temporary_folder_ends_a_run_and_keeps_its_records(small_zoo: Zoo, tmp_path: Path, small_disk) -> None:
    """The weights of the zoo, copied for a user's method, do not fit; the task before needs no copy."""
    disk, results = small_disk("100k"), tmp_path / "results"
    (tmp_path / "mine.py").write_text("def mine(context):\n    return context.weights.sum(1)\n")
    run = f"run complexity oracle-0.5-sd {tmp_path}/mine.py:mine --zoo {small_zoo.root} --results {results}"
    done = subprocess.run(
        [*GENGAP.split(), *run.split()],
        capture_output=True,
        text=True,
        env=os.environ | {"TMPDIR": str(disk)},
        check=False,
    )
    assert done.returncode == 2
    words = f"gengap: error: temporary files do not fit into {disk} (No space left on device, "
    assert done.stderr.splitlines()[-1].startswith(words)
    assert "Traceback" not in done.stderr
    assert list(disk.iterdir()) == []
    assert not list(results.rglob("*.tmp"))


@pytest.mark.parametrize("size", ["0", "40k"])
def test_full_results_end_a_run_and_keep_its_records(small_zoo: Zoo, temporary: Path, small_disk, size: str) -> None:
    """There is no room at all, or for some of the records."""
    results = small_disk("64k") / "results"
    if size == "0":
        (results.parent / "large").write_bytes(bytes(64 * 1024))
    code, said = limited(
        "-c 0",
        f"run complexity oracle-0.5-sd oracle-1-sd norms output --zoo {small_zoo.root} --results {results}",
        temporary,
    )
    assert (code, said.startswith("gengap: error: "), str(results) in said) == (2, True, True), said
    assert not list(results.parent.rglob("*.tmp"))
    assert len(read_records(results)) == len(list(results.rglob("*.parquet"))) == len(list(results.rglob("*.json")))
    assert (len(read_records(results)) > 0) == (size != "0")
