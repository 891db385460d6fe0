"""One labelled image, whatever data set it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from histocyte.core.instances import Labels

__all__ = ["IGNORED", "Sample"]

IGNORED = -1
"""In the label map of `Sample.marked` and of its crops: nobody said what there is."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A labelled image.

    Attributes:
        name: Name within its data set.
        image: (H, W, 3) uint8 RGB.
        instances: (H, W) int32, 0 background, 1..N nuclei.
        types: (N + 1,) class of each nucleus in the taxonomy the set was loaded for (0 unknown), or None
            where the set has no classes.
        one_of: (N + 1, K) bool, what each nucleus may be, where labels of the set leave that open for some; None
            where `types` says all.
        ignored: (H, W) bool, where nobody said what there is: nothing is learnt there and nothing found there is
            scored. None where all is labelled.
        mpp: µm per px.
        mpp_estimated: Whether nobody stated it, and it follows from the nuclei's size.
        source: Data set it comes from.
        group: What must not be split between training and validation: patient or slide.
        separable: Whether touching nuclei are apart in the labels; if not, only the foreground may be learnt.
        dots: Whether nuclei are marked by dots, and have no outlines.
        centres: Where they are not, whether the labels tell the centres of nuclei all the same, so that detection and
            classes can be scored: of all of them ("centres") or of some.
        areas: Whether areas of tissue are labelled and no nuclei: `instances` then holds glands, or an id for all
            pixels of a class.
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
    areas: bool = False
    tissue: str = ""
    notes: tuple[str, ...] = ()
    one_of: NDArray[np.bool_] | None = None
    ignored: NDArray[np.bool_] | None = None
    mpp_estimated: bool = False
    dots: bool = False
    centres: Literal["", "centres", "some centres"] = ""

    @property
    def stated_mpp(self) -> float | None:
        """µm per px, None where it is an estimate."""
        return None if self.mpp_estimated else self.mpp

    def class_counts(self, classes: int) -> NDArray[np.int64]:
        """(K,) nuclei of each class; those that may be several things count for none."""
        if self.types is None:
            return np.zeros(classes, np.int64)
        return np.bincount(self.types[1:], minlength=classes + 1)[1 : classes + 1]

    @property
    def class_map(self) -> NDArray[np.int32]:
        """(H, W) class of each pixel, from 1, 0 the background; `IGNORED` where it is not known."""
        types = np.zeros(int(self.instances.max(initial=0)) + 1, np.int32) if self.types is None else self.types
        classes = np.asarray(types, np.int32)[self.instances]
        unknown = (self.instances > 0) & (classes == 0)
        return np.where(unknown if self.ignored is None else unknown | self.ignored, np.int32(IGNORED), classes)

    @property
    def marked(self) -> NDArray[np.int32]:
        """(H, W) `instances` with `IGNORED` where that is so; it goes through crops and augmentation as any id does."""
        return self.marked_in((slice(None), slice(None)))

    def marked_in(self, part: tuple[slice, slice]) -> NDArray[np.int32]:
        """`marked` of a part of the image, of which alone is read."""
        instances = self.instances[part]
        return instances if self.ignored is None else np.where(self.ignored[part], np.int32(IGNORED), instances)

    @property
    def labels(self) -> Labels:
        """Instances and their types, as a representation encodes them."""
        return self.labels_of(self.instances)

    def labels_of(self, instances: NDArray[np.int32]) -> Labels:
        """A part or another rendering of the label map, (h, w) with its ids, with what is known of their classes."""
        return Labels(instances, self.types, self.one_of)
