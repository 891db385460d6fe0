"""One labelled image, whatever data set it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from histocyte.core.instances import Labels

__all__ = ["Sample"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A labelled image.

    Attributes:
        name: Name within its data set.
        image: (H, W, 3) uint8 RGB.
        instances: (H, W) int32, 0 background, 1..N nuclei.
        types: (N + 1,) class of each nucleus in the taxonomy the set was loaded for (0 unknown), or None
            where the set has no classes.
        mpp: µm per px.
        source: Data set it comes from.
        group: What must not be split between training and validation: patient or slide.
        separable: Whether touching nuclei are apart in the labels; if not, only the foreground may be learnt.
        regions: Tissue regions by name, (H, W) uint8 each.
        tissue: Organ or tissue it is of, empty where not stated.
        notes: What whoever uses it should know of its files, in sentences.
    """

    name: str
    image: NDArray[np.uint8]
    instances: NDArray[np.int32]
    types: NDArray[np.uint8] | None
    mpp: float
    source: str
    group: str
    separable: bool = True
    regions: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    tissue: str = ""
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> Labels:
        """Instances and their types, as a representation encodes them."""
        return Labels(self.instances, self.types)
