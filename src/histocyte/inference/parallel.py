"""Work spread over threads, with no more of it in memory than is being worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice, takewhile
from typing import TypeVar

from histocyte.core.listener import SILENT, Listener, Stop, Stopped, never
from histocyte.core.names import counted

__all__ = ["map_unordered", "work_through"]

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


def work_through(
    todo: Sequence[Item],
    work: Callable[[Item], Result],
    keep: Callable[[Item, Result], str | None],
    *,
    total: int,
    name: str,
    slide: str,
    workers: int,
    note: str | None = None,
    listener: Listener = SILENT,
    stop: Stop = never,
) -> None:
    """Bring the blocks of a slide that are not done to their end, and keep each before the next is told of.

    Args:
        todo: Those that are not done.
        work: What is done to each, in threads.
        keep: Puts a finished one on the disk, in this thread, and gives what else is to be known now, in a few words.
        total: Number of all blocks, with those that were done before.
        name: What the listener is told of.
        slide: Name of the slide, for what is said of a stop.
        workers: Blocks under way at a time.
        note: What is to be known before the first, as of `keep`.
        listener: Is told of each block.
        stop: Looked at before each block; those under way are then brought to their end.

    Raises:
        Stopped: Told to; what is done is kept.
    """
    count = total - len(todo)
    with listener.task(name, total, unit="blocks", done=count) as task:
        task.advance(0, note=note)
        asked = takewhile(lambda _: not stop(), todo)
        for item, result in map_unordered(lambda item: (item, work(item)), asked, workers=workers):
            said = keep(item, result)
            count += 1
            task.advance(note=said)
    if count < total:
        raise Stopped(f"{count:,} of {counted(total, 'block')} of '{slide}' done")
