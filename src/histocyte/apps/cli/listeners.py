"""Who listens to long work at the command line: a bar on a terminal; elsewhere a plain line now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from histocyte.core.listener import SILENT, Listener, Task
from histocyte.core.names import counted
from histocyte.core.plain_text import plain

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["PlainListener", "TerminalListener", "people"]

_EVERY_S = 30.0


def people(*, hidden: bool = False, bars: bool = True) -> Listener:
    """The listener for whoever started the command, on standard error.

    Args:
        hidden: Nobody is to be told anything.
        bars: Whether to tell how far a task is, not sentences alone.
    """
    from histocyte.apps.cli.output import console

    if hidden:
        return SILENT
    if not bars:
        return _Sentences()
    return TerminalListener() if console().is_terminal else PlainListener()


class _Sentences:
    """Passes sentences on, and nothing of tasks."""

    def say(self, text: str) -> None:
        _write(text)

    def task(self, name: str, total: int | None, *, unit: str = "steps", done: int = 0) -> AbstractContextManager[Task]:
        return SILENT.task(name, total, unit=unit, done=done)


class Pace:
    """How far a task is, how quick, and how long it still takes.

    Args:
        name: Name of the task.
        total: Steps in all; None where nobody knows.
        unit: What the steps are, in the plural.
        done: Steps done in an earlier run, which took none of the time measured here.
        clock: Seconds, from any beginning.
    """

    def __init__(
        self, name: str, total: int | None, unit: str, done: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name, self.total, self.unit, self.done, self.note = name, total, unit, done, ""
        self._before, self._clock = done, clock
        self._began = self._last = clock()

    def advance(self, steps: int = 1, *, note: str | None = None) -> None:
        """See `core.listener.Task`."""
        self.done += steps
        if steps:
            self._last = self._clock()
        if note is not None:
            self.note = note

    def rate(self) -> float | None:
        """Steps a second, of those done in this run; None before the first."""
        took, steps = self._last - self._began, self.done - self._before
        return steps / took if steps > 0 and took > 0 else None

    def left_s(self) -> float | None:
        """Seconds until all is done, if it goes on as it went; None where that cannot be told."""
        rate = self.rate()
        if rate is None or self.total is None:
            return None
        return max(0.0, (self.total - self.done) / rate - (self._clock() - self._last))

    def state(self) -> str:
        """'31 of 49 blocks, 1,234 cells, 2.5 blocks/s, 0:00:07 left', as far as it is known."""
        done = "" if self.total is None else f"{self.done:,} of "
        count = done + counted(self.done if self.total is None else self.total, self.unit.removesuffix("s"), self.unit)
        rate, left = self.rate(), self.left_s()
        pace = "" if rate is None else _rate(rate, self.unit)
        remains = "" if left is None else f"{_clock(left)} left"
        return ", ".join(part for part in (count, self.note, pace, remains) if part)

    def line(self) -> str:
        """The same, after the name."""
        return f"{self.name}: {self.state()}"


def _rate(per_s: float, unit: str) -> str:
    for seconds, name in ((1, "s"), (60, "min")):
        if per_s * seconds >= 1:
            return f"{per_s * seconds:,.1f} {unit}/{name}"
    return f"{per_s * 3600:,.1f} {unit}/h"


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"


class PlainListener:
    """Writes a line about the innermost task at intervals, also while no step ends: for logs of schedulers.

    Args:
        every_s: Seconds from one line to the next.
    """

    def __init__(self, every_s: float = _EVERY_S) -> None:
        self._every_s = every_s
        self._tasks: list[Pace] = []

    def say(self, text: str) -> None:
        """See `core.listener.Listener`."""
        _write(text)

    @contextmanager
    def task(self, name: str, total: int | None, *, unit: str = "steps", done: int = 0) -> Iterator[Task]:
        """See `core.listener.Listener`."""
        pace = Pace(name, total, unit, done)
        self._tasks.append(pace)
        over = threading.Event()
        if len(self._tasks) == 1:
            threading.Thread(target=self._tell, args=(over,), name="progress", daemon=True).start()
        try:
            yield pace
        finally:
            over.set()
            self._tasks.remove(pace)

    def _tell(self, over: threading.Event) -> None:
        while not over.wait(self._every_s):
            with suppress(IndexError, OSError, ValueError):  # the task has ended, or nobody reads any more
                _write(self._tasks[-1].line())


class TerminalListener:
    """Shows each task as a bar with rate and time left, which goes when the task ends."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._open = 0

    def say(self, text: str) -> None:
        """See `core.listener.Listener`."""
        _write(text)

    @contextmanager
    def task(self, name: str, total: int | None, *, unit: str = "steps", done: int = 0) -> Iterator[Task]:
        """See `core.listener.Listener`."""
        if self._bars is None:  # a terminal shows one set of bars at a time
            self._bars = _bars()
            self._bars.start()
        bars, pace = self._bars, Pace(name, total, unit, done)
        self._open += 1
        bar = bars.add_task(plain(name, one_line=True), total=total, completed=done, pace=pace)
        try:
            yield _Bar(pace, lambda: bars.update(bar, completed=pace.done))
        finally:
            self._open -= 1
            bars.remove_task(bar)
            if not self._open:
                bars.stop()
                self._bars = None


class _Bar:
    """A task whose bar is redrawn with each step."""

    def __init__(self, pace: Pace, draw: Callable[[], None]) -> None:
        self._pace, self._draw = pace, draw

    def advance(self, steps: int = 1, *, note: str | None = None) -> None:
        self._pace.advance(steps, note=note)
        self._draw()


def _bars() -> Progress:
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
    from rich.text import Text

    from histocyte.apps.cli.output import console

    class Words(ProgressColumn):
        def render(self, task: Any) -> Text:
            pace: Pace = task.fields["pace"]
            return Text(plain(pace.state(), one_line=True))

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        Words(),
        console=console(),
        transient=True,
    )


def _write(text: str) -> None:
    from histocyte.apps.cli.output import say

    say(text)
