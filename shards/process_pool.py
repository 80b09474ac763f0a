"""The same function for many jobs in several processes, results in order, a bounded number of jobs under way."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from shards.errors import UserError

J = TypeVar("J")
R = TypeVar("R")


def in_order(function: Callable[[J], R], jobs: Iterable[J], workers: int) -> Iterator[R]:
    """Yield `function(job)` for every job, in order; in this process where `workers` is 1.

    Args:
        function: importable by name, since the processes are started afresh.
        jobs: arguments, drawn as they are needed.
        workers: processes, at least 1.

    Raises:
        UserError: `workers` is less than 1, or a process was killed from outside.
    """
    if workers < 1:
        raise UserError(f"workers is {workers}: give at least 1")
    return map(function, jobs) if workers == 1 else _in_processes(function, jobs, workers)


def _in_processes(function: Callable[[J], R], jobs: Iterable[J], workers: int) -> Iterator[R]:
    # Not forked: the caller may have threads (a progress bar), and a fork would copy their locks.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_prepare_child)
    waiting = iter(jobs)
    under_way: deque[Future[R]] = deque()
    try:
        under_way.extend(pool.submit(function, job) for job in islice(waiting, 2 * workers))
        while under_way:
            result = under_way.popleft().result()
            under_way.extend(pool.submit(function, job) for job in islice(waiting, 1))
            yield result
    except BrokenProcessPool:
        raise UserError("a worker process was killed, perhaps for want of memory: start again with fewer workers") from None
    finally:
        # Jobs that have begun end in good order; the rest is dropped.
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare_child() -> None:
    # Ctrl-C reaches every process of a terminal: the parent alone decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    # A parent that is killed cannot tell: without this its children would wait for jobs for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
