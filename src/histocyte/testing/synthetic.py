"""Synthetic H&E tissue whose every nucleus is known.

slide = paint_tissue((4000, 4000), seed=7)
write_pyramid("demo.tiff", slide.image, slide.mpp)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histocyte.core.geometry import check_mpp
from histocyte.core.instances import Labels
from histocyte.testing.pyramid import write_large_pyramid, write_pyramid
from histocyte.testing.scenes import discs, packed_ellipses, scene, touching_grid
from histocyte.testing.tissue_nuclei import draw_labels, place_nuclei
from histocyte.testing.tissue_paint import Painter
from histocyte.testing.tissue_plan import plan_tissue

__all__ = [
    "SyntheticSlide",
    "discs",
    "packed_ellipses",
    "paint_tissue",
    "scene",
    "touching_grid",
    "write_large_pyramid",
    "write_pyramid",
]


@dataclass(frozen=True, slots=True)
class SyntheticSlide:
    """A picture of tissue with its truth.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: Every nucleus; types in the order of `core.taxonomies.CONSEP`: other, inflammatory, epithelial, spindle.
        mpp: Resolution, µm/px.
    """

    image: NDArray[np.uint8]
    labels: Labels
    mpp: float


def paint_tissue(size_px: tuple[int, int], *, mpp: float = 0.25, seed: int = 0) -> SyntheticSlide:
    """Paint a piece of H&E-stained mucosa: glands, stroma, muscle, lymphoid aggregates, vessels, glass around.

    The same arguments give the same picture.

    Args:
        size_px: Width and height.
        mpp: Resolution, µm/px; the tissue's structures keep their size in µm.
        seed: Chooses the piece.

    Raises:
        ResolutionError: The resolution is nonsense.
        ValueError: The picture is smaller than 64 px on a side.
    """
    if min(size_px) < 64:
        raise ValueError(f"A picture of {size_px[0]} × {size_px[1]} px is too small for tissue; 64 px is the least.")
    check_mpp(mpp)
    rng = np.random.default_rng(seed)
    plan = plan_tissue((size_px[0] * mpp, size_px[1] * mpp), rng)
    labels = draw_labels(place_nuclei(plan, rng), size_px, mpp, rng)
    return SyntheticSlide(Painter(plan, labels, mpp, rng).paint(), labels, mpp)
