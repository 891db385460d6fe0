"""Names and counts for people: several names in a sentence, such that no two are the same; one of a thing or more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["MOST_NAMED", "counted", "distinct_names", "some_names"]


MOST_NAMED = 5
"""So many of a list are named in a sentence, or have a sentence of their own."""


def counted(count: int, one: str, more: str = "") -> str:
    """A number with what it counts, which is one or several.

    Args:
        count: How many there are.
        one: What follows a 1: a noun, or with it a verb that has to agree.
        more: What follows any other number; `one` with an ending where not given.

    >>> counted(1, "cell"), counted(2000, "class"), counted(0, "nucleus is", "nuclei are")
    ('1 cell', '2,000 classes', '0 nuclei are')
    """
    if count == 1:
        return f"1 {one}"
    return f"{count:,} {more or one + ('es' if one.endswith('s') else 's')}"


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
