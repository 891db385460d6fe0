"""Names for people: several in a sentence, and such that no two are the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["MOST_NAMED", "distinct_names", "some_names"]


MOST_NAMED = 5
"""So many of a list are named in a sentence, or have a sentence of their own."""


def some_names(names: Sequence[str], *, followed_by: Sequence[str] = (), most: int = MOST_NAMED) -> str:
    """The first names in quotation marks, and how many more there are.

    >>> some_names(["a", "b", "c"], followed_by=["1", "2", "3"], most=2)
    "'a' 1, 'b' 2 and 1 more"
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    behind = [f" {text}" for text in followed_by[:most]] or [""] * most
    return ", ".join(f"'{name}'{text}" for name, text in zip(names[:most], behind, strict=False)) + more


def distinct_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Names with a number behind those that repeat, or are taken already.

    >>> distinct_names(["a", "b", "a", "a"])
    ['a', 'b', 'a (2)', 'a (3)']
    """
    used = set(taken)
    last: dict[str, int] = {}
    distinct = []
    for name in names:
        unique, number = name, last.get(name, 1)
        while unique in used:
            number += 1
            unique = f"{name} ({number})"
        last[name] = number
        used.add(unique)
        distinct.append(unique)
    return distinct
