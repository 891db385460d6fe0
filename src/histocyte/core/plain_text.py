"""Texts that files bring, such as names of slides and classes, as they can be shown to people anywhere."""

from __future__ import annotations

import unicodedata

__all__ = ["plain"]

_KEPT = "\n\t"
_HIDDEN = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Control characters, halves of characters (of file names that are no Unicode), separators that break lines."""
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that turn the direction of what follows, and so can show a name as another."""


def plain(text: str, *, one_line: bool = False) -> str:
    r"""The text with what would steer a terminal, or cannot be written, shown by its code.

    Args:
        text: Of any origin.
        one_line: Show the ends of lines so too.

    >>> print(plain("\x1b[31mred\x07, \u202egnp.exe\nnext"))
    \x1b[31mred\x07, \u202egnp.exe
    next
    """
    kept = "" if one_line else _KEPT
    if text.isprintable():  # which no hidden or turning character is
        return text
    return "".join(
        c.encode("unicode_escape").decode()
        if c not in kept and (unicodedata.category(c) in _HIDDEN or c in _TURNING)
        else c
        for c in text
    )
