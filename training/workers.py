"""Work shared out to processes that may die at it: a library crashes on a damaged file, the memory is too small."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
# Small: what a signal has to wait for, and what is done again, one by one, after a crash.
CHUNK = 4


def mapped(work: Callable[[T], R], items: Sequence[T], workers: int, crashed: Callable[[T], R]) -> Iterator[R]:
    """``work`` of each of ``items``, in order, in ``workers`` processes; ``crashed`` of one at which a process dies.
    ``work`` must be a function of a module, or a ``partial`` of one.

    Which item it was is found out by doing those that were under way once more, one at a time. An exception in the loop
    over the results, KeyboardInterrupt too, ends the processes after the items that they are at.
    """
    done = 0
    while done < len(items):
        if workers > 1:
            try:
                with _pool(workers) as pool:
                    for result in pool.map(work, items[done:], chunksize=CHUNK):
                        done += 1
                        yield result
            except BrokenProcessPool:
                pass  # at one of the next chunks of items, if not of the first: then it is met again
        some = items[done : done + CHUNK] if workers > 1 else items[done:]
        for result in _one_by_one(work, some, crashed):
            done += 1
            yield result


def _one_by_one(work: Callable[[T], R], items: Sequence[T], crashed: Callable[[T], R]) -> Iterator[R]:
    done = 0
    while done < len(items):
        with _pool(1) as pool:
            try:
                for item in items[done:]:
                    result = pool.submit(work, item).result()
                    done += 1
                    yield result
            except BrokenProcessPool:
                done += 1
                yield crashed(items[done - 1])


def _pool(workers: int) -> ProcessPoolExecutor:
    """Processes of their own from the start: what is forked beside a library's threads (OpenCV's, DDS's) may hang."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_belong_to_parent)


def _belong_to_parent() -> None:
    """The main process alone answers signals, whoever else gets them: it shuts its processes down.

    They end with it where it has no time to do so (SIGKILL, short of memory): else they would wait for work forever.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
