"""Help pages as people read them: paragraphs that fill the line, and no type beside what takes no value."""

from __future__ import annotations

from typing import Any

from typer.core import TyperOption

__all__ = ["tidy"]


def tidy(command: Any) -> None:
    """Bring the help of a command, and of those below it, into its form; doing so again changes nothing.

    Args:
        command: As typer makes it of a function or of a group.
    """
    _hide_types_of_flags()
    if command.help:
        command.help = "\n\n".join(map(_filled, command.help.split("\n\n")))
    for below in getattr(command, "commands", {}).values():
        tidy(below)


def _filled(paragraph: str) -> str:
    """A paragraph as one line, which the terminal's width then breaks; lists and indented lines stay as they are."""
    lines = paragraph.strip("\n").split("\n")
    if any(line.startswith((" ", "- ", "\b")) for line in lines):
        return paragraph
    return " ".join(lines)


def _hide_types_of_flags() -> None:
    """Newer typers print <bool> beside each flag, --help included, which no command of ours makes itself."""
    before: Any = getattr(TyperOption, "display_type_rich", None)
    if before is None or getattr(before, "hides_flags", False):
        return

    def display_type_rich(self: Any, ctx: Any) -> str | None:
        shown: str | None = None if self.is_flag else before(self, ctx)
        return shown

    display_type_rich.hides_flags = True  # type: ignore[attr-defined]
    TyperOption.display_type_rich = display_type_rich  # type: ignore[method-assign]
