"""A network asked about an image from several sides, its answers averaged: dearer, and a little better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.maps import decoded_maps
from histocyte.inference.embed import FeatureRuntime
from histocyte.inference.runtime import Runtime
from histocyte.representations.maps.kinds import can_turn, turned
from histocyte.representations.maps.logits import to_logits
from histocyte.representations.protocol import Representation

__all__ = [
    "VIEWS",
    "LogitFeatureRuntime",
    "LogitRuntime",
    "ViewsFeatureRuntime",
    "ViewsRuntime",
    "logit_runtime",
    "views_runtime",
]

VIEWS: dict[int, tuple[tuple[int, bool], ...]] = {
    1: ((0, False),),
    2: ((0, False), (0, True)),
    4: tuple((turns, False) for turns in range(4)),
    8: tuple((turns, flip) for flip in (False, True) for turns in range(4)),
}
"""Quarter turns, and flips after them, by the number of views."""


class ViewsRuntime:
    """A runtime that gives the mean of its maps from several views of each image.

    Args:
        runtime: Gives the maps.
        representation: Whose they are.
        views: 1, 2 (a flip), 4 (quarter turns) or 8 (both).

    Raises:
        InputError: Another number, or maps of which it is not known how they turn.
    """

    def __init__(self, runtime: Runtime, representation: Representation, *, views: int) -> None:
        self.specs = decoded_maps(representation.maps)
        if views not in VIEWS:
            raise InputError(f"There are {', '.join(map(str, VIEWS))} views of an image, asked were {views}.")
        self._kinds = representation.kinds
        stiff = [spec.name for spec in self.specs if not can_turn(spec, self._kinds[spec.name])]
        if views > 1 and stiff:
            raise InputError(
                f"How the maps {', '.join(stiff)} of this model change when an image is turned is not known: one view."
            )
        self._runtime, self._views = runtime, VIEWS[views]
        self.name, self.device = runtime.name, runtime.device
        self.parallel, self.multiple = runtime.parallel, runtime.multiple
        self.precision: str | None = getattr(runtime, "precision", None)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps (B, C, H, W) of images (B, H, W, 3)."""
        return self._mean([self._seen(images, *view) for view in self._views])

    def _seen(self, images: NDArray[np.uint8], turns: int, flip: bool) -> NDArray[np.float32]:
        """Maps from one view, turned back."""
        if not turns and not flip:
            return self._runtime.predict(images)
        seen = np.rot90(images, turns, axes=(1, 2))
        maps = self._runtime.predict(np.ascontiguousarray(seen[:, :, ::-1] if flip else seen))
        return np.stack([self._turned_back(each, turns, flip) for each in maps])

    def _turned_back(self, maps: NDArray[np.float32], turns: int, flip: bool) -> NDArray[np.float32]:
        parts, start = [], 0
        for spec in self.specs:
            part = maps[start : start + spec.channels]
            # A turn followed by a flip undoes itself; a mere turn is undone by the rest of the circle.
            parts.append(turned(part, self._kinds[spec.name], turns if flip else -turns % 4, flip))
            start += spec.channels
        return np.concatenate(parts)

    @staticmethod
    def _mean(views: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return views[0] if len(views) == 1 else np.asarray(np.mean(views, axis=0), np.float32)


class ViewsFeatureRuntime(ViewsRuntime):
    """The same of a runtime that also gives features; these are of the first view."""

    def __init__(self, runtime: FeatureRuntime, representation: Representation, *, views: int) -> None:
        super().__init__(runtime, representation, views=views)
        self._own, self.features = runtime, runtime.features

    def predict_with_features(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        """Maps (B, C, H, W) of images (B, H, W, 3), and features (B, h, w, D)."""
        first, values = self._own.predict_with_features(images)
        return self._mean([first, *(self._seen(images, *view) for view in self._views[1:])]), values


class LogitRuntime(ViewsRuntime):
    """A runtime that gives logits (`representations.logits`) of its maps, from one view or the mean of several."""

    def __init__(self, runtime: Runtime, representation: Representation, *, views: int = 1) -> None:
        super().__init__(runtime, representation, views=views)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (B, C, H, W) of images (B, H, W, 3)."""
        return to_logits(super().predict(images), self.specs)


class LogitFeatureRuntime(ViewsFeatureRuntime):
    """The same of a runtime that also gives features; these are of the first view."""

    def __init__(self, runtime: FeatureRuntime, representation: Representation, *, views: int = 1) -> None:
        super().__init__(runtime, representation, views=views)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (B, C, H, W) of images (B, H, W, 3)."""
        return to_logits(super().predict(images), self.specs)

    def predict_with_features(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        """Logits (B, C, H, W) of images (B, H, W, 3), and features (B, h, w, D)."""
        maps, values = super().predict_with_features(images)
        return to_logits(maps, self.specs), values


def views_runtime(runtime: Runtime, representation: Representation, *, views: int) -> Runtime:
    """The runtime itself for one view, else one that averages maps over several (test-time augmentation).

    Raises:
        InputError: A number of views that there is not, or maps of which it is not known how they turn.
    """
    if views == 1:
        return runtime
    if isinstance(runtime, FeatureRuntime):
        return ViewsFeatureRuntime(runtime, representation, views=views)
    return ViewsRuntime(runtime, representation, views=views)


def logit_runtime(
    runtime: Runtime, representation: Representation, *, views: int = 1
) -> LogitRuntime | LogitFeatureRuntime:
    """Whichever of the two the runtime allows."""
    if isinstance(runtime, FeatureRuntime):
        return LogitFeatureRuntime(runtime, representation, views=views)
    return LogitRuntime(runtime, representation, views=views)
