"""Errors a user can cause. Each says what was asked, what there is, and the way out.

The command line prints the message of a `HistocyteError` as one line and ends with exit code 2.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Iterable
from types import ModuleType

from histocyte.core.installation import how_to_add
from histocyte.core.plain_text import plain

__all__ = [
    "BusyError",
    "ContentError",
    "DiskError",
    "HistocyteError",
    "InputError",
    "MissingExtraError",
    "ModelError",
    "ResolutionError",
    "SlideError",
    "UnknownNameError",
    "is_installed",
    "reason_of",
    "require",
    "require_installed",
]

_MOST_REASON_CHARACTERS = 200


class HistocyteError(Exception):
    """Base of all errors with a message meant for the user."""


class InputError(HistocyteError):
    """A file, folder or value that the user passed cannot be used."""


class ContentError(InputError):
    """What is wrong with some data, said by what does not know the file it is from; who reads the file names it."""


class BusyError(InputError):
    """Another process is at work in a folder.

    Args:
        folder: Where.
        holder: The process, in words.
    """

    def __init__(self, folder: object, holder: str) -> None:
        super().__init__(
            f"{folder} is being worked on by {holder}. Wait for it, end it, or choose another output folder."
        )
        self.holder = holder


class SlideError(InputError):
    """A slide cannot be opened or a place on it cannot be read."""


class ResolutionError(InputError):
    """The resolution (µm per pixel) of an image is missing, absurd, or too coarse for the model."""


class ModelError(InputError):
    """A model file cannot be used: wrong format, missing or left-over weights, wrong hash."""


class DiskError(HistocyteError):
    """A result could not be written (disk full, no permission)."""


class MissingExtraError(HistocyteError):
    """An optional dependency is needed and not installed."""


class UnknownNameError(InputError):
    """A name that is not registered; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        names, name = sorted(known), plain(name, one_line=True)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        guess = f" Did you mean '{near[0]}'?" if near else ""
        listing = ", ".join(names) if names else "none"
        super().__init__(f"No {kind} called '{name}'.{guess} There is: {listing}.{' ' + hint if hint else ''}")


def reason_of(error: BaseException) -> str:
    r"""What an exception of others says, as one line of bounded length; of several findings the first, with its place.

    >>> reason_of(ValueError("two\nlines")), reason_of(KeyError()), reason_of(MemoryError())
    ('two lines', 'KeyError', 'it asks for more memory than there is')
    """
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    findings = getattr(error, "errors", None)
    if callable(findings) and isinstance(found := findings(), list) and found:
        first = found[0]
        place = ".".join(str(p) for p in first["loc"]) or "the whole"
        value = first.get("input")
        got = f", got {value!r}" if isinstance(value, int | float) else ""
        said = f"{place}: {first['msg'].removeprefix('Value error, ').rstrip('.')}{got}"
    else:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = " ".join(said.split()).rstrip(".:")
    if len(line) > _MOST_REASON_CHARACTERS:
        line = line[:_MOST_REASON_CHARACTERS] + "…"
    return line or type(error).__name__


def is_installed(module: str) -> bool:
    """Whether a module is there, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def require_installed(module: str, *, extra: str) -> None:
    """`require` without importing: for what takes seconds to import, before what else can be told is told.

    Raises:
        MissingExtraError: The module is not installed.
    """
    if not is_installed(module):
        raise MissingExtraError(f"'{module}' is not installed. Run: {how_to_add(extra)}")


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra brings it.

    Raises:
        MissingExtraError: The module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(f"'{module}' is not installed. Run: {how_to_add(extra)}") from error
