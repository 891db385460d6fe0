"""Names for people: several in a sentence, and such that no two are the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["distinct_names", "some_names"]


def some_names(names: Sequence[str], most: int = 5) -> str:
    """The first names in quotation marks, and how many more there are.

    >>> some_names(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more


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
