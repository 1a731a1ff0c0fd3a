"""Runs independent jobs: in this process, or in worker processes that share their data.

A job's result depends only on the job, so neither the worker nor the order matters. Each worker uses one thread: on
small networks torch's own threads cost more time than they save.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import torch

from zoo_builder.errors import InputError
from zoo_builder.processes import CONTEXT, pool


class Shareable(Protocol):
    """Large data that all jobs read."""

    def share_memory(self) -> None:
        """Moves the data to shared memory, so that worker processes read it without a copy."""
        ...


Payload = TypeVar("Payload", bound=Shareable | None)
Result = TypeVar("Result")
# A job reads the payload, writes its own files, counts its progress with the callback, and returns a summary.
Job = Callable[[Payload, Callable[[int], object]], Result]


class Runner(Protocol):
    """A place to run jobs; ``here`` is true if it is this machine."""

    here: ClassVar[bool]

    def run(
        self, jobs: Sequence[Job[Payload, Result]], payload: Payload, progress: Callable[[int], object], gpu: bool
    ) -> Iterator[Result]:
        """Yields the result of every job as it finishes.

        Args:
            payload: given to every job.
            progress: called with the progress of all jobs since the last call, in the jobs' own unit.
            gpu: whether the jobs need a GPU.

        Raises:
            InputError: the workers cannot be started, or were killed. The files of finished jobs stay.
        """
        ...


@dataclass(frozen=True)
class Local:
    """This machine: in this process with one worker or a GPU, else in ``workers`` processes.

    Raises:
        InputError: fewer than one worker.
    """

    here: ClassVar[bool] = True
    workers: int = 1

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError(f"`workers` is {self.workers}: it must be at least 1; the number of cores is best")

    def run(
        self, jobs: Sequence[Job[Payload, Result]], payload: Payload, progress: Callable[[int], object], gpu: bool
    ) -> Iterator[Result]:
        """See ``Runner.run``."""
        if self.workers == 1 or len(jobs) <= 1 or gpu:
            torch.set_num_threads(1)
            for job in jobs:
                yield job(payload, progress)
            return
        if payload is not None:
            payload.share_memory()
        # One counter per job and no lock: a worker killed while it holds a lock would block all others.
        counts = CONTEXT.RawArray("q", len(jobs))
        done = threading.Event()
        reporter = threading.Thread(target=_report, args=(counts, progress, done), daemon=True)
        reporter.start()
        try:
            with pool(min(self.workers, len(jobs)), _start_worker, payload, counts) as workers:
                for future in as_completed([workers.submit(_run, number, job) for number, job in enumerate(jobs)]):
                    yield future.result()
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process was killed (out of memory?); finished parts are kept: run the same command again, "
                "with fewer `workers` if it was out of memory"
            ) from error
        finally:
            done.set()
            reporter.join()


_worker: dict[str, Any] = {}


def _start_worker(payload: Shareable | None, counts: Any) -> None:
    torch.set_num_threads(1)
    _worker.update(payload=payload, counts=counts)


def _run(number: int, job: Job) -> Any:
    def count(model_epochs: int) -> None:
        _worker["counts"][number] += model_epochs

    return job(_worker["payload"], count)


def _report(counts: Sequence[int], progress: Callable[[int], object], done: threading.Event) -> None:
    """Reports the workers' counts a few times a second and once more at the end."""
    seen, last = 0, False
    while not last:
        last = done.wait(0.2)
        total = sum(counts)
        if total > seen:
            progress(total - seen)
        seen = total
