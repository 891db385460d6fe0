"""The columns of a table of cells, declared once: the store, every file format and every data frame read this.

A column that is added here is carried by all of them. Position, outline and class are no columns in this sense, since
each format has a way of its own to write them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["COLUMNS", "CellColumn", "column_named", "columns_of", "titles"]


@dataclass(frozen=True, slots=True)
class CellColumn:
    """A column: where it comes from and what files call it.

    Attributes:
        name: Name in Parquet, in data frames and in the journal.
        attribute: Attribute of `Cells` that holds it.
        title: Measurement in QuPath, with its unit; "{}" stands for the class.
        decimals: Digits after the point in text formats.
        holds: One number a cell, one for each class, or a vector that belongs to no class and to no text format.
        most: Largest value that makes sense; none is below 0, unless the column holds vectors.
        of_class: Whether it says nothing where there are no classes.
        derived: Whether it follows from other columns, so that it is written and never read back.
    """

    name: str
    attribute: str
    title: str = ""
    decimals: int = 4
    holds: Literal["number", "number a class", "vector"] = "number"
    most: float = float(np.finfo(np.float32).max)
    of_class: bool = False
    derived: bool = False


_ONE = 1.001
"""Probabilities that were rounded may exceed 1 by a little."""

COLUMNS = (
    CellColumn("area_um2", "area_um2", "Area µm²", decimals=3),
    CellColumn("class_prob", "class_prob", "Class probability", most=_ONE, of_class=True, derived=True),
    CellColumn("probabilities", "probabilities", "P({})", holds="number a class", most=_ONE, of_class=True),
    CellColumn("score", "scores", "Detection score", most=_ONE),
    CellColumn("embeddings", "embeddings", holds="vector"),
)
"""In the order of Parquet."""


def columns_of(*, classes: int, vectors: bool) -> list[CellColumn]:
    """The columns that a table has: none of numbers a class without classes, none of vectors without vectors."""
    wanted = {"number": True, "number a class": classes > 0, "vector": vectors}
    return [column for column in COLUMNS if wanted[column.holds]]


def column_named(name: str) -> CellColumn:
    """The column of a name.

    >>> column_named("score").title
    'Detection score'
    """
    return next(column for column in COLUMNS if column.name == name)


def titles(column: CellColumn, classes: Sequence[str]) -> list[str]:
    """What a column's numbers are called in QuPath.

    >>> titles(COLUMNS[2], ["tumour", "stroma"])
    ['P(tumour)', 'P(stroma)']
    """
    return [column.title.format(name) for name in classes] if column.holds == "number a class" else [column.title]
