"""Texts that files bring, such as names of slides and classes, as they can be shown to people anywhere."""

from __future__ import annotations

import re

__all__ = ["as_utf8", "plain"]

_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
"""Control characters, separators that break lines, halves of characters (of file names that are no Unicode)."""
_TURNING = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Marks that turn the direction of what follows, and so can show a name as another."""
_HIDDEN = re.compile(f"[{_CONTROLS}{_TURNING}]")
_HIDDEN_OR_BREAK = re.compile(f"[\\t\\n{_CONTROLS}{_TURNING}]")


def plain(text: str, *, one_line: bool = False) -> str:
    r"""The text with what would steer a terminal, or cannot be written, shown by its code.

    Args:
        text: Text of any origin.
        one_line: Show the ends of lines so too.

    >>> print(plain("\x1b[31mred\x07, \u202egnp.exe\nnext"))
    \x1b[31mred\x07, \u202egnp.exe
    next
    """
    return (_HIDDEN_OR_BREAK if one_line else _HIDDEN).sub(_code, text)


def as_utf8(text: str) -> bytes:
    """The same for a file: a page or a picture with such characters is none that a browser shows."""
    return plain(text).encode()


def _code(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode()
