"""Calls of the Linux kernel that box a process in, which Python's standard library lacks: namespaces, mounts, Landlock,
seccomp, capabilities.

All raise OSError where the kernel refuses. Imports the standard library alone: a box closes before others are imported.
"""

import ctypes
import errno
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWTIME, CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x80, 0x20000, 0x2000000, 0x4000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x8000000, 0x10000000, 0x20000000, 0x40000000
NAMESPACES = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18
_MNT_DETACH = 2
_AT_RECURSIVE, _AT_FDCWD = 0x8000, -100

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 36, 38
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_SETUID, _CAP_SYS_ADMIN = 7, 21

# Numbers of calls for which the C library has no function; since Linux 5.1, new ones are alike on all architectures.
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(platform.machine())
_MOUNT_SETATTR, _LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 442, 444, 445, 446

# The version of Landlock's interface that scopes signals (Linux 6.12).
LANDLOCK_ABI = 6
_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, read a folder
_ALL_FILES = (1 << 16) - 1
_OF_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # rights that a rule on a file may have
_ALL_NET = 3
_SCOPES = 3  # abstract unix sockets, signals
_DEVICES = 1 << 6 | 1 << 11  # making device nodes, which no rule allows

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def capable() -> bool:
    """Whether this process may make namespaces without a user namespace."""
    return bool(_capabilities() >> _CAP_SYS_ADMIN & 1)


def may_become(user: int) -> bool:
    """Whether this process may become any user, and there is one of this number in its user namespace."""
    ranges = (map(int, line.split()) for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines())
    known = any(first <= user < first + count for first, _, count in ranges)
    return known and bool(_capabilities() >> _CAP_SETUID & 1)


def _capabilities() -> int:
    """The effective capabilities of this process."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    raise OSError(errno.ENOSYS, "/proc/self/status does not list capabilities")


def unshare(flags: int) -> None:
    """Moves this process, which must have a single thread, to new namespaces."""
    _checked(_libc.unshare(flags), "unshare")


def map_own_user(user: int, group: int) -> None:
    """In a new user namespace: this user and group keep their numbers, and there are no others."""
    for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path(f"/proc/self/{name}").write_text(line, encoding="ascii")


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    data = None if options is None else options.encode()
    _checked(_libc.mount(*encoded, ctypes.c_ulong(flags), data), f"mount {target}")


def bind(source: str, target: str, read_only: bool) -> None:
    """Shows ``source``, a file or a folder with all that is mounted in it, at ``target``, which exists."""
    mount(source, target, None, MS_BIND | MS_REC)
    if read_only:
        # struct mount_attr: attributes to set, to clear, propagation, user namespace; those to set are MS_* by value.
        attributes = (ctypes.c_uint64 * 4)(MS_RDONLY | MS_NOSUID, 0, 0, 0)
        _checked(
            _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target), _AT_RECURSIVE, attributes, 32),
            f"mount_setattr {target}",
        )


def pivot_root(new: str, old: str) -> None:
    """Makes the mount ``new`` the root, and shows the old root at ``old`` in it."""
    if _PIVOT_ROOT is None:
        raise OSError(errno.ENOSYS, f"pivot_root on {platform.machine()}")
    _checked(_libc.syscall(_PIVOT_ROOT, os.fsencode(new), os.fsencode(old)), "pivot_root")


def detach(path: str) -> None:
    """Takes the mounts at and below ``path`` away."""
    _checked(_libc.umount2(os.fsencode(path), _MNT_DETACH), f"umount {path}")


def die_with_parent() -> None:
    """Has the kernel kill this process when the thread that started it ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0), "prctl")


def adopt_orphans() -> None:
    """Makes this process the parent of all its descendants whose own parent ends, daemons included."""
    _checked(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def set_dumpable(dumpable: bool) -> None:
    """Whether processes of the same user may read this one's memory, environment and descriptors."""
    _checked(_libc.prctl(_PR_SET_DUMPABLE, int(dumpable), 0, 0, 0), "prctl")


def drop_privileges() -> None:
    """Gives up all capabilities for ever, those included that a program to execute would give."""
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break  # without CAP_SETPCAP, or beyond the last capability
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def landlock_abi() -> int:
    """The version of Landlock's interface; 0 without Landlock."""
    return max(0, _libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, 1))


def landlock(read: Iterable[str], write: Iterable[str]) -> None:
    """Leaves this process and its descendants these files and folders, no TCP, and no signals to other processes.

    Args:
        read: what they may read and execute.
        write: what they may read, write, make and delete too.
    """
    with _restricting(_ALL_FILES, _ALL_NET) as ruleset:
        for paths, rights in ((read, _READ), (write, _ALL_FILES & ~_DEVICES)):
            for path in paths:
                _allow(ruleset, path, rights)


def landlock_signals() -> None:
    """Takes this process and its descendants the signals to all others."""
    with _restricting(0, 0):
        pass


@contextmanager
def _restricting(files: int, net: int) -> Iterator[int]:
    """A ruleset over these rights and all scopes; it holds for this process from the end of the block on."""
    attributes = (ctypes.c_uint64 * 3)(files, net, _SCOPES)
    ruleset = _checked(_libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, 24, 0), "landlock_create_ruleset")
    try:
        yield ruleset
        _checked(_libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    finally:
        os.close(ruleset)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def _allow(ruleset: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not os.path.isdir(path):
            rights &= _OF_FILES
        rule = _PathBeneath(rights, descriptor)
        _checked(_libc.syscall(_LANDLOCK_ADD_RULE, ruleset, 1, ctypes.byref(rule), 0), f"landlock_add_rule {path}")
    finally:
        os.close(descriptor)


# Calls that no method needs, by what they would let it do.
_REFUSED = (
    # mounts, roots and namespaces
    *("mount", "umount", "umount2", "pivot_root", "chroot", "unshare", "setns", "fsopen", "fsconfig", "fsmount"),
    *("fspick", "move_mount", "open_tree", "mount_setattr", "name_to_handle_at", "open_by_handle_at"),
    # other processes
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp"),
    *("pidfd_getfd", "perf_event_open", "migrate_pages", "move_pages", "userfaultfd"),
    # the kernel and the machine
    *("bpf", "keyctl", "add_key", "request_key", "init_module", "finit_module", "delete_module", "kexec_load"),
    *("kexec_file_load", "reboot", "swapon", "swapoff", "syslog", "acct", "quotactl", "quotactl_fd", "iopl", "ioperm"),
    *("settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "stime", "sethostname", "setdomainname"),
    *("vhangup", "nfsservctl", "fanotify_init", "lookup_dcookie", "personality", "uselib", "ustat", "sysfs"),
    # memory that outlives or evades the limits
    *("shmget", "shmat", "msgget", "semget", "memfd_create", "memfd_secret", "mq_open", "set_mempolicy", "mbind"),
    # sockets: the pairs of multiprocessing are enough
    *("connect", "bind", "listen", "accept", "accept4"),
)
# Refused as unknown, so that programs use older calls in their place.
_UNKNOWN = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
# Where the box shares its user and the file system with others: what Landlock does not cover.
_REFUSED_ON_SHARED_FILES = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "setxattr", "lsetxattr"),
    *("fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "utime", "utimes", "utimensat", "futimesat"),
    *("sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr", "ioprio_set"),
    "inotify_add_watch",
)
_NEW_NAMESPACES = (
    *(CLONE_NEWTIME, CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID),
    CLONE_NEWNET,
)
_NOT_EQUAL, _MASKED_EQUAL = 1, 7
_WORD = 0xFFFFFFFF
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, FS_IOC_ENABLE_VERITY, FS_IOC_SET_ENCRYPTION_POLICY: allowed to the owner of a file
# that is open for reading.
_CHANGE_FILES = (0x40086602, 0x401C5820, 0x40806685, 0x800C6613)
_F_SETLEASE = 1024
_AF_UNIX = 1
_SOCKET_TYPE, _SOCK_DGRAM, _SOCK_RAW = 0xF, 2, 3
# Calls added to Linux after 6.6 are refused as unknown: what they may do was not looked at.
_FIRST_NEW_CALL, _LAST_NEW_CALL = 453, 600


class _Comparison(ctypes.Structure):
    _fields_ = (("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def has_seccomp() -> bool:
    """Whether libseccomp is installed, as on every Debian, Ubuntu and Fedora."""
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return False
    return True


def seccomp(shared_files: bool) -> None:
    """Refuses, to this process and its descendants, the kernel's calls that no method needs.

    Args:
        shared_files: the box has the file system of the machine; refuse changes of the mode and owner of files too.
    """
    lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    lib.seccomp_init.restype = ctypes.c_void_p
    allow, refuse = 0x7FFF0000, 0x00050000
    context = ctypes.c_void_p(lib.seccomp_init(allow))
    if not context:
        raise OSError(errno.ENOMEM, "seccomp_init")

    def rule(call: int | str, number: int, *where: tuple[int, int, int, int]) -> None:
        index = lib.seccomp_syscall_resolve_name(call.encode()) if isinstance(call, str) else call
        if index < 0:
            return  # another architecture's, or newer than libseccomp: then the rule by number has it
        comparisons = (_Comparison * len(where))(*where)
        action = ctypes.c_uint32(refuse | number)
        done(lib.seccomp_rule_add_array(context, action, index, len(where), comparisons), f"seccomp rule {call}")

    def done(result: int, what: str) -> None:
        if result < 0:
            raise OSError(-result, f"{what}: {os.strerror(-result)}")

    for call in (*_REFUSED, *(_REFUSED_ON_SHARED_FILES if shared_files else ())):
        rule(call, errno.EPERM)
    for call in (*_UNKNOWN, *range(_FIRST_NEW_CALL, _LAST_NEW_CALL)):
        rule(call, errno.ENOSYS)
    for flag in _NEW_NAMESPACES:
        rule("clone", errno.EPERM, (0, _MASKED_EQUAL, flag, flag))
    rule("socket", errno.ENETUNREACH)
    rule("socketpair", errno.EPERM, (0, _NOT_EQUAL, _AF_UNIX, 0))
    # Unconnected sockets, which reach others by their paths.
    for kind in (_SOCK_DGRAM, _SOCK_RAW):
        rule("socketpair", errno.EPERM, (1, _MASKED_EQUAL, _SOCKET_TYPE, kind))
    rule("prlimit64", errno.EPERM, (0, _NOT_EQUAL, 0, 0))
    for argument in (0, 1):  # other than that of one process, and than that of this one
        rule("setpriority", errno.EPERM, (argument, _NOT_EQUAL, 0, 0))
    # A process that is not dumpable hides what it uses.
    rule("prctl", errno.EPERM, (0, _MASKED_EQUAL, _WORD, _PR_SET_DUMPABLE))
    # A lease lets others wait who open the file.
    rule("fcntl", errno.EPERM, (1, _MASKED_EQUAL, _WORD, _F_SETLEASE))
    for request in (_TIOCSTI, _TIOCLINUX, *_CHANGE_FILES):
        rule("ioctl", errno.EPERM, (1, _MASKED_EQUAL, _WORD, request))
    optimize = 8  # SCMP_FLTATR_CTL_OPTIMIZE, as a binary tree
    lib.seccomp_attr_set(context, optimize, 2)
    done(lib.seccomp_load(context), "seccomp_load")
    lib.seccomp_release(context)
