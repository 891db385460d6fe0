"""Weights of the published CellViT models that predict star polygons, under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from histocyte.conversion.cellvit_names import cellvit_weights

__all__ = ["IDLE_LAYER", "cellvit_star_weights"]

IDLE_LAYER = "classifier_head."
"""The tissue head of models over SAM, which reads the 256 channels of its neck. CellViT-256 has a head of its own, in
the encoder, but its files and the published counts hold this layer too (256 → 19, 4,883 parameters), never called and
never trained. There is no place for it here, so it is left out."""

_BRANCHES = {
    "dist_decoder.": "nuclei_binary_map_decoder.",
    "stardist_decoder.": "hv_map_decoder.",
}
"""Their branches, and those of the HoVer model that stand first and second as ours do: nucleus, rays."""
_CPP_LAYERS = {
    "dist_head.": "heads.heads.0.",
    "stardist_head.": "heads.heads.1.",
    "type_head.": "heads.heads.2.",
    "conv_0_confidence.": "heads.sureness.",
    "conv_1_confidence.": "heads.mixing.",
}


def cellvit_star_weights(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a published CellViT with StarDist's or CPP-Net's maps, for the recipes of these names.

    For `cellvit_stardist(compatible=True)` and `cellvit_cppnet(compatible=True)`. The layout is that of the paper's
    repository; what is not known keeps its name.
    """
    refined = any(name.startswith("conv_0_confidence.") for name in published)
    idle = any(name.startswith("encoder.head.") for name in published)
    weights = {}
    for name, tensor in published.items():
        if idle and name.startswith(IDLE_LAYER):
            continue
        layer = next((theirs for theirs in _CPP_LAYERS if name.startswith(theirs)), None)
        if refined and layer is not None:
            weights[_CPP_LAYERS[layer] + name.removeprefix(layer)] = tensor
            continue
        for theirs, known in _BRANCHES.items():
            if name.startswith(theirs):
                name = known + name.removeprefix(theirs)
        ours = next(iter(cellvit_weights({name: tensor})))
        # The branches end in channels that CPP-Net's own heads read.
        weights[re.sub(r"^heads\.heads\.", "heads.features.", ours) if refined else ours] = tensor
    return weights
