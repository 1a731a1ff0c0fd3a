"""What a method tries to reach: copied into a method's file by ``test_sandbox_hostile.py``, which fills in ``FACTS``.

A probe returns what it got hold of, and nothing or an OSError where it got nothing. It takes nothing that it finds and
writes only where it can undo it, so that one that succeeds harms no one. Each runs in a process of its own.
"""

import contextlib
import ctypes
import errno
import fcntl
import glob
import mmap
import os
import platform
import resource
import signal
import socket
import stat
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FACTS: dict[str, Any] = {}
PROBES: dict[str, Callable[[], object]] = {}
LIBC = ctypes.CDLL(None, use_errno=True)
REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS)
SECONDS = 20  # until a probe counts as hanging
# x86-64. The last four arguments of a call that is allowed make it fail or do nothing.
CALLS = {
    "add_key": (248, b"user", b"gengap-probe", b"x", 1, -2),
    "keyctl": (250, 0, -3, 0, 0, 0),
    "request_key": (249, b"user", b"gengap-probe", 0, 0),
    "bpf": (321, 0, 0, 0),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "userfaultfd": (323, 1),
    "io_uring_setup": (425, 0, 0),
    "kexec_load": (246, 0, 0, 0, 0),
    "init_module": (175, 0, 0, 0),
    "finit_module": (313, -1, 0, 0),
    "delete_module": (176, b"gengap-no-such-module", 0),
    "swapon": (167, b"/gengap/no/such/file", 0),
    "acct": (163, b"/gengap/no/such/file"),
    "reboot": (169, 0, 0, 0, 0),  # with these numbers it never reboots
    "settimeofday": (164, 0, 0),
    "syslog": (103, 3, 0, 0),
    "quotactl": (179, 0, 0, 0, 0),
    "pivot_root": (155, b"/gengap/no/such/file", b"/gengap/no/such/file"),
    "mount": (165, b"none", b"/gengap/no/such/file", b"tmpfs", 0, 0),
    "umount2": (166, b"/gengap/no/such/file", 0),
    "chroot": (161, b"/gengap/no/such/file"),
    "open_tree": (428, -100, b"/", 1),
    "move_mount": (429, -1, b"", -1, b"", 4),
    "fsopen": (430, b"tmpfs", 0),
    "fsmount": (432, -1, 0, 0),
    "fspick": (433, -100, b"/", 0),
    "mount_setattr": (442, -1, b"", 0x1000, bytes(32), 32),
    "setns": (308, -1, 0),
    "ptrace": (101, 16, 0, 0, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "process_vm_writev": (311, 1, 0, 0, 0, 0, 0),
    "pidfd_getfd": (438, -1, 0, 0),
    "open_by_handle_at": (304, -1, 0, 0),
    "fanotify_init": (300, 0, 0),
    "kcmp": (312, 1, 1, 0, 0, 0),
    "iopl": (172, 3),
    "sethostname": (170, b"gengap", -1),
}


def probe(function: Callable[[], object]) -> Callable[[], object]:
    PROBES[function.__name__] = function
    return function


def system(number: int, *arguments: Any) -> int:
    """A raw system call."""
    if platform.machine() != "x86_64":
        raise OSError(errno.ENOSYS, "the numbers are those of x86-64")
    ctypes.set_errno(0)
    found = LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found


def own_mounts() -> bool:
    """Whether a change of mounts concerns this process alone."""
    return os.readlink("/proc/self/ns/mnt") != FACTS["mount_namespace"]


def first(attempts: dict[str, Callable[[], object]]) -> str | None:
    """The first of several attempts that gets something."""
    for name, attempt in attempts.items():
        try:
            if found := attempt():
                return f"{name}: {found!r}"[:80]
        except OSError:
            pass
    return None


def bytes_of(path: str) -> bytes:
    """The beginning of a file, opened without Python."""
    file = LIBC.open(os.fsencode(path), os.O_RDONLY)
    if file < 0:
        raise OSError(ctypes.get_errno(), path)
    buffer = ctypes.create_string_buffer(64)
    got = LIBC.read(file, buffer, 64)
    os.close(file)
    return buffer.raw[: max(got, 0)]


def spoils() -> list[str]:
    """Files that hold the targets."""
    return [FACTS["zoo_table"], FACTS["other_table"], FACTS["zoo"] + "/zoo.json"]


def writable(path: str) -> str | None:
    """``path`` if it can be opened for writing, which changes nothing."""
    os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
    return path


def may_create(folder: str) -> str | None:
    """``folder`` if a file can be created there; it is removed at once."""
    path = os.path.join(folder, f"gengap-probe-{os.getpid()}")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    os.unlink(path)
    return folder


# --- the targets ------------------------------------------------------------------------------------------------------


@probe
def opened_files_of_the_zoo() -> object:
    return first({path: lambda path=path: Path(path).read_bytes()[:20] for path in spoils()})


@probe
def zoo_by_pandas_and_pyarrow() -> object:
    import pandas as pd
    import pyarrow.parquet as pq

    table = FACTS["zoo_table"]
    return first(
        {
            "pandas": lambda: len(pd.read_parquet(table)),
            "pyarrow": lambda: pq.read_table(table, memory_map=True).num_rows,
        }
    )


@probe
def zoo_by_mmap_and_libc() -> object:
    def mapped(path: str) -> bytes:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
            return memory[:20]

    how = struct.pack("QQQ", 0, 0, 0)
    return first(
        {f"{name} {path}": lambda path=path, read=read: read(path) for path in spoils() for name, read in (
            ("mmap", mapped),
            ("libc", bytes_of),
            ("openat2", lambda path: system(437, -100, os.fsencode(path), how, len(how))),
            ("readlink", os.readlink),
        )}
    )  # fmt: skip


@probe
def places_of_the_zoo_and_of_records() -> object:
    """Even the names: no folder above them shows that they exist."""
    seen = [FACTS[name] for name in ("zoo", "results", "other", "temporary") if os.path.lexists(FACTS[name])]
    return seen + [
        path for path in map(str, Path(FACTS["zoo"]).parents) if path != "/" and FACTS["mark"] in listed(path)
    ]


def listed(path: str) -> str:
    try:
        return " ".join(os.listdir(path))
    except OSError:
        return ""


@probe
def rest_of_the_clone() -> object:
    """Only the packages are there: the clone's own records hold targets."""
    return first({name: lambda name=name: os.stat(f"{FACTS['clone']}/{name}") for name in ("results", "tests", ".git")})


@probe
def zoo_through_proc() -> object:
    bases = [f"/proc/{pid}/{link}" for pid in (1, FACTS["parent"], FACTS["victim"], "self") for link in ("root", "cwd")]
    ways = [base + path for base in bases for path in spoils()]
    ways += [f"{base}/{'../' * 12}{path}" for base in bases for path in spoils()]
    return first({way: lambda way=way: bytes_of(way) for way in ways})


@probe
def zoo_by_file_handle() -> object:
    """A handle names an inode of a file system, whatever is mounted where."""
    kind, handle = FACTS["handle"]
    content = struct.pack("Ii", len(handle), kind) + handle

    def by(folder: str) -> bytes:
        place = os.open(folder, os.O_RDONLY)
        return os.read(system(304, place, content, os.O_RDONLY), 20)

    return first({folder: lambda folder=folder: by(folder) for folder in ("/", "/code", "/view", "/tmp", sys.prefix)})


@probe
def zoo_by_raw_disk() -> object:
    """The disk itself, as root could make a device for it."""
    device = os.path.join(tempfile.gettempdir(), "disk")

    def made(number: int) -> bytes:
        os.mknod(device, stat.S_IFBLK | 0o600, number)
        try:
            return os.pread(os.open(device, os.O_RDONLY), 20, 0)
        finally:
            os.unlink(device)

    found = first({"mknod": lambda: made(FACTS["device"]), "memory": lambda: made(os.makedev(1, 1))})
    return found or first({path: lambda path=path: bool(os.open(path, os.O_RDONLY)) for path in devices()})


def devices() -> list[str]:
    """All devices that are not among the harmless ones."""
    usual = ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"]
    paths = [path for path in glob.glob("/dev/**", recursive=True) if not path.startswith(("/dev/pts", "/dev/shm"))]
    kinds = {path: os.lstat(path).st_mode for path in paths}
    return [p for p, mode in kinds.items() if (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and p[5:] not in usual]


@probe
def zoo_after_umount() -> object:
    """What hides something may be taken away; where nothing is hidden, nothing appears."""
    if not own_mounts():
        return None  # "umount2" among the calls
    gone = []
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        point = line.split()[1]
        if LIBC.umount2(os.fsencode(point), 2) == 0:
            gone.append(point)
    return gone or opened_files_of_the_zoo()


@probe
def zoo_from_a_new_namespace() -> object:
    """Capabilities of a new user namespace reach what this one may not."""
    for flags in (0x10000000, 0x10000000 | 0x00020000, 0x00020000, 0x40000000, 0x20000000, 0x08000000, 0x02000000):
        if LIBC.unshare(flags) == 0:
            return f"unshare({flags:#x})"
    return None


def end_child(child: int) -> None:
    """Ends the child of a call that forks: the call returns in both processes."""
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


@probe
def namespace_by_clone() -> object:
    end_child(system(56, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0))
    return "clone(CLONE_NEWUSER)"


@probe
def namespace_by_clone3() -> object:
    """Its flags are in memory, where no filter of system calls looks."""
    arguments = struct.pack("8Q", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    end_child(system(435, arguments, len(arguments)))
    return "clone3(CLONE_NEWUSER)"


@probe
def namespaces_of_others() -> object:
    def enter(path: str) -> str | None:
        place = os.open(path, os.O_RDONLY)
        return path if LIBC.setns(place, 0) == 0 else None

    kinds = ("mnt", "user", "pid", "net", "ipc")
    pids = (1, FACTS["parent"], FACTS["victim"])
    return first({f"{p} {k}": lambda p=p, k=k: enter(f"/proc/{p}/ns/{k}") for p in pids for k in kinds})


@probe
def targets_in_own_memory() -> object:
    """Nothing that was ever read into this process holds the targets of the test models in their order."""
    wanted = bytes(byte ^ 0x5A for byte in FACTS["masked_targets"])
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            low, high = (int(end, 16) for end in span.split("-"))
            if not rights.startswith("rw") or high - low > 2**30:
                continue
            try:
                memory.seek(low)
                content = memory.read(high - low)
            except (OSError, ValueError, OverflowError):
                continue
            found = content.find(wanted)
            # The needle itself, and what was just read, are there of course.
            while found >= 0:
                if not near(low + found, wanted) and content[found - 8 : found] != b"\0" * 8:
                    return f"{line.strip()} + {found}"
                found = content.find(wanted, found + 1)
    return None


def near(address: int, wanted: bytes) -> bool:
    return 0 <= address - id(wanted) < 100


@probe
def directories_in_descriptors() -> object:
    """An open folder leads to its parents, wherever the root is."""
    found = []
    for number in range(3, 256):
        try:
            if stat.S_ISDIR(os.fstat(number).st_mode):
                found.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            pass
    return found


# --- other processes --------------------------------------------------------------------------------------------------


def theirs(pid: int) -> bool:
    """Whether ``pid`` here is the process that has it outside."""
    return Path(f"/proc/{pid}/cmdline").read_bytes() == FACTS["command_lines"][pid]


@probe
def processes_of_others_in_proc() -> object:
    return first({str(pid): lambda pid=pid: theirs(pid) for pid in (FACTS["parent"], FACTS["victim"])})


@probe
def environment_of_others() -> object:
    secret = FACTS["secret"].encode()
    places = [f"/proc/{pid}/environ" for pid in (FACTS["parent"], FACTS["victim"], "self")]
    if own_mounts():
        places += glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline")
    inherited = any(secret in value.encode() for value in [*os.environ.values(), *sys.argv])
    return inherited or first({place: lambda place=place: secret in Path(place).read_bytes() for place in places})


@probe
def memory_of_the_parent() -> object:
    parent, address, secret = FACTS["parent"], FACTS["secret_address"], FACTS["secret"].encode()

    def by_mem(pid: int) -> bool:
        with open(f"/proc/{pid}/mem", "rb", 0) as memory:
            return os.pread(memory.fileno(), len(secret), address) == secret

    def by_call() -> bool:
        buffer = ctypes.create_string_buffer(len(secret))
        here = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), len(secret))
        there = (ctypes.c_void_p * 2)(address, len(secret))
        system(310, parent, here, 1, there, 1, 0)
        return buffer.raw == secret

    return first({"mem": lambda: by_mem(parent), "process_vm_readv": by_call})


@probe
def descriptors_of_others() -> object:
    def taken(pid: int) -> list[int]:
        place = system(434, pid, 0)
        return [number for number in range(64) if LIBC.syscall(438, place, number, 0) >= 0]

    pids = [pid for pid in (FACTS["parent"], FACTS["victim"]) if is_there(pid)]
    return first(
        {f"pidfd {pid}": lambda pid=pid: taken(pid) for pid in pids}
        | {f"proc {pid}": lambda pid=pid: os.listdir(f"/proc/{pid}/fd") for pid in pids}
    )


def is_there(pid: int) -> bool:
    try:
        return theirs(pid)
    except OSError:
        return False


@probe
def tracing_of_others() -> object:
    """PTRACE_SEIZE, which does not stop the process; the trace ends with this one."""
    for pid in (FACTS["parent"], FACTS["victim"]):
        if LIBC.ptrace(0x4206, pid, 0, 0) == 0:
            return pid
    return None


@probe
def signals_to_others() -> object:
    """SIGURG, which does nothing to who does not wait for it, as the test does that tells whether it came."""
    for pid in (FACTS["parent"], FACTS["victim"], -1, 0, -FACTS["group"], os.getppid(), -os.getppid()):
        for send in (
            lambda pid=pid: os.kill(pid, signal.SIGURG),
            lambda pid=pid: system(234, pid, pid, signal.SIGURG),
            lambda pid=pid: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGURG),
            lambda pid=pid: signal_by_descriptor(pid),
        ):
            with contextlib.suppress(OSError):
                send()
    return None


def signal_by_descriptor(pid: int) -> None:
    """A pipe that becomes ready signals its owner."""
    reading, writing = os.pipe()
    fcntl.fcntl(reading, fcntl.F_SETOWN, pid)
    fcntl.fcntl(reading, 10, signal.SIGURG)  # F_SETSIG
    fcntl.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(writing, b"x")


@probe
def limits_of_others() -> object:
    """The same values again, which changes nothing."""

    def limited(pid: int) -> str:
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        return f"prlimit {pid}"

    pids = [pid for pid in (FACTS["parent"], FACTS["victim"]) if is_there(pid)]
    return first({str(pid): lambda pid=pid: limited(pid) for pid in pids})


@probe
def priorities_of_others() -> object:
    """The same values again, which changes nothing."""

    def again(pid: int) -> bool:
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid))
        return True

    def pinned(pid: int) -> bool:
        os.sched_setaffinity(pid, os.sched_getaffinity(pid))
        return True

    pids = [pid for pid in (FACTS["parent"], FACTS["victim"]) if is_there(pid)]
    return first(
        {f"nice {pid}": lambda pid=pid: again(pid) for pid in pids}
        | {f"affinity {pid}": lambda pid=pid: pinned(pid) for pid in pids}
        | {f"oom {pid}": lambda pid=pid: writable(f"/proc/{pid}/oom_score_adj") for pid in pids}
    )


@probe
def priorities_of_the_user() -> object:
    """All processes of a user at once. None may be made more important, so that nothing changes where it is tried."""
    if int(dict(line.split(":\t", 1) for line in status() if ":\t" in line)["CapEff"], 16):
        return "capabilities"
    try:
        os.setpriority(os.PRIO_USER, 0, -20)
    except OSError as error:
        return error.errno == errno.EACCES and FACTS["process_namespace"] == os.readlink("/proc/self/ns/pid")
    return "priority of all"


def status() -> list[str]:
    return Path("/proc/self/status").read_text().splitlines()


@probe
def leases_and_locks_of_shared_files() -> object:
    """A lease on a file lets whoever opens it wait; flags of a file need no right to write it."""

    def leased(path: str) -> bool:
        fcntl.fcntl(os.open(path, os.O_RDONLY), 1024, fcntl.F_WRLCK)
        return True

    def flagged(path: str) -> bool:
        """The same flags again, which changes nothing."""
        file, flags = os.open(path, os.O_RDONLY), bytearray(8)
        fcntl.ioctl(file, 0x80086601, flags)
        fcntl.ioctl(file, 0x40086602, bytes(flags))
        return True

    def changed(path: str) -> bool:
        """The same mode again, which changes nothing."""
        os.chmod(path, os.stat(path).st_mode & 0o7777)
        return True

    paths = (__file__, sys.executable, os.path.realpath(sys.executable), os.__file__, sys.modules["benchmark"].__file__)
    return first(
        {
            f"{attempt.__name__} {path}": lambda attempt=attempt, path=path: attempt(path)
            for path in paths
            if path
            for attempt in (leased, flagged, changed)
        }
    )


# --- more rights ------------------------------------------------------------------------------------------------------


@probe
def capabilities() -> object:
    lines = dict(line.split(":\t", 1) for line in status() if ":\t" in line)
    held = [f"{name} {lines[name]}" for name in ("CapInh", "CapPrm", "CapEff", "CapAmb") if int(lines[name], 16)]
    if lines["NoNewPrivs"] != "1":
        held.append("new privileges")
    if lines["Seccomp"] != "2":
        held.append("all system calls")
    return held


@probe
def other_users() -> object:
    def become(change: Callable[..., object], *ids: int) -> str | None:
        change(*ids)
        return str(os.getresuid())

    if os.getuid() == 0:
        return "the user root"
    return first(
        {
            "setuid": lambda: become(os.setuid, 0),
            "setresuid": lambda: become(os.setresuid, 0, 0, 0),
            "setgid": lambda: become(os.setgid, 0),
            "setgroups": lambda: become(lambda: os.setgroups([0])),
            "groups": lambda: 0 in os.getgroups() and "the group root",
        }
    )


@probe
def higher_own_limits() -> object:
    """Every limit that the box sets holds: it is not endless, and cannot be raised."""
    open_ones = []
    for name in ("RLIMIT_DATA", "RLIMIT_NPROC", "RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_CORE"):
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        if hard == resource.RLIM_INFINITY:
            open_ones.append(f"{name} is endless")
            continue
        try:
            resource.setrlimit(kind, (hard, hard + 1))
            open_ones.append(f"{name} raised")
        except (OSError, ValueError):
            pass
    return open_ones


@probe
def higher_own_priority() -> object:
    def real_time() -> bool:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        return True

    def spared() -> bool:
        Path("/proc/self/oom_score_adj").write_text("-1000")
        return True

    return first({"nice": lambda: os.nice(-5) < 0, "real time": real_time, "oom": spared})


@probe
def settings_of_the_kernel() -> object:
    names = "kernel/core_pattern kernel/hostname kernel/modprobe vm/drop_caches vm/overcommit_memory fs/suid_dumpable"
    paths = [f"/proc/sys/{name}" for name in names.split()] + ["/proc/sysrq-trigger", "/sys/kernel/uevent_helper"]
    paths += ["/proc/kcore", "/proc/kmsg", "/sys/power/state", "/proc/sys/net/ipv4/ip_forward"]
    return first({path: lambda path=path: writable(path) for path in paths})


@probe
def control_groups() -> object:
    roots = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines() if " cgroup" in line]
    return first({root: lambda root=root: writable(f"{root}/cgroup.procs") for root in roots})


@probe
def terminal() -> object:
    """TIOCSTI types into the terminal of whoever runs this."""

    def typed(file: int) -> bool:
        fcntl.ioctl(file, 0x5412, b"\0")
        return True

    return first(
        {str(file): lambda file=file: typed(file) for file in range(3)}
        | {"tty": lambda: typed(os.open("/dev/tty", os.O_RDWR))}
    )


@probe
def way_out_of_the_root() -> object:
    """The way out of a chroot: a second one below a folder that stays open outside of it."""
    folder = tempfile.mkdtemp()
    outside = os.open("/", os.O_RDONLY)
    os.chroot(folder)
    os.fchdir(outside)
    return os.listdir("../" * 12) or "chroot"


@probe
def calls_of_another_abi() -> object:
    """int 0x80 makes a 32-bit call, whose number means another call to a filter that looks at it alone."""
    if platform.machine() != "x86_64":
        return None
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(bytes.fromhex("53 89f8 89f3 87d1 cd80 5b c3"))
    call = ctypes.CFUNCTYPE(*[ctypes.c_int] * 5)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    for name, *numbers in (("socket", 359, 2, 1, 0), ("unshare", 310, 0x10000000, 0, 0)):
        if (found := call(*numbers)) >= 0:
            return f"{name} gave {found}"
    return None


@probe
def calls_of_x32() -> object:
    return first({"socket": lambda: system(0x40000000 + 41, 2, 1, 0) + 1, "unshare": lambda: 1 + system(
        0x40000000 + 272, 0x10000000)})  # fmt: skip


# --- talking to others ------------------------------------------------------------------------------------------------


@probe
def sockets_of_every_family() -> object:
    got = []
    for family in range(46):
        for kind in (1, 2, 3, 4, 5):
            try:
                socket.socket(family, kind).close()
                got.append(f"{family}/{kind}")
            except OSError:
                pass
    return got


@probe
def sockets_of_others() -> object:
    """A pair of datagram sockets needs no name, and sends to any."""

    def sent(where: str | bytes) -> bool:
        one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        return one.sendto(b"from the method", where) > 0

    def connected(where: str | bytes) -> bool:
        one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        one.connect(where)
        return True

    places = {"path": FACTS["socket"], "abstract": b"\0" + FACTS["mark"].encode()}
    return first(
        {f"send {name}": lambda place=place: sent(place) for name, place in places.items()}
        | {f"connect {name}": lambda place=place: connected(place) for name, place in places.items()}
    )


@probe
def shared_memory_of_others() -> object:
    """Of System V, of POSIX, and a message queue."""
    key, name = FACTS["key"], FACTS["mark"]

    def attached() -> bool:
        number = LIBC.shmget(key, 0, 0)
        LIBC.shmat.restype = ctypes.c_void_p
        return number >= 0 and LIBC.shmat(number, None, 0o10000) != ctypes.c_void_p(-1).value

    return first(
        {
            "System V memory": attached,
            "System V queue": lambda: LIBC.msgget(key, 0) >= 0,
            "System V semaphore": lambda: LIBC.semget(key, 0, 0) >= 0,
            "queue": lambda: system(240, name.encode(), os.O_RDONLY, 0, 0) + 1,
            "/dev/shm": lambda: bytes_of(f"/dev/shm/{name}"),
            "listed": lambda: name in listed("/dev/shm"),
        }
    )


@probe
def things_left_behind() -> object:
    """Nothing of this is there afterwards; ``test_sandbox_hostile`` looks."""
    for make in (
        lambda: LIBC.shmget(FACTS["key"] + 1, 4096, 0o1666),
        lambda: LIBC.msgget(FACTS["key"] + 1, 0o1666),
        lambda: system(240, (FACTS["mark"] + "-left").encode(), os.O_RDWR | os.O_CREAT, 0o600, 0),
        lambda: Path(f"/dev/shm/{FACTS['mark']}-left").write_text("left"),
        lambda: Path(f"/tmp/{FACTS['mark']}-left").write_text("left"),
        lambda: Path(f"/var/tmp/{FACTS['mark']}-left").write_text("left"),
    ):
        with contextlib.suppress(OSError):
            make()
    return None


# --- writing ----------------------------------------------------------------------------------------------------------


@probe
def files_of_others() -> object:
    """Open for writing: the zoo, records, the clone, the interpreter, its own code."""
    paths = [*spoils(), FACTS["other_record"], sys.executable, os.path.realpath(sys.executable), os.__file__, __file__]
    paths += [
        sys.modules["benchmark"].__file__ or "",
        "/proc/self/exe",
        "/proc/1/exe",
        "/etc/passwd",
        "/etc/ld.so.cache",
    ]
    return first({path: lambda path=path: writable(path) for path in paths})


@probe
def folders_of_others() -> object:
    """New files: a module of Python's start, a record, a module beside the method, anything at all but scratch."""
    places = [FACTS[name] for name in ("zoo", "results", "other", "temporary", "clone")]
    places += [path for path in sys.path if os.path.isdir(path)] + [os.path.dirname(__file__), "/code", "/view"]
    own = (os.path.realpath(tempfile.gettempdir()), "/tmp", "/dev/shm", "/proc")
    places += [path for level in ("/*", "/*/*", "/*/*/*") for path in glob.glob(level) if os.path.isdir(path)]
    places = [path for path in places if not any(f"{os.path.realpath(path)}/".startswith(f"{root}/") for root in own)]
    return first({path: lambda path=path: may_create(path) for path in ["/", *places]})


@probe
def links_from_scratch() -> object:
    """Links to what lies outside open nothing."""
    folder = tempfile.mkdtemp()

    def linked(link: Callable[[str, str], None], path: str) -> bytes:
        link(path, name := os.path.join(folder, f"link{time.monotonic_ns()}"))
        return Path(name).read_bytes()[:20]

    return first(
        {f"{link.__name__} {path}": lambda link=link, path=path: linked(link, path) for link in (os.symlink, os.link)
         for path in spoils()}
    )  # fmt: skip


@probe
def private_file_of_the_user() -> object:
    """What only the user who runs gengap may read, such as a key."""
    return first({"python": lambda: Path(FACTS["private"]).read_bytes(), "libc": lambda: bytes_of(FACTS["private"])})


def _barred(name: str, number: int, arguments: tuple) -> object:
    try:
        system(number, *arguments)
    except OSError as error:
        if error.errno in REFUSED:
            return None
        return f"{name} would be allowed: {error}"
    return f"{name} is allowed"


for _name, (_number, *_arguments) in CALLS.items():
    PROBES[f"call_{_name}"] = lambda name=_name, number=_number, given=tuple(_arguments): _barred(name, number, given)


def run_probe(function: Callable[[], object]) -> str | None:
    """What a probe reached, in a process of its own; None if nothing."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        signal.alarm(SECONDS)
        try:
            found = function()
            text = f"succeeded: {found!r}" if found else ""
        except OSError:
            text = ""
        except BaseException as error:  # noqa: BLE001 - a probe that is itself broken shows nothing
            text = f"broken: {error!r}"
        os.write(writing, text[:300].encode())
        os._exit(0)
    os.close(writing)
    text = b""
    while more := os.read(reading, 4096):
        text += more
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) not in (signal.SIGSYS, signal.SIGSEGV):
        return f"broken: ended by signal {os.WTERMSIG(status)}"
    return text.decode() or None


def found() -> dict[str, str]:
    """{probe: what it reached, or how it broke}."""
    outcomes = {name: run_probe(function) for name, function in PROBES.items()}
    return {name: outcome for name, outcome in outcomes.items() if outcome}


if FACTS:  # here runs a method's file
    FOUND = found()

    class Probes:
        """Says in its citation what was reached while it was described, and in its reason what while it ran."""

        access = "weights"
        name = "probes"
        citation = f"{len(PROBES)} probes"
        formula = repr(FOUND)

        def fit(self, *given: Any) -> "Probes":
            return self

        def predict(self, view: Any) -> Any:
            from baselines.methods import NotApplicable

            raise NotApplicable(repr(FOUND))
