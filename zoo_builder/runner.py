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

from zoo_builder.datasets import Dataset
from zoo_builder.errors import InputError

# A part: takes the data and a callback that counts model-epochs, commits its files and returns its sidecar.
Part = Callable[[Dataset, Callable[[int], object]], dict]


def run_parts(parts: Sequence[Part], data: Dataset, workers: int, progress: Callable[[int], object]) -> Iterator[dict]:
    """Yields the sidecar of every part as it is committed.

    Raises:
        InputError: a worker process was killed. What other parts have committed stays.
    """
    if workers == 1 or len(parts) == 1:
        torch.set_num_threads(1)
        for part in parts:
            yield part(data, progress)
        return
    # Spawned, because torch does not survive a fork once it has used a thread or a GPU.
    context = multiprocessing.get_context("spawn")
    for images_or_labels in (data.train_images, data.train_labels, data.test_images, data.test_labels):
        images_or_labels.share_memory_()
    counts = context.SimpleQueue()
    reader = threading.Thread(target=_forward_counts, args=(counts, progress), daemon=True)
    reader.start()
    pool = ProcessPoolExecutor(min(workers, len(parts)), context, _start_worker, (data, counts, os.getpid()))
    try:
        for future in as_completed([pool.submit(_run, part) for part in parts]):
            yield future.result()
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process was killed (out of memory?); finished parts are kept: run the same command again, "
            "with fewer --workers if memory is short"
        ) from error
    finally:
        # On an error or Ctrl-C nobody waits for parts that are still in training.
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(cancel_futures=True)
        counts.put(None)
        reader.join()


_worker: dict[str, Any] = {}


def _start_worker(data: Dataset, counts: Any, parent: int) -> None:
    torch.set_num_threads(1)
    _worker.update(data=data, count=counts.put)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """Ends this worker when its parent is gone: a parent that is killed cannot tell it to stop."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _run(part: Part) -> dict:
    return part(_worker["data"], _worker["count"])


def _forward_counts(counts: Any, progress: Callable[[int], object]) -> None:
    while (count := counts.get()) is not None:
        progress(count)
