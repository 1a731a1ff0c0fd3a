"""Runs independent jobs as tasks of a Ray cluster."""

import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from zoo_builder.building.runner import Job, Payload, Result
from zoo_builder.errors import InputError

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
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        problem = f"nothing in {ANSWER_SECONDS} s"
    else:
        if answer.returncode == 0:
            return
        problem = (answer.stderr.strip() or f"exit code {answer.returncode}").splitlines()[-1]
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
