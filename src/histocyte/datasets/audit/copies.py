"""Images that show the same tissue, and patients or slides on both sides of a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from histocyte.core.listener import SILENT, Listener
from histocyte.datasets.audit.finding import Example, Finding, Severity
from histocyte.datasets.image_print import PrintIndex, image_print
from histocyte.datasets.sample import Sample
from histocyte.datasets.splits import TCGA

__all__ = ["copies", "find_copies", "find_split_patients", "split_named"]

_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_PAIRS = 4
"""Pairs shown of each finding."""


def split_named(name: str, folder: str = "") -> str:
    """Part of the data that the name of an image or of its folder states; empty where neither does.

    >>> split_named("train_12"), split_named("image_3", "test"), split_named("trainer")
    ('train', 'test', '')
    """
    head = name.replace("-", "_").split("_")[0].lower()
    return _SPLITS.get(head, "") or _SPLITS.get(folder.lower(), "")


def copies(samples: Sequence[Sample], listener: Listener = SILENT) -> list[tuple[int, int]]:
    """Pairs of images that show the same, the lower number first: re-encoded, turned, mirrored or cut out."""
    prints = []
    with listener.task("comparing images", 2 * len(samples), unit="images") as task:
        for sample in samples:
            prints.append(image_print(sample.image, sample.stated_mpp))
            task.advance()
        index = PrintIndex(prints)
        pairs: set[tuple[int, int]] = set()
        for number, sample in enumerate(samples):
            if prints[number].tells:
                found = index.find(sample.image, sample.stated_mpp)
                pairs.update((min(number, other), max(number, other)) for other in found if other != number)
            task.advance()
    return sorted(pairs)


def find_copies(
    samples: Sequence[Sample], splits: Sequence[str], pairs: Sequence[tuple[int, int]]
) -> Iterator[Finding]:
    """What pairs of images that show the same mean, by where the two are.

    Args:
        samples: All images.
        splits: Part of the data of each, empty where nobody stated it.
        pairs: Pairs of `copies`.
    """
    sorted_in: dict[tuple[Severity, str, str, str], list[tuple[int, int]]] = {}
    for one, other in pairs:
        sorted_in.setdefault(_kind(samples[one], samples[other], splits[one], splits[other]), []).append((one, other))
    for (severity, check, source, what), mine in sorted_in.items():
        advice = {
            "leak": "Remove one of each pair: scores on one part are of images that the other taught.",
            "copies": "Keep one of each pair, or hold them out together.",
        }[check]
        shown = tuple(Example(samples[i].source, samples[i].name) for pair in mine[:_PAIRS] for i in pair)
        names = tuple(dict.fromkeys(samples[i].name for pair in mine for i in pair))
        pairs_are = f"{len(mine):,} pair{'s' * (len(mine) != 1)} of images"
        yield Finding(severity, check, source, f"{pairs_are} {what}.", advice, names, len(mine), shown)


def _kind(one: Sample, other: Sample, split: str, its_split: str) -> tuple[Severity, str, str, str]:
    sources = " and ".join(dict.fromkeys((one.source, other.source)))
    if split and its_split and split != its_split:
        parts = " and ".join(sorted((split, its_split)))
        return Severity.ERROR, "leak", sources, f"of {sources} show the same tissue on both sides of a split, {parts}"
    if one.source != other.source:
        return Severity.WARNING, "copies", sources, f"of {sources} show the same tissue in both sets"
    if one.group != other.group:
        what = f"of {sources} show the same tissue, under different patients or slides"
        return Severity.WARNING, "copies", sources, what
    return Severity.NOTE, "copies", sources, f"of {sources} show the same tissue, of one patient or slide"


def find_split_patients(samples: Sequence[Sample], splits: Sequence[str]) -> Iterator[Finding]:
    """Patients or slides of which there are images on several sides of a split.

    Args:
        samples: All images.
        splits: Part of the data of each, empty where nobody stated it.
    """
    sides: dict[tuple[str, str], dict[str, list[Sample]]] = {}
    for sample, split in zip(samples, splits, strict=True):
        if split:
            # Barcodes name one patient whatever the set; other names are those of their set.
            whose = ("" if sample.group.startswith(TCGA) else sample.source, sample.group)
            sides.setdefault(whose, {}).setdefault(split, []).append(sample)
    both = {whose: parts for whose, parts in sides.items() if len(parts) > 1}
    if not both:
        return
    every = [s for parts in both.values() for some in parts.values() for s in some]
    shown = [Example(s.source, s.name) for parts in both.values() for s in [some[0] for some in parts.values()][:2]]
    sources = " and ".join(dict.fromkeys(s.source for s in every))
    named = ", ".join(sorted(group for _, group in both)[:3]) + (", …" if len(both) > 3 else "")
    yield Finding(
        Severity.ERROR, "split patients", sources,
        f"{len(both):,} patients or slides are on several sides of a split: {named}.",
        "Put all images of a patient on one side, or scores will be too good.",
        tuple(s.name for s in every), len(both), tuple(shown[: 2 * _PAIRS]),
    )  # fmt: skip
