"""Score a tissue-region segmenter pixel by pixel, pooled and per image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.metrics.regions import RegionCounts, region_counts
from histocyte.statistics.bootstrap import (
    Estimate,
    Statistic,
    bootstrap_weights,
    estimate,
    estimate_each,
    weighted_mean,
    weighted_pool,
)

if TYPE_CHECKING:
    from histocyte.datasets.sample import Sample

__all__ = ["RegionPredictor", "RegionReport", "evaluate_regions"]

RegionPredictor = Callable[[NDArray[np.uint8], float], NDArray[np.integer]]
"""(H, W, 3) uint8 RGB and its resolution (µm/px) → (H, W) class of each pixel."""

_SCORES = ("accuracy", "mean_iou", "mean_dice")


@dataclass(frozen=True, slots=True, eq=False)
class RegionReport:
    """Scores of one region map on one or more images.

    Attributes:
        class_names: The K classes.
        n_images: Images scored.
        pooled: accuracy, mean_iou and mean_dice of the confusion matrix summed over all images.
        image_mean: The same scores per image, averaged.
        iou: Pooled IoU of each class.
        dice: Pooled Dice of each class.
    """

    class_names: tuple[str, ...]
    n_images: int
    pooled: Mapping[str, Estimate]
    image_mean: Mapping[str, Estimate]
    iou: tuple[Estimate, ...]
    dice: tuple[Estimate, ...]

    def to_json(self) -> dict[str, object]:
        """A JSON-ready description with the same keys; an estimate is `{value, low, high, n, dropped}`."""
        return {
            "format": "histocyte-region-evaluation/1",
            "n_images": self.n_images,
            "pooled": {key: score.to_json() for key, score in self.pooled.items()},
            "image_mean": {key: score.to_json() for key, score in self.image_mean.items()},
            "classes": [
                {"name": name, "iou": iou.to_json(), "dice": dice.to_json()}
                for name, iou, dice in zip(self.class_names, self.iou, self.dice, strict=True)
            ],
        }


def evaluate_regions(
    predict: RegionPredictor,
    samples: Iterable[Sample],
    region: str,
    class_names: Sequence[str],
    *,
    ignore: int | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> RegionReport:
    """Predict and score one image at a time; images of one group are resampled together.

    Args:
        predict: The model.
        samples: Labelled images; those without the region map are passed over.
        region: Which map of `Sample.regions`; its values are 0..K - 1.
        class_names: The K classes.
        ignore: Pixels with this value in the truth do not count.
        replicates: Bootstrap resamples.
        seed: The same seed gives the same intervals.

    Raises:
        InputError: No sample has the map, or a map does not fit its prediction or the classes.
    """
    counts, groups = [], []
    for sample in samples:
        if region in sample.regions:
            found = predict(sample.image, sample.mpp)
            counts.append(region_counts(sample.regions[region], found, n_classes=len(class_names), ignore=ignore))
            groups.append(sample.group)
    if not counts:
        raise InputError(f"None of the images has a region map '{region}' to score.")
    weights = bootstrap_weights(groups, replicates=replicates, seed=seed)
    tables = np.array([c.confusion for c in counts], np.float64)
    present = tables.sum(axis=1) + tables.sum(axis=2) > 0
    by_image = np.array([[getattr(c, key) for key in _SCORES] for c in counts])
    return RegionReport(
        tuple(class_names),
        len(counts),
        {key: estimate(_pooled(tables, key), weights) for key in _SCORES},
        dict(zip(_SCORES, estimate_each(weighted_mean(by_image), weights, defined=~np.isnan(by_image)), strict=True)),
        tuple(estimate_each(_pooled(tables, "iou"), weights, defined=present)),
        tuple(estimate_each(_pooled(tables, "dice"), weights, defined=present)),
    )


def _pooled(tables: NDArray[np.float64], score: str) -> Statistic:
    """A score of `RegionCounts` on the summed (n, K, K) confusion matrices."""
    return weighted_pool(
        tables, lambda totals: np.array([getattr(RegionCounts(table.astype(np.int64)), score) for table in totals])
    )
