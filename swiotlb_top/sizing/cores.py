"""Recordings sized at the same time, one process for each CPU that this one may use."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from swiotlb_top.errors import CannotError
from swiotlb_top.sizing.cluster import Over


@contextmanager
def over_cores(recordings: int) -> Iterator[Over]:
    """As many processes as there are CPUs, and recordings; if that is one, there is no other than this.

    :raises CannotError: a process was killed.
    """
    processes = min(recordings, len(os.sched_getaffinity(0)))
    if processes < 2:
        yield map
        return
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("fork"), _end_at_once)
    try:
        yield pool.map
    except BrokenProcessPool:
        raise CannotError(
            "a process that sized a recording was killed", "where memory is short, size one recording at a time"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _end_at_once() -> None:
    """Ctrl-C ends a process of the pool without a word: the one that asked for the work says what there is to say."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
