"""Pre-trained weights into an encoder: from the hub, a file or a folder, and all of it accounted for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from histocyte.core.errors import ModelError
from histocyte.encoders.weights.diffusion import diffusion_state
from histocyte.encoders.weights.files import read_tensors
from histocyte.encoders.weights.finite import check_finite
from histocyte.encoders.weights.hub import find_weights
from histocyte.encoders.weights.names import ANCHORS, timm_names, without_prefix
from histocyte.encoders.weights.positions import fit_positions

__all__ = ["check_names", "encoder_weights", "load_encoder_weights"]

_NOT_OURS = re.compile(r"^(head|head_dist|fc|classifier|pre_logits|fc_norm|pooler|mask_token)(\.|$)")
"""What a file has for training or classifying, and no encoder reads."""
_COMPUTED = re.compile(r"(^|\.)(num_batches_tracked|relative_position_index|relative_coords_table|attn_mask)$")
"""Counted or computed again by the model; files may hold them or not."""


def load_encoder_weights(encoder: nn.Module, where: str | Path) -> None:
    """Load published weights into the body of an encoder.

    Known are timm's names, and those of DINO and DINOv2 (also HIPT), SAM, and of ViT and DINOv2 in transformers.
    Prefixes are stripped and positional embeddings resampled to the model's grid. A pyramid cut off early has no use
    for the file's deeper stages and classifier: whole modules that the encoder does not have, and what it names as
    `unused`, are left out. Anything else missing or left over is an error; no weight stays random.

    Args:
        encoder: With the timm model as `body`.
        where: A file (.safetensors, .bin, .pth, index.json), a folder in the hub's layout, the name of a card, or
            "hub:owner/name@revision".

    Raises:
        InputError: No such file, or the hub does not give it.
        ModelError: No plain weights, or names and shapes that do not fit; lists them.
    """
    if hasattr(encoder, "denoiser"):  # of several networks, which files name in ways of their own
        encoder.load_state_dict(diffusion_state(encoder, where))
        return
    path = find_weights(where)
    body = encoder.body
    assert isinstance(body, nn.Module)
    body.load_state_dict(encoder_weights(encoder, read_tensors(path), where=str(path)), strict=False)


def encoder_weights(encoder: nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> dict[str, Tensor]:
    """A file's tensors as the state of the encoder's body; the encoder itself is only looked at.

    Args:
        encoder: May lie on the meta device.
        tensors: By their published names.
        where: What to call their source in an error.

    Raises:
        ModelError: Missing, left over, of another shape, or not finite; lists them.
    """
    body: Any = encoder.body
    state = body.state_dict()
    wanted = {k: v for k, v in state.items() if not _COMPUTED.search(k)}
    flat = {_name_in_file(key): key for key in state}
    pyramid = hasattr(encoder, "unused")
    named = without_prefix(tensors, (next(_name_in_file(k) for k in wanted),) if pyramid else ANCHORS)
    found = {flat.get(k, k): v for k, v in (named if pyramid else timm_names(named)).items()}
    if not pyramid:
        found = fit_positions(found, body)
    check_names(found, wanted, [k for k in found if k not in state and not _may_be_left(k, state, encoder)], where)
    taken = {k: v for k, v in found.items() if k in state and found[k].shape == state[k].shape}
    check_finite({k: v for k, v in taken.items() if k in wanted}, where=where)
    return taken


def _name_in_file(key: str) -> str:
    """A file's name of what timm renames in a network that gives its stages: model.x → x, stages_0.x → stages.0.x."""
    return re.sub(r"^([a-z]+)_(\d+)\.", r"\1.\2.", key.removeprefix("model."))


def _may_be_left(name: str, state: Mapping[str, Tensor], encoder: nn.Module) -> bool:
    if _NOT_OURS.match(name) or _COMPUTED.search(name):
        return True
    unused: tuple[str, ...] | None = getattr(encoder, "unused", None)
    if unused is None:
        return False  # a transformer is whole, or it is another
    if any(f"model.{name}".startswith(u) or name.startswith(u) for u in unused):
        return True
    modules = {k.removeprefix("model.").split(".")[0] for k in state}
    stage = re.sub(r"^([a-z]+)\.(\d+)\..*", r"\1_\2", name)
    return name.split(".")[0] not in modules and (stage == name or stage not in modules)


def check_names(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], left_over: list[str], where: str) -> None:
    """Refuse a file that does not hold exactly what an encoder wants.

    Raises:
        ModelError: Missing, left over or of another shape; lists them.
    """
    shapes = [
        f"{k} {tuple(found[k].shape)} for {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in found and found[k].shape != v.shape
    ]
    faults = (
        ("missing", [k for k in wanted if k not in found]),
        ("left over", left_over),
        ("of another shape", shapes),
    )
    listed = [f"{what}: {', '.join(keys[:8])}{' …' if len(keys) > 8 else ''}" for what, keys in faults if keys]
    if listed:
        raise ModelError(f"'{where}' does not fit the encoder. {'; '.join(listed)}.")
