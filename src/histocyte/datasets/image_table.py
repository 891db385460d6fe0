"""The table `images.csv` of a folder of labelled images: what is known of each image, by its `name` (or `image`).

Three things are read from it. `mpp` is the image's resolution, µm/px. `tissue` is what scores are averaged within first
(PanNuke's 19 tissues, say). `patient` or `case` is what must not be split: its images are resampled as one, and stay on
one side of a split.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from histocyte.core.errors import InputError
from histocyte.datasets.class_list import possible_resolution
from histocyte.slides.picture import picture_name

__all__ = ["ImageTable"]

_TISSUE = "tissue"
_NAMES = ("name", "image")
"""The first of these that a table has names its images."""

_DIAMETER = "median_diameter_px"
_MPP = "mpp"

_GROUPS = ("patient", "patient_id", "case", "case_id")
"""The first of these that a table has says what its images are grouped by."""


@dataclass(frozen=True, slots=True)
class ImageTable:
    """What a table says of images; nothing of those that it does not name.

    Attributes:
        tissues: Tissue by name of the image.
        groups: Patient or case by name of the image.
        diameters_px: Median diameter of the nuclei, px, by name of the image.
        mpps: Resolution, µm/px, by name of the image.
    """

    tissues: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    diameters_px: Mapping[str, float] = field(default_factory=dict)
    mpps: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> ImageTable:
        """That of a folder; an empty one where it has none.

        Raises:
            InputError: It cannot be read, has no column `name` or `image`, or says two things of one image.
        """
        path = folder / "images.csv"
        if not path.is_file():
            return cls()
        columns, rows = _rows(path)
        group = next((column for column in _GROUPS if column in columns), None)
        wanted = [column for column in (_TISSUE, group, _DIAMETER, _MPP) if column is not None and column in columns]
        name = next((column for column in _NAMES if column in columns), None)
        if not wanted:
            return cls()
        if name is None:
            raise InputError(
                f"'{path}' has a column '{wanted[0]}' and none 'name' or 'image'; it has: {', '.join(columns)}."
            )
        tissues = _column(path, rows, name, _TISSUE, "tissues") if _TISSUE in wanted else {}
        groups = {} if group is None else _column(path, rows, name, group, "values of " + group)
        diameters = _column(path, rows, name, _DIAMETER, "diameters") if _DIAMETER in wanted else {}
        mpps = _column(path, rows, name, _MPP, "resolutions") if _MPP in wanted else {}
        return cls(
            tissues=tissues,
            groups=groups,
            diameters_px={image: _positive(path, image, text) for image, text in diameters.items() if text},
            mpps={image: possible_resolution(t, where=f"'{path}' of {image!r}") for image, t in mpps.items() if t},
        )

    def diameter_px(self, name: str) -> float | None:
        """Median diameter of the nuclei of an image, px; None where not stated."""
        return self.diameters_px.get(name)

    def tissue(self, name: str) -> str:
        """Tissue of an image, empty where not stated."""
        return self.tissues.get(name, "")

    def group(self, name: str) -> str:
        """Patient or case of an image, empty where not stated."""
        return self.groups.get(name, "")


def _rows(path: Path) -> tuple[Sequence[str], list[dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            return reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"'{path}' cannot be read as a table ({error}). Write it as CSV in UTF-8.") from error


def _positive(path: Path, image: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"'{path}' states {text!r} as {_DIAMETER} of {image!r}; needed is a number above 0.")
    return value


def _column(path: Path, rows: Sequence[Mapping[str, str | None]], named: str, column: str, what: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for row in rows:
        name, value = (row[named] or "").strip(), (row[column] or "").strip()
        name = picture_name(name)
        if values.setdefault(name, value) != value:
            raise InputError(f"'{path}' states two {what} of {name!r}: {values[name]!r} and {value!r}. Keep one.")
    return values
