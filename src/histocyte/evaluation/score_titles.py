"""What a score is of (all images, a class, a stratum), and its title."""

from __future__ import annotations

from typing import Literal

from histocyte.evaluation.summary import CLASS_SCORES, SCORES, STRATUM_SCORES

__all__ = ["Kind", "title_of"]

Kind = Literal["all", "class", "stratum"]
"""What a score is of."""


def title_of(kind: Kind, subject: str, key: str) -> str:
    """A score's title for people.

    Args:
        kind: What it is of.
        subject: Name of the class or stratum; not used for all images.
        key: Of `SCORES`, `CLASS_SCORES` or `STRATUM_SCORES`.

    >>> title_of("class", "epithelial", "pq")
    'epithelial: PQ, pooled'
    """
    if kind == "all":
        return SCORES[key][0]
    return f"{subject}: {(CLASS_SCORES if kind == 'class' else STRATUM_SCORES)[key]}"
