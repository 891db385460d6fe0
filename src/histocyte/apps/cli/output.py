"""What commands share in speaking to people and to programs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from histocyte.core.plain_text import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = [
    "command_as_typed",
    "console",
    "precision_name",
    "print_json",
    "print_lines",
    "print_markdown",
    "print_table",
    "progress_bar",
    "runtime_name",
    "say",
    "say_error",
    "say_note",
    "speaks_for_all",
]

_WHOLE_NUMBER = 12
"""Numbers up to so many characters are not broken, at the cost of columns of words."""
_OTHERS = 4
"""Characters that every column is left at least, with its rule."""


def console() -> Console:
    """For people: standard error, so that standard output holds results alone."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def say(text: str, *, lead: str = "", style: str = "bold", to: Console | None = None) -> None:
    """A line for people, as it is: nothing in it is markup, and nothing steers the terminal.

    Args:
        text: The line.
        lead: What comes before it.
        style: Style of `lead`, as rich calls it.
        to: Where a bar is shown at the same time; standard error else.
    """
    from rich.text import Text

    (to or console()).print(Text.assemble((plain(lead), style), plain(text)), soft_wrap=True)


def say_note(text: str, *, indent: str = "") -> None:
    """A line on what is to be known about a result."""
    say(f" {text}", lead=f"{indent}note", style="yellow")


def say_error(text: str) -> None:
    """One line on standard error, also where a file name or another program's message in it has several."""
    import typer

    if speaks_for_all():
        typer.echo(plain(" ".join(text.splitlines()), one_line=True), err=True)


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
    try:
        text = orjson.dumps(data, option=options, default=str).decode()
    except orjson.JSONEncodeError:  # a file name that is not Unicode, which no JSON can hold
        text = orjson.dumps(_encodable(data), option=options, default=str).decode()
    typer.echo(text)


def _encodable(data: Any) -> Any:
    if isinstance(data, str):
        return data.encode("utf-8", "backslashreplace").decode()
    if isinstance(data, Mapping):
        return {_encodable(str(key)): _encodable(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_encodable(value) for value in data]
    return _encodable(str(data)) if isinstance(data, os.PathLike) else data


def print_lines(lines: Iterable[str]) -> None:
    """Lines on standard output, as they are, however wide."""
    import typer

    for line in lines:
        typer.echo(plain(line))


def print_markdown(text: str) -> None:
    """A text in Markdown on standard output, set for the terminal."""
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(plain(text)))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output; columns of numbers are set to the right.

    Cells are shown as they are: nothing in them is markup. What has to be copied from a table stands in its first
    column, which is neither cut nor broken where the others can give way; these are broken into lines, and not cut.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    screen = Console(highlight=False)
    cells = [[plain(cell, one_line=True) for cell in row] for row in rows]
    table = Table(title=Text(plain(title, one_line=True)), title_justify="left")
    room = screen.width - _OTHERS * len(columns)
    for i, column in enumerate(columns):
        numbers = all(row[i][:1].isdigit() or row[i][:1] in ("", "–", "-") for row in cells)
        widest = max(map(cell_len, (column, *(row[i] for row in cells))))
        whole = (i == 0 or (numbers and widest <= _WHOLE_NUMBER)) and widest <= room
        room -= widest if whole else 0
        table.add_column(
            Text(plain(column, one_line=True)),
            justify="right" if numbers else "left",
            overflow="fold",
            no_wrap=whole,
        )
    for row in cells:
        table.add_row(*map(Text, row))
    screen.print(table)


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
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Words(ProgressColumn):
        def __init__(self, what: str) -> None:
            super().__init__()
            self._what = what

        def render(self, task: Any) -> Text:
            return Text(plain(task.description if self._what == "description" else str(task.fields[self._what])))

    return Progress(
        Words("description"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("gone,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        Words("note"),
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


def command_as_typed() -> str:
    """The command that is running, without the folders its files lie in."""
    import shlex
    import sys
    from pathlib import Path

    arguments = [a if not Path(a).exists() else Path(a).name for a in sys.argv[1:]]
    return f"histocyte {shlex.join(arguments)}"
