"""HoVer-Net: maps of nuclei, distances and types, each from a dense decoder of its own."""

from __future__ import annotations

from typing import Literal

from histocyte.core.errors import UnknownNameError
from histocyte.core.taxonomies import PANNUKE
from histocyte.core.taxonomy import Taxonomy
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.fitting import fitting_part

__all__ = ["hovernet"]

_KERNELS = {"fast": 3, "original": 5}
_MARGINS = {"fast": 48, "original": 96}
"""What the published networks' unpadded convolutions take off, 46 and 95 px, in whole steps of 8."""


def hovernet(
    mode: Literal["fast", "original"] = "fast",
    *,
    taxonomy: Taxonomy = PANNUKE,
    mpp: float = 0.25,
    compatible: bool = False,
) -> ModelSpec:
    """Graham et al. 2019, HoVer-Net (doi 10.1016/j.media.2019.101563).

    Args:
        mode: The paper's network ("original", 5 × 5 convolutions in the decoder) or its authors' lighter one ("fast").
        taxonomy: The cell classes; empty leaves out their branch.
        mpp: Resolution that it works at, µm/px.
        compatible: Unpadded convolutions, as in the published networks and for their weights: the image is mirrored
            beyond its border by as much as they take off, and tiles overlap by twice that. Otherwise all are padded.

    Raises:
        UnknownNameError: No such mode.
    """
    if mode not in _KERNELS:
        raise UnknownNameError("mode of HoVer-Net", mode, _KERNELS)
    # With the original's unpadded first convolution it is 95 px that leave whole steps of 8.
    padded = {"fast": {"mirror_px": 48}, "original": {"mirror_px": 95, "pad_stem": False}}
    return ModelSpec(
        name=f"hovernet-{mode}",
        recipe="hovernet",
        encoder=Part(name="hovernet", options=padded[mode] if compatible else {}),
        decoder=Part(
            name="hover_branches",
            options={
                "branches": 3 if len(taxonomy) else 2,
                "kernel": _KERNELS[mode],
                "padding": "valid" if compatible else "same",
            },
        ),
        heads=Part(name="pointwise", options={"own_branch": True}),
        representation=fitting_part("hover", mpp, classes=len(taxonomy), nucleus_channels=2),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        tile_px=512,  # 256 channels at full resolution: 1 MB for each 32 × 32 px, several times over
        # As published, nothing counts that has mirrored pixels nearer by than the convolutions take off.
        margin_px=_MARGINS[mode] if compatible else 32,
        multiple=8,
    )
