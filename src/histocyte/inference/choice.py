"""Which bundled model works at a slide's resolution."""

from __future__ import annotations

import math

from histocyte.inference.load import spec_of
from histocyte.model.spec import ModelSpec
from histocyte.model.zoo import DEFAULT_MODEL, bundled_models

__all__ = ["nearest_in_resolution"]

_CLEARLY = 1.5
"""Resolutions nearer to each other than by this factor are as good as the same."""


def nearest_in_resolution(mpp: float, spec: ModelSpec) -> ModelSpec | None:
    """The bundled model of the same classes that works at a slide's resolution, where the one in use does not.

    Args:
        mpp: Of the slide, µm/px.
        spec: Of the model in use.

    Returns:
        The nearest in resolution, the default model of several; None where the model in use is as near.
    """

    def away(other: ModelSpec) -> float:
        return abs(math.log(other.mpp / mpp))

    # Of several at one resolution the default is meant for everybody, the others for a reason of their own.
    bundled = sorted(bundled_models().items(), key=lambda item: item[0] != DEFAULT_MODEL)
    others = [spec_of(files) for _, files in bundled]
    nearest = min((o for o in others if o.classes.names == spec.classes.names), key=away, default=None)
    return nearest if nearest is not None and away(spec) - away(nearest) > math.log(_CLEARLY) else None
