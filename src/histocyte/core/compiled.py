"""The one way functions are compiled to machine code here."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from numba import njit

__all__ = ["compiled"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a function of arrays and numbers on its first call; it then runs without the interpreter's lock.

    The machine code is kept on disk beside the source, so that only the first run on a machine waits for it.
    """
    return cast(Callable[_P, _R], njit(cache=True, nogil=True)(function))
