"""A network asked about an image from several sides, its answers averaged: dearer, and a little better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.maps import decoded_maps
from histocyte.inference.runtime import Runtime
from histocyte.representations.maps.kinds import can_turn, turned
from histocyte.representations.maps.logits import to_logits
from histocyte.representations.protocol import Representation

__all__ = ["VIEWS", "ViewsRuntime"]

VIEWS: dict[int, tuple[tuple[int, bool], ...]] = {
    1: ((0, False),),
    2: ((0, False), (0, True)),
    4: tuple((turns, False) for turns in range(4)),
    8: tuple((turns, flip) for flip in (False, True) for turns in range(4)),
}
"""Quarter turns, and flips after them, by the number of views."""


class ViewsRuntime(Runtime):
    """A runtime that gives the mean of its maps from several views of each image, or the logits of that mean.

    Features are those of the first view. Probabilities of tissues are a mean too.

    Args:
        runtime: Gives the maps.
        representation: Whose they are.
        views: 1, 2 (a flip), 4 (quarter turns) or 8 (both).
        logits: Give logits (`representations.maps.logits`) in place of maps.

    Raises:
        InputError: Another number, or maps of which it is not known how they turn.
    """

    def __init__(
        self, runtime: Runtime, representation: Representation, *, views: int = 1, logits: bool = False
    ) -> None:
        specs = decoded_maps(representation.maps)
        if views not in VIEWS:
            raise InputError(f"There are {', '.join(map(str, VIEWS))} views of an image, asked were {views}.")
        kinds = representation.kinds
        stiff = [spec.name for spec in specs if not can_turn(spec, kinds[spec.name])]
        if views > 1 and stiff:
            raise InputError(
                f"How the maps {', '.join(stiff)} of this model change when an image is turned is not known: one view."
            )
        self.name, self.device, self.parallel = runtime.name, runtime.device, runtime.parallel
        self.multiple, self.channels, self.precision = runtime.multiple, runtime.channels, runtime.precision
        self.features, self.tells_tissues = runtime.features, runtime.tells_tissues
        self._runtime, self._specs, self._kinds = runtime, specs, kinds
        self._views, self._logits = VIEWS[views], logits

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps or logits (B, C, H, W) of images (B, H, W, 3)."""
        return self._joined(self._runtime.predict(images), images)

    def predict_with_features(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        """Maps or logits (B, C, H, W) of images (B, H, W, 3), and features (B, h, w, D) of the first view.

        Raises:
            InputError: The runtime gives maps alone.
        """
        first, features = self._runtime.predict_with_features(images)
        return self._joined(first, images), features

    def tissue_probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, T) probabilities of tissues, of images (B, H, W, 3).

        Raises:
            InputError: The runtime runs no head for tissues.
        """
        told = [self._runtime.tissue_probabilities(_seen(images, *view)) for view in self._views]
        return np.asarray(np.mean(told, axis=0), np.float32)

    def _joined(self, first: NDArray[np.float32], images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The mean of the first view's maps and those of all others."""
        maps = first
        if len(self._views) > 1:
            others = [self._from_view(images, *view) for view in self._views[1:]]
            maps = np.asarray(np.mean([first, *others], axis=0), np.float32)
        return to_logits(maps, self._specs) if self._logits else maps

    def _from_view(self, images: NDArray[np.uint8], turns: int, flip: bool) -> NDArray[np.float32]:
        """Maps from one view, turned back."""
        maps = self._runtime.predict(_seen(images, turns, flip))
        return np.stack([self._turned_back(each, turns, flip) for each in maps])

    def _turned_back(self, maps: NDArray[np.float32], turns: int, flip: bool) -> NDArray[np.float32]:
        parts, start = [], 0
        for spec in self._specs:
            part = maps[start : start + spec.channels]
            # A turn followed by a flip undoes itself; a mere turn is undone by the rest of the circle.
            parts.append(turned(part, self._kinds[spec.name], turns if flip else -turns % 4, flip))
            start += spec.channels
        return np.concatenate(parts)


def _seen(images: NDArray[np.uint8], turns: int, flip: bool) -> NDArray[np.uint8]:
    """Images (B, H, W, 3) from one view."""
    seen = np.rot90(images, turns, axes=(1, 2))
    return np.ascontiguousarray(seen[:, :, ::-1] if flip else seen)
