"""What a published checkpoint tells about itself, and what has to be taken for granted where it does not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from histocyte.conversion.file import ForeignFile
from histocyte.core.errors import InputError
from histocyte.core.geometry import check_mpp
from histocyte.core.names import counted
from histocyte.core.taxonomies import PANNUKE, PANNUKE_TISSUES, taxonomy_of
from histocyte.core.taxonomy import NO_CLASSES, Taxonomy

__all__ = ["Facts"]


@dataclass(slots=True)
class Facts:
    """A checkpoint with the user's wishes about it; takes notes on the way.

    Attributes:
        file: The checkpoint.
        taxonomy: The user's, or None.
        mpp: The user's resolution, or None.
        compat: Decode as the publishers do.
        notes: What the user should know of: what was assumed, and what is left out.
    """

    file: ForeignFile
    taxonomy: Taxonomy | None = None
    mpp: float | None = None
    compat: bool = True
    notes: list[str] = field(default_factory=list)

    def channels(self, *names: str) -> int:
        """Output channels of the first of these weights that is there; 0 for none."""
        return next((self.file.weights[n].shape[0] for n in names if n in self.file.weights), 0)

    def resolution(self) -> float:
        """Resolution, µm/px: the user's, else the configuration's or the file name's magnification, else 0.25.

        Raises:
            ResolutionError: The user's is absurd.
        """
        if self.mpp is not None:
            return check_mpp(self.mpp, what="the model")
        for path in (("data", "magnification"), ("dataset_config", "magnification"), ("magnification",)):
            stated = self.file.setting(*path)
            if stated in (20, 40, "20", "40"):
                return 10 / int(stated)
        named = re.search(r"(?<![a-z0-9])x?(20|40)x?(?![a-z0-9])", self.file.path.stem.lower())
        if named:
            mpp = 10 / int(named.group(1))
            self.notes.append(f"{mpp:g} µm/px is assumed, for the file name says {named.group(1)}×; --mpp sets it")
            return mpp
        self.notes.append("0.25 µm/px (40×) is assumed; --mpp sets it")
        return 0.25

    def normalisation(self, mean: Sequence[float], std: Sequence[float]) -> dict[str, tuple[float, ...]]:
        """Mean and standard deviation from the configuration, or these where it has none."""
        return {key: self._rgb(key, usual) for key, usual in (("mean", mean), ("std", std))}

    def _rgb(self, key: str, usual: Sequence[float]) -> tuple[float, ...]:
        stated = self.file.setting("transformations", "normalize", key)
        given = stated if isinstance(stated, Sequence) and len(stated) == 3 else usual
        return tuple(float(value) for value in given)

    def classes(self, outputs: int, usual: Taxonomy | None = None) -> Taxonomy:
        """The cell classes behind `outputs` channels, background included.

        Args:
            outputs: Channels of the types map; 0 for a model without.
            usual: What the method's published models with so many outputs were trained on.

        Raises:
            InputError: The user's are not as many.
        """
        count = max(outputs - 1, 0)
        if self.taxonomy is not None:
            if len(self.taxonomy) != count:
                raise InputError(
                    f"'{self.file.path}' tells {counted(count, 'class')} apart beside the background; given were "
                    f"{len(self.taxonomy)}: {', '.join(self.taxonomy.names)}."
                )
            return self.taxonomy
        if not count:
            return NO_CLASSES
        stated = _by_number(self.file.setting("dataset_config", "nuclei_types"), 1)
        if len(stated) == count:
            return taxonomy_of(stated)
        known = usual if usual is not None and len(usual) == count else PANNUKE if count == len(PANNUKE) else None
        if known is not None:
            names = ", ".join(known.names)
            self.notes.append(
                f"its classes ({count}) are assumed to be those of {known.name} ({names}); --classes sets them"
            )
            return known
        self.notes.append(f"the file does not name its {counted(count, 'class')}; --classes does")
        return taxonomy_of([f"class {number}" for number in range(1, count + 1)])

    def tissues(self, outputs: int) -> tuple[str, ...]:
        """Names for `outputs` kinds of tissue."""
        if outputs == len(PANNUKE_TISSUES):
            return PANNUKE_TISSUES
        stated = _by_number(self.file.setting("dataset_config", "tissue_types"), 0)
        return tuple(stated) if len(stated) == outputs else tuple(f"tissue {n}" for n in range(1, outputs + 1))


def _by_number(numbered: Any, start: int) -> list[str]:
    """{"Background": 0, "Neoplastic": 1} → ["neoplastic"], numbers from `start` without gaps; else nothing."""
    if not isinstance(numbered, Mapping):
        return []
    try:
        names = {int(number): str(name).replace("_", " ").lower() for name, number in numbered.items()}
    except (TypeError, ValueError):
        return []
    listed = [names[number] for number in sorted(names) if number >= start]
    return listed if sorted(n for n in names if n >= start) == list(range(start, start + len(listed))) else []
