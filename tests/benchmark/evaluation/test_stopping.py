"""Processes of a pool end with the work that they were started for."""

import subprocess
import threading
import time
from concurrent.futures import Future

import pytest

from benchmark.evaluation.stopping import process_pool


def test_the_processes_of_a_pool_are_killed_if_its_work_is_given_up_and_no_others() -> None:
    other = subprocess.Popen(["sleep", "1000"])
    ended: list[int] = []
    begun = threading.Barrier(3)

    def wait(seconds: int) -> None:
        with subprocess.Popen(["sleep", str(seconds)]) as process:
            begun.wait(60)
            ended.append(process.wait())

    def give_up() -> None:
        with process_pool(2) as pool:
            jobs.extend(pool.submit(wait, 1000) for _ in range(3))
            begun.wait(60)
            raise KeyboardInterrupt

    jobs: list[Future] = []
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        give_up()
    assert time.monotonic() - start < 60
    assert ended == [-15, -15]
    assert jobs[2].cancelled()
    assert other.poll() is None
    other.kill()
    other.wait()


def test_without_an_error_the_pool_waits() -> None:
    with process_pool(2) as pool:
        done = [pool.submit(subprocess.call, ["sleep", "0.2"]) for _ in range(4)]
    assert [future.result() for future in done] == [0] * 4
