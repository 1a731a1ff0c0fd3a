"""Runs the parts of a build: in this process, or in worker processes that share the images.

A part's result depends on the part alone, so it does not matter which worker takes it, or when. Workers use one thread
each: on small networks torch's own threads cost more than they give.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import torch

from zoo_builder.datasets.dataset import Dataset
from zoo_builder.errors import InputError

# A part: takes the data and a callback that counts model-epochs, commits its files and returns its sidecar.
Part = Callable[[Dataset, Callable[[int], object]], dict]


def run_parts(parts: Sequence[Part], data: Dataset, workers: int, progress: Callable[[int], object]) -> Iterator[dict]:
    """Yields the sidecar of every part as it is committed.

    Raises:
        InputError: a worker process was killed. What other parts have committed stays.
    """
    if workers == 1 or len(parts) <= 1:
        torch.set_num_threads(1)
        for part in parts:
            yield part(data, progress)
        return
    # Spawned, because torch does not survive a fork once it has used a thread or a GPU.
    context = multiprocessing.get_context("spawn")
    for images_or_labels in (data.train_images, data.train_labels, data.test_images, data.test_labels):
        images_or_labels.share_memory_()
    # One counter per part and no lock: a worker that is killed while it holds a lock would stop everyone.
    counts = context.RawArray("q", len(parts))
    done = threading.Event()
    reporter = threading.Thread(target=_report, args=(counts, progress, done), daemon=True)
    reporter.start()
    strangers = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(workers, len(parts)), context, _start_worker, (data, counts, os.getpid()))
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


def _start_worker(data: Dataset, counts: Any, parent: int) -> None:
    torch.set_num_threads(1)
    _worker.update(data=data, counts=counts)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """Ends this worker when its parent is gone: a parent that is killed cannot tell it to stop."""
    while os.getppid() == parent:
        time.sleep(0.5)
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
