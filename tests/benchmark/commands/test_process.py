"""Commands in processes of their own: signals, standard streams, encodings."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmark.records import read_records
from zoo_builder.building.verify import faults
from zoo_builder.store.zoo import Zoo

pytestmark = pytest.mark.system

GENGAP = [sys.executable, "-m", "benchmark.commands.main"]
KEPT = "finished parts and records are kept: rerun the command to continue"
# As the C locale was before Python turned it into UTF-8.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The folder for temporary files of the commands that ``started`` starts."""
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


@pytest.fixture
def started(temporary: Path):
    """Starts a command, and yields its process once its notes hold a text."""

    @contextmanager
    def start(text: str, *arguments: object) -> Iterator[subprocess.Popen]:
        environment = os.environ | {"TMPDIR": str(temporary)}
        command = [*GENGAP, *map(str, arguments)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
        ) as process:
            try:
                said = ""
                while text not in said:
                    said = process.stderr.readline()
                    assert said, f"the command ended with {process.wait()}"
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    return start


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def session(leader: int) -> list[str]:
    """The command lines of all living processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, of = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(of) == leader and state != "Z":
                found.append((folder / "cmdline").read_text())
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
    return found


def stopped(process: subprocess.Popen, number: int, temporary: Path) -> None:
    """Sends a signal to the command alone, and checks that it ends well."""
    process.send_signal(number)
    _, said = process.communicate(timeout=300)
    how = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
    assert said.splitlines()[-1] == f"gengap: {how}; {KEPT}"
    assert "Traceback" not in said
    assert process.returncode == 128 + number
    wait_until(lambda: not session(process.pid), f"processes are left: {session(process.pid)}")
    assert [path.name for path in temporary.iterdir()] == []


@pytest.fixture
def sleeper(tmp_path: Path) -> str:
    """A method that takes longer than any test."""
    (tmp_path / "sleeper.py").write_text("import time\ndef mine(context):\n    time.sleep(1000)\n")
    return f"{tmp_path}/sleeper.py:mine"


# The others take the same way.
@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(other, marks=pytest.mark.slow) for other in (signal.SIGHUP, signal.SIGINT))],
)
def test_a_signal_ends_a_run_and_its_processes_and_keeps_its_records(
    started, temporary: Path, tmp_path: Path, small_zoo: Zoo, sleeper: str, number: int
) -> None:
    results = tmp_path / "results"
    run = ("run", "complexity", "oracle-0.5-sd", sleeper, "--zoo", small_zoo.root, "--results", results)
    with started("  oracle-0.5-sd", *run) as process:
        assert list(temporary.glob("gengap-*"))
        stopped(process, number, temporary)
    assert [record.method for record in read_records(results)] == ["oracle-0.5-sd"]
    assert not list(results.rglob("*.tmp"))


def test_a_run_clears_the_folder_of_one_that_was_killed(
    started, temporary: Path, tmp_path: Path, small_zoo: Zoo, sleeper: str
) -> None:
    run = ("--zoo", small_zoo.root, "--results", tmp_path / "results")
    with started("complexity: 1 method", "run", "complexity", sleeper, *run) as process:
        wait_until(lambda: list(temporary.glob("gengap-*/*/view.json")), "no view was written")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    left = set(temporary.glob("gengap-*"))
    assert left
    with started("  oracle-0.5-sd", "run", "complexity", "oracle-0.5-sd", sleeper, *run) as process:
        wait_until(lambda: list(temporary.glob("gengap-*/*/view.json")), "no view was written")
        living = set(temporary.glob("gengap-*"))
        assert not left & living
        with started("  oracle-1-sd", "run", "complexity", "oracle-1-sd", *run) as other:
            other.communicate(timeout=300)
        assert living & set(temporary.iterdir())
        stopped(process, signal.SIGTERM, temporary)


def test_what_a_signal_leaves_to_pythons_resource_tracker_is_freed_without_a_word() -> None:
    """As where a signal comes between the registration of a semaphore and its use."""
    code = "from multiprocessing import resource_tracker; resource_tracker.register('/gengap-nothing', 'semaphore')"
    told = []
    for prepare in ("", "from benchmark.commands import process; process.prepare(); "):
        command = [sys.executable, "-c", prepare + code]
        told.append(subprocess.run(command, capture_output=True, text=True, check=True).stderr)
    assert "leaked semaphore" in told[0]
    assert told[1] == ""


def test_a_signal_ends_a_build(started, temporary: Path, tmp_path: Path, recipe_of_digits) -> None:
    recipe = recipe_of_digits(tmp_path / "long.toml", 64, epochs=100_000)
    with started("0/", "zoo", "build", recipe, "--out", tmp_path / "zoo", "--workers", 2) as process:
        stopped(process, signal.SIGTERM, temporary)
    assert not list((tmp_path / "zoo").rglob("*.tmp"))


def test_a_signal_ends_a_measurement(started, temporary: Path, small_zoo: Zoo, tmp_path: Path) -> None:
    measure = ("measure", small_zoo.root, "--measures", "sharpness", "--workers", 2)
    with started("0/", *measure) as process:
        stopped(process, signal.SIGTERM, temporary)
    assert not list(small_zoo.root.rglob("*.tmp"))


@pytest.mark.slow
def test_a_signal_ends_a_demo(started, temporary: Path, tmp_path: Path) -> None:
    with started("0/", "demo", "--out", tmp_path / "demo", "--workers", 2) as process:
        stopped(process, signal.SIGTERM, temporary)


STOPPED = """
import os, signal, time
from benchmark.commands import process

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(10): pass

process.prepare()
try:
    Finalized()
    print("lost", flush=True)
    time.sleep(60)
except process.Stopped:
    time.sleep(2.5)
    print("cleaned up")
process.finish()
"""


def test_a_signal_that_python_loses_is_raised_again_and_not_while_the_process_cleans_up() -> None:
    done = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "lost\ncleaned up\n")


def test_a_command_that_ignores_hangups_goes_on(tmp_path: Path) -> None:
    """As nohup starts it."""
    program = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from benchmark.commands import process; "
        "process.prepare(); print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess:
    text = command.replace("gengap", " ".join(GENGAP))
    return subprocess.run(["bash", "-c", text], capture_output=True, env=os.environ | environment, check=False)


CLOSED = "gengap: error: the output cannot be written: Bad file descriptor; give it a file or a terminal\n"


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("gengap tasks >&-", 2, CLOSED),
        ("gengap tasks --help >&-", 2, CLOSED),
        ("gengap tasks >&- 2>&- <&-", 2, ""),
        ("gengap zoo info /nowhere 2>&-", 2, ""),
        ("gengap zoo info /nowhere 2>/dev/full", 2, ""),
        ("gengap nothing 2>/dev/full", 2, ""),
    ],
)
def test_streams_that_cannot_be_written_are_noticed_without_a_traceback(command: str, code: int, said: str) -> None:
    done = shell(command)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (code, b"", said)


SLOW_STREAMS = ("2>/dev/full", "2>&-")


@pytest.mark.parametrize(
    "stream",
    [
        "2> >(head -c 1 >/dev/null)",
        "<&- 2>&-",
        *(pytest.param(stream, marks=pytest.mark.slow) for stream in SLOW_STREAMS),
    ],
)
def test_a_build_whose_progress_nobody_can_read_ends_well(tmp_path: Path, stream: str) -> None:
    """No file takes the place of the closed stream: what was written to it would be in the file."""
    done = shell(f"gengap zoo build digits --models 4 --epochs 1 --workers 1 --out {tmp_path}/zoo {stream}")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"4 in" in done.stdout
    assert list(faults(Zoo.open(tmp_path / "zoo").root)) == []


def test_records_that_are_printed_to_a_closed_stream_are_kept(tmp_path: Path, small_zoo: Zoo) -> None:
    done = shell(f"gengap run complexity oracle-0.5-sd --zoo {small_zoo.root} --results {tmp_path} >&-")
    assert (done.returncode, done.stderr.decode().endswith(CLOSED)) == (2, True)
    assert [record.method for record in read_records(tmp_path)] == ["oracle-0.5-sd"]


@pytest.fixture
def greek(tmp_path: Path) -> Path:
    """A table of predictions whose columns have letters that ASCII lacks."""
    rows = "\n".join(f"m{i},{i % 7},{i % 5}" for i in range(20))
    (tmp_path / "table.csv").write_text(f"model,target,measure.é\n{rows}\n", encoding="utf-8")
    return tmp_path / "table.csv"


def test_letters_that_the_terminal_lacks_are_shown_as_their_numbers(greek: Path) -> None:
    score = f"gengap score {greek} --target target --prediction 'measure.*'"
    text, as_json = (shell(score + json_flag, **ASCII) for json_flag in ("", " --json"))
    assert (text.returncode, text.stderr, as_json.returncode) == (0, b"", 0)
    assert text.stdout.isascii()
    assert rb"measure.\xe9" in text.stdout
    assert as_json.stdout.isascii()
    assert "measure.é" in json.dumps(json.loads(as_json.stdout), ensure_ascii=False)
    assert "measure.é" in shell(score + " --json", LC_ALL="C.UTF-8", PYTHONIOENCODING="").stdout.decode()


@pytest.mark.slow
def test_a_zoo_is_built_and_scored_where_the_terminal_has_ascii_alone(tmp_path: Path) -> None:
    """With a new cache, so that the engine's sources are read, written and compiled."""
    place = {"XDG_CACHE_HOME": str(tmp_path / "cache"), **ASCII}
    zoo, results = tmp_path / "zoo", tmp_path / "results"
    for command in (
        f"zoo build digits --models 64 --epochs 1 --workers 1 --out {zoo}",
        f"run complexity path-norm --zoo {zoo} --results {results}",
        f"leaderboard {results} --html {tmp_path}/page.html --markdown {tmp_path}/page.md",
        f"zoo info {zoo}",
    ):
        done = shell(f"gengap {command}", **place)
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr.decode()


@pytest.mark.parametrize(("name", "locale"), [("z\u00f6", ASCII), ("z\udcff", {"LC_ALL": "C.UTF-8"})])
def test_an_argument_that_the_locale_cannot_spell_is_refused(tmp_path: Path, name: str, locale: dict[str, str]) -> None:
    command = [*GENGAP, "zoo", "build", "digits", "--out", str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, env=os.environ | locale, check=False)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, b"", [])
    assert b"of this locale: use other letters, or a locale that has them, such as LC_ALL=C.UTF-8\n" in done.stderr
    assert done.stderr.count(b"\n") == 1
