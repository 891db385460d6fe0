"""The curves of a run under way, drawn now and then."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from histocyte.core.errors import InputError, MissingExtraError
from histocyte.evaluation.training_curves import write_curves

__all__ = ["Curves"]

_SECONDS = 60.0
"""Between two drawings, each of which takes about one: a run of quick steps is not held up."""


class Curves:
    """Draws curves.png and curves.html of a run; without matplotlib it does nothing.

    Args:
        run: Folder.
        name: Of the model.
    """

    def __init__(self, run: Path, name: str) -> None:
        self.run, self.name = run, name
        self._drawn = -_SECONDS

    def draw(self, *, now: bool = False) -> None:
        """Draw, if that was not done just before.

        Args:
            now: In any case.

        Raises:
            DiskError: A file cannot be written.
        """
        if not now and time.monotonic() - self._drawn < _SECONDS:
            return
        with suppress(MissingExtraError, InputError):  # not installed; a finished run of which only the model is left
            write_curves(self.run, title=f"Training of {self.name}")
        self._drawn = time.monotonic()
