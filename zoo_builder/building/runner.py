"""Runs the parts of a build: in this process, in worker processes that share the images, or as tasks of a Ray cluster.

A part's result depends on the part alone, so it does not matter who takes it, or when. Workers use one thread each: on
small networks torch's own threads cost more than they give.
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

from zoo_builder.datasets.dataset import Dataset
from zoo_builder.errors import InputError

# What a part is given: the data, or None where it needs none.
Data = TypeVar("Data", bound=Dataset | None)
# A part: takes the data and a callback that counts what is done, commits its files and returns its sidecar.
Part = Callable[[Data, Callable[[int], object]], dict]


class Runner(Protocol):
    """Where parts are trained: ``here``, on this machine, or elsewhere."""

    here: ClassVar[bool]

    def run(
        self, parts: Sequence[Part[Dataset]], data: Dataset, progress: Callable[[int], object], gpu: bool
    ) -> Iterator[dict]:
        """Yields the sidecar of every part as it is committed.

        Raises:
            InputError: the workers cannot be had, or were killed. What other parts have committed stays.
        """
        ...


@dataclass(frozen=True)
class Local:
    """This machine: one worker is this process, more are processes of their own. A GPU takes one.

    Raises:
        InputError: fewer than one worker.
    """

    here: ClassVar[bool] = True
    workers: int = 1

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError(f"--workers is {self.workers}: it must be at least 1, and is best the number of cores")

    def run(
        self, parts: Sequence[Part[Data]], data: Data, progress: Callable[[int], object], gpu: bool
    ) -> Iterator[dict]:
        """See ``Runner.run``."""
        if self.workers == 1 or len(parts) <= 1 or gpu:
            torch.set_num_threads(1)
            for part in parts:
                yield part(data, progress)
            return
        # Spawned, because torch does not survive a fork once it has used a thread or a GPU.
        context = multiprocessing.get_context("spawn")
        if data is not None:
            for images_or_labels in (data.train_images, data.train_labels, data.test_images, data.test_labels):
                images_or_labels.share_memory_()
        # One counter per part and no lock: a worker that is killed while it holds a lock would stop everyone.
        counts = context.RawArray("q", len(parts))
        done = threading.Event()
        reporter = threading.Thread(target=_report, args=(counts, progress, done), daemon=True)
        reporter.start()
        strangers = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(min(self.workers, len(parts)), context, _start_worker, (data, counts))
        try:
            for future in as_completed([pool.submit(_run, number, part) for number, part in enumerate(parts)]):
                yield future.result()
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process was killed (out of memory?); finished parts are kept: run the same command again, "
                "with fewer --workers if memory is short"
            ) from error
        finally:
            # On an error or Ctrl-C nobody waits for parts that are still in training.
            for process in set(multiprocessing.active_children()) - strangers:
                process.terminate()
            pool.shutdown(cancel_futures=True)
            done.set()
            reporter.join()


_worker: dict[str, Any] = {}


def _start_worker(data: Dataset | None, counts: Any) -> None:
    torch.set_num_threads(1)
    _worker.update(data=data, counts=counts)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """Ends this worker when its parent is gone: a parent that is killed cannot tell it to stop."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(number: int, part: Part) -> dict:
    def count(model_epochs: int) -> None:
        _worker["counts"][number] += model_epochs

    return part(_worker["data"], count)


def _report(counts: Sequence[int], progress: Callable[[int], object], done: threading.Event) -> None:
    """Passes on what the workers have counted, a few times a second and once more at the end."""
    seen, last = 0, False
    while not last:
        last = done.wait(0.2)
        total = sum(counts)
        if total > seen:
            progress(total - seen)
        seen = total


# A part whose worker or node is lost starts again elsewhere, so many times.
_RETRIES = 3
_ANSWER_SECONDS = 10


@dataclass(frozen=True)
class Ray:
    """A Ray cluster: every part is a task of one CPU (and one GPU, where the build is for GPUs).

    The images go once through Ray's object store. A task writes its part itself, so the zoo's folder must be on a file
    system that all nodes share, under one path.

    Args:
        address: the head's "host:port"; None is what ``ray.init`` takes it for: the cluster that RAY_ADDRESS names or
            that runs on this machine, else one of this machine's cores that ends with the build.

    Raises:
        InputError: Ray is not installed, or nothing answers at the address.
    """

    here: ClassVar[bool] = False
    address: str | None = None

    def __post_init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            raise InputError("--runner ray needs Ray: install it with `pip install 'gengap[ray]'`")
        if self._address not in (None, "auto"):
            _refuse_silent(self._address)

    @property
    def _address(self) -> str | None:
        return self.address or os.environ.get("RAY_ADDRESS") or None

    def run(
        self, parts: Sequence[Part[Dataset]], data: Dataset, progress: Callable[[int], object], gpu: bool
    ) -> Iterator[dict]:
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
            images = ray.put(data)
            waiting: Any = [task.remote(number, part, images, counter) for number, part in enumerate(parts)]
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
                            f"a part was lost {_RETRIES + 1} times with its Ray worker (out of memory?); finished "
                            f"parts are kept: run the same command again\n{error}"
                        ) from error


def _refuse_silent(address: str) -> None:
    """Asks whether a cluster answers. ``ray.init`` would try for minutes, and then end this process."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        problem = f"nothing in {_ANSWER_SECONDS} s"
    else:
        if asked.returncode == 0:
            return
        problem = (asked.stderr.strip() or f"exit code {asked.returncode}").splitlines()[-1]
    raise InputError(
        f"no Ray cluster answers at {address} ({problem}): expected the host:port that `ray start --head` printed"
    )


class _Counter:
    """Model-epochs done, by part: a part that starts again counts again from 0, and a counter that does recovers."""

    def __init__(self) -> None:
        self.done: dict[int, int] = {}

    def tell(self, part: int, model_epochs: int) -> None:
        self.done[part] = model_epochs

    def total(self) -> int:
        return sum(self.done.values())


def _run_on_ray(number: int, part: Part, data: Dataset, counter: Any) -> dict:
    torch.set_num_threads(1)
    done = 0

    def count(model_epochs: int) -> None:
        nonlocal done
        done += model_epochs
        counter.tell.remote(number, done)

    return part(data, count)
