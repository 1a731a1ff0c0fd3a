"""Boxes of every kind that works here: what their processes reach, and how they end. Attacks are in test_hostile.py."""

import contextlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from benchmark.evaluation import frames, inside, linux, sandbox
from benchmark.evaluation.sandbox import KINDS, UNPROTECTED
from zoo_builder.errors import InputError

pytestmark = pytest.mark.system

PR_SET_CHILD_SUBREAPER = 36
# A module of a user that says, when it is imported, what it can reach.
CODE = """
import ctypes, json, os, resource, socket, sys

def attempt(what):
    try:
        return repr(what())
    except OSError as error:
        return f"{type(error).__name__}: {error.strerror}"

def status(name):
    with open("/proc/self/status") as file:
        return next(line.split()[1] for line in file if line.startswith(name))

found = {
    "secret": attempt(lambda: open(SECRET).read()),
    "view": attempt(lambda: open(VIEW + "/file").read()),
    "write view": attempt(lambda: open(VIEW + "/file", "w")),
    "write code": attempt(lambda: open(__file__, "w")),
    "scratch": attempt(lambda: open(os.environ["TMPDIR"] + "/file", "w").write("x" * 10)),
    "socket": attempt(socket.socket),
    "pair": attempt(lambda: len(socket.socketpair())),
    "signal": attempt(lambda: os.kill(PARENT, 0)),
    "capabilities": attempt(lambda: int(status("CapEff"), 16) + int(status("CapPrm"), 16)),
    "seccomp": attempt(lambda: int(status("Seccomp:"))),
    "no new privileges": attempt(lambda: int(status("NoNewPrivs"))),
    "core": attempt(lambda: resource.getrlimit(resource.RLIMIT_CORE)),
    "secret variable": attempt(lambda: os.environ.get("SECRET")),
    # prctl(PR_SET_DUMPABLE, 0), which takes the lower half of its argument
    "hide": attempt(lambda: ctypes.CDLL(None).prctl(ctypes.c_ulong(2**32 + 4), 0, 0, 0, 0)),
}
raise RuntimeError(json.dumps(found))
"""


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if problem := sandbox._problem(request.param):
        pytest.skip(f"no {request.param} here: {problem}")
    return request.param


@pytest.fixture(scope="module")
def found(kind: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a module found in a box of this kind."""
    folder = tmp_path_factory.mktemp("box")
    code, view, secret = folder / "code", folder / "view", folder / "secret"
    (code / "0").mkdir(parents=True)
    view.mkdir()
    (view / "file").write_text("seen")
    secret.write_text("0.93")
    inside = sandbox.place(kind, "view", view)
    places = f"SECRET, VIEW, PARENT = {str(secret)!r}, {str(inside)!r}, {os.getpid()}\n"
    (code / "0" / "curious.py").write_text(places + CODE)
    job = {"action": "describe", "references": ["curious:Mine"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET", "0.93")
        ended = sandbox.run(job, kind, shown={"code": code, "view": view}, timeout=60, largest=100_000)
    assert ended.status == "ok", ended
    ((outcome,), rest) = frames.decode_outcomes(ended.answer, 1)
    assert rest == b""
    return json.loads(outcome["reason"].removeprefix("RuntimeError: "))


@pytest.mark.parametrize(
    ("attempt", "expected"),
    {
        "view": "'seen'",
        "scratch": "10",
        "socket": "OSError: Network is unreachable",
        "pair": "2",
        "capabilities": "0",
        "seccomp": "2",
        "no new privileges": "1",
        "core": "(0, 0)",
        "secret variable": "None",
        "hide": "-1",
    }.items(),
)
def test_what_a_box_holds(found: dict[str, str], attempt: str, expected: str) -> None:
    assert found[attempt] == expected


@pytest.mark.parametrize("attempt", ["secret", "write view", "write code", "signal"])
def test_what_a_box_does_not_hold(found: dict[str, str], kind: str, attempt: str) -> None:
    reasons = {"secret": "No such file or directory", "signal": "No such process"} if kind != "landlock" else {}
    assert found[attempt].endswith(("Read-only file system", "Permission denied", "Operation not permitted")) or found[
        attempt
    ].endswith(reasons.get(attempt, "never"))


def test_a_box_starts_within_a_second_and_leaves_nothing(kind: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = sandbox.run({"action": "nothing"}, kind, shown={}, timeout=60, largest=10)
    assert (ended.status, ended.reason, ended.log, ended.answer) == ("ok", None, "", b"\0")
    assert 5 < ended.peak_memory_mib < 100
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("act", ["time.sleep(3600)", "print('x' * 100_000)"], ids=["silent", "loud"])
def test_a_late_process_ends_with_all_that_it_started(kind: str, tmp_path: Path, act: str) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "late.py").write_text(f"import os, time\nos.fork() or os.setsid()\nwhile True: {act}")
    # Processes that lose their parent become children of this one.
    assert linux._libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    before = set(inside._processes())
    job = {"action": "describe", "references": ["late:Mine"]}
    started = time.monotonic()
    ended = sandbox.run(job, kind, shown={"code": tmp_path}, timeout=1, largest=1000)
    assert (ended.status, ended.reason) == ("timeout", "took longer than 1 s")
    assert 0 < ended.seconds < 20
    assert time.monotonic() - started < 20
    while set(inside._processes()) - before:
        assert time.monotonic() - started < 20
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        time.sleep(0.1)


TAKEN_BACK = """
import os, sys, time
log = os.open("/proc/self/fd/1", os.O_RDONLY | os.O_NONBLOCK)
while True:
    os.write(1, b"x")
    try:
        os.read(log, 1)
    except BlockingIOError:
        pass
"""
MANY_THREADS = """
import threading, time
for _ in range(200):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
time.sleep(60)
"""
HIDDEN = """
import os, sys, time
program = os.environ["TMPDIR"] + "/program"
opened = os.open(program, os.O_CREAT | os.O_WRONLY, 0o111)
with open(os.path.realpath(sys.executable), "rb") as file:
    os.write(opened, file.read())
os.close(opened)
os.execv(program, [program, "-S", "-c", "import time; time.sleep(60)"])
"""


def fails(kind: str, folder: Path, code: str, timeout: float = 30) -> sandbox.Ended:
    (folder / "0").mkdir()
    (folder / "0" / "bad.py").write_text(code)
    job = {"action": "describe", "references": ["bad:Mine"]}
    ended = sandbox.run(job, kind, shown={"code": folder}, timeout=timeout, largest=1_000_000)
    assert ended.status != "ok", ended
    return ended


# Its memory is that of a process whose parent has ended, and which has ended before it.
LARGE_ORPHAN = """
import os
ended, writing = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        b"x" * 2**30
        os.write(writing, b"x")
    os._exit(0)
os.wait()
os.read(ended, 1)
os._exit(1)
"""


def test_the_memory_of_orphans_is_known(kind: str, tmp_path: Path) -> None:
    assert 1024 < fails(kind, tmp_path, LARGE_ORPHAN).peak_memory_mib < 2048


def test_output_that_a_process_takes_back_holds_nobody_up(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    assert sandbox._read(reading) is None
    os.close(writing)
    assert sandbox._read(reading) == b""
    os.close(reading)
    if not sandbox._problem("landlock"):
        assert fails("landlock", tmp_path, TAKEN_BACK, timeout=3).status == "timeout"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (MANY_THREADS, "used more than 128 processes and threads"),
        # The disk is shared there, and files that nobody sees may be of any size.
        (HIDDEN, "used more than 2.0 GiB of disk"),
    ],
    ids=["threads", "hidden"],
)
def test_with_landlock_threads_count_and_processes_cannot_hide(tmp_path: Path, code: str, reason: str) -> None:
    if problem := sandbox._problem("landlock"):
        pytest.skip(problem)
    assert fails("landlock", tmp_path, code).reason == reason


def test_the_first_kind_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_problem", lambda kind: None if kind == "landlock" else "not today")
    assert sandbox.protection(trust=False) == "landlock"
    assert sandbox.protection(trust=True) == UNPROTECTED


def test_without_a_box_code_must_be_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox._problem.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    monkeypatch.setattr(linux, "landlock_abi", lambda: 3)
    monkeypatch.setattr(sandbox, "KINDS", ("bubblewrap", "landlock"))
    try:
        with pytest.raises(InputError, match="no sandbox works here") as error:
            sandbox.protection(trust=False)
    finally:
        sandbox._problem.cache_clear()
    assert "bubblewrap: bwrap is not installed; landlock: needs Linux 6.12" in str(error.value)
    assert "pass `trust`" in str(error.value)


def test_a_clone_shows_its_packages_and_no_records() -> None:
    _, shown = sandbox._system("namespaces")
    root = Path(__file__).parents[3]
    assert {source for source, _ in shown if Path(source).is_relative_to(root)} == {
        str(root / name) for name in ("baselines", "benchmark", "zoo_builder")
    }
    assert not any(root.is_relative_to(source) for source, _ in shown)
