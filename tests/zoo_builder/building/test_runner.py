"""Workers change no bit of a zoo, and stop with their parent."""

import os
import signal
import time
from pathlib import Path

import pytest

from zoo_builder.building.build import build
from zoo_builder.building.runner import Local
from zoo_builder.errors import InputError

pytestmark = pytest.mark.system


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_workers_change_no_bit(tmp_path: Path, small_parts: None, engine: str, files_of, tiny) -> None:
    alone, two = (
        build(tiny(), tmp_path / str(workers), device="cpu", engine=engine, runner=Local(workers)) for workers in (1, 2)
    )
    assert files_of(alone.root) == files_of(two.root)
    assert [part.engines[0].split()[0] for part in alone.parts] == [engine] * 3


def test_workers_leave_with_a_parent_that_is_killed(tmp_path: Path, builder, tiny, wait_for, workers_of) -> None:
    with builder(tiny(16, 5000), tmp_path / "out", workers=2) as process:
        wait_for("epoch", process)
        workers = workers_of(process)
        assert len(workers) == 2
        process.kill()
    deadline = time.monotonic() + 30
    while any(_alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.2)


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_worker_is_one_clear_error(tmp_path: Path, builder, tiny, wait_for, workers_of) -> None:
    with builder(tiny(16, 5000), tmp_path / "out", workers=2) as process:
        wait_for("epoch", process)
        os.kill(workers_of(process)[-1], signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "a worker process was killed (out of memory?); finished parts are kept: run the same command again" in said


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_stops_at_once_and_leaves_no_half_written_file(
    tmp_path: Path, workers: int, builder, tiny, wait_for
) -> None:
    with builder(tiny(16, 5000), tmp_path / "out", workers=workers) as process:
        wait_for("epoch", process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_a_build_needs_a_worker(tmp_path: Path, tiny) -> None:
    with pytest.raises(InputError, match=r"`workers` is 0: it must be at least 1"):
        build(tiny(), tmp_path / "zoo", device="cpu", runner=Local(0))
