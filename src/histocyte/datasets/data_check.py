"""What a training would learn from its images and what not, said before it begins.

A wrong resolution, labels that are shifted or have swapped axes, a class that nothing shows: each costs hours where it
is found in the scores, and seconds here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.names import counted
from histocyte.datasets.audit.finding import Example, Finding, Severity
from histocyte.datasets.cards import DATASETS
from histocyte.datasets.label_fit import LabelFit, label_fit
from histocyte.datasets.sample import Sample

__all__ = [
    "HELD_OUT",
    "LEFT_OUT",
    "PARTS",
    "TRAINING",
    "UNUSED",
    "DataCheck",
    "SetPart",
    "check_data",
    "find_mistakes",
    "fit_of",
]

USUAL_UM = (3.3, 9.0)
"""Median diameter of nuclei; of eleven public sets it is 4.1 to 8.0 µm."""
_FEW_CELLS = 100
"""A class with fewer cells to learn from is hardly learnt."""
_EXAMPLES = 4
"""Images shown of a set with a mistake."""
_SHIFTED_PX = 3
"""Labels that have to be moved by more than the outlines' own unsteadiness lie wrong."""
PARTS = TRAINING, HELD_OUT, LEFT_OUT, UNUSED = "training", "held out", "left out", "not used"
_SEVERAL, _UNKNOWN = "one of several classes", "of none of the classes"


@dataclass(frozen=True, slots=True)
class SetPart:
    """The images of a set in one part of the data.

    Attributes:
        source: Name of the set.
        part: One of `PARTS`.
        images: How many.
        groups: Patients or slides.
        cells: In all.
        by_class: Values of each class of the model.
        several: Cells that may be of several classes.
        unknown: Cells of a class that the model does not have, or of none.
        areas: Whether areas of tissue are counted in place of cells: glands, or the classes of each image.
    """

    source: str
    part: str
    images: int
    groups: int
    cells: int
    by_class: tuple[int, ...]
    several: int
    unknown: int
    areas: bool = False


@dataclass(frozen=True, slots=True)
class DataCheck:
    """The data of a training at a glance.

    Attributes:
        classes: Names of the model's.
        parts: Rows of the table, by set.
        fits: How label maps lie on their images, by set.
        unlearnt: What is in the data and teaches nothing, or not all it could, in sentences.
        warnings: What looks like a mistake, in sentences.
    """

    classes: tuple[str, ...]
    parts: tuple[SetPart, ...]
    fits: Mapping[str, LabelFit]
    unlearnt: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Headings of the table: the parts of the data that there are."""
        there = {row.part for row in self.parts}
        return ("set", "", *(part for part in PARTS if part in there))

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Cells of the table: for each set its images, patients or slides, cells, and those of each class it has."""
        found = []
        for source in self.fits:
            mine = {row.part: self._numbers(row) for row in self.parts if row.source == source}
            names = [name for name in next(iter(mine.values())) if any(part[name] for part in mine.values())]
            for line, name in enumerate(names):
                numbers = (f"{mine[part][name]:,}" if part in mine else "–" for part in self.columns[2:])
                found.append((source if not line else "", name, *numbers))
        return found

    def _numbers(self, row: SetPart) -> dict[str, int]:
        by_class = dict(zip(self.classes, row.by_class, strict=True))
        open_ones = {_SEVERAL: row.several, _UNKNOWN: row.unknown} if self.classes else {}
        if row.areas:
            return {"images": row.images, "patients or slides": row.groups, "labelled areas": row.cells, **by_class}
        return {"images": row.images, "patients or slides": row.groups, "cells": row.cells, **by_class, **open_ones}

    def __str__(self) -> str:
        """The table and the sentences, as plain text."""
        rows = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        return "\n".join([*lines, *self.unlearnt, *(f"Warning: {warning}" for warning in self.warnings)])

    def to_json(self) -> dict[str, Any]:
        """For a file: the table with classes by name, µm and px, and the sentences."""
        parts = [{**asdict(row), "by_class": dict(zip(self.classes, row.by_class, strict=True))} for row in self.parts]
        fits = {
            source: {name: None if value != value else value for name, value in asdict(fit).items()}
            for source, fit in self.fits.items()
        }
        return {
            "classes": list(self.classes),
            "parts": parts,
            "labels": fits,
            "unlearnt": list(self.unlearnt),
            "warnings": list(self.warnings),
        }


def check_data(parts: Mapping[str, Sequence[Sample]], classes: Sequence[str], *, crop_px: int, mpp: float) -> DataCheck:
    """Count, and look for what a training will not learn and for what is probably a mistake.

    Args:
        parts: Images by part, of `PARTS`.
        classes: Names of the model's.
        crop_px: Side of a crop.
        mpp: Resolution that the model works at, µm/px.
    """
    every = [sample for samples in parts.values() for sample in samples]
    sets = {source: [s for s in every if s.source == source] for source in dict.fromkeys(s.source for s in every)}
    rows = tuple(
        _count(source, part, mine, len(classes))
        for source in sets
        for part, samples in parts.items()
        if (mine := [s for s in samples if s.source == source])
    )
    fits = {source: fit_of(source, samples) for source, samples in sets.items()}
    unlearnt = [*_of_sets(sets, rows, classes, crop_px * mpp), *_of_classes(rows, classes), *_of_parts(rows)]
    warnings = [f.what for source, samples in sets.items() for f in find_mistakes(source, samples, fits[source])]
    return DataCheck(tuple(classes), rows, fits, tuple(unlearnt), tuple(warnings))


def _count(source: str, part: str, samples: Sequence[Sample], classes: int) -> SetPart:
    cells = sum(len(_ids(s)) for s in samples)
    by_class = sum((_class_counts(s, classes) for s in samples), start=np.zeros(classes, np.int64))
    several = sum(int((_readings(s)[1:].sum(1) > 1).sum()) for s in samples if s.one_of is not None)
    groups = len({s.group for s in samples})
    unknown = cells - int(by_class.sum()) - several
    areas = any(s.areas for s in samples)
    return SetPart(
        source, part, len(samples), groups, cells, tuple(map(int, by_class)), several, max(0, unknown), areas
    )


def _class_counts(sample: Sample, classes: int) -> NDArray[np.int64]:
    """(K,) cells of each class, or glands; where each pixel has a class, whether it is in the image."""
    if not sample.areas or sample.types is None:
        return sample.class_counts(classes)
    return np.bincount(sample.types[_ids(sample)], minlength=classes + 1)[1 : classes + 1]


def fit_of(source: str, samples: Sequence[Sample]) -> LabelFit:
    """How the labels of a set lie on its images; dots have no diameter."""
    if any(s.areas for s in samples):
        return LabelFit(math.nan, math.nan, (0, 0), "")  # tissue is neither darker than what is around it nor of a size
    fit = label_fit(samples)
    return replace(fit, diameter_um=math.nan) if _has_dots(source) else fit


def _has_dots(source: str) -> bool:
    card = DATASETS.get(source)
    return card is not None and bool(card.dots)


def _ids(sample: Sample) -> NDArray[np.int64]:
    return np.flatnonzero(np.bincount(sample.instances.ravel())[1:]) + 1


def _readings(sample: Sample) -> NDArray[np.bool_]:
    assert sample.one_of is not None
    return sample.one_of


def _of_sets(
    sets: Mapping[str, Sequence[Sample]], rows: Sequence[SetPart], classes: Sequence[str], crop_um: float
) -> Iterator[str]:
    """What the sets' labels do not say."""
    for source, samples in sets.items():
        mine = [row for row in rows if row.source == source]
        if any(s.areas for s in samples):
            yield from _of_tissue(source, samples, crop_um)
            continue
        if _has_dots(source):
            yield f"{source} has dots: they teach where nuclei are and their classes, and no outlines."
        elif not all(s.separable for s in samples):
            yield f"In {source} touching nuclei are one: it teaches where nuclei are, and not how to part them."
        if classes and all(s.types is None for s in samples):
            yield f"{source} has no classes of cells: it teaches outlines alone."
        elif classes and (unknown := sum(row.unknown for row in mine)):
            what = "where nuclei are" if _has_dots(source) else "outlines"
            cells_are = counted(unknown, f"cell of {source} is", f"cells of {source} are")
            yield f"{cells_are} of none of the model's classes: only {what} can be learnt there."
        if several := sum(row.several for row in mine):
            yield (
                f"{counted(several, 'cell')} of {source} may be of several classes: learnt is that one of these is "
                "right."
            )
        ignored = sum(float(s.ignored.mean()) for s in samples if s.ignored is not None) / len(samples)
        if ignored and not _has_dots(source):
            yield f"{ignored:.1%} of the area of {source} is marked as unclear: nothing is learnt there."
        if empty := sum(not s.instances.any() for s in samples):
            yield f"Without nuclei: {empty:,} of {counted(len(samples), 'image')} of {source}, teaching background."
        if small := sum(min(s.instances.shape) * s.mpp < crop_um * 0.999 for s in samples):
            yield (
                f"Smaller than a crop ({crop_um:.0f} µm): {small:,} of {counted(len(samples), 'image')} of "
                f"{source}. White "
                "fills the rest."
            )


def _of_tissue(source: str, samples: Sequence[Sample], crop_um: float) -> Iterator[str]:
    """What labels of tissue do not say."""
    ignored = sum(float((s.class_map < 0).mean()) for s in samples) / len(samples)
    if ignored:
        yield f"{ignored:.1%} of the area of {source} is of unknown class: nothing is learnt there."
    if empty := sum(not s.instances.any() for s in samples):
        yield f"{empty:,} of the {len(samples):,} images of {source} have no labelled area: they teach background."
    if small := sum(min(s.instances.shape) * s.mpp < crop_um * 0.999 for s in samples):
        yield (
            f"{small:,} of the {len(samples):,} images of {source} are smaller than a crop ({crop_um:.0f} µm): "
            "white fills the rest."
        )


def _of_classes(rows: Sequence[SetPart], classes: Sequence[str]) -> Iterator[str]:
    """Classes that are hardly shown, or not at all."""
    training = [row for row in rows if row.part == TRAINING]
    counts = {name: sum(row.by_class[number] for row in training) for number, name in enumerate(classes)}
    if absent := [name for name, count in counts.items() if not count]:
        yield f"Nothing shows what {' or '.join(absent)} looks like."
    for name, count in counts.items():
        if 0 < count < _FEW_CELLS and not any(row.areas for row in training):
            yield f"Only {counted(count, 'cell shows', 'cells show')} what {name} looks like: it will hardly be learnt."


def _of_parts(rows: Sequence[SetPart]) -> Iterator[str]:
    for row in rows:
        if row.part == UNUSED:
            shows = counted(row.images, "image that shows", "images that show")
            yield (
                f"Not used of {row.source}: {shows} the same as held-out ones, or that a model before has learnt from "
                "and that held-out patients or slides have."
            )


def find_mistakes(source: str, samples: Sequence[Sample], fit: LabelFit) -> Iterator[Finding]:
    """What looks like a wrong resolution or labels in the wrong place, for a training and for an audit.

    Args:
        source: Name of the set.
        samples: Its images.
        fit: How its labels lie, of `fit_of`.
    """
    if any(s.areas for s in samples):
        return
    estimated = all(s.mpp_estimated for s in samples)
    low, high = USUAL_UM
    shown = tuple(Example(source, s.name) for s in samples[:_EXAMPLES])
    if not estimated and not math.isnan(fit.diameter_um) and not low <= fit.diameter_um <= high:
        mpp = float(np.median([s.mpp for s in samples]))
        what = (
            f"The nuclei of {source} are {fit.diameter_um:.1f} µm wide (median), and {low:g} to {high:g} µm is usual: "
            f"is its resolution of {mpp:g} µm/px right?"
        )
        advice = "State the resolution that the images were stored at, after any resizing."
        yield Finding(Severity.ERROR, "resolution", source, what, advice, count=len(samples), examples=shown)
    if fit.turn:
        check, what = "turned", f"would cover dark nuclei much better {fit.turn}: are they those of these images?"
        what = f"The labels of {source} {what}"
    elif max(map(abs, fit.shift_px)) >= _SHIFTED_PX:
        x, y = fit.shift_px
        check = "shifted"
        what = f"The labels of {source} would cover dark nuclei better if moved by {x} px to the right and {y} px down."
    elif fit.darker <= 0:
        check = "not darker"
        what = (
            f"The labelled nuclei of {source} are not darker than what is around them: are the labels in their place?"
        )
    else:
        return
    advice = "Look at the outlines on the images, and see how labels were exported: order of axes, origin, file names."
    yield Finding(Severity.ERROR, check, source, what, advice, count=len(samples), examples=shown)
