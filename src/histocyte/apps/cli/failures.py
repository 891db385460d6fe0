"""What is said of an error, whoever caused it: a line, and a traceback where that is asked for."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from histocyte.apps.cli.output import say
from histocyte.core.errors import HistocyteError
from histocyte.files.foreign import reason_of
from histocyte.files.names import shown

__all__ = ["TRACEBACK", "in_words", "of_slide"]

TRACEBACK = "HISTOCYTE_TRACEBACK"
"""Environment variable that has the traceback of an unexpected error printed."""

_HERE = Path(__file__).parents[2]


def in_words(error: Exception) -> str:
    """An error as one line: our own as it says itself, any other by its type, place and words, and how to see more.

    The traceback of an unexpected one goes to standard error, where `TRACEBACK` asks for it.
    """
    if isinstance(error, HistocyteError):
        return _line(str(error))
    if os.environ.get(TRACEBACK, "0") not in {"", "0"}:
        say("".join(traceback.format_exception(error)))
        more = ""
    else:
        more = f" Please report it; {TRACEBACK}=1 before the command shows the traceback."
    said = reason_of(error)
    if isinstance(error, OSError) and error.filename is not None:
        said += f", {error.filename}"
    what = f": {said}" if said != type(error).__name__ else ""
    notes = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
    return _line(f"unexpected {type(error).__name__}{_place(error)}{what}.{notes}{more}")


def of_slide(slide: Path, error: Exception) -> str:
    """The same, with the slide before it where the line does not name it."""
    line, path = in_words(error), shown(slide)
    return line if path in line or slide.name in line else f"{path}: {line}"


def _place(error: Exception) -> str:
    """' in slides/tiff_reader.py, line 12': the last of our own lines that it came through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(_HERE)]
    return f" in {Path(frames[-1].filename).relative_to(_HERE)}, line {frames[-1].lineno}" if frames else ""


def _line(text: str) -> str:
    return " ".join(shown(text).splitlines())
