"""Score a model of tissue pixel by pixel, and its glands one by one where the labels part them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.notebook import html_table
from histocyte.core.plain_text import plain
from histocyte.evaluation.report import TableRow
from histocyte.files.csv_file import write_rows
from histocyte.metrics.detection import DetectionCounts
from histocyte.metrics.objects import object_counts, object_dice, object_hausdorff
from histocyte.metrics.regions import RegionCounts, region_counts
from histocyte.pages.text import interval_text, number
from histocyte.statistics.bootstrap import (
    LEAST_GROUPS,
    Estimate,
    Statistic,
    bootstrap_weights,
    estimate,
    estimate_each,
    few_groups,
    weighted_mean,
    weighted_pool,
)

if TYPE_CHECKING:
    from histocyte.datasets.sample import Sample

__all__ = ["REGION_SCORES", "FoundRegions", "RegionImage", "RegionReport", "RegionSource", "evaluate_regions"]

BACKGROUND = "background"
REGION_SCORES: Mapping[str, tuple[str, str]] = {
    "accuracy": ("pixel accuracy", "share of the labelled pixels with the right class"),
    "mean_iou": ("mean IoU", "of the classes in the truth, the background one of them; pixels of all images together"),
    "mean_dice": (
        "mean Dice",
        "of the classes in the truth, the background one of them; pixels of all images together",
    ),
    "image_accuracy": ("pixel accuracy, mean of images", "each image counts alike"),
    "image_iou": ("mean IoU, mean of images", "each image counts alike"),
    "image_dice": ("mean Dice, mean of images", "each image counts alike"),
    "object_f1": ("object F1", "a found object is right if it covers half of the true one it shares most with"),
    "object_dice": ("object Dice", "each object with the one it shares most with, by area; mean of images"),
    "object_hausdorff_um": ("object Hausdorff, µm", "largest distance between two outlines, by area; mean of images"),
}
"""Title of each score, and what it is; those of objects only where the truth has objects."""


class FoundRegions(Protocol):
    """What a model says of an image's tissue."""

    @property
    def classes(self) -> NDArray[np.integer]:
        """(H, W) class of each pixel, from 1, 0 the background."""

    @property
    def objects(self) -> NDArray[np.int32]:
        """(H, W) a number for each connected region, 0 the background."""


@dataclass(frozen=True, slots=True, eq=False)
class RegionImage:
    """The counts of one image, enough to make its scores.

    Attributes:
        name: Name of the image.
        source: Its data set.
        group: Patient or slide.
        counts: Pixels by true and found class.
        objects: Hits and misses of objects; None where the truth has none.
        object_dice: See `metrics.objects`; NaN without objects.
        object_hausdorff_um: The same, where one side has nothing the image's diagonal.
    """

    name: str
    source: str
    group: str
    counts: RegionCounts
    objects: DetectionCounts | None = None
    object_dice: float = math.nan
    object_hausdorff_um: float = math.nan

    def scores(self) -> dict[str, float]:
        """By key of `REGION_SCORES`."""
        found = {"accuracy": self.counts.accuracy, "mean_iou": self.counts.mean_iou, "mean_dice": self.counts.mean_dice}
        if self.objects is not None:
            found |= {"object_f1": self.objects.f1, "object_dice": self.object_dice}
            found["object_hausdorff_um"] = self.object_hausdorff_um
        return found


@dataclass(frozen=True, slots=True, eq=False)
class RegionSource:
    """Scores on one data set.

    Attributes:
        n_images: Images scored.
        n_groups: Patients or slides.
        scores: By key of `REGION_SCORES`.
        iou: IoU of each class, pixels of all images together.
        dice: Dice of each class.
        confusion: (K, K) pixels by true class (rows) and found class.
    """

    n_images: int
    n_groups: int
    scores: Mapping[str, Estimate]
    iou: tuple[Estimate, ...]
    dice: tuple[Estimate, ...]
    confusion: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RegionReport:
    """Scores of a model of tissue on one or more data sets.

    Attributes:
        class_names: The classes, the background first where it is one.
        sources: Scores by data set.
        images: One row an image, in the order they came.
        replicates: Bootstrap resamples behind each interval.
        seed: Their seed.
        about: Keys that `to_json` puts first: model, split and what else was scored.
        title: Title of the model.
        left_out_note: How many images were not scored and why; empty where there are none.
        doubts: What may be wrong with the scores, in sentences.
    """

    class_names: tuple[str, ...]
    sources: Mapping[str, RegionSource]
    images: tuple[RegionImage, ...]
    replicates: int
    seed: int
    about: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    left_out_note: str = ""
    doubts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Sets, images and mean Dice of each."""
        said = (
            f"{n}: {s.n_images} images, Dice {number(s.scores['mean_dice'].value)}" for n, s in self.sources.items()
        )
        return plain(f"<{type(self).__name__} {', '.join(said)}>", one_line=True)

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        return html_table("scores", ("data set", "score", "value", "95 % interval", "images"), self.table())

    def to_json(self) -> dict[str, object]:
        """A JSON-ready description; an estimate is `{value, low, high, n, dropped}`, undefined values are None.

        Keys: those of `about`, `format`, `settings`, `class_names`, `scores` (what each is), `sources` (by data set
        `n_images, n_groups, scores, classes, confusion`) and `images` (scores and pixels by class of each).
        """
        return {
            **self.about,
            "format": "histocyte-region-evaluation/2",
            "settings": {
                "replicates": self.replicates,
                "seed": self.seed,
                "level": 0.95,
                "least_groups": LEAST_GROUPS,
            },
            "class_names": list(self.class_names),
            "scores": {key: about for key, (_, about) in REGION_SCORES.items()},
            "sources": {name: self._source_json(source) for name, source in self.sources.items()},
            "images": [
                {
                    "name": row.name,
                    "source": row.source,
                    "group": row.group,
                    **{key: None if math.isnan(value) else value for key, value in row.scores().items()},
                    "confusion": row.counts.confusion.tolist(),
                }
                for row in self.images
            ],
            "doubts": list(self.doubts),
        }

    def table(self) -> list[TableRow]:
        """Rows for the terminal, all text: each data set's scores, then each class's."""
        return [row for name, source in self.sources.items() for row in self._rows(name, source)]

    def interval_notes(self) -> list[str]:
        """Why scores in the table have no interval, where any has none."""
        return few_groups(e for s in self.sources.values() for e in (*s.scores.values(), *s.iou, *s.dice))

    def write_csv(self, path: str | Path) -> None:
        """Write one line an image, whole or not at all: its scores and each class's Dice; empty where undefined.

        Raises:
            DiskError: The file could not be written.
        """
        rows: list[dict[str, object]] = []
        for row in self.images:
            dice = dict(zip((f"dice {name}" for name in self.class_names), row.counts.dice, strict=True))
            values = {key: None if math.isnan(value) else value for key, value in {**row.scores(), **dice}.items()}
            rows.append({"name": row.name, "source": row.source, "group": row.group, **values})
        header = list(dict.fromkeys(key for row in rows for key in row))
        write_rows(Path(path), header, [[row.get(key) for key in header] for row in rows])

    def _source_json(self, source: RegionSource) -> dict[str, object]:
        classes = zip(self.class_names, source.iou, source.dice, strict=True)
        return {
            "n_images": source.n_images,
            "n_groups": source.n_groups,
            "scores": {key: score.to_json() for key, score in source.scores.items()},
            "classes": [{"name": n, "iou": iou.to_json(), "dice": dice.to_json()} for n, iou, dice in classes],
            "confusion": source.confusion.tolist(),
        }

    def _rows(self, name: str, source: RegionSource) -> Iterator[TableRow]:
        for key, score in source.scores.items():
            yield _row(name, REGION_SCORES[key][0], score)
        for kind, iou, dice in zip(self.class_names, source.iou, source.dice, strict=True):
            yield _row(name, f"{kind}: Dice", dice)
            yield _row(name, f"{kind}: IoU", iou)


def evaluate_regions(
    predict: Callable[[NDArray[np.uint8], float], FoundRegions],
    samples: Iterable[Sample],
    names: Sequence[str],
    *,
    background: bool = True,
    replicates: int = 1000,
    seed: int = 0,
    on_found: Callable[[Sample, FoundRegions, RegionImage], None] | None = None,
) -> RegionReport:
    """Predict and score one image at a time; images of one patient or slide are resampled together.

    Args:
        predict: The model: (H, W, 3) uint8 RGB and its resolution (µm/px) → what it says.
        samples: Images with labels of tissue, of one or more data sets; types are numbers of `names`.
        names: The model's classes.
        background: Whether what is of no class is one too; if not, pixels without a label do not count.
        replicates: Bootstrap resamples.
        seed: The same seed gives the same intervals.
        on_found: Called after each image.

    Raises:
        InputError: There is no image, or a prediction of another shape than its image.
    """
    rows = []
    for sample in samples:
        found = predict(sample.image, sample.mpp)
        rows.append(score_regions(sample, found, len(names), background=background))
        if on_found is not None:
            on_found(sample, found, rows[-1])
    if not rows:
        raise InputError("There is no image to score: the data set is empty.")
    by_source: dict[str, list[RegionImage]] = {}
    for row in rows:
        by_source.setdefault(row.source, []).append(row)
    return RegionReport(
        ((BACKGROUND, *names) if background else tuple(names)),
        {name: _summarise(mine, replicates=replicates, seed=seed) for name, mine in by_source.items()},
        tuple(rows),
        replicates,
        seed,
    )


def score_regions(sample: Sample, found: FoundRegions, classes: int, *, background: bool = True) -> RegionImage:
    """The counts of one image.

    Args:
        sample: With labels of tissue.
        found: What a model says of it.
        classes: Classes of the model.
        background: See `evaluate_regions`.
    """
    truth, guess = sample.class_map, np.asarray(found.classes)
    counts = region_counts(
        np.where(truth < 0, -1, truth) if background else np.where(truth <= 0, -1, truth - 1),
        guess if background else np.maximum(guess - 1, 0),
        n_classes=classes + background,
        ignore=-1,
    )
    if not sample.separable:
        return RegionImage(sample.name, sample.source, sample.group, counts)
    objects = found.objects if sample.ignored is None else np.where(sample.ignored, 0, found.objects)
    hausdorff = object_hausdorff(sample.instances, objects)
    most = math.hypot(*truth.shape)
    return RegionImage(
        sample.name,
        sample.source,
        sample.group,
        counts,
        object_counts(sample.instances, objects),
        object_dice(sample.instances, objects),
        min(hausdorff, most) * sample.mpp if not math.isnan(hausdorff) else hausdorff,
    )


def _summarise(rows: Sequence[RegionImage], *, replicates: int, seed: int) -> RegionSource:
    groups = [row.group for row in rows]
    weights = bootstrap_weights(groups, replicates=replicates, seed=seed)
    tables = np.array([row.counts.confusion for row in rows], np.float64)
    pooled = ("accuracy", "mean_iou", "mean_dice")
    scores = {key: estimate(_pooled(tables, key), weights) for key in pooled}
    own = [row.scores() for row in rows]
    means = {"image_accuracy": "accuracy", "image_iou": "mean_iou", "image_dice": "mean_dice"}
    if any(row.objects is not None for row in rows):
        none = DetectionCounts(0, 0, 0)
        hits = np.array([[c.tp, c.fp, c.fn] for c in (row.objects or none for row in rows)], np.float64)
        scores["object_f1"] = estimate(weighted_pool(hits, _f1), weights)
        means |= {"object_dice": "object_dice", "object_hausdorff_um": "object_hausdorff_um"}
    values = np.array([[row.get(key, math.nan) for key in means.values()] for row in own])
    averaged = estimate_each(weighted_mean(values), weights, defined=~np.isnan(values))
    scores |= dict(zip(means, averaged, strict=True))
    present = tables.sum(axis=1) + tables.sum(axis=2) > 0
    return RegionSource(
        len(rows),
        len(set(groups)),
        {key: scores[key] for key in REGION_SCORES if key in scores},
        tuple(estimate_each(_pooled(tables, "iou"), weights, defined=present)),
        tuple(estimate_each(_pooled(tables, "dice"), weights, defined=present)),
        tables.sum(axis=0).astype(np.int64),
    )


def _f1(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    hits, false, missed = totals.T
    whole = 2 * hits + false + missed
    return np.where(whole > 0, 2 * hits / np.maximum(whole, 1), np.nan)


def _pooled(tables: NDArray[np.float64], score: str) -> Statistic:
    """A score of `RegionCounts` on the summed (n, K, K) confusion matrices."""
    return weighted_pool(
        tables, lambda totals: np.array([getattr(RegionCounts(table.astype(np.int64)), score) for table in totals])
    )


def _row(source: str, title: str, score: Estimate) -> TableRow:
    return TableRow(source, title, number(score.value), interval_text(score), str(score.n))
