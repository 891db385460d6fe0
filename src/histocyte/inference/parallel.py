"""Work spread over threads, with no more of it in memory than is being worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

__all__ = ["map_unordered"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_unordered(function: Callable[[Item], Result], items: Iterable[Item], *, workers: int) -> Iterator[Result]:
    """Results as they come; at most `workers` items are under way and none is finished but untaken beyond these.

    Threads are enough: the network, the decoding kernels and image decoding all release Python's lock. An error in
    one item is raised here after those under way have ended.
    """
    queue = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="block") as pool:
        running: set[Future[Result]] = {pool.submit(function, item) for item in islice(queue, workers)}
        try:
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    result = future.result()
                    running |= {pool.submit(function, item) for item in islice(queue, 1)}
                    yield result
        finally:
            for future in running:
                future.cancel()
