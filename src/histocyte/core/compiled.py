"""The one way functions are compiled to machine code here."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba import njit

__all__ = ["compiled"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a function of arrays and numbers on its first call; it then runs without the interpreter's lock.

    The machine code is kept on disk beside the source or in the user's cache, so that only the first run on a machine
    waits for it. Where neither can be written (installed by another user, no home), it is kept in a folder of this
    user's among temporary files, and where that cannot be either, nowhere: each run then compiles for itself.
    """
    try:
        return _kept(function)
    except RuntimeError:  # numba found no place
        return _kept_among_temporary_files(function)


def _kept(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """With the machine code on disk.

    Raises:
        RuntimeError: There is no place for it.
    """
    made = njit(cache=True, nogil=True)(function)
    _forgive_a_full_disk(made)
    return cast(Callable[_P, _R], made)


def _kept_among_temporary_files(function: Callable[_P, _R]) -> Callable[_P, _R]:
    folder = _own_folder()
    if folder is not None:
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = folder  # looked at while the function is wrapped, and no more
        try:
            return _kept(function)
        except RuntimeError:
            pass
        finally:
            numba.config.CACHE_DIR = before
    return cast(Callable[_P, _R], njit(nogil=True)(function))


@cache
def _own_folder() -> str | None:
    """A folder that nobody else can have put files into: what lies there is run."""
    if not hasattr(os, "getuid"):
        return None
    with suppress(OSError):
        path = Path(tempfile.gettempdir()) / f"histocyte-compiled-{os.getuid()}"
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
            return str(path)
    return None


def _forgive_a_full_disk(made: Any) -> None:
    """What cannot be kept is compiled again the next time; numba would raise over it."""
    kept: Any = getattr(made, "_cache", None)
    save = getattr(kept, "save_overload", None)
    if save is None:
        return

    def save_if_possible(*given: Any) -> None:
        with suppress(OSError):
            save(*given)

    kept.save_overload = save_if_possible
