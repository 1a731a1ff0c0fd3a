"""Runs independent jobs: in this process, in worker processes that share their data, or as tasks of a Ray cluster.

A job's result depends only on the job, so neither the worker nor the order matters. Each worker uses one thread: on
small networks torch's own threads cost more time than they save.
"""

import importlib.util
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import torch

from zoo_builder.errors import InputError


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
    """Where jobs run. ``here`` is true if that is this machine."""

    here: ClassVar[bool]

    def run(
        self, jobs: Sequence[Job[Payload, Result]], payload: Payload, progress: Callable[[int], object], gpu: bool
    ) -> Iterator[Result]:
        """Yields the result of every job as it finishes.

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
        # Spawned, because torch does not survive a fork once it has used a thread or a GPU.
        context = multiprocessing.get_context("spawn")
        if payload is not None:
            payload.share_memory()
        # One counter per job and no lock: a worker killed while it holds a lock would block all others.
        counts = context.RawArray("q", len(jobs))
        done = threading.Event()
        reporter = threading.Thread(target=_report, args=(counts, progress, done), daemon=True)
        reporter.start()
        strangers = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(min(self.workers, len(jobs)), context, _start_worker, (payload, counts))
        try:
            for future in as_completed([pool.submit(_run, number, job) for number, job in enumerate(jobs)]):
                yield future.result()
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process was killed (out of memory?); finished parts are kept: run the same command again, "
                "with fewer `workers` if it was out of memory"
            ) from error
        finally:
            # On an error or Ctrl-C, unfinished jobs are abandoned.
            for process in set(multiprocessing.active_children()) - strangers:
                process.terminate()
            pool.shutdown(cancel_futures=True)
            done.set()
            reporter.join()


_worker: dict[str, Any] = {}


def _start_worker(payload: Shareable | None, counts: Any) -> None:
    torch.set_num_threads(1)
    _worker.update(payload=payload, counts=counts)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """Ends this worker when its parent process ends: a killed parent cannot stop its workers."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


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


# A job whose worker or node is lost restarts elsewhere, at most this many times.
_RETRIES = 3
ANSWER_SECONDS = 10


@dataclass(frozen=True)
class Ray:
    """A Ray cluster: every job is a task on one CPU (and one GPU, if the build is for GPUs).

    The payload passes once through Ray's object store. A task writes its own files, so the zoo's folder must be on a
    file system that all nodes share, under one path.

    Args:
        address: the head's "host:port". With None, ``ray.init`` chooses: the cluster that RAY_ADDRESS names or that
            runs on this machine, else a temporary one on this machine's cores.

    Raises:
        InputError: Ray is not installed, or no cluster answers at the address.
    """

    here: ClassVar[bool] = False
    address: str | None = None

    def __post_init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            raise InputError("the Ray runner needs Ray: install it with `pip install 'gengap[ray]'`")
        if self._address not in (None, "auto"):
            _refuse_silent(self._address)

    @property
    def _address(self) -> str | None:
        return self.address or os.environ.get("RAY_ADDRESS") or None

    def run(
        self, jobs: Sequence[Job[Payload, Result]], payload: Payload, progress: Callable[[int], object], gpu: bool
    ) -> Iterator[Result]:
        """See ``Runner.run``."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            cluster = ray.init(self._address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise InputError(f"cannot join the Ray cluster at {self._address or 'this machine'}: {error}") from error
        with cluster:
            counter = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Counter).remote()
            task = ray.remote(num_cpus=1, num_gpus=int(gpu), max_retries=_RETRIES)(_run_on_ray)
            shared = ray.put(payload)
            waiting: Any = [task.remote(number, job, shared, counter) for number, job in enumerate(jobs)]
            seen = 0
            while waiting:
                finished, waiting = ray.wait(waiting, timeout=0.5)
                total: Any = ray.get(counter.total.remote())
                progress(max(0, total - seen))
                seen = max(seen, total)
                for reference in finished:
                    try:
                        yield ray.get(reference)
                    except RayTaskError as error:
                        raise error.cause from error
                    except RayError as error:
                        raise InputError(
                            f"a job was lost {_RETRIES + 1} times with its Ray worker (out of memory?); finished "
                            f"parts are kept: run the same command again\n{error}"
                        ) from error


def _refuse_silent(address: str) -> None:
    """Raises InputError if no cluster answers. ``ray.init`` would try for minutes and then end this process."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        problem = f"nothing in {ANSWER_SECONDS} s"
    else:
        if asked.returncode == 0:
            return
        problem = (asked.stderr.strip() or f"exit code {asked.returncode}").splitlines()[-1]
    raise InputError(
        f"no Ray cluster answers at {address} ({problem}): expected the host:port that `ray start --head` printed"
    )


class _Counter:
    """Progress by job: a job that restarts counts from 0 again, and a restarted counter recovers."""

    def __init__(self) -> None:
        self.done: dict[int, int] = {}

    def tell(self, job: int, done: int) -> None:
        self.done[job] = done

    def total(self) -> int:
        return sum(self.done.values())


def _run_on_ray(number: int, job: Job, payload: Any, counter: Any) -> Any:
    torch.set_num_threads(1)
    done = 0

    def count(model_epochs: int) -> None:
        nonlocal done
        done += model_epochs
        counter.tell.remote(number, done)

    return job(payload, count)
