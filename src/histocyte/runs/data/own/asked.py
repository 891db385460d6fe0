"""What is said of somebody's own data when it is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from histocyte.core.errors import InputError
from histocyte.core.geometry import check_mpp
from histocyte.core.taxonomies import asked_list
from histocyte.core.taxonomy import Taxonomy
from histocyte.datasets.cards import DatasetCard

__all__ = ["Asked"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Options of an import.

    Attributes:
        mpp: Resolution of images that do not state it, µm/px.
        classes: Names of the class codes from 1 with commas between them, or a list known by name.
        licence: Licence of images and labels; empty where it is not given.
    """

    mpp: float | None = None
    classes: str | None = None
    licence: str = ""

    @property
    def taxonomy(self) -> Taxonomy | None:
        """The classes; None where none are named."""
        return None if self.classes is None else asked_list(self.classes)

    def card(self, source: Path, taxonomy: Taxonomy | None, *, mpp: float | None = None) -> DatasetCard:
        """The card of a set of somebody's own.

        Args:
            source: Folder or file.
            taxonomy: Its classes.
            mpp: Resolution that the source states.

        Raises:
            InputError: Nobody states the resolution.
        """
        stated = self.mpp if self.mpp is not None else mpp
        if stated is None:
            raise InputError(f"The resolution of '{source}' is not known. Pass it: --mpp 0.25.")
        check_mpp(stated, what=f"the images in '{source}'")
        licence = self.licence or "not stated"
        return DatasetCard(source.resolve().stem, stated, licence, "own data", lambda name: name, taxonomy)
