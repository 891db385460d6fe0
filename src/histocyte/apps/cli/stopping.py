"""Ctrl-C, and being told to end by a scheduler or `kill`, while work is done that is to stop between two steps."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import typer

from histocyte.apps.cli.output import say_error, speaks_for_all

__all__ = ["Stopping", "ending_with_a_word"]

_AGAIN = "Run the same command again to go on."
_SHOW_CURSOR = "\x1b[?25h"
"""Which a bar has hidden."""


class Stopping:
    """Within a `with` block, the first signal to end is only noted; the second ends at once.

    Interrupts (SIGINT) that the shell has us ignore, as those of a command in the background, stay ignored. Outside the
    main thread nothing is changed.

    Args:
        then: What the first signal leads to, as it is told.
        at_once: Whether the second ends the process there and then, for work that no kill costs anything but the steps
            under way, and whose threads would else be waited for.
        once_asked: Before the work has asked for the first time, the first signal ends at once too: nobody would look.

    Attributes:
        by: The signal that has come; None before.
    """

    def __init__(
        self,
        then: str = "ends after this step, once the state is written",
        *,
        at_once: bool = False,
        once_asked: bool = False,
    ) -> None:
        self._then, self._at_once, self._looked_at = then, at_once, not once_asked
        self.by: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Stopping:
        """Begin to note signals."""
        self._before = _handle((signal.SIGINT, signal.SIGTERM), self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave signals to whom they went before."""
        _restore(self._before)

    def asked(self) -> bool:
        """Whether to end."""
        self._looked_at = True
        return self.by is not None

    def end(self, done: str) -> typer.Exit:
        """What to raise once the work has stopped: the exit code that a shell gives to the signal, 130 or 143.

        Args:
            done: What stands, e.g. "The state of step 120 of 4000 is written".
        """
        assert self.by is not None
        say_error(f"histocyte: ended by {self.by.name}. {done}. {_AGAIN}")
        return typer.Exit(128 + self.by)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.by is not None or not self._looked_at:
            if self._at_once:
                shown = _SHOW_CURSOR if os.isatty(2) else ""
                _tell(f"{shown}histocyte: ended by {signal.Signals(number).name}. {_AGAIN}")
                os._exit(128 + number)
            _restore(self._before)
            signal.raise_signal(number)
            return
        self.by = signal.Signals(number)
        if os.environ.get("WORLD_SIZE", "1") == "1":  # torchrun has a word of its own, and each process has the signal
            _tell(f"{self.by.name}: {self._then}. Once more ends at once.")


@contextmanager
def ending_with_a_word(way_on: str | None = None) -> Iterator[None]:
    """Where SIGTERM ends this process at once, it says how to go on and lets go of what is held, with exit code 143.

    Args:
        way_on: How, if not as everywhere.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        if speaks_for_all():
            _tell(f"histocyte: ended by {signal.Signals(number).name}. {way_on or _AGAIN}")
        raise SystemExit(128 + number)

    before = _handle((signal.SIGTERM,), end)
    try:
        yield
    finally:
        _restore(before)


def _tell(text: str) -> None:
    """A line on standard error, past its buffer: a signal may have come while that is being written."""
    with suppress(OSError):
        os.write(2, f"\n{text}\n".encode())


def _handle(numbers: tuple[signal.Signals, ...], handler: object) -> dict[signal.Signals, object]:
    """Handle those signals that are not ignored; gives their handlers before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    before: dict[signal.Signals, object] = {n: signal.getsignal(n) for n in numbers}
    before = {n: h for n, h in before.items() if h is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)  # type: ignore[arg-type]
    return before


def _restore(before: dict[signal.Signals, object]) -> None:
    for number, handler in before.items():
        # None is a handler that was not set from Python, which cannot be put back from here.
        signal.signal(number, handler if handler is not None else signal.SIG_DFL)  # type: ignore[arg-type]
