"""Representations with constants that fit a resolution, as parts of a model."""

from __future__ import annotations

import dataclasses
import inspect
import math
from typing import Any

from histocyte.model.spec import ModelSpec, Part
from histocyte.representations.registry import REPRESENTATIONS

__all__ = ["fitting_crop_px", "fitting_part", "refitted"]


def fitting_part(name: str, mpp: float, **options: Any) -> Part:
    """The part that builds a representation for maps of a resolution.

    Its options are those given, and those constants that are others at this resolution than by default.

    Args:
        name: Name of a representation with an `at` and a default for every option: "distance", "flow", "hover", "star".
        mpp: Resolution of the maps, µm/px.
        options: Options of the representation's `at`.

    Raises:
        ResolutionError: The resolution is not finite or outside 0.05–10 µm/px.

    >>> fitting_part("hover", 0.5, classes=4).options
    {'classes': 4, 'min_area_px': 3, 'smoothing_px': 0.4, 'sobel_px': 11}
    """
    kind: Any = REPRESENTATIONS[name]
    usual = dataclasses.asdict(kind())
    fitting = dataclasses.asdict(kind.at(mpp, **options))
    return Part(name=name, options=options | {k: v for k, v in fitting.items() if v != usual[k]})


def refitted(spec: ModelSpec, mpp: float) -> ModelSpec:
    """A model as it is, made to work at another resolution; its weights have to learn that.

    Constants of decoding that follow the resolution are scaled, those chosen for the model too.

    Args:
        spec: What it is.
        mpp: The new resolution, µm/px.

    Raises:
        ResolutionError: The resolution is not finite or outside 0.05–10 µm/px.
    """
    kind: Any = REPRESENTATIONS[spec.representation.name]
    given = dict(spec.representation.options)
    if hasattr(kind, "at"):  # another package's representation may have nothing that follows the resolution
        takes = inspect.signature(kind.at).parameters
        chosen = {name: value for name, value in given.items() if name in takes}
        usual, fitting = (dataclasses.asdict(kind.at(at, **chosen)) for at in (spec.mpp, mpp))
        for name, value in fitting.items():
            if value == usual[name]:
                continue
            own = given.get(name, usual[name])
            scaled = value if own == usual[name] else own * value / usual[name]
            given[name] = math.ceil(scaled) if isinstance(value, int) else scaled
    return spec.with_changes(mpp=mpp, representation=Part(name=spec.representation.name, options=given))


def fitting_crop_px(crop_px: int, spec: ModelSpec) -> int:
    """The largest side up to this one that the network takes; 16 px at least."""
    return max(-(-16 // spec.multiple), crop_px // spec.multiple) * spec.multiple
