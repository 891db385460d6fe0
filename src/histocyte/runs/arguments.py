"""What the command line and the functions for Python share of their arguments: limits of numbers, folders, lists.

Light to import, as the command line reads the limits and defaults before anybody knows what will be run.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from histocyte.core.errors import InputError

__all__ = ["FRACTION", "POSITIVE", "SEED", "Limit", "PathLike", "called_as", "check_limits", "defaults_of", "paths"]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Limit:
    """Least and largest that a number may be.

    Attributes:
        least: Itself allowed.
        most: Itself allowed; any where infinite.
        whole: Whether it has to be a whole number.
    """

    least: float
    most: float = math.inf
    whole: bool = True

    @property
    def option(self) -> dict[str, Any]:
        """The same for an option of Typer, which says and checks it: `min` and, where there is one, `max`."""
        kind = int if self.whole else float
        return {"min": kind(self.least)} | ({"max": kind(self.most)} if math.isfinite(self.most) else {})

    def check(self, option: str, value: object) -> None:
        """See that a value is such a number.

        Args:
            option: What it is called on the command line.
            value: As it was given.

        Raises:
            InputError: It is not.
        """
        kind_of_number = Integral if self.whole else Real
        number = isinstance(value, kind_of_number) and not isinstance(value, bool)
        fits = number and math.isfinite(value) and self.least <= value <= self.most  # type: ignore[arg-type, operator]
        if not fits:
            kind = "a whole number" if self.whole else "a number"
            limits = (
                f"from {self.least:g} to {self.most:g}" if math.isfinite(self.most) else f"of {self.least:g} or more"
            )
            raise InputError(f"{option} {value!r}: it is {kind} {limits}.")


POSITIVE = Limit(1)
FRACTION = Limit(0.01, 0.9, whole=False)
SEED = Limit(0, 2**32 - 1)


def check_limits(given: Mapping[str, object], limits: Mapping[str, Limit]) -> None:
    """See that every number that was given is within its limits.

    Args:
        given: By name of the argument; None was not given.
        limits: By the same names.

    Raises:
        InputError: One is not, or is not a number.

    >>> check_limits({"steps": 200, "batch": None}, {"steps": POSITIVE, "batch": POSITIVE})
    """
    for name, limit in limits.items():
        if (value := given.get(name)) is not None:
            limit.check(f"--{name.replace('_', '-')}", value)


def paths(given: PathLike | Iterable[PathLike] | None) -> list[Path]:
    """One path or several as a list; empty for None.

    >>> [path.name for path in paths("data/consep")], paths(None)
    (['consep'], [])
    """
    if given is None:
        return []
    return [Path(given)] if isinstance(given, str | os.PathLike) else [Path(each) for each in given]


def defaults_of(function: Callable[..., object]) -> dict[str, Any]:
    """Default by argument, so that the command line has the same as the function it calls."""
    given = inspect.signature(function).parameters
    return {name: each.default for name, each in given.items() if each.default is not inspect.Parameter.empty}


def called_as(function: Callable[..., object], given: Mapping[str, object]) -> str:
    """The call of a function as a model's file keeps it: what is not the default, and of paths their names alone.

    >>> called_as(paths, {"given": Path("data/consep")})
    "histocyte.paths(given='consep')"
    """
    usual = defaults_of(function)
    said = [f"{name}={_plain(value)!r}" for name, value in given.items() if name not in usual or value != usual[name]]
    return f"histocyte.{function.__name__}({', '.join(said)})"


def _plain(value: object) -> object:
    """A value without the folders that its files lie in."""
    if isinstance(value, os.PathLike) or (isinstance(value, str) and Path(value).exists()):
        return Path(value).name
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
