"""The result of an evaluation: as JSON, as a table for the terminal, as CSV."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from histocyte.core.compared import ComparedClasses
from histocyte.core.names import counted
from histocyte.core.notebook import html_table
from histocyte.core.plain_text import plain
from histocyte.evaluation.image_json import FORMAT, image_to_json
from histocyte.evaluation.image_scores import ImageScores
from histocyte.evaluation.summary import CLASS_SCORES, SCORES, STRATUM_SCORES, TOLD, SourceSummary, not_told
from histocyte.files.csv_file import write_rows
from histocyte.metrics.detection import RADIUS_UM, MatchMode
from histocyte.pages.text import interval_text, number
from histocyte.statistics.bootstrap import LEAST_GROUPS, Estimate, few_groups

__all__ = ["Report", "TableRow"]


class TableRow(NamedTuple):
    """One score as text: data set, title, value, 95 % interval, number of images behind it."""

    source: str
    score: str
    value: str
    interval: str
    images: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Report:
    """Scores of a model, or of its results, on one or more data sets.

    Attributes:
        class_names: The classes, of all data sets together.
        sources: Scores by data set.
        images: One row an image, in the order they came.
        skipped: By data set, the images that were not scored since their truth does not part touching nuclei.
        replicates: Bootstrap resamples behind each interval.
        seed: Their seed.
        mode: How centroids were paired, but for the score that says that it makes the most pairs.
        own_names: By data set, the K classes that its scores are of.
        compared: Which classes were compared as which, for data sets whose list is another than the model's.
    """

    class_names: tuple[str, ...]
    sources: Mapping[str, SourceSummary]
    images: tuple[ImageScores, ...]
    skipped: Mapping[str, tuple[str, ...]]
    replicates: int
    seed: int
    mode: MatchMode
    own_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    compared: Mapping[str, ComparedClasses] = field(default_factory=dict)

    def names_of(self, source: str) -> tuple[str, ...]:
        """The K classes that the scores of a data set are of."""
        return self.own_names.get(source, self.class_names)

    def truth_notes(self) -> list[str]:
        """What is scored of truths that tell less than the model, or other classes, in sentences."""
        said = [f"{source} {TOLD[s.told]}." for source, s in self.sources.items() if TOLD[s.told]]
        return said + [each for source, classes in self.compared.items() for each in classes.sentences(source)]

    def __repr__(self) -> str:
        """Sets, images and mean panoptic quality of each."""
        said = ", ".join(f"{name}: {counted(s.n_images, 'image')}, {_headline(s)}" for name, s in self.sources.items())
        return plain(f"<{type(self).__name__} {said}>", one_line=True)

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        return html_table("scores", ("data set", "score", "value", "95 % interval", "images"), self.table())

    def to_json(self) -> dict[str, object]:
        """A JSON-ready description; undefined values are None.

        Keys:
            `format`: "histocyte-evaluation/1".
            `settings`: replicates, seed, level of the intervals, `least_groups` from which a score has one, radius and
                mode of the centroid matching.
            `class_names`: the classes in order, of all data sets together.
            `about`: what each score is.
            `sources`: by data set `n_images, n_groups, n_truth, n_found`, `scores` (key → estimate), `classes`
                (a list with name, counts and the estimates of `CLASS_SCORES`), `strata` (by name `n_images`, `bpq`,
                `mpq` and their estimates under `scores`) and `skipped`. An estimate is `{value, low, high, n,
                dropped}`: n images, replicates dropped as undefined.
                `told`: what the truth tells: outlines, centres or some centres. `class_names`: its own K classes.
                `compared`: None where it has the model's classes, else `classes`, each with its classes of the truth
                and of the result, and what of either is not compared.
                `confusion`: None without classes, else `counts` and `shares`, lists of K + 1 rows (true class) of
                K + 1 columns (found class), index 0 for nothing: row 0 false finds, column 0 missed. A share is an
                estimate, of the row's nuclei.
                `calibration`: None without class probabilities, else `n` nuclei, the estimates `ece`, `ece_mass` and
                `brier`, and the reliability curve as `bins` (of equal width) and `equal_mass`, each a list of `{low,
                high, n, confidence, accuracy}` with n nuclei and accuracy an estimate.
            `images`: a list with the scores of each image and the counts behind them, enough to make all scores again
                (`image_json.read_report`). Its `confusion` is (K + 1)² nuclei as above; its `calibration` has under
                `bins` `[bin, nuclei, summed confidence, right]` of the filled ones of 120 bins of equal width.
        """
        return {
            "format": FORMAT,
            "settings": {
                "replicates": self.replicates,
                "seed": self.seed,
                "level": 0.95,
                "least_groups": LEAST_GROUPS,
                "detection_radius_um": RADIUS_UM,
                "detection_mode": self.mode,
            },
            "class_names": list(self.class_names),
            "about": {key: about for key, (_, about) in SCORES.items()},
            "sources": {
                name: _source_json(summary)
                | {
                    "skipped": list(self.skipped.get(name, ())),
                    "class_names": list(self.names_of(name)),
                    "compared": self.compared[name].to_json() if name in self.compared else None,
                }
                for name, summary in self.sources.items()
            },
            "images": [image_to_json(row) for row in self.images],
        }

    def table(self) -> list[TableRow]:
        """Rows for the terminal, all text: each data set's scores, then each class's and each stratum's."""
        return [row for summary in self.sources.values() for row in _table_rows(summary)]

    def interval_notes(self) -> list[str]:
        """Why scores in the table have no interval, where any has none."""
        every = [list(s.scores.values()) for s in self.sources.values()]
        every += [[getattr(c, key) for key in CLASS_SCORES] for s in self.sources.values() for c in s.classes]
        every += [list(t.scores.values()) for s in self.sources.values() for t in s.strata.values()]
        return few_groups(e for some in every for e in some)

    def write_csv(self, path: str | Path) -> None:
        """Write one line an image, whole or not at all: counts and scores, and each class's; empty where undefined.

        Raises:
            DiskError: The file could not be written.
        """
        rows = [_csv_row(row, self.names_of(row.info.source)) for row in self.images]
        header = list(dict.fromkeys(key for row in rows for key in row))
        write_rows(Path(path), header, [[row.get(key) for key in header] for row in rows])


def _headline(summary: SourceSummary) -> str:
    key = "bpq" if "bpq" in summary.scores else "recall"
    return f"{SCORES[key][0]} {number(summary.scores[key].value)}"


def _source_json(summary: SourceSummary) -> dict[str, object]:
    return {
        "n_images": summary.n_images,
        "n_groups": summary.n_groups,
        "n_truth": summary.n_truth,
        "n_found": summary.n_found,
        "told": summary.told,
        "scores": {key: score.to_json() for key, score in summary.scores.items()},
        "classes": [
            {"name": c.name, "n_truth": c.n_truth, "n_found": c.n_found}
            | {key: getattr(c, key).to_json() for key in CLASS_SCORES}
            for c in summary.classes
        ],
        "strata": {
            name: {
                "n_images": s.n_images,
                "bpq": _defined(s.bpq),
                "mpq": _defined(s.mpq),
                "scores": {key: score.to_json() for key, score in s.scores.items()},
            }
            for name, s in summary.strata.items()
        },
        "confusion": None if summary.confusion is None else summary.confusion.to_json(),
        "calibration": None if summary.calibration is None else summary.calibration.to_json(),
    }


def _csv_row(row: ImageScores, class_names: Sequence[str]) -> dict[str, object]:
    nested = ("classes", "confusion", "calibration")
    flat = {key: value for key, value in image_to_json(row).items() if key not in nested}
    if row.classes is not None:
        part = row.classes
        columns = zip(class_names, part.n_truth, part.n_found, part.panoptic, part.detection, strict=True)
        for name, truth, found, panoptic, detection in columns:
            quality = panoptic.quality("pannuke")
            scores = {key: _defined(float(getattr(quality, key))) for key in ("pq", "dq", "sq")}
            scores |= {key: _defined(getattr(detection, key)) for key in ("f1", "precision", "recall")}
            flat |= {f"n_truth {name}": int(truth), f"n_found {name}": int(found)}
            flat |= {f"{key} {name}": value for key, value in scores.items()}
    return flat


def _table_rows(summary: SourceSummary) -> Iterator[TableRow]:
    for key, score in summary.scores.items():
        yield _table_row(summary.source, SCORES[key][0], score)
    for c in summary.classes:
        for key, title in CLASS_SCORES.items():
            if key not in not_told(summary.told, of_class=True):
                yield _table_row(summary.source, f"{c.name}: {title}", getattr(c, key))
    for name, stratum in summary.strata.items():
        for key, score in stratum.scores.items():
            if not math.isnan(score.value):
                yield _table_row(summary.source, f"{name}: {STRATUM_SCORES[key]}", score)


def _table_row(source: str, title: str, score: Estimate) -> TableRow:
    return TableRow(source, title, number(score.value), interval_text(score), str(score.n))


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
