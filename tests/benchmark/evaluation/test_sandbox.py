"""What a user's code cannot reach; in processes of their own, because a restriction cannot be lifted."""

import subprocess
import sys
from pathlib import Path

import pytest

# The script prints the error of each attempt.
SCRIPT = """
import glob, os, socket, sys
from benchmark.evaluation.sandbox import restrict

closed = sys.argv[1]
restrict([closed])
for attempt in (
    lambda: socket.create_connection(("127.0.0.1", 9), timeout=2),
    lambda: open(os.path.join(closed, "secret")),
    lambda: os.listdir(closed),
    lambda: glob.glob(os.path.join(closed, "*")),
    lambda: os.stat(os.path.join(closed, "secret")),
    lambda: open(__file__),
):
    try:
        print(attempt())
    except OSError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("sandbox")
    closed = folder / "closed"
    closed.mkdir()
    (closed / "secret").write_text("0.93")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(closed)]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (0, "Network is unreachable"),
        (1, "a method may read only its view: "),
        (2, "a method may read only its view: "),
        (3, "[]"),
        (4, "No such file or directory"),
        (5, "script.py"),
    ],
    ids=["network", "open", "listdir", "glob", "stat", "its own file"],
)
def test_what_a_restricted_process_reaches(printed: list[str], attempt: int, words: str) -> None:
    assert words in printed[attempt]
