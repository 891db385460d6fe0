"""Run a predictor over labelled images and score it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compared import ComparedClasses
from histocyte.core.errors import InputError
from histocyte.core.instances import Instances, relabel_sequential
from histocyte.core.taxonomies import plain_tissue
from histocyte.evaluation.image_scores import ImageInfo, ImageScores, score_image
from histocyte.evaluation.report import Report
from histocyte.evaluation.summary import summarise
from histocyte.metrics.detection import MatchMode

if TYPE_CHECKING:
    from histocyte.datasets.sample import Sample

__all__ = ["Predictor", "evaluate", "report_of"]

Predictor = Callable[[NDArray[np.uint8], float], Instances]
"""(H, W, 3) uint8 RGB and its resolution (µm/px) → what was found, on the same pixels."""


def evaluate(
    predict: Predictor,
    samples: Iterable[Sample],
    taxonomy_names: Sequence[str],
    *,
    compared: Mapping[str, ComparedClasses] | None = None,
    centres: bool = False,
    tissue: Callable[[NDArray[np.uint8], float], str] | None = None,
    tissues: Sequence[str] = (),
    replicates: int = 1000,
    seed: int = 0,
    mode: MatchMode = "hovernet",
    stratum: Callable[[Sample], str] | None = None,
    on_image: Callable[[ImageScores], None] | None = None,
    on_found: Callable[[Sample, Instances, ImageScores], None] | None = None,
) -> Report:
    """Predict and score one image at a time; only counts are kept.

    Nuclei of unknown class in the truth (0) take part in all scores but those of classes. An image whose truth does
    not part touching nuclei (`Sample.separable` false) is not scored and listed as skipped, unless it tells centres and
    these are asked for.

    Args:
        predict: The model; an instance's class is its most probable one.
        samples: Labelled images of one or more data sets; their types follow `taxonomy_names`.
        taxonomy_names: The K classes of the model.
        compared: By data set, the classes that are scored of sets whose own list is another; the types of their samples
            are of these.
        centres: Whether images whose truth tells centres of nuclei alone are scored too, by these.
        tissue: Tells which tissue an image is of, as `predict` what is on it; scored where a sample states its own.
        tissues: Those that it tells apart; images of others are not scored for it.
        replicates: Bootstrap resamples; images of one group (patient, slide) are drawn together.
        seed: The same seed gives the same intervals.
        mode: How centroids are paired, see `metrics.detection`.
        stratum: What scores are also averaged within first; by default the tissue of a sample, where it is stated, as
            PanNuke's protocol has it.
        on_image: Called after each image, e.g. to show progress.
        on_found: Called with each image that is scored, what was found on it in the classes that are scored, and its
            scores.

    Raises:
        InputError: There is no image to score, or truth and result of one do not fit each other or the classes.
    """
    rows: list[ImageScores] = []
    skipped: dict[str, list[str]] = {}
    known_tissues = {plain_tissue(name) for name in tissues}
    for sample in samples:
        if not (sample.separable or (centres and sample.centres)):
            skipped.setdefault(sample.source, []).append(sample.name)
            continue
        info = ImageInfo.of(sample) if stratum is None else replace(ImageInfo.of(sample), stratum=stratum(sample))
        found, names, others = _where_labelled(predict(sample.image, sample.mpp), sample), taxonomy_names, False
        if (classes := (compared or {}).get(sample.source)) is not None:
            names, others = classes.names, bool(classes.found_alone)
            found = replace(found, class_probabilities=classes.merged(found.class_probabilities))
        rows.append(score_image(sample.labels, found, info, n_classes=len(names), others=others, mode=mode))
        if tissue is not None and plain_tissue(sample.tissue) in known_tissues:
            right = plain_tissue(tissue(sample.image, sample.mpp)) == plain_tissue(sample.tissue)
            rows[-1] = replace(rows[-1], tissue_right=right)
        if on_found is not None:
            on_found(sample, found, rows[-1])
        if on_image is not None:
            on_image(rows[-1])
    return report_of(
        rows, taxonomy_names, compared=compared, replicates=replicates, seed=seed, mode=mode, skipped=skipped
    )


def _where_labelled(found: Instances, sample: Sample) -> Instances:
    """What was found, less what lies for the greater part where nobody said what there is.

    Of dots, that is all around them, and what lies at none of them is settled by `score_image`.
    """
    if sample.ignored is None or sample.dots:
        return found
    area = np.bincount(found.labels.ravel(), minlength=len(found) + 1)
    away = np.bincount(found.labels[sample.ignored], minlength=len(found) + 1)
    kept = np.concatenate([[False], 2 * away[1:] <= area[1:]])
    labels, _ = relabel_sequential(np.where(kept[found.labels], found.labels, 0).astype(np.int32))
    return Instances(labels, found.class_probabilities[kept[1:]], found.scores[kept[1:]])


def report_of(
    rows: Sequence[ImageScores],
    class_names: Sequence[str],
    *,
    compared: Mapping[str, ComparedClasses] | None = None,
    replicates: int = 1000,
    seed: int = 0,
    mode: MatchMode = "hovernet",
    skipped: dict[str, list[str]] | None = None,
) -> Report:
    """The report on images that are scored already (`image_scores.score_image`).

    Args:
        rows: The images, of one or more data sets.
        class_names: The K classes they were scored for.
        compared: By data set, the classes that were scored in place of these.
        replicates: Bootstrap resamples.
        seed: The same seed gives the same intervals.
        mode: How their centroids were paired.
        skipped: Names of images that were not scored, by data set.

    Raises:
        InputError: There are no rows.
    """
    skipped = skipped or {}
    if not rows:
        left = sum(map(len, skipped.values()))
        raise InputError(
            "There is no image to score"
            + (f": the truth of all {left} does not part touching nuclei." if left else ": the data set is empty.")
        )
    by_source: dict[str, list[ImageScores]] = {}
    for row in rows:
        by_source.setdefault(row.info.source, []).append(row)
    compared = {source: classes for source, classes in (compared or {}).items() if source in by_source}
    own = {source: compared[source].names if source in compared else tuple(class_names) for source in by_source}
    return Report(
        tuple(dict.fromkeys(name for names in own.values() for name in names)),
        {source: summarise(part, own[source], replicates=replicates, seed=seed) for source, part in by_source.items()},
        tuple(rows),
        {source: tuple(names) for source, names in skipped.items()},
        replicates,
        seed,
        mode,
        own,
        compared,
    )
