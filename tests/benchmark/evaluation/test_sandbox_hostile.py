"""Hostile and clumsy methods, run for real: none reads a target, harms anything, or takes others with it.

``hostile_probes`` holds what a method tries to reach, ``hostile_methods`` what it does, and ``hostile_files`` what its
folder holds. The attackers know everything: where the zoo, the records and the clone are, and all about the parent
process.
"""

import contextlib
import ctypes
import hashlib
import importlib.util
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from benchmark.evaluation import process, sandbox
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.selection import find_methods
from benchmark.records import Record, read_records
from benchmark.tasks import Task
from zoo_builder.errors import InputError
from zoo_builder.store.zoo import Zoo

pytestmark = pytest.mark.system

HERE = Path(__file__).parent
CLONE = HERE.parents[2]
SECONDS, SHORT_SECONDS = 240, 12
MACHINE_BYTES = int(2 * 2**30 / 0.75)  # of which a box gets 2 GiB
TOO_MUCH = 6 * 2**30  # bytes that a method never gets hold of
LONGEST_TEXT = 12_000
LIBC = ctypes.CDLL(None, use_errno=True)
# Notes signals that came, and has a secret in its environment.
VICTIM = """
import signal, sys, time
signal.signal(signal.SIGURG, lambda *given: print("a signal came", flush=True))
print("ready", flush=True)
time.sleep(3600)
"""
# What Landlock does not change: that a file exists, whose content stays closed, and the user, who has no rights left.
SEEN_WITH_LANDLOCK = {"places_of_the_zoo_and_of_records", "rest_of_the_clone", "other_users"}


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded  # dataclasses look their module up
    spec.loader.exec_module(loaded)
    return loaded


PROBES, METHODS, FILES = module("hostile_probes"), module("hostile_methods"), module("hostile_files")
USUAL = METHODS.USUAL.split()


def source(name: str, facts: dict[str, Any]) -> str:
    """The text of a collection with the facts filled in."""
    text, empty = (HERE / f"{name}.py").read_text(), "FACTS: dict[str, Any] = {}\n"
    assert text.count(empty) == 1
    return text.replace(empty, f"FACTS = {facts!r}\n")


@dataclass
class Arena:
    """What a run of all methods left: records by name, refusals by folder and class, and what is wrong afterwards."""

    kind: str
    thorough: bool
    facts: dict[str, Any]
    target: np.ndarray
    records: dict[str, Record] = field(default_factory=dict)
    refused: dict[str, InputError] = field(default_factory=dict)
    alone: np.ndarray | None = None
    probed: dict[str, str] = field(default_factory=dict)
    described: dict[str, Any] = field(default_factory=dict)
    folders: dict[str, Record | InputError] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


@pytest.fixture(
    scope="module", params=["default", *(pytest.param(kind, marks=pytest.mark.slow) for kind in sandbox.KINDS)]
)
def arena(request: pytest.FixtureRequest, small_zoo: Zoo, quick) -> Iterator[Arena]:
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        if request.param != "default":
            patch.setattr(sandbox, "KINDS", (request.param,))
        try:
            kind = sandbox.protection(trust=False)
        except InputError as error:
            pytest.skip(str(error))
        base = Path(tempfile.mkdtemp(prefix="hostile-", dir=os.path.realpath(tempfile.gettempdir())))
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        arena = Arena(kind, thorough=request.param != "default", facts={}, target=np.empty(0))
        run_all(arena, stack, patch, base, small_zoo, quick("test-accuracy"))
        yield arena


def run_all(
    arena: Arena, stack: contextlib.ExitStack, patch: pytest.MonkeyPatch, base: Path, small_zoo: Zoo, task: Task
) -> None:
    base.chmod(0o777)  # nothing is safe because of a closed folder above it
    (base / "temporary").mkdir()
    (base / "temporary").chmod(0o777)
    patch.setattr(tempfile, "tempdir", str(base / "temporary"))
    sysconf = os.sysconf
    pages = MACHINE_BYTES // sysconf("SC_PAGE_SIZE")
    patch.setattr(os, "sysconf", lambda name: pages if name == "SC_PHYS_PAGES" else sysconf(name))
    shutil.copytree(small_zoo.root, base / "zoo")
    zoo = Zoo.open(base / "zoo")
    oracle = find_methods(["oracle-0.5-sd"], task)
    (other,) = evaluate(task, oracle, zoo, base / "other")
    evaluate(task, oracle, zoo, base / "results")
    arena.target = other.predictions()["target"].to_numpy()
    arena.facts = facts = gather_facts(stack, base, other, arena.target)
    write_sources(base, facts)

    honest = find_methods([f"{base}/methods/method.py:Honest"], task)
    arena.alone = predictions(evaluate(task, honest, zoo, base / "alone", timeout=SECONDS)[0])
    before = Surroundings.of(base)
    with before.watched(facts) as watched:
        names = list(METHODS.METHODS) if arena.thorough else USUAL
        slow = [name for name in names if "timeout" in METHODS.METHODS[name].ends]
        for chosen, seconds in (([n for n in names if n not in slow], SECONDS), (slow, SHORT_SECONDS)):
            references = [f"{base}/methods/method.py:{name}" for name in chosen]
            methods = find_methods(
                references, task, refused=lambda error: arena.refused.__setitem__(refused_name(error), error)
            )
            workers = 2 if seconds == SECONDS else 6
            for record in evaluate(task, methods, zoo, base / "results", workers=workers, timeout=seconds):
                arena.records[record.method] = record
        probes = find_methods([f"{base}/probes/method.py:Probes"], task)
        (record,) = evaluate(task, probes, zoo, base / "results", timeout=SECONDS)
        arena.records["probes"] = record
        arena.probed = {"while it was described": record.formula, "while it ran": record.reason or ""}
        run_folders(arena, patch, base, zoo, task)
        names = find_methods(
            [f"{base}/names/method.py:{name}" for name in FILES.NAMES],
            task,
            refused=lambda error: arena.described.__setitem__(refused_name(error), error),
        )
        arena.described |= {method.reference.rpartition(":")[2].lower(): method for method in names}
    arena.wrong = watched + before.changes(facts)


def refused_name(error: InputError) -> str:
    """The class that an error is about, in small letters."""
    found = re.search(r"method\.py:(\w+)|^([\w-]+) does not fit", str(error))
    assert found is not None, str(error)
    return (found[1] or found[2].replace("-", "")).lower()


def run_folders(arena: Arena, patch: pytest.MonkeyPatch, base: Path, zoo: Zoo, task: Task) -> None:
    """Describes every folder's method, those that take as long as they may last; runs those that can be loaded."""
    for slow in (False, True):
        rows = [row for row in FILES.FOLDERS if row.slow is slow and (arena.thorough or row.name in FILES.USUAL)]
        chosen = {f"{folder_of(base, row)}/method.py:Mine": row.name for row in rows}
        patch.setattr(process, "DESCRIBE_SECONDS", SHORT_SECONDS if slow else SECONDS)

        def refused(error: InputError, chosen: dict[str, str] = chosen) -> None:
            names = [name for reference, name in chosen.items() if f"{Path(reference).parent}/" in f"{error} "]
            assert len(names) == 1, str(error)
            arena.folders[names[0]] = error

        methods = find_methods(list(chosen), task, refused=refused, workers=2)
        for record in evaluate(task, methods, zoo, base / "results", workers=2, timeout=SECONDS):
            arena.folders[chosen[record.source or ""]] = record


def folder_of(base: Path, row: Any) -> Path:
    return base / "folders" / row.name.replace(" ", "-")


def gather_facts(stack: contextlib.ExitStack, base: Path, other: Record, target: np.ndarray) -> dict[str, Any]:
    """All that an attacker may know, and things of other processes that it must not reach."""
    mark = f"hostile-{os.getpid()}-{time.monotonic_ns() % 10**9}"
    secret = f"secret-{mark}"
    buffer = ctypes.create_string_buffer(secret.encode())
    stack.callback(lambda: buffer.raw)  # keeps it in memory
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM],
        env={"SECRET": secret},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert victim.stdout is not None
    for undo in (victim.stdout.close, victim.wait, victim.kill):
        stack.callback(undo)
    assert victim.stdout.readline() == "ready\n"
    os.set_blocking(victim.stdout.fileno(), False)
    listening, private = base / "socket", base / "private"
    private.write_text(secret)
    private.chmod(0o600)
    key = 0x47470000 | os.getpid() & 0xFFF0
    stack.enter_context(listeners(mark, listening, key))
    table = next((base / "zoo" / "checkpoints").glob("*.parquet"))
    path = other.path
    assert path is not None
    return {
        "zoo": str(base / "zoo"),
        "zoo_table": str(table),
        "zoo_json": str(base / "zoo" / "zoo.json"),
        "results": str(base / "results"),
        "other": str(base / "other"),
        "other_table": str(path.with_suffix(".parquet")),
        "other_record": str(path),
        "temporary": str(base / "temporary"),
        "clone": str(CLONE),
        "parent": os.getpid(),
        "group": os.getpgid(0),
        "victim": victim.pid,
        "command_lines": {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (os.getpid(), victim.pid)},
        "mark": mark,
        "secret": secret,
        "secret_address": ctypes.addressof(buffer),
        "handle": file_handle(path.with_suffix(".parquet")),
        "device": table.stat().st_dev,
        "masked_targets": bytes(byte ^ 0x5A for byte in target.tobytes()),
        "mount_namespace": os.readlink("/proc/self/ns/mnt"),
        "process_namespace": os.readlink("/proc/self/ns/pid"),
        "socket": str(listening),
        "private": str(private),
        "key": key,
        "too_much": TOO_MUCH,
        "victim_output": victim.stdout.fileno(),
    }


def file_handle(path: Path) -> tuple[int, bytes]:
    """The kernel's name of a file, with which one may open it whatever hides it."""
    content = (ctypes.c_ubyte * 136)()
    ctypes.memmove(content, (128).to_bytes(4, "little"), 4)
    mount = ctypes.c_int()
    if LIBC.name_to_handle_at(-100, os.fsencode(path), content, ctypes.byref(mount), 0) < 0:
        return 0, b""
    size, kind = (int.from_bytes(bytes(content)[start : start + 4], "little") for start in (0, 4))
    return kind, bytes(content)[8 : 8 + size]


@contextlib.contextmanager
def listeners(mark: str, path: Path, key: int) -> Iterator[None]:
    """Sockets, shared memory and message queues of others, open to every user."""
    by_path, abstract = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    shared = Path("/dev/shm") / mark
    memory, queue = LIBC.shmget(key, 4096, 0o1666), LIBC.msgget(key, 0o1666)
    try:
        by_path.bind(str(path))
        path.chmod(0o777)
        abstract.bind(b"\0" + mark.encode())
        shared.write_text(mark)
        shared.chmod(0o666)
        yield
        for name, each in (("a path", by_path), ("an abstract name", abstract)):
            each.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                pytest.fail(f"a method reached a socket of {name}: {each.recv(100)!r}")
    finally:
        by_path.close()
        abstract.close()
        shared.unlink(missing_ok=True)
        LIBC.shmctl(memory, 0, None)
        LIBC.msgctl(queue, 0, None)


def write_sources(base: Path, facts: dict[str, Any]) -> None:
    for name, collection in (("methods", "hostile_methods"), ("probes", "hostile_probes")):
        (base / name).mkdir()
        (base / name / "method.py").write_text(source(collection, facts))
    for row in FILES.FOLDERS:
        folder = folder_of(base, row)
        folder.mkdir(parents=True)
        head = f"FACTS = {facts!r}\n"
        for name, text in {"method.py": FILES.BASE.replace("NAME", repr(row.name)) + row.method, **row.files}.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(head + text)
        row.setup(folder, facts)
    (base / "names").mkdir()
    classes = [f"class {name}(Mine):\n    {body}\n" for name, (body, _) in FILES.NAMES.items()]
    (base / "names" / "method.py").write_text(FILES.BASE.replace("NAME", "'mine'") + "\n".join(classes))


def predictions(record: Record) -> np.ndarray:
    assert record.status == "ok", (record.reason, record.log)
    return record.predictions()["prediction"].to_numpy()


@dataclass(frozen=True)
class Surroundings:
    """What must be the same after every method."""

    trees: dict[Path, dict[str, str]]
    state: dict[str, Any]
    memory_kib: int

    @classmethod
    def of(cls, base: Path) -> "Surroundings":
        trees = {base / name: hashes(base / name) for name in ("zoo", "other", "results", "methods", "probes")}
        return cls(trees | {CLONE: hashes_of_clone()}, state(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    @contextlib.contextmanager
    def watched(self, facts: dict[str, Any]) -> Iterator[list[str]]:
        """Notes signals that come, and processes that stay: orphans become children of this process."""
        came: list[str] = []
        children = set(descendants())
        LIBC.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        handler = signal.signal(signal.SIGURG, lambda *given: came.append("a signal came to the parent"))
        try:
            yield came
        finally:
            signal.signal(signal.SIGURG, handler)
            LIBC.prctl(36, 0, 0, 0, 0)
            until = time.monotonic() + 2
            while (left := set(descendants()) - children) and time.monotonic() < until:
                for pid in left:  # one that was killed has come to this process, which must take note of its end
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(pid, os.WNOHANG)
                time.sleep(0.05)
            for pid in left:
                came.append(f"process {pid} stays: {Path(f'/proc/{pid}/cmdline').read_bytes()[:100]!r}")
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
            with contextlib.suppress(OSError):
                if os.read(facts["victim_output"], 100):
                    came.append("a signal came to another process")
            if not is_alive(facts["victim"]):
                came.append("another process was killed")

    def changes(self, facts: dict[str, Any]) -> list[str]:
        """What is not as it was, in words."""
        found = []
        for root, before in self.trees.items():
            after = hashes_of_clone() if root == CLONE else hashes(root)
            found += [f"{root}/{path} changed" for path, digest in before.items() if after.get(path) != digest]
            if root.name not in ("results", CLONE.name):
                found += [f"{root}/{path} is new" for path in after.keys() - before.keys()]
        now = state()
        found += [f"{name} was {old!r} and is {now[name]!r}" for name, old in self.state.items() if now[name] != old]
        found += [f"{path} is left" for path in Path(facts["temporary"]).iterdir()]
        for folder in ("/dev/shm", "/tmp", "/var/tmp"):
            found += [f"{path} is left" for path in Path(folder).glob(f"{facts['mark']}-*")]
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self.memory_kib
        if used > 600 * 1024:
            found.append(f"this process took {used / 1024:.0f} MiB")
        if LIBC.shmget(facts["key"] + 1, 0, 0) >= 0 or LIBC.msgget(facts["key"] + 1, 0) >= 0:
            found.append("shared memory is left")
        return found


def hashes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
    }


def hashes_of_clone() -> dict[str, str]:
    """Of all files of the packages and tests, and names of what lies beside installed packages and the interpreter."""
    found = {}
    for name in ("benchmark", "baselines", "zoo_builder"):
        found |= {f"{name}/{path}": digest for path, digest in hashes(CLONE / name).items()}
    for path in filter(os.path.isdir, sys.path):
        found[f"names in {path}"] = " ".join(sorted(set(os.listdir(path)) - {"__pycache__", ".pytest_cache"}))
    return found


def state() -> dict[str, Any]:
    """What methods could change of this process."""
    limits = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")}
    return {
        "limits": limits,
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "affinity": os.sched_getaffinity(0),
        "scheduler": os.sched_getscheduler(0),
        "oom": Path("/proc/self/oom_score_adj").read_text(),
        "mounts": Path("/proc/self/mounts").read_text(),
        "folder": os.getcwd(),
        "group": os.getpgid(0),
        "core pattern": Path("/proc/sys/kernel/core_pattern").read_text(),
        "host": os.uname().nodename,
        "umask": next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Umask")),
    }


def descendants() -> list[int]:
    found, left = [], [os.getpid()]
    while left:
        parent = left.pop()
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                children = list(map(int, (task / "children").read_text().split()))
                found += children
                left += children
    return found


def is_alive(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG) == (0, 0)


# --- tests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["while it was described", "while it ran"])
def test_no_probe_reaches_anything(arena: Arena, moment: str) -> None:
    record = arena.records["probes"]
    assert record.status == "not applicable", (record.reason, record.log)
    text = arena.probed[moment]
    assert record.citation == f"{len(PROBES.PROBES)} probes"
    expected = SEEN_WITH_LANDLOCK if arena.kind == "landlock" else set()
    assert set(re.findall(r"'(\w+)': [\"'](?:succeeded|broken)", text)) <= expected, text


@pytest.mark.parametrize("name", METHODS.METHODS)
def test_every_method_ends_in_a_record(arena: Arena, name: str) -> None:
    if not arena.thorough and name not in USUAL:
        pytest.skip("runs in a slow test")
    method = METHODS.METHODS[name]
    if "refused" in method.ends and name.lower() in arena.refused:
        return
    record = arena.records[name.lower()]
    assert record.status in method.ends, (record.reason, record.log)
    assert method.says in (record.reason or "")
    assert "succeeded" not in f"{record.reason} {record.log}"
    assert len(record.reason or "") <= LONGEST_TEXT
    assert len(record.log or "") <= LONGEST_TEXT
    assert "\x1b" not in f"{record.reason}{record.log}"
    assert (record.access, record.control, record.kind) == ("weights", False, "predictor")
    assert 0 <= record.seconds < SECONDS + 60
    assert Record.load(record.path) == record
    if record.status == "ok":
        predicted = record.predictions()
        assert not np.isinf(predicted["prediction"]).any()
        assert predicted["prediction"].notna().to_numpy().all() or predicted["reason"].notna().any()
        assert predicted["reason"].dropna().str.len().max() in range(LONGEST_TEXT) or predicted["reason"].isna().all()
        assert not np.array_equal(predicted["prediction"], arena.target)
        assert "tau" not in record.scores or record.scores["tau"]["value"] < 1


def test_nothing_else_changed(arena: Arena) -> None:
    assert arena.wrong == []


def test_an_honest_method_beside_them_keeps_its_bits(arena: Arena) -> None:
    np.testing.assert_array_equal(predictions(arena.records["honest"]), arena.alone)


@pytest.mark.parametrize("row", FILES.FOLDERS, ids=lambda row: row.name.replace(" ", "-"))
def test_a_folder_harms_nothing(arena: Arena, row: Any) -> None:
    if not arena.thorough and row.name not in FILES.USUAL:
        pytest.skip("runs in a slow test")
    outcome = arena.folders[row.name]
    if isinstance(outcome, InputError):
        assert "refused" in row.ends, str(outcome)
        assert row.says in str(outcome)
        assert len(str(outcome)) <= LONGEST_TEXT
        return
    assert outcome.status in row.ends, (outcome.reason, outcome.log)
    assert not np.array_equal(predictions(outcome), arena.target)
    assert (outcome.control, outcome.access, outcome.source is None) == (False, "weights", False)


@pytest.mark.parametrize("name", FILES.NAMES)
def test_a_description_is_what_can_be_shown(arena: Arena, name: str) -> None:
    _, words = FILES.NAMES[name]
    method = arena.described[name.lower()]
    if words:
        assert isinstance(method, InputError), method
        assert words in str(method)
    if isinstance(method, InputError):
        assert words is None or words
        assert len(str(method)) <= LONGEST_TEXT
        return
    for text in (method.name, method.citation, method.formula):
        assert isinstance(text, str)
        assert len(text) <= 2000
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\u200b\ud800-\udfff]", text)
    assert json.dumps(method.to_json(), allow_nan=False)


def test_all_records_can_be_read(arena: Arena) -> None:
    found = read_records(Path(arena.facts["results"]), note=pytest.fail)
    assert {record.method for record in found} >= set(arena.records)


# Opens the way to the interpreter and the clone in mounts of its own, becomes the user, and runs a command.
ORDINARY = """
import ctypes, os, stat, sys
from pathlib import Path
user, paths, command = int(sys.argv[1]), sys.argv[2].split(":"), sys.argv[3:]
libc = ctypes.CDLL(None, use_errno=True)
def checked(result):
    if result:
        sys.exit(f"no mounts: {os.strerror(ctypes.get_errno())}")
checked(libc.unshare(0x20000))
checked(libc.mount(b"none", b"/", None, 0x4000 | 1 << 18, None))
closed = {}
for path in paths:
    above = [place for place in reversed(Path(path).parents) if not place.stat().st_mode & stat.S_IXOTH]
    if above:
        closed.setdefault(above[0], []).append((path, os.open(path, os.O_PATH)))
for place, within in closed.items():
    checked(libc.mount(b"none", bytes(place), b"tmpfs", 0, b"mode=755"))
    for path, descriptor in within:
        os.makedirs(path, exist_ok=True)
        checked(libc.mount(b"/proc/self/fd/%d" % descriptor, os.fsencode(path), None, 0x5000, None))
os.closerange(3, 100)
os.setgroups([])
os.setgid(user)
os.setuid(user)
os.execv(command[0], command)
"""
NOBODY = 65534


@pytest.mark.slow
@pytest.mark.parametrize("kind", sandbox.KINDS)
def test_an_ordinary_user_is_as_safe(kind: str) -> None:
    if os.getuid() != 0:
        pytest.skip("runs as an ordinary user anyway")
    with tempfile.TemporaryDirectory(prefix="ordinary-") as folder:
        os.chmod(folder, 0o755)
        home = Path(folder, "home")
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        pytest_command = [sys.executable, "-m", "pytest", __file__, "-k", f"{kind} and not ordinary", "-m", "slow"]
        pytest_command += ["-p", "no:cacheprovider", "-rs", "--basetemp", str(home / "pytest")]
        places = ":".join(dict.fromkeys([os.path.realpath(sys.base_prefix), sys.prefix, str(CLONE)]))
        done = subprocess.run(
            [sys.executable, "-c", ORDINARY, str(NOBODY), places, *pytest_command],
            cwd=CLONE,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(CLONE), "CI": "true"},
            capture_output=True,
            text=True,
        )
    skipped = re.search(r"^SKIPPED .*", done.stdout, re.M)
    if done.stderr.startswith("no mounts") or (skipped and " passed" not in done.stdout):
        pytest.skip(skipped[0] if skipped else done.stderr)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
