"""Compare two results on the same images: difference of every score, its interval, and whether it is more than chance.

How is told in `paired`. Beside each p-value stands Holm's correction (Holm 1979, Scand. J. Statist. 6) over the
p-values of one kind and data set: over all its scores, over those of its classes, over those of its strata.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from histocyte.core.errors import InputError
from histocyte.core.names import counted
from histocyte.evaluation.class_summary import class_scores, states_probabilities
from histocyte.evaluation.image_json import StoredReport
from histocyte.evaluation.image_scores import ImageScores
from histocyte.evaluation.summary import Kind, scores_of, stratum_scores, title_of
from histocyte.files.csv_file import write_rows
from histocyte.statistics.bootstrap import GROUPS, LEAST_GROUPS, Estimate, Score, few_groups
from histocyte.statistics.paired import PairedResamples, holm

__all__ = ["Comparison", "Difference", "SourceComparison", "compare_reports"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One score of both results.

    Attributes:
        kind: What it is for: all images, a class, or a stratum (tissue).
        subject: The class or stratum, empty for all.
        key: The score, a key of `SCORES`, `CLASS_SCORES` or `STRATUM_SCORES`.
        first: Name of the first result.
        second: Name of the second.
        difference: Second minus first.
        p: Two-sided, see the module; NaN where the difference is undefined.
        p_holm: Corrected for all of one kind and data set.
    """

    kind: Kind
    subject: str
    key: str
    first: Estimate
    second: Estimate
    difference: Estimate
    p: float
    p_holm: float = float("nan")

    @property
    def title(self) -> str:
        """For people."""
        return title_of(self.kind, self.subject, self.key)

    def to_json(self) -> dict[str, object]:
        """The fields, with None for NaN."""
        numbers = {key: None if np.isnan(getattr(self, key)) else getattr(self, key) for key in ("p", "p_holm")}
        estimates = {key: getattr(self, key).to_json() for key in ("first", "second", "difference")}
        return {"kind": self.kind, "subject": self.subject, "key": self.key, **estimates, **numbers}


@dataclass(frozen=True, slots=True)
class SourceComparison:
    """Two results on one data set.

    Attributes:
        source: Its name.
        n_images: Images that both scored.
        n_groups: Patients or slides they come from; what intervals and p-values rest on.
        differences: Every score that both have.
        notes: What could not be compared, and why; a sentence each.
    """

    source: str
    n_images: int
    n_groups: int
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two results on one or more data sets.

    Attributes:
        titles: What the two are called.
        sources: By data set.
        unpaired: Images (data set, name) of each result that the other did not score.
        replicates: Resamples behind each interval, and tosses behind each p-value.
        seed: Their seed.
    """

    titles: tuple[str, str]
    sources: Mapping[str, SourceComparison]
    unpaired: tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]
    replicates: int
    seed: int

    def to_json(self) -> dict[str, object]:
        """A JSON-ready description; `differences` are those of `Difference.to_json`, undefined values None."""
        first, second = ([{"source": s, "name": n} for s, n in side] for side in self.unpaired)
        return {
            "format": "histocyte-comparison/1",
            "first": self.titles[0],
            "second": self.titles[1],
            "settings": {
                "replicates": self.replicates,
                "seed": self.seed,
                "level": 0.95,
                "least_groups": LEAST_GROUPS,
            },
            "sources": {
                name: {
                    "n_images": s.n_images,
                    "n_groups": s.n_groups,
                    "notes": list(s.notes),
                    "differences": [d.to_json() for d in s.differences],
                }
                for name, s in self.sources.items()
            },
            "unpaired": {"first": first, "second": second},
        }

    def write_csv(self, path: Path) -> None:
        """Write one line a score; empty where undefined.

        Raises:
            DiskError: The file could not be written.
        """
        parts = [f"{which} {end}".strip() for which in ("first", "second", "difference") for end in ("", "low", "high")]
        header = ["source", "kind", "subject", "score", *parts, "images", "patients", "p", "p_holm"]
        rows = []
        for source in self.sources.values():
            for d in source.differences:
                values = [v for e in (d.first, d.second, d.difference) for v in (e.value, e.low, e.high)]
                numbers = ["" if np.isnan(v) else v for v in (*values, d.p, d.p_holm)]
                front = [source.source, d.kind, d.subject, d.key, *numbers[:9]]
                rows.append([*front, d.difference.n, source.n_groups, *numbers[9:]])
        write_rows(path, header, rows)


def compare_reports(first: StoredReport, second: StoredReport, *, replicates: int = 1000, seed: int = 0) -> Comparison:
    """Compare two results on the images that both scored.

    Args:
        first: One result.
        second: The other; differences are this one's score minus the first's.
        replicates: Resamples for the intervals, and tosses for the p-values.
        seed: The same seed gives the same intervals and p-values.

    Raises:
        InputError: They have no image in common, or an image is not the same in both.
    """
    if first.mode != second.mode:
        raise InputError(
            f"'{first.path}' pairs centroids by '{first.mode}', '{second.path}' by '{second.mode}': score both alike."
        )
    one, other = ({(r.info.source, r.info.name): r for r in report.images} for report in (first, second))
    common = [key for key in one if key in other]
    if not common:
        raise InputError(
            f"'{first.path}' and '{second.path}' have no image in common (by data set and name): "
            f"{_some(one)} against {_some(other)}."
        )
    sources = {}
    for source in dict.fromkeys(source for source, _ in common):
        pairs = [_agreeing(one[key], other[key]) for key in common if key[0] == source]
        found = _compare_source(source, pairs, _ClassesOfBoth.of(first, second, source), replicates, seed)
        sources[source] = replace(found, notes=(*_learnt(first, second, pairs), *found.notes))
    unpaired = tuple(key for key in one if key not in other), tuple(key for key in other if key not in one)
    return Comparison((first.title, second.title), sources, unpaired, replicates, seed)


def _learnt(
    first: StoredReport, second: StoredReport, pairs: Sequence[tuple[ImageScores, ImageScores]]
) -> Iterator[str]:
    """That a model has learnt from images that it is compared on, in a sentence each."""
    for report in (first, second):
        seen = sum((one.info.source, one.info.name) in report.learnt for one, _ in pairs)
        if seen:
            yield (
                f"{report.title} has learnt from {seen} of these {counted(len(pairs), 'image')}, which favours it: "
                "compare what "
                "neither has seen (evaluate --split unseen)."
            )


def _some(keys: Mapping[tuple[str, str], object]) -> str:
    texts = [repr(f"{source}: {name}") for source, name in list(keys)[:2]]
    return ", ".join(texts) + (", …" if len(keys) > 2 else "")


def _agreeing(one: ImageScores, other: ImageScores) -> tuple[ImageScores, ImageScores]:
    """The two rows of an image with the same patient and stratum; an empty one is filled from the other's."""
    where = f"Image {one.info.name!r} of {one.info.source!r}"
    for what, a, b in (
        ("true nuclei", one.n_truth, other.n_truth),
        ("µm per px", one.info.mpp, other.info.mpp),
        ("told of its nuclei", one.info.told, other.info.told),
        ("as its patient", one.info.group or other.info.group, other.info.group or one.info.group),
        ("as its stratum", one.info.stratum or other.info.stratum, other.info.stratum or one.info.stratum),
    ):
        if a != b:
            raise InputError(
                f"{where} has {a} {what} in one result and {b} in the other: score both on the same truth."
            )
    filled = {key: getattr(one.info, key) or getattr(other.info, key) for key in ("group", "stratum")}
    return tuple(replace(row, info=replace(row.info, **filled)) for row in (one, other))  # type: ignore[return-value]


def _compare_source(
    source: str,
    pairs: Sequence[tuple[ImageScores, ImageScores]],
    classes: _ClassesOfBoth,
    replicates: int,
    seed: int,
) -> SourceComparison:
    pairs, notes = _comparable_classes(pairs, classes)
    rows = [one for one, _ in pairs] + [other for _, other in pairs]
    typed = [row for row in rows if row.classes is not None]

    def differences(
        of: Sequence[ImageScores], scores: Mapping[str, Score], kind: Kind, subjects: Sequence[str]
    ) -> list[Difference]:
        resamples = PairedResamples.of([r.info.group for r in of[: len(of) // 2]], replicates=replicates, seed=seed)
        return [
            Difference(kind, subject, key, *found)
            for key, score in scores.items()
            for subject, found in zip(subjects, resamples.differences(score), strict=True)
            if not np.isnan(found.difference.value)
        ]

    families = [
        differences(rows, _overall(rows, typed, classes, notes), "all", [""]),
        differences(typed, class_scores([r.classes for r in typed if r.classes]), "class", classes.names)
        if typed
        else [],
        [],
    ]
    for stratum in sorted({row.info.stratum for row in rows} - {""}):
        own = [row for row in rows if row.info.stratum == stratum]
        scores = stratum_scores(own)
        if not classes.same:
            scores.pop("mpq")
        families[2] += differences(own, scores, "stratum", [stratum])
    groups = [one.info.group for one, _ in pairs]
    n_groups = len(set(filter(None, groups))) + groups.count("")
    _say_limits(max(map(len, families)), n_groups, replicates, notes)
    corrected = [
        replace(d, p_holm=p) for family in families for d, p in zip(family, holm([d.p for d in family]), strict=True)
    ]
    notes += few_groups(d.difference for d in corrected)
    return SourceComparison(source, len(pairs), n_groups, tuple(corrected), tuple(notes))


def _overall(
    rows: Sequence[ImageScores], typed: Sequence[ImageScores], classes: _ClassesOfBoth, notes: list[str]
) -> dict[str, Score]:
    """The scores of all images that both results have."""
    if classes.same:
        return _without_calibration(scores_of(rows), typed, notes)
    return scores_of([replace(row, classes=None) for row in rows])


def _without_calibration(scores: dict[str, Score], typed: Sequence[ImageScores], notes: list[str]) -> dict[str, Score]:
    """The scores, without those of calibration unless both results state probabilities."""
    parts = [row.classes for row in typed if row.classes is not None]
    half = len(parts) // 2
    if not parts or states_probabilities(parts[:half]) == states_probabilities(parts[half:]):
        return scores
    notes.append("Calibration is not compared: only one of the two states class probabilities.")
    return {key: score for key, score in scores.items() if key not in ("ece", "ece_mass", "brier")}


def _say_limits(n_scores: int, n_groups: int, replicates: int, notes: list[str]) -> None:
    if n_scores / (1 + replicates) > 0.05:
        notes.append(
            f"With {counted(replicates, 'replicate')} a p-value corrected for {counted(n_scores, 'score')} cannot "
            "fall below "
            f"{n_scores / (1 + replicates):.2f}; ask for more replicates."
        )
    if n_groups < 6:
        least = 0.5 ** (n_groups - 1)
        notes.append(f"With {counted(n_groups, *GROUPS)}, p-values hardly fall below {least:.2g}.")


@dataclass(frozen=True, slots=True)
class _ClassesOfBoth:
    """The classes that two results on one data set can be compared by.

    Attributes:
        names: Names of the classes that both have scored as the same classes of the truth.
        first: Where these stand among the first result's.
        second: Where they stand among the second's.
        same: Whether they are all that either has scored.
    """

    names: tuple[str, ...]
    first: tuple[int, ...]
    second: tuple[int, ...]
    same: bool

    @classmethod
    def of(cls, first: StoredReport, second: StoredReport, source: str) -> _ClassesOfBoth:
        """Those of two reports; classes of one name are not the same where they stand for others of the truth."""
        one, other = first.names_of(source), second.names_of(source)

        def true(report: StoredReport, name: str) -> tuple[str, ...]:
            return report.truth_of.get((source, name), (name,))

        names = tuple(n for n in one if n in other and true(first, n) == true(second, n))
        first_places, second_places = tuple(map(one.index, names)), tuple(map(other.index, names))
        return cls(names, first=first_places, second=second_places, same=names == one == other)


def _comparable_classes(
    pairs: Sequence[tuple[ImageScores, ImageScores]], classes: _ClassesOfBoth
) -> tuple[list[tuple[ImageScores, ImageScores]], list[str]]:
    """The pairs with classes on both sides or on none, and what was left out."""
    notes: list[str] = []
    result = []
    lost = 0
    for one, other in pairs:
        a, b = one.classes, other.classes
        if (a is None) != (b is None) or not classes.names:
            lost += a is not None or b is not None
            one, other = replace(one, classes=None), replace(other, classes=None)
        elif a is not None and b is not None:
            if not classes.same:
                a, b = a.only(classes.first), b.only(classes.second)
                one, other = replace(one, classes=a), replace(other, classes=b)
            if not np.array_equal(a.n_truth, b.n_truth):
                raise InputError(
                    f"Image {one.info.name!r} of {one.info.source!r} has other true classes in one result than in the "
                    "other: score both on the same truth."
                )
        result.append((one, other))
    if lost and not classes.names:
        notes.append("Scores of classes are not compared: the two results have other classes.")
    elif lost:
        notes.append(
            "Scores of classes leave out "
            f"{counted(lost, 'image that has', 'images that have')} classes in only one of the two results."
        )
    if classes.names and not classes.same:
        notes.append(
            f"The two results have other classes: compared are {', '.join(classes.names)}, which both have, and no "
            "means over classes."
        )
    return result, notes
