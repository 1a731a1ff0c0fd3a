"""Methods that harm on purpose or by mistake: copied by ``test_sandbox_hostile.py``, which fills in ``FACTS``.

Every class is a method. ``ends`` are the statuses that its record may have, or "refused" where it may have none, and
``says`` are words of the record's reason. A method that gets hold of the targets predicts them, and one that gets
something else that it should not have raises an AssertionError that begins with "succeeded".
"""

import builtins
import contextlib
import ctypes
import gc
import glob
import io
import json
import mmap
import os
import random
import resource
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from baselines.methods import NotApplicable, Prediction

FACTS: dict[str, Any] = {}
OK, FAILED, TIMEOUT = "ok", "failed", "timeout"


class Base:
    access = "weights"
    citation = "a test"
    ends: tuple[str, ...] = (OK,)
    says = ""

    def fit(self, view: Any, target: np.ndarray, *validation: Any) -> "Base":
        self.mean = float(np.mean(target))
        self.view = view
        return self

    def predict(self, view: Any) -> Any:
        self.attack(view)
        return honest(view)

    def attack(self, view: Any) -> None:
        raise NotImplementedError


def honest(view: Any) -> np.ndarray:
    """The mean square of the weights of the last layer."""
    values = np.full(view.size, np.nan)
    for stack in view.stacks:
        last = list(stack.parameters.values())[-1]
        values[np.asarray(stack.rows)] = last.flatten(1).square().mean(1).numpy()
    return values


class Honest(Base):
    def predict(self, view: Any) -> Any:
        return honest(view) + 1e-9 * random.random() + 1e-9 * np.random.rand()  # noqa: NPY002 - shows seeds


def descriptors() -> list[int]:
    """All that are open, but for the usual three."""
    return [number for number in range(3, 4096) if is_open(number)]


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def write_to_all(content: bytes) -> None:
    """Finds the way of the answer by trying all."""
    for number in descriptors():
        with contextlib.suppress(OSError):
            view = memoryview(content)
            while view:
                view = view[os.write(number, view) :]


def targets() -> np.ndarray:
    """The targets of the test models, wherever a method may find them."""
    import pandas as pd

    return pd.read_parquet(FACTS["other_table"])["target"].to_numpy()


class Crowd(Base):
    """As many processes as it may have, while ``Threaded`` runs beside it."""

    ends = (OK, FAILED)

    def attack(self, view: Any) -> None:
        children = []
        with contextlib.suppress(OSError):
            while len(children) < 1000:
                if (child := os.fork()) == 0:
                    time.sleep(8)
                    os._exit(0)
                children.append(child)
        for child in children:
            os.waitpid(child, 0)


class Threaded(Base):
    """Needs a thread from time to time, whose place no one else may take."""

    def attack(self, view: Any) -> None:
        for _ in range(20):
            thread = threading.Thread(target=time.sleep, args=(0.01,))
            thread.start()
            thread.join()
            time.sleep(0.4)


# --- steals the targets, or forges its answer -------------------------------------------------------------------------


class Stolen(Base):
    """Reads the targets where they lie."""

    def predict(self, view: Any) -> Any:
        try:
            return targets()
        except OSError:
            return honest(view)


class Stashed(Base):
    """At import, which happens while it is described too, it put aside what it read: see the end of this file."""

    def predict(self, view: Any) -> Any:
        for place in stashes():
            with contextlib.suppress(OSError, ValueError):
                return np.array(json.loads(Path(place).read_text()))
        return honest(view)


def stashes() -> list[str]:
    places = ("/tmp", "/dev/shm", "/var/tmp", "/code", "/view", os.path.dirname(__file__), os.environ.get("HOME", "/"))
    return [f"{place}/{FACTS['mark']}-stash" for place in (*places, FACTS["temporary"])]


class OldWay(Base):
    """Writes files of an answer into every folder that it can write, and leaves."""

    ends = (FAILED,)
    says = "before it gave an answer"

    def attack(self, view: Any) -> None:
        import pandas as pd

        outcome = {"status": "ok", "reason": None, "log": None, "seconds": -1}
        for place in {os.getcwd(), os.environ.get("HOME", "."), tempfile.gettempdir(), "/", "/code", "/view"}:
            with contextlib.suppress(OSError):
                Path(place, "result.json").write_text(json.dumps({"status": "ok", "methods": [outcome]}))
                values = np.full(view.size, np.inf)
                pd.DataFrame({"prediction 0": values, "reason 0": None}).to_parquet(f"{place}/predictions.parquet")
        os._exit(0)


class FifoForAnswer(Base):
    """What waits for a file waits for ever."""

    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        for name in ("result.json", "predictions.parquet", "log", "answer"):
            for place in {os.getcwd(), os.environ.get("HOME", "."), tempfile.gettempdir()}:
                with contextlib.suppress(OSError):
                    Path(place, name).unlink(missing_ok=True)
                    os.mkfifo(Path(place, name))
        os._exit(0)


class Junk(Base):
    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        write_to_all(b"\x80\x04junk\0\xff" * 100)
        os._exit(0)


class JunkFirst(Base):
    ends = (FAILED, OK)

    def attack(self, view: Any) -> None:
        write_to_all(b"{}\n")


class HalfFrame(Base):
    """The beginning of an answer that announces more than comes, in the usual ways to write a length."""

    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        write_to_all(struct.pack("<Q", 1000) + b"\0" * 10)
        os._exit(0)


class HugeLength(Base):
    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        write_to_all(struct.pack("<Q", 2**62) + struct.pack(">Q", 2**62) + b"9" * 5000)
        os._exit(0)


class HugeAnswer(Base):
    """Gigabytes, of which the parent must keep few."""

    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        for _ in range(40):
            write_to_all(b" " * 2**25)
        os._exit(0)


class DeepJson(Base):
    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        write_to_all(b"[" * 200_000 + b"\n")
        os._exit(0)


class StrangeJson(Base):
    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        write_to_all(b'{"status": "ok", "reason": [NaN, 1e999], "log": {}, "methods": [1' + b"0" * 10_000 + b"]}\n")
        os._exit(0)


class ManyAnswers(Base):
    """Answers with the functions that send one, several times and by two processes at once."""

    ends = (OK, FAILED)

    def predict(self, view: Any) -> Any:
        os.fork()
        os.fork()
        return honest(view)


class KeepsTheAnswerOpen(Base):
    """The reader sees no end of the answer: a daemon holds the other end."""

    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        if daemon():
            hide()
            while True:
                time.sleep(1)
        os._exit(0)


class ClosesTheAnswer(Base):
    ends = (OK, FAILED)

    def attack(self, view: Any) -> None:
        os.closerange(3, 4096)


class Dribbles(Base):
    """A byte of an answer from time to time, for ever."""

    ends = (TIMEOUT, FAILED)

    def attack(self, view: Any) -> None:
        while True:
            write_to_all(b"\x01")
            time.sleep(0.2)


class Unchecked(Base):
    """The checks in its own process are in its own hands."""

    ends = (FAILED,)
    says = ""

    def predict(self, view: Any) -> Any:
        replace_checks(lambda answer, *rest: self.forged(view))
        return honest(view)

    def forged(self, view: Any) -> Any:
        return Prediction(np.full(view.size, np.inf), {})


class UncheckedNaN(Unchecked):
    def forged(self, view: Any) -> Any:
        return Prediction(np.full(view.size, np.nan), {})


class UncheckedShort(Unchecked):
    def forged(self, view: Any) -> Any:
        return Prediction(np.zeros(view.size - 1), {})


class UncheckedReasons(Unchecked):
    """Reasons that no one could keep."""

    ends = (OK, FAILED)

    def forged(self, view: Any) -> Any:
        values = np.full(view.size, np.nan)
        values[: view.size // 2] = np.arange(view.size // 2)
        return Prediction(values, dict.fromkeys(range(view.size), "x" * 2**20))


def replace_checks(forge: Any) -> None:
    """Puts ``forge`` in the place of every function of the benchmark that checks an answer."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("benchmark", "__main__")):
            for function in ("checked", "checked_answer", "check"):
                if hasattr(module, function):
                    setattr(module, function, forge)


# --- answers of the wrong kind ----------------------------------------------------------------------------------------


class Answers(Base):
    ends = (FAILED,)

    def predict(self, view: Any) -> Any:
        return self.answer(view.size)

    def answer(self, size: int) -> Any:
        raise NotImplementedError


class Complex(Answers):
    def answer(self, size: int) -> Any:
        return np.arange(size) + 1j


class Dates(Answers):
    def answer(self, size: int) -> Any:
        return np.arange(size).astype("datetime64[s]")


class Masked(Answers):
    def answer(self, size: int) -> Any:
        return np.ma.masked_less(np.arange(size, dtype=float), 3)


class Generator(Answers):
    def answer(self, size: int) -> Any:
        return (number for number in range(size))


class Endless(Answers):
    """A sequence without end."""

    ends = (FAILED, TIMEOUT)

    def answer(self, size: int) -> Any:
        class Sequence:
            def __len__(self) -> int:
                return 2**40

            def __getitem__(self, row: int) -> float:
                return float(row)

        return Sequence()


class Overflow(Answers):
    says = "infinite"

    def answer(self, size: int) -> Any:
        return [float("1e400")] * size


class HugeInteger(Answers):
    def answer(self, size: int) -> Any:
        return [10**400] * size


class Unsteady(Answers):
    """Another array on every look."""

    ends = (OK, FAILED)

    def answer(self, size: int) -> Any:
        class Array(np.ndarray):
            looks = 0

            def __array_finalize__(self, other: Any) -> None:
                Array.looks += 1

            def __array__(self, *given: Any, **named: Any) -> np.ndarray:
                Array.looks += 1
                return np.full(size if Array.looks % 2 else 2 * size, np.inf if Array.looks > 2 else 0.5)

        return np.zeros(size).view(Array)


class UnsteadyPrediction(Answers):
    """``values`` and ``reasons`` that are something else the second time."""

    ends = (OK, FAILED)

    def answer(self, size: int) -> Any:
        class Twice(Prediction):
            looks = 0

            def __getattribute__(self, name: str) -> Any:
                Twice.looks += 1
                if name == "values":
                    return np.full(size, 0.25) if Twice.looks < 3 else np.full((size, 2), np.inf)
                return [{0: "why"}, {0: "\x1b[2J" * 10**6}, "none", 7][Twice.looks % 4]

        return Twice(np.zeros(size))


class HugeReasons(Answers):
    ends = (OK, FAILED)

    def answer(self, size: int) -> Any:
        values = np.arange(size, dtype=float)
        values[:4] = np.nan
        return Prediction(values, {0: "x" * 5 * 10**7, 1: "\x1b]0;title\x07\u202e|<script>", 2: b"\xff", 3: "\ud800"})


class NearlyInfinite(Answers):
    """The largest numbers there are: ordered without an overflow."""

    ends = (OK, FAILED)

    def answer(self, size: int) -> Any:
        values = np.full(size, 1.7e308)
        values[::2] *= -1
        return values


# --- ends in another way than by an answer ----------------------------------------------------------------------------


class ExitsWell(Base):
    ends = (FAILED,)
    says = "before it gave an answer"

    def attack(self, view: Any) -> None:
        os._exit(0)


class SystemExits(Base):
    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        sys.exit(0)


class Interrupts(Base):
    """What is no Exception."""

    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        raise KeyboardInterrupt


class Segfaults(Base):
    ends = (FAILED,)
    says = "signal 11"

    def attack(self, view: Any) -> None:
        ctypes.string_at(0)


class Recurses(Base):
    """Until the stack ends: Python's own limit is gone."""

    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        sys.setrecursionlimit(2**30)

        def deeper() -> Any:
            return sorted([1], key=lambda _: deeper())

        deeper()


class LongText(Base):
    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        raise RuntimeError("x" * 50_000_000)


class LongTraceback(Base):
    """A chain of causes with notes, and a name of a type that is long and colored."""

    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        error: BaseException = type("\x1b[31m" + "E" * 10**6, (Exception,), {})("base")
        for number in range(900):
            follower = ValueError(f"cause {number}")
            follower.__cause__ = error
            follower.add_note("note " * 10_000)
            error = follower
        raise error


class TextRaises(Base):
    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        class Mute(Exception):
            def __str__(self) -> str:
                raise SystemExit("no text")

            __repr__ = __str__

        raise Mute


class TextNeverEnds(Base):
    ends = (TIMEOUT,)

    def attack(self, view: Any) -> None:
        class Long(Exception):
            def __str__(self) -> str:
                while True:
                    time.sleep(1)

        raise Long


class TextIsNoText(Base):
    """Its words are lone surrogates, which no file takes."""

    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        print("\ud800 printed", file=sys.stderr)
        raise NotApplicableToo("\ud800\x00\x1b[2J")


class NotApplicableToo(ValueError):
    pass


class LongNotApplicable(Base):
    ends = ("not applicable",)

    def attack(self, view: Any) -> None:
        raise NotApplicable("because " * 10**6)


# --- takes too much ---------------------------------------------------------------------------------------------------


class Prints(Base):
    def attack(self, view: Any) -> None:
        for _ in range(200):
            os.write(1, b"o" * 2**20)
            os.write(2, b"e" * 2**20)


class PrintsAndFails(Base):
    ends = (FAILED,)
    says = "after all that"

    def attack(self, view: Any) -> None:
        for _ in range(20_000):
            print("\x1b[31mline\r" * 20)
        raise RuntimeError("after all that")


class Pages(Base):
    """Memory, page by page."""

    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        hold(lambda: bytearray(os.urandom(4096) * 2**14))


class SharedPages(Base):
    """Shared memory is no process's own, so that some limits do not count it."""

    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        hold(lambda: filled(mmap.mmap(-1, 2**26)))


class MemoryFiles(Base):
    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        hold(memory_file)


class ManySmallProcesses(Base):
    """Many processes with a little memory each."""

    ends = (OK, FAILED)

    def attack(self, view: Any) -> None:
        before = available()
        children = []
        for _ in range(64):
            with contextlib.suppress(OSError):
                if (child := os.fork()) == 0:
                    held = [filled(mmap.mmap(-1, 2**26)) for _ in range(16)]
                    time.sleep(60)
                    os._exit(len(held))
                children.append(child)
            time.sleep(0.2)
            if before - available() > FACTS["too_much"]:
                raise AssertionError(f"succeeded: {len(children)} processes took more than {FACTS['too_much']} bytes")


class PageTables(Base):
    """Reads one byte of every 2 MiB of nothing: each page that is read is the same, and each needs a table."""

    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        step, spans = 2**21, []
        for _ in range(FACTS["too_much"] // 2**13):
            if not spans or spans[-1][1] >= len(spans[-1][0]):
                spans.append([mmap.mmap(-1, 2**34, flags=mmap.MAP_PRIVATE | 0x4000, prot=mmap.PROT_READ), 0])
            memory, place = spans[-1]
            memory[place]
            spans[-1][1] = place + step
        raise AssertionError(f"succeeded: {len(spans)} times 8192 tables of 4 KiB")


class SocketBuffers(Base):
    """What no one has read yet lies in the kernel."""

    ends = (FAILED,)

    def attack(self, view: Any) -> None:
        count, children = mmap.mmap(-1, 4096), []
        for number in range(40):
            with contextlib.suppress(OSError):
                if (child := os.fork()) == 0:
                    struct.pack_into("q", count, 8 * number, fill_buffers())
                    time.sleep(30)
                    os._exit(0)
                children.append(child)
            time.sleep(0.3)
            if (held := sum(struct.unpack_from("40q", count))) > FACTS["too_much"] // 2:
                raise AssertionError(f"succeeded: holds {held / 2**30:.1f} GiB in buffers")
        raise RuntimeError(f"{sum(struct.unpack_from('40q', count)) / 2**30:.1f} GiB by {len(children)} processes")


KEPT = []


def fill_buffers() -> int:
    """Bytes in the buffers of all sockets that a process may open, which stay open."""
    held = 0
    with contextlib.suppress(OSError):
        while True:
            KEPT.append(socket.socketpair())
            for end in KEPT[-1]:
                end.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        held += end.send(b"x" * 2**16)
    return held


def available() -> int:
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))


def hold(take: Any) -> None:
    """Takes pieces of 64 MiB until there are no more, at most ``too_much``, which a machine must bear."""
    held = []
    while len(held) * 2**26 < FACTS["too_much"]:
        held.append(take())
    raise AssertionError(f"succeeded: holds {len(held) / 16:g} GiB")


def filled(memory: mmap.mmap) -> mmap.mmap:
    for place in range(0, len(memory), 4096):
        memory[place] = 1
    return memory


def memory_file() -> int:
    file = os.memfd_create("held")
    os.write(file, b"x" * 2**26)
    return file


class FillsTheDisk(Base):
    """Everywhere it can write."""

    ends = (OK, FAILED)

    def attack(self, view: Any) -> None:
        written = 0
        places = ("/tmp", "/dev/shm", "/var/tmp", tempfile.gettempdir(), os.environ.get("HOME", "/"), "/code", "/")
        for place in sorted(set(map(os.path.realpath, places))):
            with contextlib.suppress(OSError):
                for number in range(10_000):
                    with open(f"{place}/{FACTS['mark']}-{number}", "wb") as file:
                        for _ in range(4):
                            file.write(b"x" * 2**22)
                            written += 2**22
                        if written > FACTS["too_much"]:
                            raise AssertionError(f"succeeded: wrote {written / 2**30:g} GiB")


class ManyFiles(Base):
    """All file names of a scratch folder, a tree that is deeper than Python's stack, and names no one can print."""

    ends = (OK, FAILED)

    def attack(self, view: Any) -> None:
        os.chdir(tempfile.gettempdir())
        for number in range(20_000):
            os.close(os.open(f"file{number}", os.O_CREAT | os.O_WRONLY, 0))
        for name in (b"\xff\xfe", b"\n", b"x" * 255, "\u202e".encode()):
            os.mkdir(name, 0)
        os.symlink(FACTS["zoo"], "zoo")
        os.symlink("/", "root")
        os.mkfifo("fifo")
        with contextlib.suppress(OSError):
            for _ in range(3000):
                os.mkdir("d")
                os.chdir("d")
        os.chdir(tempfile.gettempdir())
        with contextlib.suppress(OSError):  # chattr +i, for root
            file = os.open("kept", os.O_CREAT | os.O_RDONLY, 0o4777)
            __import__("fcntl").ioctl(file, 0x40086602, struct.pack("l", 0x10))
            raise AssertionError("succeeded: a file that cannot be removed")


class HiddenFiles(Base):
    """Files without a name, and those in a folder that cannot be listed, take room that no one sees."""

    ends = (OK, FAILED)

    def attack(self, view: Any) -> None:
        held, folder = [], f"{tempfile.gettempdir()}/closed"
        os.mkdir(folder, 0o300)
        with contextlib.suppress(OSError):
            for number in range(FACTS["too_much"] // 2**28):
                held.append(open(f"{folder}/{number}", "wb"))  # noqa: SIM115 - they stay open
                if number % 2:
                    os.unlink(f"{folder}/{number}")
                for _ in range(2**6):
                    held[-1].write(b"x" * 2**22)
            raise AssertionError(f"succeeded: wrote {len(held) / 4:g} GiB")


class SparseFile(Base):
    """A terabyte that takes no room until someone reads it."""

    ends = (OK, FAILED)

    def attack(self, view: Any) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with contextlib.suppress(OSError), open(f"{tempfile.gettempdir()}/sparse", "wb") as file:
            file.truncate(2**40)
            raise AssertionError("succeeded: a file of a terabyte")


class OpensFiles(Base):
    ends = (OK, FAILED)

    def attack(self, view: Any) -> None:
        self.held = []
        with contextlib.suppress(OSError):
            while len(self.held) < 2**20:
                self.held.append(os.open("/dev/null", os.O_RDONLY))
            raise AssertionError("succeeded: opened a million files")


# --- does not end -----------------------------------------------------------------------------------------------------


class Loops(Base):
    ends = (TIMEOUT,)

    def attack(self, view: Any) -> None:
        while True:
            pass


class Deaf(Base):
    """Swallows every signal and every exception."""

    ends = (TIMEOUT,)

    def attack(self, view: Any) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(1)


class Stops(Base):
    ends = (TIMEOUT,)

    def attack(self, view: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


class Threads(Base):
    """Answers, and never ends: Python waits for threads."""

    ends = (OK, FAILED, TIMEOUT)

    def attack(self, view: Any) -> None:
        for _ in range(4):
            threading.Thread(target=lambda: [time.sleep(1) for _ in iter(int, 1)]).start()


def daemon() -> bool:
    """Whether this is the daemon: a grandchild with a session of its own, deaf to all that can be ignored."""
    if os.fork():
        return False
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in range(1, 32):
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    return True


def hide() -> None:
    """Closes what a daemon could be noticed by."""
    for number in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.close(number)


class Daemons(Base):
    def attack(self, view: Any) -> None:
        for _ in range(5):
            if daemon():
                while True:
                    time.sleep(1)


class Forks(Base):
    """200 processes, each of which stays."""

    ends = (OK, FAILED)

    def attack(self, view: Any) -> None:
        for _ in range(200):
            try:
                child = os.fork()
            except OSError:
                break
            if child == 0:
                while True:
                    time.sleep(1)


class ForkBomb(Base):
    """Processes that fork too, up to a number that a machine must bear."""

    ends = (OK, FAILED, TIMEOUT)

    def attack(self, view: Any) -> None:
        main, until = os.getpid(), time.monotonic() + 3
        count = mmap.mmap(-1, 4096)
        while time.monotonic() < until and (number := struct.unpack_from("i", count)[0]) < 1000:
            with contextlib.suppress(OSError):
                if os.fork() == 0:
                    struct.pack_into("i", count, 0, number + 1)
            time.sleep(0.01)
        if os.getpid() != main:
            os._exit(0)
        if struct.unpack_from("i", count)[0] >= 1000:
            raise AssertionError("succeeded: a thousand processes")


class KillsAll(Base):
    """Everything that it can see, if it has a process namespace of its own, where that is only itself."""

    ends = (OK, FAILED)

    def attack(self, view: Any) -> None:
        if os.readlink("/proc/self/ns/pid") == FACTS["process_namespace"]:
            return  # the probes send signals that do nothing
        with contextlib.suppress(OSError):
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.kill(1, signal.SIGKILL)


class KillsItsParent(Base):
    ends = (OK, FAILED)

    def attack(self, view: Any) -> None:
        if os.readlink("/proc/self/ns/pid") == FACTS["process_namespace"]:
            return
        for send in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(OSError):
                os.kill(os.getppid(), send)


# --- changes what others read -----------------------------------------------------------------------------------------


class Unseeds(Base):
    """All state of a process, which is no one else's."""

    ends = (OK, FAILED)

    def attack(self, view: Any) -> None:
        import torch

        random.seed(99)
        np.random.seed(99)  # noqa: NPY002 - the global one is what is changed
        torch.manual_seed(99)
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(7)
        os.chdir("/")
        os.environ.clear()
        warnings.simplefilter("error")
        np.seterr(all="raise")
        gc.disable()
        os.umask(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_CPU, (3600, 3600))
        sys.stdout = sys.stderr = None
        os.close(1)


class BreaksModules(Base):
    ends = (OK, FAILED)

    def attack(self, view: Any) -> None:
        def broken(*given: Any, **named: Any) -> Any:
            raise SystemError("broken by a method")

        for module, name in ((json, "dumps"), (json, "loads"), (io, "open"), (np, "asarray"), (struct, "pack")):
            setattr(module, name, broken)
        builtins.open = broken  # type: ignore[assignment]
        sys.modules.clear()


class WritesItsView(Base):
    """What others read after it."""

    ends = (OK, FAILED)

    def attack(self, view: Any) -> None:
        for stack in view.stacks:
            for value in stack.parameters.values():
                value.zero_()
        with open("/proc/self/maps") as maps:
            files = {line.split(maxsplit=5)[5].strip() for line in maps if ".safetensors" in line}
        for path in [*files, *glob.glob("/view/**", recursive=True)]:
            with contextlib.suppress(OSError):
                os.close(os.open(path, os.O_RDWR))
                raise AssertionError(f"succeeded: can write {path}")


class LooksBeside(Base):
    """Beside its view: of the other levels, of other methods, of the labels."""

    def attack(self, view: Any) -> None:
        with open("/proc/self/maps") as maps:
            folders = {os.path.dirname(line.split(maxsplit=5)[5].strip()) for line in maps if ".safetensors" in line}
        seen = [path for folder in folders for path in glob.glob(f"{folder}/../*/*") if os.path.isfile(path)]
        seen = [path for path in seen if os.path.basename(path) in ("labels.parquet", "statistics.parquet", "job.json")]
        if seen:
            raise AssertionError(f"succeeded: sees {seen}")
        if hasattr(view, "hyperparameters"):
            raise AssertionError("succeeded: reads more than its level")


# --- says one thing and is another ------------------------------------------------------------------------------------


class Control(Honest):
    """A control would be shown whatever it reads."""

    control = True


class Fickle(Base):
    """Another access level at every look, some of which do not exist."""

    ends = (OK, FAILED)
    looks = 0

    @property
    def access(self) -> Any:  # type: ignore[override]
        Fickle.looks += 1
        return "weights" if Fickle.looks % 2 else "trajectory"

    def predict(self, view: Any) -> Any:
        if hasattr(view, "statistics"):
            raise AssertionError("succeeded: reads more than its level")
        return honest(view)


class _Liar(str):
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("weights")


class Liar(Base):
    ends = ("refused", OK, FAILED)
    access = _Liar("trajectory")

    def predict(self, view: Any) -> Any:
        if hasattr(view, "statistics"):
            raise AssertionError("succeeded: reads more than its level")
        return honest(view)


METHODS = {
    name: value
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, Base) and value not in (Base, Answers) and not name.startswith("_")
}
# One of each sort, which also runs where time is short.
USUAL = """
Honest Stolen Stashed OldWay Junk HugeAnswer DeepJson KeepsTheAnswerOpen Unchecked HugeReasons Segfaults LongText Prints
Pages SharedPages FillsTheDisk ManyFiles Loops Deaf Stops Daemons Forks ForkBomb KillsAll Unseeds WritesItsView
LooksBeside Control Fickle
"""
for _name, _method in METHODS.items():
    _method.name = _name.lower()  # type: ignore[attr-defined]

if FACTS:
    with contextlib.suppress(OSError):
        _stash = json.dumps(targets().tolist())
        for _place in stashes():
            with contextlib.suppress(OSError):
                Path(_place).write_text(_stash)
