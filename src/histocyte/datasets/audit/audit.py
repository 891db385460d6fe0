"""All checks of labelled images, one after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.listener import SILENT, Listener
from histocyte.datasets.audit.copies import copies, find_copies, find_split_patients
from histocyte.datasets.audit.finding import Finding, Severity, by_severity
from histocyte.datasets.audit.images import ImageFacts, find_images, image_facts
from histocyte.datasets.audit.instances import InstanceFacts, find_instances, instance_facts
from histocyte.datasets.audit.licences import Licences, roll_up
from histocyte.datasets.data_check import find_mistakes, fit_of
from histocyte.datasets.sample import Sample

__all__ = ["Audit", "SetCount", "audit_samples"]


@dataclass(frozen=True, slots=True)
class SetCount:
    """What there is of a set in one part of the data.

    Attributes:
        source: Name of the set.
        split: Part of the data, empty where nobody stated it.
        images: How many.
        groups: Patients or slides.
        cells: In all.
        by_class: Cells of each of the set's classes.
        by_tissue: Images of each tissue that is stated.
    """

    source: str
    split: str
    images: int
    groups: int
    cells: int
    by_class: Mapping[str, int]
    by_tissue: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found.

    Attributes:
        counts: By set and part.
        findings: The gravest first.
        licences: Together.
        diameters_um: (N,) of the instances of each set that has outlines.
        densities: (N, 3) optical density in red, green and blue of each image of each set.
    """

    counts: tuple[SetCount, ...]
    findings: tuple[Finding, ...]
    licences: Licences
    diameters_um: Mapping[str, NDArray[np.float64]]
    densities: Mapping[str, NDArray[np.float64]]

    def number(self, severity: Severity) -> int:
        """How many findings are of a severity."""
        return sum(f.severity == severity for f in self.findings)

    def to_json(self) -> dict[str, Any]:
        """For a file and for programs: counts, findings, licences, median diameters in µm."""
        licences = {
            "commercial": self.licences.commercial,
            "answer": self.licences.answer,
            "sets": [{"name": n, "licence": text, "commercial": c} for n, text, c in self.licences.sets],
        }
        return {
            "counts": [asdict(row) for row in self.counts],
            "findings": [finding.to_json() for finding in self.findings],
            "licences": licences,
            "median_diameter_um": {n: float(np.median(d)) for n, d in self.diameters_um.items() if len(d)},
        }


def audit_samples(
    samples: Sequence[Sample],
    *,
    classes: Mapping[str, Sequence[str]],
    splits: Sequence[str],
    listener: Listener = SILENT,
) -> Audit:
    """Look at all images, one at a time.

    Args:
        samples: Images of one or several sets.
        classes: Names of the classes of each set.
        splits: Part of the data of each image, such as "train"; empty where nobody stated it.
        listener: Told how work goes on.
    """
    images: list[ImageFacts] = []
    instances: list[InstanceFacts | None] = []
    with listener.task("looking at images", len(samples), unit="images") as task:
        for sample in samples:
            images.append(image_facts(sample))
            instances.append(None if sample.dots else instance_facts(sample))
            task.advance()
    findings = [
        *find_copies(samples, splits, copies(samples, listener)),
        *find_split_patients(samples, splits),
    ]
    counts: list[SetCount] = []
    diameters, densities = {}, {}
    for source in dict.fromkeys(s.source for s in samples):
        at = [i for i, s in enumerate(samples) if s.source == source]
        mine, facts = [samples[i] for i in at], [instances[i] for i in at]
        findings += find_mistakes(source, mine, fit_of(source, mine))
        findings += find_images(source, mine, [images[i] for i in at])
        outlined = [f for f in facts if f is not None]
        if len(outlined) == len(mine):
            findings += find_instances(source, mine, outlined)
            diameters[source] = np.concatenate([f.diameters_um for f in outlined])
        densities[source] = np.stack([images[i].density for i in at])
        counts += _counts(source, mine, [splits[i] for i in at], classes.get(source, ()))
        findings += _unshown(source, counts, classes.get(source, ()))
    licences = roll_up(list(densities))
    return Audit(tuple(counts), tuple(by_severity(findings)), licences, diameters, densities)


def _counts(source: str, samples: Sequence[Sample], splits: Sequence[str], classes: Sequence[str]) -> list[SetCount]:
    rows = []
    for split in dict.fromkeys(splits):
        mine = [s for s, part in zip(samples, splits, strict=True) if part == split]
        by_class = sum((s.class_counts(len(classes)) for s in mine), start=np.zeros(len(classes), np.int64))
        cells = sum(int(np.count_nonzero(np.bincount(s.instances.ravel())[1:])) for s in mine)
        tissues = Counter(s.tissue for s in mine if s.tissue)
        named = dict(zip(classes, map(int, by_class), strict=True))
        rows.append(SetCount(source, split, len(mine), len({s.group for s in mine}), cells, named, dict(tissues)))
    return rows


def _unshown(source: str, counts: Sequence[SetCount], classes: Sequence[str]) -> list[Finding]:
    mine = [row for row in counts if row.source == source]
    unshown = [name for name in classes if not any(row.by_class[name] for row in mine)]
    if not unshown:
        return []
    what = f"Nothing in {source} shows what {' or '.join(unshown)} looks like."
    advice = "Add images that show it, or leave the class out of the list."
    return [Finding(Severity.WARNING, "class not shown", source, what, advice, count=len(unshown))]
