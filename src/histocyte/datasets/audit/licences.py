"""Whether a model that learns from some sets may be used commercially, as far as their licences are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from histocyte.datasets.cards import DATASETS

__all__ = ["Licences", "roll_up"]


@dataclass(frozen=True, slots=True)
class Licences:
    """Licences of sets and what follows from them together.

    Attributes:
        commercial: "yes", "no", or "unknown" where a set's licence is not known.
        answer: In plain words.
        sets: Name, licence, and "yes", "no" or "unknown", of each set.
    """

    commercial: Literal["yes", "no", "unknown"]
    answer: str
    sets: tuple[tuple[str, str, str], ...]


def roll_up(names: Sequence[str]) -> Licences:
    """What the licences of sets let a model be used for.

    >>> roll_up(["tnbc", "monuseg"]).commercial, roll_up(["mine"]).commercial
    ('no', 'unknown')
    """
    rows = []
    for name in names:
        card = DATASETS.get(name)
        if card is None or card.licence == "none stated":
            rows.append((name, "none stated" if card else "not known: a set of one's own", "unknown"))
        else:
            rows.append((name, card.licence, "yes" if card.commercial else "no"))
    against = [name for name, _, answer in rows if answer == "no"]
    open_ones = [name for name, _, answer in rows if answer == "unknown"]
    if against:
        answer = f"No, as far as is known: {_listed(against)} may not be used commercially. Train without."
        return Licences("no", answer, tuple(rows))
    if open_ones:
        answer = f"Not known: see whether the owners of {_listed(open_ones)} allow it. The other sets do."
        return Licences("unknown", answer if len(open_ones) < len(rows) else answer.split(" The other")[0], tuple(rows))
    return Licences(
        "yes", "Yes, as far as is known. Read the licences, and name the sets beside the model.", tuple(rows)
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
