"""Pools of worker processes that end with the block that needs them, and with the process that started them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

# Spawned, because torch does not survive a fork once it has used a thread or a GPU.
CONTEXT = multiprocessing.get_context("spawn")


@contextmanager
def pool(workers: int, start: Callable[..., object] | None = None, *arguments: object) -> Iterator[ProcessPoolExecutor]:
    """Worker processes, each of which calls ``start(*arguments)`` first, if given.

    At the end of the block, and so on an error or Ctrl-C, unfinished jobs are abandoned.
    """
    strangers = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(workers, CONTEXT, _start, (start, arguments))
    try:
        yield executor
    finally:
        for process in set(multiprocessing.active_children()) - strangers:
            process.terminate()
        executor.shutdown(cancel_futures=True)


def _start(start: Callable[..., object] | None, arguments: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends its workers
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if start:
        start(*arguments)


def _leave_with_parent() -> None:
    """Ends this worker when its parent process ends: a killed parent cannot stop its workers."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
