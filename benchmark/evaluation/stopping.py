"""Threads that wait for processes: if the work is given up, the processes are ended, so that nobody waits for them."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def process_pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of ``workers`` threads, each of which may start processes and wait for them.

    If the block ends with an error, Ctrl-C included, jobs that have not begun are cancelled, and the processes that the
    threads have started are ended, and each ends what it has started.
    """
    threads: set[int] = set()
    pool = ThreadPoolExecutor(workers, initializer=lambda: threads.add(threading.get_native_id()))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        while running := [thread for thread in threads if Path(f"/proc/self/task/{thread}").exists()]:
            for thread in running:
                _end_children(thread)
            time.sleep(0.02)
        raise
    pool.shutdown()


def _end_children(thread: int) -> None:
    # The thread, or a child, may end at any time.
    with suppress(FileNotFoundError, ProcessLookupError):
        for child in Path(f"/proc/self/task/{thread}/children").read_text(encoding="ascii").split():
            os.kill(int(child), signal.SIGTERM)
