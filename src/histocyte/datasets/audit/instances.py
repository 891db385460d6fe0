"""Instances that are probably drawn or stored wrongly: in pieces, inside another, tiny, giant, or shredded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histocyte.core.labels import far_pieces, largest_pieces
from histocyte.datasets.audit.finding import Example, Finding, Severity
from histocyte.datasets.sample import Sample

__all__ = ["InstanceFacts", "find_instances", "instance_facts"]

_TINY_UM = 1.5
"""Diameter below which nothing is a nucleus; the smallest, of lymphocytes, are some 4 µm wide."""
_GIANT_UM = 40.0
"""Diameter that hardly any nucleus has, and sheets of several do."""
_INSIDE = 0.8
"""Share of an instance's neighbouring pixels that are of one other."""
_MANY = 0.01
"""From this share of a set's instances on it is a warning; single ones are in every public set."""
_SHREDDED = 0.05
"""Share of instances in pieces from which their map was resampled or merged wrongly."""
_LOOSE = 0.1
"""Share of an instance's pixels off its largest piece that is more than a speck."""
_EXAMPLES = 6
_AT_BORDER = 0.5
"""Share of instances cut off by the image's border from which shapes teach little."""


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What is measured on the instances of an image.

    Attributes:
        ids: (N,) those that have pixels.
        boxes: (N, 4) x0, y0, x1, y1, px.
        diameters_um: (N,) of the circle of the same area, µm.
        loose: (N,) share of an instance's pixels outside its largest piece.
        far: (N,) bool, whether a piece lies far from the rest, as that of another cell of the same id does.
        cut: (N,) bool, at the image's border.
        inside: (N,) id of the instance that encloses it, 0 where none does.
    """

    ids: NDArray[np.int64]
    boxes: NDArray[np.int64]
    diameters_um: NDArray[np.float64]
    loose: NDArray[np.float64]
    far: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    inside: NDArray[np.int64]


def instance_facts(sample: Sample) -> InstanceFacts:
    """Measure the instances of an image."""
    labels = np.ascontiguousarray(sample.instances)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    ids = np.flatnonzero(areas)
    found = ndimage.find_objects(labels)
    places = [found[i - 1] for i in ids]
    boxes = np.array([(s[1].start, s[0].start, s[1].stop, s[0].stop) for s in places], np.int64).reshape(-1, 4)
    whole = np.bincount(largest_pieces(labels).ravel(), minlength=len(areas)) if len(ids) else areas
    height, width = labels.shape
    cut = (boxes[:, :2] == 0).any(1) | (boxes[:, 2] == width) | (boxes[:, 3] == height)
    return InstanceFacts(
        ids=ids,
        boxes=boxes,
        diameters_um=2 * np.sqrt(areas[ids] / np.pi) * sample.mpp,
        loose=1 - whole[ids] / areas[ids],
        far=far_pieces(labels)[ids] > 0,
        cut=cut,
        inside=np.array([_enclosing(labels, int(i), box) for i, box in zip(ids, boxes, strict=True)], np.int64),
    )


def _enclosing(labels: NDArray[np.int32], number: int, box: NDArray[np.int64]) -> int:
    x0, y0, x1, y1 = box
    part = labels[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1]
    mine = (part == number).astype(np.uint8)
    around = part[(cv2.dilate(mine, np.ones((3, 3), np.uint8)) > 0) & (mine == 0)]
    others = np.bincount(around)
    if len(others) < 2:
        return 0
    others_only = others[1:]
    most = int(others_only.argmax()) + 1
    return most if others[most] >= _INSIDE * len(around) else 0


def _other_class(sample: Sample, facts: InstanceFacts) -> NDArray[np.bool_]:
    if sample.types is None:
        return np.zeros(len(facts.ids), bool)
    mine, around = sample.types[facts.ids], sample.types[facts.inside]
    return np.asarray((mine > 0) & (around > 0) & (mine != around))


def find_instances(source: str, samples: Sequence[Sample], facts: Sequence[InstanceFacts]) -> Iterator[Finding]:
    """What the instances of one set show.

    Args:
        source: Name of the set.
        samples: Its images, which have outlines.
        facts: Measurements, one for each image.
    """
    total = sum(len(f.ids) for f in facts)
    if not total:
        return
    inside = [f.inside > 0 for f in facts]
    double = [both & _other_class(s, f) for s, f, both in zip(samples, facts, inside, strict=True)]
    kinds = (
        ("far pieces", [f.far for f in facts], "with pixels in places far apart, as of two nuclei with one id",
         "Give each connected piece its own id, e.g. with skimage.measure.label.", 0.0),
        ("in pieces", [(f.loose > _LOOSE) & ~f.far for f in facts], "in pieces that do not touch",
         "Join or renumber their pieces; maps that were resized need nearest-neighbour resampling.", _MANY),
        ("doubly typed", double, "inside another instance of another class, as a nucleus drawn twice is",
         "Decide on one class and remove the other instance.", 0.0025),
        ("inside another", [one & ~two for one, two in zip(inside, double, strict=True)],
         "inside another instance, as a nucleus drawn twice is", "Keep one of the two.", _MANY),
        ("tiny", [(f.diameters_um < _TINY_UM) & ~f.cut for f in facts], f"less than {_TINY_UM:g} µm wide",
         "Remove crumbs below the size of a nucleus, or see whether the resolution is right.", _MANY),
        ("giant", [f.diameters_um > _GIANT_UM for f in facts], f"more than {_GIANT_UM:g} µm wide",
         "See whether several nuclei were drawn as one, or whether the resolution is right.", 0.005),
    )  # fmt: skip
    for check, picked, what, advice, many in kinds:
        count = int(sum(p.sum() for p in picked))
        if count:
            share = count / total
            severity = Severity.WARNING if share > many else Severity.NOTE
            if check == "in pieces" and share > _SHREDDED:
                severity = Severity.ERROR
            yield _finding(severity, check, source, samples, facts, picked, what, advice)
    cut = sum(int(f.cut.sum()) for f in facts)
    if cut > _AT_BORDER * total:
        yield Finding(
            Severity.NOTE, "cut off", source,
            f"In {source} {cut:,} of {total:,} instances: cut off by the border of their image.",
            "Use larger images where there are any: whole shapes teach outlines better.", count=cut,
        )  # fmt: skip


def _finding(
    severity: Severity,
    check: str,
    source: str,
    samples: Sequence[Sample],
    facts: Sequence[InstanceFacts],
    picked: Sequence[NDArray[np.bool_]],
    what: str,
    advice: str,
) -> Finding:
    examples: list[Example] = []
    for sample, fact, some in zip(samples, facts, picked, strict=True):
        for i in np.flatnonzero(some)[: max(0, _EXAMPLES - len(examples))]:
            x0, y0, x1, y1 = map(int, fact.boxes[i])
            also = (int(fact.inside[i]),) if fact.inside[i] else ()
            examples.append(Example(source, sample.name, (x0, y0, x1, y1), (int(fact.ids[i]), *also)))
    count = int(sum(some.sum() for some in picked))
    names = tuple(s.name for s, some in zip(samples, picked, strict=True) if some.any())
    total = sum(len(f.ids) for f in facts)
    said = f"In {source} {count:,} of {total:,} instances ({count / total:.1%}): {what}."
    return Finding(severity, check, source, said, advice, names, count, tuple(examples))
