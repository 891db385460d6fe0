"""What a model has learnt from, held out and left out of one data set."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from pydantic import BaseModel, ConfigDict, Field, field_validator

from histocyte.core.errors import ModelError

__all__ = ["PARTS", "SEEN", "LearntSet", "Standing"]


class Standing(IntEnum):
    """What a model has had to do with an image; of two that apply the greater counts."""

    NEW = 0
    """Nothing."""
    LEFT_OUT = 1
    """It was kept for a test: it neither taught the model nor chose its weights."""
    HELD_OUT = 2
    """It chose the weights."""
    LEARNT = 3
    """It taught the model, or one before it."""


SEEN = (Standing.LEFT_OUT, Standing.HELD_OUT, Standing.LEARNT)
"""The standings of an image that is not new, the least first."""
PARTS = {"learnt": Standing.LEARNT, "held_out": Standing.HELD_OUT, "left_out": Standing.LEFT_OUT}
"""The fields of a `LearntSet` that hold images, with the standing of those."""


class LearntSet(BaseModel):
    """A data set that a model has learnt from, by itself or through a model before it.

    Images stand under their names, with their prints (`ImagePrint.to_text`, several parted by a space, empty where
    unknown).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    licence: str = "not stated"
    citation: str = ""
    images: int = 0
    """How many, those held out among them."""
    nuclei: int = 0
    through: str = ""
    """The model before that learnt from it; empty for the model itself."""
    learnt: Mapping[str, str] | None = None
    """Images that taught the model; None where it is not known which: all but those held out or left out."""
    held_out: Mapping[str, str] = Field(default_factory=dict)
    """Those that chose its weights."""
    left_out: Mapping[str, str] = Field(default_factory=dict)
    """Those kept for a test."""

    @field_validator("learnt", "held_out", "left_out")
    @classmethod
    def _are_prints(cls, images: Mapping[str, str] | None) -> Mapping[str, str] | None:
        from histocyte.datasets.image_print import ImagePrint

        for texts in (images or {}).values():
            for text in filter(None, texts.split(" ")):
                try:
                    ImagePrint.from_text(text)
                except ModelError as error:
                    raise ValueError(str(error)) from error
        return images

    def of(self, standing: Standing) -> Mapping[str, str]:
        """The images of one standing."""
        parts = {Standing.LEARNT: self.learnt or {}, Standing.HELD_OUT: self.held_out}
        return parts.get(standing, self.left_out)

    def by_name(self, name: str) -> Standing:
        """What is known of an image of this name."""
        for standing in (Standing.LEARNT, Standing.HELD_OUT, Standing.LEFT_OUT):
            if name in self.of(standing):
                return standing
        return Standing.LEARNT if self.learnt is None else Standing.NEW

    def but_for(self, other: LearntSet) -> LearntSet | None:
        """What this set holds beside another of the same name, which knows the same images as seen as much or more."""
        known = {(name, p): s for s in SEEN for name, texts in other.of(s).items() for p in texts.split(" ")}
        if self.learnt is None or not known:
            return None if self == other.model_copy(update={"through": self.through}) else self
        parts = {
            part: {
                name: rest
                for name, texts in self.of(standing).items()
                if (rest := " ".join(p for p in texts.split(" ") if known.get((name, p), Standing.NEW) < standing))
                or (texts == "" and known.get((name, ""), Standing.NEW) < standing)
            }
            for part, standing in PARTS.items()
        }
        return self.model_copy(update=parts) if any(parts.values()) else None
