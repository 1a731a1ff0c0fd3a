"""The box in which a user's code lives, from the import to the answer: the parent's side.

A box has an empty root into which only what is needed is shown, read-only: the interpreter, installed packages, the
method's own source, and its view; beside them one folder to write in. It has no network, no capabilities, no processes
but its own, and limits on all that can be used up. ``inside`` is what happens in it. The kinds of boxes differ in how
the rest of the machine is kept out:

- "bubblewrap", where that program is installed, and "namespaces", the same by own calls: nothing else exists in there.
- "landlock": the rest exists, but cannot be opened, signalled or connected to.
"""

import itertools
import json
import os
import platform
import selectors
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.evaluation import linux
from benchmark.evaluation.frames import LOG_CHARACTERS, READY
from benchmark.evaluation.user_code import PACKAGES, installed_path, own_root, runs_from_clone
from benchmark.records import UNPROTECTED
from zoo_builder import limits
from zoo_builder.errors import InputError
from zoo_builder.files import size_text
from zoo_builder.temporary import temporary_folder
from zoo_builder.text import visible

KINDS = ("bubblewrap", "namespaces", "landlock")
PROCESSES = 128
OPEN_FILES = 2048
SCRATCH_BYTES = 2**31
LEAST_MEMORY = 2**32
_LIBRARIES = ("/lib", "/lib64", "/lib32", "/usr/lib", "/usr/lib64", "/usr/lib32")
_FACTS = ("/etc/ld.so.cache", "/sys/devices/system/cpu")
_PROBE_SECONDS = 30
# For what gengap itself does before a method's code: it imports torch, and opens the view.
START_SECONDS = 600
_BOXES = itertools.count()
_END_SECONDS = 5
_START = "from benchmark.evaluation.inside import main; main()"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended.

    Attributes:
        status: "ok" if it ended by itself and without an error, whatever it answered; otherwise as in a record.
        log: the end of what it printed, at most ``LOG_CHARACTERS``.
        answer: what it wrote to the parent.
        seconds: from the first byte of the answer to the last, or to the end of a process that failed, as this process
            measures them.
        peak_memory_mib: of the largest process.
    """

    status: str
    reason: str | None
    log: str
    answer: bytes
    seconds: float
    peak_memory_mib: float


def protection(trust: bool) -> str:
    """The kind of box for users' code here, the first of ``KINDS`` that works; ``UNPROTECTED`` for code to trust.

    Raises:
        InputError: none works.
    """
    if trust:
        return UNPROTECTED
    problems = {}
    for kind in KINDS:
        problem = _problem(kind)
        if problem is None:
            return kind
        problems[kind] = problem
    reasons = "; ".join(f"{kind}: {problem}" for kind, problem in problems.items())
    raise InputError(
        f"no sandbox works here ({reasons}): run gengap where namespaces or Landlock (Linux 6.12) are allowed, or pass "
        f"`trust` to run a method's code with all rights of this user; its record says so"
    )


@cache
def _problem(kind: str) -> str | None:
    """Why a kind of box does not work here; None if it does."""
    if sys.platform != "linux":
        return "needs Linux"
    if not linux.has_seccomp():
        return "libseccomp.so.2 is not installed"
    # Where it is started from, whatever the user's PATH.
    if kind == "bubblewrap" and not shutil.which("bwrap", path=os.defpath):
        return "bwrap is not installed"
    if kind == "landlock" and linux.landlock_abi() < linux.LANDLOCK_ABI:
        return f"needs Linux 6.12, this is {platform.release()}"
    ended = run({"action": "nothing"}, kind, shown={}, timeout=_PROBE_SECONDS, largest=10)
    if ended.status == "ok" and ended.answer == READY:
        return None
    return ended.log.strip().rpartition("\n")[2] or ended.reason


def run(
    job: Mapping[str, Any], kind: str, *, shown: Mapping[str, Path], timeout: float, largest: int, workers: int = 1
) -> Ended:
    """Runs a job of ``worker`` in a process of its own and waits for it.

    Args:
        kind: one of ``KINDS``, or ``UNPROTECTED``.
        shown: folders that exist in the box, read-only; the job has their paths there under these names.
        timeout: seconds from the first byte of the answer on, which comes before a user's code, until everything in the
            box is killed.
        largest: bytes that an answer may have.
        workers: how many boxes share the memory of this machine.
    """
    with temporary_folder() as temporary:
        control, inner = socket.socketpair()
        answer, answer_end = os.pipe()
        log, log_end = os.pipe()
        ends = [inner.fileno(), answer_end]
        box = _box(kind, shown, temporary, workers)
        box |= {"control": inner.fileno(), "answer": answer_end}
        content = {name: str(place(kind, name, path)) for name, path in shown.items()} | dict(job)
        content |= {"box": box}
        try:
            process = subprocess.Popen(
                _command(kind, box),
                stdin=subprocess.PIPE,
                stdout=log_end,
                stderr=log_end,
                env=_environment(box["scratch"]),
                pass_fds=ends,
                start_new_session=True,
            )
        finally:
            inner.close()
            os.close(answer_end)
            os.close(log_end)
        try:
            return _converse(process, json.dumps(content).encode(), control, answer, log, timeout, largest, box)
        finally:
            control.close()
            os.close(answer)
            os.close(log)
            _end(process)


def place(kind: str, name: str, path: Path) -> Path:
    """Where a folder is in the box."""
    return Path(f"/{name}") if kind in ("bubblewrap", "namespaces") else path.resolve()


def _box(kind: str, shown: Mapping[str, Path], temporary: Path, workers: int) -> dict[str, Any]:
    """What ``inside`` needs to know of a box."""
    links, folders = _system(kind)
    folders += [(str(path.resolve()), str(place(kind, name, path))) for name, path in shown.items()]
    for folder in shown.values() if kind != UNPROTECTED else ():
        _open_to_all(folder)  # the box has a user of its own; on this machine, a folder above is closed to others
    (temporary / "scratch").mkdir()
    user = None if kind in (UNPROTECTED, "landlock") else _own_user()
    usable = 0.75 * limits.memory()
    memory = int(min(usable, max(usable / workers, LEAST_MEMORY)))
    return {
        "kind": kind,
        "root": str(temporary / "scratch"),
        "scratch": "/tmp" if kind in ("bubblewrap", "namespaces") else str(temporary / "scratch"),
        "scratch_bytes": SCRATCH_BYTES,
        "links": links,
        "shown": folders,
        "user": user,
        "processes": PROCESSES,
        "open_files": OPEN_FILES,
        "limits": {
            "RLIMIT_DATA": memory,
            "RLIMIT_NPROC": PROCESSES if user is not None else PROCESSES * workers + _threads(),
            "RLIMIT_FSIZE": SCRATCH_BYTES,
            "RLIMIT_NOFILE": 1024,
            "RLIMIT_CORE": 0,
        },
    }


def _own_user() -> int | None:
    """The number of a user that nobody else is, not even another box; None if this process may not become it."""
    user = 2_000_000_000 + 256 * os.getpid() + next(_BOXES) % 256
    return user if linux.may_become(user) else None


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _threads() -> int:
    """How many threads this user has, which count for the limit where the box has no user of its own."""
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{name}").st_uid == os.getuid():
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue  # it has ended
    return count


def _system(kind: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What every box shows: links (target, path), and files and folders (path on this machine, path in the box)."""
    if kind == UNPROTECTED:
        return [], []
    links = [(os.readlink(path), path) for path in _LIBRARIES if os.path.islink(path)]
    wanted = [path for path in (*_LIBRARIES, *_FACTS) if os.path.exists(path) and not os.path.islink(path)]
    wanted += [os.path.join(os.path.realpath(prefix), "lib") for prefix in (sys.prefix, sys.base_prefix)]
    wanted += [os.path.realpath(sys.executable), *installed_path()]
    own = own_root()
    if runs_from_clone():
        # Its records hold targets.
        wanted = [path for path in wanted if path != own] + [os.path.join(own, name) for name in PACKAGES]
    found: list[str] = []
    for path in sorted(set(filter(os.path.exists, wanted))):
        if not any(path.startswith(shown + os.sep) for shown in found):
            found.append(path)
    return links, [(path, path) for path in found]


def _command(kind: str, box: dict) -> list[str]:
    # Neither the current folder nor a sitecustomize.py; what else is imported stands in _environment.
    python = [os.path.realpath(sys.executable), "-P", "-s", "-S", "-c", _START]
    if kind != "bubblewrap":
        return python
    # Where the process inside becomes a user of its own, the namespaces need no user namespace.
    becomes = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    user = ["--unshare-user"] if box["user"] is None else becomes
    command = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    command += [*user, "--die-with-parent", "--new-session", "--as-pid-1", "--proc", "/proc", "--dev", "/dev"]
    for folder in ("/tmp", "/dev/shm"):
        command += ["--perms", "1777", "--size", str(box["scratch_bytes"]), "--tmpfs", folder]
    for target, path in box["links"]:
        command += ["--symlink", target, path]
    # By itself, bwrap makes folders that only their owner can read.
    for folder in sorted({str(above) for _, path in box["shown"] for above in Path(path).parents} - {"/"}):
        command += ["--dir", folder]
    for source, path in box["shown"]:
        command += ["--ro-bind", source, path]
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/", *python]


def _environment(scratch: str) -> dict[str, str]:
    """The variables of a worker: none of this process."""
    return {
        "PATH": os.defpath,
        "HOME": scratch,
        "TMPDIR": scratch,
        "USER": "gengap",
        "LOGNAME": "gengap",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",  # the order of sets of strings
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(installed_path()),
    }


def _converse(
    process: subprocess.Popen,
    job: bytes,
    control: socket.socket,
    answer: int,
    log: int,
    timeout: float,
    largest: int,
    box: dict,
) -> Ended:
    """Sends the job and reads what the process answers, prints, and says of its end."""
    started = first = last = time.perf_counter()
    deadline = started + START_SECONDS
    answered, printed, said = bytearray(), bytearray(), bytearray()
    late = long = ended = False
    assert process.stdin is not None
    stdin = process.stdin
    # Nothing here waits but the selector: a process may take back what it has written to a pipe.
    for descriptor in (stdin.fileno(), answer, log):
        os.set_blocking(descriptor, False)
    # Readable once the process has ended.
    with selectors.DefaultSelector() as selector, open(os.pidfd_open(process.pid), "rb", buffering=0) as alive:
        selector.register(stdin, selectors.EVENT_WRITE)
        for source in (answer, log, control, alive):
            selector.register(source, selectors.EVENT_READ)
        while len(selector.get_map()):
            # Also where output never pauses.
            if (left := deadline - time.perf_counter()) <= 0:
                late = not ended
                break
            for key, _ in selector.select(left):
                if key.fileobj is stdin:
                    job = job[_written(stdin.fileno(), job) :]
                    if not job:
                        selector.unregister(stdin)
                        stdin.close()
                    continue
                if key.fileobj is alive:  # it ended, or was killed without a word
                    selector.unregister(alive)
                    ended = True
                    continue
                data = _read(key.fileobj)
                if data is None:
                    continue
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is control:
                    said += data
                    ended = True
                elif key.fileobj == log:
                    printed = (printed + data)[-4 * LOG_CHARACTERS :]
                else:
                    last = time.perf_counter()
                    if not answered:
                        first, deadline = last, last + timeout
                    answered += data
            if long := len(answered) > largest:
                break
            if ended:  # the pipes are read to their end, but nobody waits for a process that still holds them
                deadline = min(deadline, time.perf_counter() + 1)
    text = visible(printed.decode("utf-8", "replace"))[-LOG_CHARACTERS:]
    end = json.loads(said) if said and not (late or long) else {}
    status, reason = _judged(end, late, bool(answered), long, timeout, largest, box)
    if status != "ok":
        last = time.perf_counter()
    return Ended(
        status=status,
        reason=reason,
        log=text,
        answer=bytes(answered),
        seconds=last - first,
        peak_memory_mib=round(end.get("peak_kib", 0) / 1024, 1),
    )


def _read(source: Any) -> bytes | None:
    """What a pipe or socket holds: empty at its end, None if it holds nothing now."""
    try:
        return source.recv(2**16) if isinstance(source, socket.socket) else os.read(source, 2**16)
    except BlockingIOError:
        return None
    except ConnectionResetError:
        return b""


def _written(descriptor: int, job: bytes) -> int:
    try:
        return os.write(descriptor, job)
    except BrokenPipeError:
        return len(job)  # the process has ended, and its log says why


def _judged(
    end: dict, late: bool, started: bool, long: bool, timeout: float, largest: int, box: dict
) -> tuple[str, str | None]:
    """The status and reason of a process by what its watcher said of its end."""
    if late:
        return "timeout", f"took longer than {timeout:g} s" if started else f"did not start within {START_SECONDS} s"
    if long:
        return "failed", f"its answer is longer than {size_text(largest)}"
    if not end:
        return "failed", "its process could not be started, or was killed from outside"
    if over := end["over"]:
        most = {
            "memory": f"{size_text(box['limits']['RLIMIT_DATA'])} of memory",
            "processes": f"{PROCESSES} processes and threads",
            "files": f"{OPEN_FILES:,} open files",
            "disk": f"{size_text(SCRATCH_BYTES)} of disk",
        }
        return "failed", f"used more than {most[over]}"
    if code := end["code"]:
        died = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return "failed", f"its process {died} before it gave an answer"
    return "ok", None


def _end(process: subprocess.Popen) -> None:
    """Ends the process: the one inside notices that nobody listens any more; if it does not, it is killed."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
