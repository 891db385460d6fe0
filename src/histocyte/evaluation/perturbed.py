"""How scores change where images are not as they should be: another stain, out of focus, compressed, wrongly scaled.

Each change is made by itself, alike on every image and without chance, so that two models meet the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.stain import HED_FROM_RGB, RGB_FROM_HED, from_density, to_density
from histocyte.evaluation.report import Report
from histocyte.evaluation.summary import SourceSummary
from histocyte.pages.text import number
from histocyte.statistics.bootstrap import Estimate

__all__ = [
    "PERTURBATIONS",
    "PERTURBED_COLUMNS",
    "Perturbation",
    "PerturbedScores",
    "perturbed_scores",
    "perturbed_table",
]

Image = NDArray[np.uint8]
Kind = Literal["none", "stain", "blur", "jpeg", "mpp"]


@dataclass(frozen=True, slots=True)
class Perturbation:
    """One change to an image, or to what is said of it.

    Attributes:
        kind: What is changed.
        name: The change, for people.
        change: (H, W, 3) uint8 RGB and its resolution (µm/px) → the same, changed.
        mpp_factor: By how much the resolution that the model is told is wrong.
    """

    kind: Kind
    name: str
    change: Callable[[Image, float], Image]
    mpp_factor: float = 1.0


def _unchanged(image: Image, mpp: float) -> Image:
    return image


def _stain(haematoxylin: float, eosin: float) -> Callable[[Image, float], Image]:
    """Amounts of both stains times a factor each, in optical density."""
    factors = np.array([haematoxylin, eosin, 1.0], np.float32)
    mixed = (HED_FROM_RGB * factors) @ RGB_FROM_HED

    def change(image: Image, mpp: float) -> Image:
        return from_density(to_density(image) @ mixed)

    return change


def _blur(sigma_um: float) -> Callable[[Image, float], Image]:
    """Out of focus by a Gaussian of so many µm."""

    def change(image: Image, mpp: float) -> Image:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_um / mpp), np.uint8)

    return change


def _jpeg(quality: int) -> Callable[[Image, float], Image]:
    """Compressed and opened again."""

    def change(image: Image, mpp: float) -> Image:
        written = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.ascontiguousarray(np.asarray(cv2.imdecode(written, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])

    return change


AS_THEY_ARE = Perturbation("none", "they are", _unchanged)

PERTURBATIONS: tuple[Perturbation, ...] = (
    Perturbation("stain", "haematoxylin × 0.7", _stain(0.7, 1.0)),
    Perturbation("stain", "haematoxylin × 1.4", _stain(1.4, 1.0)),
    Perturbation("stain", "eosin × 0.7", _stain(1.0, 0.7)),
    Perturbation("stain", "eosin × 1.4", _stain(1.0, 1.4)),
    *(Perturbation("blur", f"blur {sigma:g} µm", _blur(sigma)) for sigma in (0.25, 0.5, 1.0)),
    *(Perturbation("jpeg", f"JPEG {quality}", _jpeg(quality)) for quality in (90, 70, 50, 30)),
    Perturbation("mpp", "µm/px told 20 % too small", _unchanged, 0.8),
    Perturbation("mpp", "µm/px told 20 % too large", _unchanged, 1.2),
)
"""What `evaluate --perturb` tries, each by itself."""

PERTURBED_COLUMNS = (
    "data set",
    "images as",
    "bPQ",
    "95 % interval",
    "change",
    "detection F1",
    "change",
    "class F1",
    "change",
)


@dataclass(frozen=True, slots=True)
class PerturbedScores:
    """Scores of one data set under one change.

    Attributes:
        source: The data set.
        kind: What was changed; "none" for the images as they are.
        name: The change, for people.
        scores: `bpq`, `f1` (detection) and `class_f1` (mean of the classes' F1, without an interval), as far as the
            truth tells them.
    """

    source: str
    kind: Kind
    name: str
    scores: dict[str, Estimate]

    def to_json(self) -> dict[str, object]:
        """The fields, JSON-ready."""
        scores = {key: estimate.to_json() for key, estimate in self.scores.items()}
        return {"source": self.source, "kind": self.kind, "name": self.name, "scores": scores}


def perturbed_scores(report: Report, change: Perturbation | None = None) -> list[PerturbedScores]:
    """The scores of each data set in a report under a change; of its images as they are where None."""
    made = AS_THEY_ARE if change is None else change
    return [PerturbedScores(s.source, made.kind, made.name, _scores(s)) for s in report.sources.values()]


def _scores(summary: SourceSummary) -> dict[str, Estimate]:
    scores = {key: summary.scores[key] for key in ("bpq", "f1") if key in summary.scores}
    of_classes = [c.f1.value for c in summary.classes if not math.isnan(c.f1.value)]
    if of_classes:
        scores["class_f1"] = Estimate(float(np.mean(of_classes)), math.nan, math.nan, summary.n_images)
    return scores


def perturbed_table(rows: Sequence[PerturbedScores]) -> list[tuple[str, ...]]:
    """Rows of text under `PERTURBED_COLUMNS`, each with its change to the images as they are."""
    plain = {row.source: row.scores for row in rows if row.kind == "none"}
    table = []
    for row in sorted(rows, key=lambda row: list(plain).index(row.source)):
        cells = [row.source, row.name]
        for key in ("bpq", "f1", "class_f1"):
            one, before = row.scores.get(key), plain[row.source].get(key)
            cells.append("–" if one is None else number(one.value))
            if key == "bpq":
                cells.append("–" if one is None or math.isnan(one.low) else f"{number(one.low)}–{number(one.high)}")
            told = one is not None and before is not None and row.kind != "none"
            cells.append(number(one.value - before.value, sign=True) if told and one and before else "")
        table.append(tuple(cells))
    return table
