"""Weights of latent diffusion models: CompVis's checkpoints, diffusers' folders, and our own files.

The parts are known by their prefixes: `denoiser.`, `first_stage.` and `condition.` in ours, `model.diffusion_model.`,
`first_stage_model.` and `cond_stage_model.` in CompVis's; diffusers keeps each in a folder of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from histocyte.core.errors import InputError, ModelError
from histocyte.encoders.weights.diffusers_names import denoiser_names, first_stage_names
from histocyte.encoders.weights.files import read_tensors
from histocyte.encoders.weights.finite import check_finite
from histocyte.encoders.weights.hub import find_weights, is_pipeline, weights_in

__all__ = ["diffusion_state", "diffusion_tensors"]

_COMPVIS = (
    ("model.diffusion_model.", "denoiser."),
    ("first_stage_model.", "first_stage."),
    ("cond_stage_model.", "condition."),
)
_FOLDERS = {"unet": "denoiser.", "vqvae": "first_stage.", "vae": "first_stage."}
"""diffusers' folders, and the part that each holds."""
_CONDITION = "condition"
"""File or folder with the weights of the encoder whose embedding is the condition, beside the others."""

_FOR_TRAINING = re.compile(
    r"^(model_ema\.|first_stage\.loss\.|logvar$|cond_ids$|(sqrt_|log_)?(one_minus_)?(recip(m1)?_)?alphas|"
    r"sqrt_recip|posterior_|betas$|lvlb_weights$|scale_factor$)"
)
"""What a checkpoint has for training and sampling; features do without. Weights are taken, not their averages."""
_WAY_OUT = re.compile(r"^first_stage\.(decoder|post_quant_conv|quantize)\.")


def diffusion_state(encoder: Any, where: str | Path) -> dict[str, Tensor]:
    """The state of a `DiffusionEncoder`, all of it, out of published weights.

    Args:
        encoder: May lie on the meta device.
        where: A file or folder (`diffusion_tensors`).

    Raises:
        InputError: No such file or folder.
        ModelError: Missing, left over, of another shape or not finite; lists them. Or the latent has another scale.
    """
    return fitted_state(encoder, diffusion_tensors(where, encoder), where=str(where))


def diffusion_tensors(where: str | Path, encoder: Any) -> dict[str, Tensor]:
    """Tensors by our names, with those of the condition's encoder where they lie beside the others.

    Args:
        where: A checkpoint (.ckpt, .safetensors); or a folder in diffusers' layout: `unet/` and `vqvae/` or `vae/`.
            The condition's encoder has its weights in the file itself, or in `condition/` or `condition.*` beside it.
        encoder: The `DiffusionEncoder` they are for.

    Raises:
        InputError: No such file or folder.
        ModelError: No plain weights.
    """
    path = Path(where)
    if is_pipeline(path):
        tensors: dict[str, Tensor] = {}
        for folder, prefix in _FOLDERS.items():
            if (path / folder).is_dir():
                rename = denoiser_names if prefix == "denoiser." else first_stage_names
                found = read_tensors(weights_in(path / folder))
                ours = rename(found)
                tensors |= {prefix + ours[name]: tensor for name, tensor in found.items()}
        beside = path
    else:
        file = find_weights(where)
        tensors = {_our_name(name): tensor for name, tensor in read_tensors(file).items()}
        beside = file.parent
    inner = None if encoder.condition is None else encoder.condition.encoder
    if inner is not None and not any(name.startswith("condition.encoder.") for name in tensors):
        tensors |= _of_the_condition(inner, beside, where)
    return tensors


def _of_the_condition(inner: Any, beside: Path, where: str | Path) -> dict[str, Tensor]:
    from histocyte.encoders.weights.load import encoder_weights

    files = [p for p in sorted(beside.glob(f"{_CONDITION}.*")) if p.is_file()]
    if (beside / _CONDITION).is_dir():
        files.append(weights_in(beside / _CONDITION))
    if len(files) != 1:
        raise InputError(
            f"'{where}' lacks the weights of the encoder whose embedding is the condition. Put them beside it, as "
            f"'{beside / _CONDITION}.safetensors' (or .pth, or a folder '{_CONDITION}' in the hub's layout); found: "
            f"{', '.join(p.name for p in files) or 'none'}."
        )
    state = encoder_weights(inner, read_tensors(files[0]), where=str(files[0]))
    return {f"condition.encoder.body.{name}": tensor for name, tensor in state.items()}


def fitted_state(encoder: Any, tensors: Mapping[str, Tensor], *, where: str) -> dict[str, Tensor]:
    """A file's tensors as the encoder's state.

    Raises:
        ModelError: Missing, left over, of another shape or not finite; lists them. Or the latent has another scale.
    """
    from histocyte.encoders.weights.load import check_names

    wanted = encoder.state_dict()
    scale = tensors.get("scale_factor")
    own = getattr(encoder.first_stage, "scale", 1.0)
    if scale is not None and abs(float(scale) - own) > 1e-6 * abs(own):
        raise ModelError(
            f"'{where}' scales its latents by {float(scale):g}, and the encoder by {own:g}; give its first stage "
            f"scale={float(scale):.9g}."
        )
    found = {
        name: _in_shape(tensor, wanted[name]) if name in wanted else tensor
        for name, tensor in tensors.items()
        if not _FOR_TRAINING.match(name)
    }
    left_over = [name for name in found if name not in wanted and not _WAY_OUT.match(name)]
    check_names(found, wanted, left_over, where)
    taken = {name: found[name] for name in wanted}
    check_finite(taken, where=where)
    return taken


def _in_shape(tensor: Tensor, like: Tensor) -> Tensor:
    """A linear layer's matrix as a convolution of one pixel, and the reverse: layouts differ in this alone."""
    alike = tensor.ndim != like.ndim and {tensor.ndim, like.ndim} == {2, 4} and tensor.numel() == like.numel()
    return tensor.reshape(like.shape) if alike and tensor.shape[:2] == like.shape[:2] else tensor


def _our_name(name: str) -> str:
    for prefix, ours in _COMPVIS:
        if name.startswith(prefix):
            return ours + name.removeprefix(prefix)
    return name
