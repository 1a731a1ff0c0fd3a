"""What happens in a new process before it runs methods: it closes the box around itself, starts the worker, watches it.

It imports the standard library and ``linux`` alone, so nothing of a user runs before the box is closed; and it outlives
the worker, so that everything the worker leaves behind ends with it. ``sandbox`` is the parent's side.
"""

import contextlib
import errno
import json
import math
import os
import resource
import select
import signal
import socket
import stat
import sys
import time
from pathlib import Path

from benchmark.evaluation import linux

LOOK_SECONDS = 0.25
# What even an empty file takes of a disk's table of files, or of the kernel's memory.
_LEAST_FILE_BYTES = 4096
_DEVICES = ("null", "zero", "full", "random", "urandom")
# Kernel interfaces that numerical libraries read at their start.
_FACTS = ("/proc/cpuinfo", "/proc/meminfo", "/proc/self", "/sys/devices/system/cpu")


def main() -> None:
    """Reads a job from stdin, what ``sandbox.run`` says of the box and of the worker, and runs it to its end."""
    job = json.load(sys.stdin)
    box = job["box"]
    control = socket.socket(fileno=box["control"])
    if box["kind"] == "namespaces":
        _enter_namespaces(box)
    if box["kind"] != "none":
        _give_up_privileges(box)
    signal.signal(signal.SIGTERM, _stop)
    linux.adopt_orphans()
    worker = os.fork()
    if worker == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        control.close()
        _become_worker(box)
        from benchmark.evaluation.worker import main as work

        work(job)
    else:
        os.close(box["answer"])
        ended = _watch(worker, control, box)
        _kill_all(worker, box)
        ended["peak_kib"] = _peak()
        with contextlib.suppress(OSError):  # nobody listens any more
            control.sendall(json.dumps(ended).encode())
    os._exit(0)


class Stopped(Exception):
    """The parent gives the work up."""


def _stop(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise Stopped


def _enter_namespaces(box: dict) -> None:
    """Goes on in a child, the first process of new namespaces, with a root that holds what the box names alone."""
    user, group = os.getuid(), os.getgid()
    flags = linux.NAMESPACES
    if not linux.capable():
        linux.unshare(flags | linux.CLONE_NEWUSER)
        linux.map_own_user(user, group)
    else:
        linux.unshare(flags)
    if child := os.fork():
        os.close(box["answer"])
        os.close(box["control"])
        for standard in range(3):
            os.close(standard)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
    linux.die_with_parent()
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    safe = linux.MS_NOSUID | linux.MS_NODEV
    root = box["root"]
    linux.mount("gengap", root, "tmpfs", safe, "mode=755,size=1m")
    old = "/.old"
    Path(root + old).mkdir()
    linux.pivot_root(root, root + old)
    os.chdir("/")
    Path("/dev/shm").mkdir(parents=True)
    for name in _DEVICES:
        Path("/dev", name).touch()
        linux.bind(f"{old}/dev/{name}", f"/dev/{name}", read_only=False)
    Path("/tmp").mkdir()
    linux.mount("scratch", "/tmp", "tmpfs", safe, f"mode=1777,size={box['scratch_bytes']},nr_inodes=100000")
    linux.bind("/tmp", "/dev/shm", read_only=False)
    for target, link in box["links"]:
        Path(link).parent.mkdir(parents=True, exist_ok=True)
        Path(link).symlink_to(target)
    for source, place in box["shown"]:
        _make_place(Path(old + source), Path(place))
        linux.bind(old + source, place, read_only=True)
    Path("/proc").mkdir()
    # A container may hide parts of its own /proc, and the kernel then allows no new one.
    with contextlib.suppress(PermissionError):
        linux.mount("proc", "/proc", "proc", safe | linux.MS_NOEXEC)
    linux.detach(old)
    Path(old).rmdir()
    linux.mount("none", "/", None, linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | safe)


def _make_place(source: Path, place: Path) -> None:
    if source.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def _give_up_privileges(box: dict) -> None:
    """Becomes the box's own user where this is possible, and gives up every capability."""
    if box["user"] is not None:
        os.setgroups([])
        os.setresgid(box["user"], box["user"], box["user"])
        os.setresuid(box["user"], box["user"], box["user"])
        # A change of user clears what bwrap, or this process, had asked for.
        linux.die_with_parent()
    linux.drop_privileges()
    linux.set_dumpable(False)
    if box["kind"] == "landlock":
        linux.landlock_signals()


def _become_worker(box: dict) -> None:
    """Closes the rest of the box, with limits on everything that can be used up."""
    os.setsid()
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    if box["kind"] == "none":
        return
    os.chdir(box["scratch"])
    # The first process to be killed where memory runs out.
    with contextlib.suppress(OSError):  # a box may lack /proc
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    for name, value in box["limits"].items():
        limit = getattr(resource, name)
        most = resource.getrlimit(limit)[1]
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (value, value))
    # The watching process reads how much memory this one uses.
    linux.set_dumpable(True)
    if linux.landlock_abi() >= linux.LANDLOCK_ABI:
        write = [path for path in (box["scratch"], "/dev/shm", "/dev/null") if os.path.exists(path)]
        read = [source for source, _ in box["shown"]] + list(filter(os.path.exists, _FACTS))
        read += [f"/dev/{name}" for name in _DEVICES]
        if box["kind"] == "landlock":
            write.remove("/dev/shm")
        linux.landlock(["/"] if box["kind"] != "landlock" else read, write)
    linux.seccomp(shared_files=box["kind"] == "landlock")


def _watch(worker: int, control: socket.socket, box: dict) -> dict:
    """Waits until the worker ends, the parent closes the connection or stops, or the box uses more than it may.

    Returns:
        "code", minus the signal if one ended the worker; "over", what the box used too much of, or None.
    """
    over = None
    pidfd = os.pidfd_open(worker)
    ready: list = []
    try:
        while not ready and not over:
            ready, _, _ = select.select([pidfd, control], [], [], LOOK_SECONDS)
            over = None if ready or box["kind"] == "none" else _over(box)
    except Stopped:
        pass
    if pidfd not in ready:
        os.kill(worker, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    return {"code": code, "over": over}


def _over(box: dict) -> str | None:
    """What the processes of the box use more of than they may: "processes", "files", "disk" or "memory"."""
    processes = _processes()
    if sum(map(_threads, processes)) > box["processes"]:
        return "processes"
    # The kernel holds up to some 400 kB for a socket, which count for no process.
    if sum(map(_open_files, processes)) > box["open_files"]:
        return "files"
    size = _size(box["scratch"], processes) if box["kind"] == "landlock" else _size_in_memory()
    if size > box["scratch_bytes"]:
        return "disk"
    most = box["limits"]["RLIMIT_DATA"]
    return "memory" if _memory(processes, most) > most else None


def _processes() -> list[int]:
    """All descendants of this process, which adopts orphans; in a process namespace all processes but this one."""
    if os.getpid() == 1:
        # Where a container allows no /proc, nothing can be watched.
        names = os.listdir("/proc") if os.path.exists("/proc/self") else []
        return [int(name) for name in names if name.isdigit() and name != "1"]
    found, left = [], [os.getpid()]
    while left:
        found.append(process := left.pop())
        with contextlib.suppress(OSError):  # it has ended
            for thread in os.listdir(f"/proc/{process}/task"):
                children = Path(f"/proc/{process}/task/{thread}/children").read_text(encoding="ascii")
                left += map(int, children.split())
    return found[1:]


def _threads(process: int) -> int:
    with contextlib.suppress(OSError):  # it has ended
        return len(os.listdir(f"/proc/{process}/task"))
    return 0


def _memory(processes: list[int], most: int) -> int:
    """Bytes that processes have, page tables included; what they share counts once if it is more than ``most``."""
    status = [_kibibytes(process, "status") for process in processes]
    tables = sum(facts.get("VmPTE", 0) for facts in status)
    resident = [facts.get("VmRSS", 0) for facts in status]
    if 1024 * (sum(resident) + tables) > most:
        # Their shares, which take the kernel milliseconds for each process to count.
        shares = zip((_kibibytes(process, "smaps_rollup") for process in processes), resident, strict=True)
        resident = [facts.get("Pss", everything) for facts, everything in shares]
    return 1024 * (sum(resident) + tables)


def _kibibytes(process: int, file: str) -> dict[str, int]:
    """The numbers of kB in a file of a process in /proc; none if it has ended or hides them."""
    try:
        lines = Path(f"/proc/{process}/{file}").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}


def _open_files(process: int) -> float:
    folder = f"/proc/{process}/fd"
    try:
        return os.stat(folder).st_size or len(os.listdir(folder))  # the size is their number since Linux 6.2
    except OSError as error:
        return _hidden(process, error)


def _hidden(process: int, error: OSError) -> float:
    """What to count for the open files of a process where they cannot be read.

    A process hides them by a program that it may execute, but not read.
    """
    return math.inf if isinstance(error, PermissionError) and "VmRSS" in _kibibytes(process, "status") else 0


def _size_in_memory() -> int:
    """Bytes of all files in the file systems to write in, which live in memory."""
    sizes = {}
    for folder in ("/tmp", "/dev/shm"):
        found = os.statvfs(folder)
        blocks, files = found.f_blocks - found.f_bfree, found.f_files - found.f_ffree
        sizes[os.stat(folder).st_dev] = blocks * found.f_frsize + files * _LEAST_FILE_BYTES
    return sum(sizes.values())


def _size(folder: str, processes: list[int]) -> float:
    """Bytes of all files in ``folder``, and of those without a name that processes have open."""
    sizes: dict[tuple[int, int], int] = {}
    folders = [folder]
    while folders:
        path = folders.pop()
        try:
            for entry in os.scandir(path):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                _count(entry.stat(follow_symlinks=False), sizes)
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.EACCES):
                return math.inf  # what is too deep to be seen, or closed, may be of any size
    for process in processes:
        try:
            for name in os.listdir(f"/proc/{process}/fd"):
                with contextlib.suppress(FileNotFoundError):  # closed
                    found = os.stat(f"/proc/{process}/fd/{name}")
                    if stat.S_ISREG(found.st_mode) and not found.st_nlink:
                        _count(found, sizes)
        except OSError as error:
            if _hidden(process, error):
                return math.inf
    return sum(sizes.values())


def _count(found: os.stat_result, sizes: dict[tuple[int, int], int]) -> None:
    sizes[found.st_dev, found.st_ino] = max(found.st_blocks * 512, _LEAST_FILE_BYTES)


def _kill_all(worker: int, box: dict) -> None:
    """Ends everything that the worker left behind."""
    # The first process of a process namespace, or one in a Landlock domain without signals to others: -1 is the box.
    alone = os.getpid() == 1 or box["kind"] == "landlock"
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left
        os.kill(-1, signal.SIGKILL) if alone else os.killpg(worker, signal.SIGKILL)


def _peak() -> int:
    """The peak memory in KiB of the largest process that there was, orphans included; they have been killed."""
    deadline = time.monotonic() + 1
    with contextlib.suppress(ChildProcessError):  # all are reaped
        while time.monotonic() < deadline:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(0.005)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
