"""The reports of `evaluate` and `score`: an evaluation's report, and what was scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from histocyte.evaluation.files.score import FileScores
from histocyte.evaluation.perturbed import PerturbedScores
from histocyte.evaluation.report import Report

__all__ = ["FileReport", "ModelReport"]


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class ModelReport(Report):
    """Scores of a model on labelled images.

    Attributes:
        title: Name of the model, and of its classifier where it has one.
        facts: Model, its SHA-256, runtime, views, tiles and split, as `to_json` has them.
        left_out: How many images were not scored since the model has learnt from them.
        left_out_note: The same as a sentence; empty where there are none.
        known_images: Names of the images that the model had to do with, by what that was.
        doubts: What may be wrong with the scores, in sentences.
        notes: What is to be known of image files, in sentences.
        perturbed: Scores under changes to the images, those of the images as they are first; empty if not asked for.
    """

    title: str
    facts: Mapping[str, Any]
    left_out: int = 0
    left_out_note: str = ""
    known_images: Mapping[str, Any]
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    perturbed: tuple[PerturbedScores, ...] = ()

    @classmethod
    def of(cls, report: Report, **about: Any) -> Self:
        """A report with what it is about."""
        return cls(**_values(report), **about)

    def to_json(self) -> dict[str, object]:
        """See `evaluation.report.Report`; with the facts, `trained_on_and_left_out`, `known_images` and notes.

        Where it was asked for also `perturbed`, a list with source, kind, name and scores.
        """
        about = {
            **self.facts,
            "trained_on_and_left_out": self.left_out,
            "known_images": dict(self.known_images),
            "doubts": list(self.doubts),
            "notes": list(self.notes),
            **({"perturbed": [row.to_json() for row in self.perturbed]} if self.perturbed else {}),
        }
        return {**about, **Report.to_json(self)}


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class FileReport(Report):
    """Scores of files of cells against true ones.

    Attributes:
        title: Name of the scored file or folder.
        facts: Where both sides are.
        files: One row a file, with what was left of each for a reader to know.
        known_images: The images that the model behind the cells had to do with, by what that was, as results say.
        notes: What is to be known of the files, in sentences.
    """

    title: str
    facts: Mapping[str, Any]
    files: Sequence[FileScores] = ()
    known_images: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, report: Report, **about: Any) -> Self:
        """A report with what it is about."""
        return cls(**_values(report), **about)

    def to_json(self) -> dict[str, object]:
        """See `evaluation.report.Report`; with the facts, `files` and `known_images`."""
        about = {
            **self.facts,
            "files": [row.to_json() for row in self.files],
            "known_images": dict(self.known_images),
        }
        return {**about, **Report.to_json(self)}


def _values(report: Report) -> dict[str, Any]:
    return {each.name: getattr(report, each.name) for each in fields(Report)}
