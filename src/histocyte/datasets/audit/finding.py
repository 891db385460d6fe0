"""What an audit of labelled images finds: how grave, what, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

__all__ = ["Example", "Finding", "Severity", "by_severity"]


class Severity(IntEnum):
    """How grave a finding is; the greatest comes first."""

    NOTE = 0
    """To be known, and no mistake by itself."""
    WARNING = 1
    """Probably a mistake, or it costs accuracy."""
    ERROR = 2
    """Scores or labels are wrong unless it is mended."""


@dataclass(frozen=True, slots=True)
class Example:
    """A place that shows a finding.

    Attributes:
        source: Data set.
        name: Image.
        box: (x0, y0, x1, y1) of what is meant, px of the image; None for the whole image.
        ids: Instances that are meant.
    """

    source: str
    name: str
    box: tuple[int, int, int, int] | None = None
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        severity: How grave.
        check: Short name of the check, the same in every version.
        source: Data set, or several parted by " and ".
        what: A sentence.
        advice: What to do, in a sentence.
        images: Names of all images that are meant.
        count: How many of what `what` counts.
        examples: Some places, the clearest first; those of one pair of images follow one another.
    """

    severity: Severity
    check: str
    source: str
    what: str
    advice: str
    images: tuple[str, ...] = ()
    count: int = 0
    examples: tuple[Example, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For a file; the severity by name, places in px."""
        places = [
            {"source": e.source, "image": e.name, "box_px": None if e.box is None else list(e.box), "ids": list(e.ids)}
            for e in self.examples
        ]
        return {
            "severity": self.severity.name.lower(),
            "check": self.check,
            "source": self.source,
            "what": self.what,
            "advice": self.advice,
            "count": self.count,
            "images": list(self.images),
            "examples": places,
        }


def by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """The gravest first; equally grave ones stay in their order."""
    return sorted(findings, key=lambda finding: -finding.severity)
