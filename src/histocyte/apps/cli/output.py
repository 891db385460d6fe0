"""What commands share in speaking to people and to programs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = [
    "console",
    "precision_name",
    "print_json",
    "print_table",
    "progress_bar",
    "runtime_name",
    "say",
    "speaks_for_all",
]


def console() -> Console:
    """For people: standard error, so that standard output holds results alone."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """A line for people."""
    console().print(text, soft_wrap=True)


def speaks_for_all() -> bool:
    """Whether this process is to say why all end: the first to ask of those that torchrun started, or the only one."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    try:
        from histocyte.training.ranks import first_to_speak
    except ImportError:
        return True
    return first_to_speak()


def print_json(data: Mapping[str, Any]) -> None:
    """One object on standard output."""
    import orjson
    import typer

    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
    typer.echo(orjson.dumps(data, option=options, default=str).decode())


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output; columns of numbers are set to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        numbers = all(row[i][:1].isdigit() or row[i][:1] in ("", "–", "-") for row in rows)
        table.add_column(column, justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


def progress_bar(unit: str, *, hidden: bool = False) -> AbstractContextManager[Progress]:
    """A bar with rate and time left, on standard error.

    Args:
        unit: What is counted, e.g. "blocks".
        hidden: No bar at all.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("gone,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[note]}"),
        console=console(),
        disable=hidden,
        transient=True,
    )


def precision_name(name: str | None) -> Any:
    """A precision's name, checked.

    Raises:
        UnknownNameError: No such precision.
    """
    from histocyte.core.errors import UnknownNameError

    known = ("auto", "f32", "bf16")
    if name is not None and name not in known:
        raise UnknownNameError("precision", name, known)
    return name


def runtime_name(name: str) -> Any:
    """A runtime's name, checked.

    Raises:
        UnknownNameError: No such runtime.
    """
    from histocyte.core.errors import UnknownNameError

    known = ("auto", "openvino", "torch", "onnxruntime")
    if name not in known:
        raise UnknownNameError("runtime", name, known)
    return name
