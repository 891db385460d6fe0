"""See before long work whether its result can be written in the end."""

from __future__ import annotations

import os
from pathlib import Path

from histocyte.core.errors import DiskError, InputError

__all__ = ["check_file", "check_folder", "hindrance"]


def check_file(path: Path | None, *, example: str) -> None:
    """Refuse a path that no file can be written to; nothing is made.

    Args:
        path: Path of the file, which may be there and whose folder need not; None where none is asked for.
        example: A name for it, for messages.

    Raises:
        InputError: It is a folder.
        DiskError: Its folder cannot be made or written.
    """
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"'{path}' is a folder; name the file that is written, such as {path / example}.")
    if why := hindrance(path.parent):
        raise DiskError(f"Cannot write {path}: {why}. Choose another place.")


def check_folder(path: Path | None) -> None:
    """Refuse a path that no folder can be at, or that cannot be written to; nothing is made. None passes.

    Raises:
        DiskError: That is so.
    """
    if path is not None and (why := hindrance(path)):
        raise DiskError(f"Cannot write to the folder {path}: {why}. Choose another output folder.")


def hindrance(folder: Path) -> str | None:
    """Why nothing can be written into a folder that is there or to be made, in words; None where nothing hinders.

    >>> hindrance(Path(".")) is None
    True
    """
    whole = folder.absolute()
    nearest = next(place for place in (whole, *whole.parents) if os.path.lexists(place))
    if not nearest.is_dir():
        return f"'{nearest}' is a file and no folder"
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"'{nearest}' may not be written"
    return None
