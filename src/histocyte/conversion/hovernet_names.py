"""Weights of published HoVer-Nets under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from histocyte.core.errors import ModelError

__all__ = ["hovernet_weights"]

_BRANCHES = ("np", "hv", "tp")
"""In the order of our maps: nucleus, hover, types."""
_STEPS = ("u3", "u2", "u1")
"""From coarse to fine."""
_DOUBLING = "upsample2x.unpool_mat"
"""2 × 2 ones, of which the published code makes its nearest-neighbour doubling."""

_NAMES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^conv0\./\.", "encoder.stem."),
        (r"^conv0\.bn\.", "encoder.stem_norm."),
        (r"^d(\d)\.blk_bna\.bn\.", r"encoder.stages.\1.norm."),
        (r"^d(\d)\.units\.(\d+)\.preact/bn\.", r"encoder.stages.\1.units.\2.norm."),
        (r"^d(\d)\.units\.(\d+)\.conv(\d)/bn\.", r"encoder.stages.\1.units.\2.norm\3."),
        (r"^d(\d)\.", r"encoder.stages.\1."),
        (r"^conv_bot\.", "decoder.bottom."),
    )
]
_BRANCH = re.compile(rf"^decoder\.({'|'.join(_BRANCHES)})\.(u\d)\.(.+)$")
_IN_BRANCH = (
    ("conva.", "enter."),
    ("convf.", "leave."),
    ("dense.blk_bna.bn.", "dense.norm."),
    (".preact_bna/bn.", ".norm1."),
    (".conv1/bn.", ".norm2."),
)


def hovernet_weights(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a published HoVer-Net, fast or original, for `recipes.hovernet(compatible=True)`.

    The layout is that of the authors' PyTorch repository; what is not known keeps its name.

    Raises:
        ModelError: A doubling that is not the nearest neighbour's.
    """
    doubling = published.get(_DOUBLING)
    if doubling is not None and not bool((doubling == 1).all()):
        raise ModelError(
            f"'{_DOUBLING}' holds {doubling.tolist()} instead of ones: this HoVer-Net doubles its maps in a way of its "
            "own, which histocyte does not have."
        )
    return {_our_name(name): tensor for name, tensor in published.items() if name != _DOUBLING}


def _our_name(name: str) -> str:
    if found := _BRANCH.match(name):
        branch, step, rest = found.groups()
        number = _BRANCHES.index(branch)
        if step == "u0":
            ours = f"decoder.branches.{number}.norm." if rest.startswith("bn.") else f"heads.heads.{number}."
            return ours + rest.partition(".")[2]
        if step in _STEPS:
            for theirs, ours in _IN_BRANCH:
                rest = rest.replace(theirs, ours)
            return f"decoder.branches.{number}.steps.{_STEPS.index(step)}.{rest}"
    for pattern, replacement in _NAMES:
        name, count = pattern.subn(replacement, name)
        if count:
            break
    return name
