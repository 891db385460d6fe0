"""Classes of students and their teacher on tissue that neither has learnt, by dots that pathologists set.

    python benchmarks/student_classes.py ../shared/data

DATA holds brca_m2c_points/ (TCGA breast, 0.5 µm/px) and crchisto_points/ (colon, 0.55 µm/px): images with a dot and a
class for each nucleus, no outlines. Each dot gets the class of the outline over it. F1 of a class counts dots of it
that the model calls so; a dot under no outline counts as missed, and outlines without a dot do not count, as not
every nucleus has one. Intervals are of a paired bootstrap over patients (images of the second set, whose patients are
not stated). Patients that are in MoNuSeg's training set, which the models have learnt, are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from histocyte.inference.load import Model, load
from histocyte.pipeline import instances_on
from histocyte.slides.picture import read_picture
from histocyte.statistics.bootstrap import Score, weighted_pool
from histocyte.statistics.paired import PairedDifference, PairedResamples

TEACHER = "hover-unet-consep"
STUDENTS = ("hover-small-consep", "hover-unet-consep-20x")
CLASSES = ("inflammatory", "epithelial", "spindle")
SETS = {
    "brca_m2c_points": {1: "inflammatory", 2: "epithelial", 3: "spindle"},
    "crchisto_points": {1: "epithelial", 2: "inflammatory", 3: "spindle"},
}
LEARNT_PATIENTS = ("TCGA-A7-A13E", "TCGA-A7-A13F")


class Dots(NamedTuple):
    """An image with dots: pixels, µm/px, (N, 2) x and y, (N,) place in CLASSES, and what it is resampled with."""

    image: NDArray[np.uint8]
    mpp: float
    xy: NDArray[np.float64]
    kinds: NDArray[np.int64]
    group: str


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take every so many-th image of a set only")
    arguments = parser.parse_args()
    models = {name: load(name, runtime="openvino", workers=1) for name in (TEACHER, *STUDENTS)}
    for source, named in SETS.items():
        images = list(dotted(arguments.data / source, named))[:: arguments.every]
        groups = [image.group for image in images]
        counted = {name: np.stack([counts(image, model) for image in images]) for name, model in models.items()}
        print(f"\n{source}: {len(images)} images, {len(set(groups))} patients or images, " + _dots(images))
        print(f"\n| | found | {' | '.join(f'F1 {c}' for c in CLASSES)} | called {', '.join(CLASSES)}, other |")
        print(f"|---|--:|{'--:|' * len(CLASSES)}--:|")
        for name, table in counted.items():
            whole = table.sum(axis=0)
            told = ", ".join(f"{n:,.0f}" for n in whole[:, :-1].sum(axis=0))
            scores = " | ".join(f"{v:.3f}" for v in _f1(whole[None])[0])
            print(f"| `{name}` | {whole[:, :-1].sum() / whole.sum():.1%} | {scores} | {told} |")
            if name != TEACHER:
                cells = [_difference(d) for d in compared(counted[TEACHER], table, groups)]
                print(f"| … less the teacher | | {' | '.join(cells)} | |")


def dotted(folder: Path, named: dict[int, str]) -> Iterator[Dots]:
    """Images of a folder with the dots whose class is named."""
    for path in sorted(folder.glob("*.webp")):
        breast = path.name.startswith("TCGA")
        if path.name.startswith(LEARNT_PATIENTS):
            continue
        with np.load(path.with_suffix(".npz")) as file:
            xy, types = file["points"].astype(np.float64), file["type"]
        known = np.isin(types, list(named))
        kinds = np.array([CLASSES.index(named[int(t)]) for t in types[known]], np.int64)
        mpp = float(path.stem.rsplit("_", 1)[1]) / 2 if breast else 0.55
        yield Dots(read_picture(path).pixels, mpp, xy[known], kinds, path.name[:12] if breast else path.stem)


def counts(dots: Dots, model: Model) -> NDArray[np.float64]:
    """(K, K + 2) dots by their class and by what the model says: the K classes, another class, no outline there."""
    found = instances_on(dots.image, model, mpp=dots.mpp)
    height, width = found.labels.shape
    x, y = (np.clip(np.rint(v).astype(int), 0, most - 1) for v, most in zip(dots.xy.T, (width, height), strict=True))
    under = found.labels[y, x]
    names = model.taxonomy.names
    place = np.array([CLASSES.index(n) if n in CLASSES else len(CLASSES) for n in names])
    told = np.full(len(under), len(CLASSES) + 1)
    told[under > 0] = place[found.class_probabilities.argmax(axis=1)][under[under > 0] - 1]
    table = np.zeros((len(CLASSES), len(CLASSES) + 2))
    np.add.at(table, (dots.kinds, told), 1)
    return table


def compared(
    teacher: NDArray[np.float64], student: NDArray[np.float64], groups: Sequence[str]
) -> list[PairedDifference]:
    """Student less teacher, F1 of each class."""
    tables = np.concatenate([teacher, student])
    resamples = PairedResamples.of(groups, replicates=1000, seed=0)
    return resamples.differences(Score(weighted_pool(tables, _f1), tables.sum(axis=2) > 0))


def _f1(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    k = len(CLASSES)
    right = np.diagonal(totals[:, :, :k], axis1=1, axis2=2)
    both = totals.sum(axis=2) + totals[:, :, :k].sum(axis=1)
    return np.where(both > 0, 2 * right / np.where(both > 0, both, 1), np.nan)


def _difference(d: PairedDifference) -> str:
    low, high = d.difference.low, d.difference.high
    return f"{d.difference.value:+.3f} ({low:+.3f} to {high:+.3f}), p = {d.p:.3f}"


def _dots(images: Sequence[Dots]) -> str:
    total = np.bincount(np.concatenate([image.kinds for image in images]), minlength=len(CLASSES))
    return ", ".join(f"{n:,} {name}" for n, name in zip(total, CLASSES, strict=True))


if __name__ == "__main__":
    main()
