"""How long work tells of itself and is told to stop, whoever listens: the command line, a server, a notebook.

Work takes a `Listener` to speak to and a `Stop` to look at between two steps:

    with listener.task("training", steps, unit="steps", done=step) as task:
        while step < steps and not stop():
            step += 1
            ...
            task.advance(note=f"loss {loss:.2f}")

Nothing below `apps` prints.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Protocol

__all__ = ["SILENT", "Lines", "Listener", "Stop", "Stopped", "Task", "in_turn", "never"]

Stop = Callable[[], bool]
"""Whether work is to end before its next step; looked at between steps, and quick."""


class Stopped(Exception):
    """Work was told to stop and did, between two steps; the message says what stands, without a full stop."""


class Task(Protocol):
    """A piece of work that goes on in steps; ends with its `with` block."""

    def advance(self, steps: int = 1, *, note: str | None = None) -> None:
        """So many steps more are done.

        Args:
            steps: 0 to change the note alone.
            note: What else is to be known now, in a few words, e.g. "1,234 cells"; the one before where None.
        """


class Listener(Protocol):
    """Who is told how work goes on. All text is plain: no markup, no line breaks."""

    def say(self, text: str) -> None:
        """A sentence."""

    def task(self, name: str, total: int | None, *, unit: str = "steps", done: int = 0) -> AbstractContextManager[Task]:
        """Begin a piece of work.

        Args:
            name: Name of the work, or of what it is done on.
            total: Steps in all; None where nobody knows.
            unit: What the steps are, in the plural.
            done: Steps that were done before, in an earlier run; they do not count for the rate.
        """


class _Silent:
    def say(self, text: str) -> None:
        pass

    def task(self, name: str, total: int | None, *, unit: str = "steps", done: int = 0) -> AbstractContextManager[Task]:
        return nullcontext(self)

    def advance(self, steps: int = 1, *, note: str | None = None) -> None:
        pass


SILENT: Listener = _Silent()
"""Nobody listens."""


class Lines:
    """Writes sentences as they come, and of a task a line now and then and one at its end: for scripts and notebooks.

    >>> listener = Lines(print)
    >>> with listener.task("scoring", 2, unit="images") as task:
    ...     task.advance(2, note="bPQ 0.52")
    scoring: 2 of 2 images, bPQ 0.52

    Args:
        write: Takes a line, e.g. `print` or a logger's `info`.
        every_s: Seconds from one line of a task to the next.
    """

    def __init__(self, write: Callable[[str], object], *, every_s: float = 10.0) -> None:
        self._write, self._every_s = write, every_s

    def say(self, text: str) -> None:
        """See `Listener`."""
        self._write(text)

    @contextmanager
    def task(self, name: str, total: int | None, *, unit: str = "steps", done: int = 0) -> Iterator[Task]:
        """See `Listener`."""
        line = _Line(name, total, unit, done, self._write, self._every_s)
        yield line
        line.write()


class _Line:
    def __init__(
        self, name: str, total: int | None, unit: str, done: int, write: Callable[[str], object], every_s: float
    ) -> None:
        self._name, self._of, self._unit = name, "" if total is None else f" of {total:,}", unit
        self._done, self._note, self._write, self._every_s = done, "", write, every_s
        self._last, self._written = "", time.monotonic()

    def advance(self, steps: int = 1, *, note: str | None = None) -> None:
        self._done += steps
        self._note = self._note if note is None else note
        if time.monotonic() - self._written >= self._every_s:
            self.write()

    def write(self) -> None:
        note = f", {self._note}" if self._note else ""
        line = f"{self._name}: {self._done:,}{self._of} {self._unit}{note}"
        if line != self._last:
            self._write(line)
        self._last, self._written = line, time.monotonic()


def never() -> bool:
    """The `Stop` of work that nobody stops."""
    return False


@contextmanager
def in_turn(listener: Listener, *, unit: str = "steps") -> Iterator[Callable[[str, int, int], None]]:
    """A task after the other, for work that only says what it does, how much of it is done, and of how much.

    Args:
        listener: Who is told.
        unit: What the steps are, in the plural.

    Yields:
        What the work calls.
    """
    with ExitStack() as last:
        task: Task | None = None
        now, reached = "", 0

        def told(what: str, done: int, total: int) -> None:
            nonlocal task, now, reached
            if task is None or what != now or done < reached:
                last.close()
                task, now, reached = last.enter_context(listener.task(what, total, unit=unit, done=done)), what, done
            if done > reached:
                task.advance(done - reached)
                reached = done

        yield told
