"""diffusers' names of a latent diffusion model's tensors, and CompVis's, which ours are."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["denoiser_names", "first_stage_names"]

_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
"""Outside the levels."""
_SQUARE = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
    "query": "q",
    "key": "k",
    "value": "v",
    "proj_attn": "proj_out",
}
"""Names in an autoencoder's attention, under diffusers' new names and its old ones."""

_LEVEL = re.compile(
    r"(?P<net>encoder\.|decoder\.|)(?P<way>down|up)_blocks\.(?P<level>\d+)\."
    r"(?P<kind>resnets|attentions|downsamplers|upsamplers)\.(?P<number>\d+)\.(?P<rest>.*)"
)
_MIDDLE = re.compile(
    r"(?P<net>encoder\.|decoder\.|)mid_block\.(?P<kind>resnets|attentions)\.(?P<number>\d+)\.(?P<rest>.*)"
)


def denoiser_names(names: Iterable[str]) -> dict[str, str]:
    """Diffusers' names of a `UNet2DConditionModel` → CompVis's; names that it does not know stay as they are."""
    names = list(names)
    _, blocks = _sizes(names)
    attended = {m["level"] for n in names if (m := _LEVEL.match(n)) and m["way"] == "up" and m["kind"] == "attentions"}

    def renamed(name: str) -> str:
        part, _, end = name.rpartition(".")
        if part in _ENDS:
            return f"{_ENDS[part]}.{end}"
        if m := _MIDDLE.match(name):
            return f"middle_block.{1 if m['kind'] == 'attentions' else 2 * int(m['number'])}.{_in_block(m)}"
        if not (m := _LEVEL.match(name)):
            return name
        first = int(m["level"]) * (blocks + 1)
        if m["kind"] == "downsamplers":
            return f"input_blocks.{first + blocks + 1}.0.op.{end}"
        if m["kind"] == "upsamplers":  # behind what else the level's last block holds
            return f"output_blocks.{first + blocks}.{2 if m['level'] in attended else 1}.conv.{end}"
        at = first + int(m["number"])
        block = f"input_blocks.{at + 1}" if m["way"] == "down" else f"output_blocks.{at}"
        return f"{block}.{1 if m['kind'] == 'attentions' else 0}.{_in_block(m)}"

    return {name: renamed(name) for name in names}


def first_stage_names(names: Iterable[str]) -> dict[str, str]:
    """Diffusers' names of a `VQModel` or `AutoencoderKL` → CompVis's; names that it does not know stay as they are."""
    names = list(names)
    levels, _ = _sizes(names)

    def renamed(name: str) -> str:
        name = name.replace("conv_norm_out.", "norm_out.").replace("conv_shortcut.", "nin_shortcut.")
        if m := _MIDDLE.match(name):
            if m["kind"] == "resnets":
                return f"{m['net']}mid.block_{int(m['number']) + 1}.{m['rest']}"
            part, _, end = m["rest"].rpartition(".")
            return f"{m['net']}mid.attn_1.{_SQUARE.get(part, part)}.{end}"
        if not (m := _LEVEL.match(name)):
            return name
        # The way up is counted from its coarse end by diffusers, from its fine end by CompVis.
        level = int(m["level"]) if m["way"] == "down" else levels - 1 - int(m["level"])
        inner = {"downsamplers": "downsample", "upsamplers": "upsample"}.get(m["kind"], f"block.{m['number']}")
        return f"{m['net']}{m['way']}.{level}.{inner}.{m['rest']}"

    return {name: renamed(name) for name in names}


def _in_block(found: re.Match[str]) -> str:
    if found["kind"] != "resnets":
        return found["rest"]
    part, _, end = found["rest"].rpartition(".")
    return f"{_RESIDUAL.get(part, part)}.{end}"


def _sizes(names: Iterable[str]) -> tuple[int, int]:
    """Levels, and residual blocks of each on the way down."""
    downs = [m for n in names if (m := _LEVEL.match(n)) and m["way"] == "down" and m["kind"] == "resnets"]
    return 1 + max((int(m["level"]) for m in downs), default=0), 1 + max((int(m["number"]) for m in downs), default=0)
