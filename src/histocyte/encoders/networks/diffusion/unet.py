"""The denoising U-Net of latent diffusion, whose inner features say what a noised image shows.

Rombach et al. 2022 (Latent Diffusion, doi 10.1109/CVPR52688.2022.01042), on Dhariwal & Nichol 2021 (arXiv 2105.05233).
Modules are named as in CompVis's checkpoints, so that these load as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError

__all__ = ["GROUPS", "DenoisingUNet", "Upsample"]

GROUPS = 32
"""Groups of every norm; all widths are multiples of it."""


class DenoisingUNet(nn.Module):
    """Noised latent (B, C, h, w), step (B,) and context (B, N, D) → predicted noise (B, C, h, w).

    Args:
        channels: C of the latent.
        width: Channels at the latent's size, a multiple of 32.
        multiples: Width of each level, in units of `width`; each level halves the size of the one before.
        blocks: Residual blocks of each level on the way down; one more on the way up.
        attention: Levels with attention, by how often they are smaller than the latent: 1, 2, 4, ….
        heads: Attention heads.
        context: D; without one, attention looks at the image alone.

    Raises:
        InputError: A width that 32 does not divide, no levels or no blocks.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        width: int = 192,
        multiples: Sequence[int] = (1, 2, 3, 5),
        blocks: int = 2,
        attention: Sequence[int] = (2, 4, 8),
        heads: int = 1,
        context: int | None = 512,
    ) -> None:
        super().__init__()
        if not multiples or blocks < 1 or width < 1 or width % GROUPS or width % heads:
            raise InputError(
                f"A denoising U-Net needs a width that is a multiple of {GROUPS} and of its heads, at least one level "
                f"and one block a level; got width {width}, {heads} heads, {len(multiples)} levels, {blocks} blocks."
            )
        self.width, self.context = width, context
        inner = 4 * width
        self.time_embed = nn.Sequential(nn.Linear(width, inner), nn.SiLU(), nn.Linear(inner, inner))

        def attends(rate: int, at: int) -> list[nn.Module]:
            return [_SpatialTransformer(at, heads, context)] if rate in attention else []

        downs: list[nn.Module] = [nn.Sequential(nn.Conv2d(channels, width, 3, padding=1))]
        skips, now, rate = [width], width, 1
        for level, multiple in enumerate(multiples):
            for _ in range(blocks):
                downs.append(
                    nn.Sequential(_ResidualBlock(now, multiple * width, inner), *attends(rate, multiple * width))
                )
                now = multiple * width
                skips.append(now)
            if level < len(multiples) - 1:
                downs.append(nn.Sequential(_Downsample(now)))
                skips.append(now)
                rate *= 2
        self.input_blocks = nn.ModuleList(downs)
        self.middle_block = nn.Sequential(
            _ResidualBlock(now, now, inner), _SpatialTransformer(now, heads, context), _ResidualBlock(now, now, inner)
        )
        ups: list[nn.Module] = []
        self.tap_widths: list[int] = []
        self.tap_rates: list[int] = []
        for level, multiple in reversed(list(enumerate(multiples))):
            for number in range(blocks + 1):
                parts = [_ResidualBlock(now + skips.pop(), multiple * width, inner), *attends(rate, multiple * width)]
                now = multiple * width
                if level and number == blocks:
                    parts.append(Upsample(now))
                    rate //= 2
                ups.append(nn.Sequential(*parts))
                self.tap_widths.append(now)
                self.tap_rates.append(rate)
        self.output_blocks = nn.ModuleList(ups)
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, now), nn.SiLU(), nn.Conv2d(now, channels, 3, padding=1))
        self.multiple = 2 ** (len(multiples) - 1)
        self.middle_width = max(multiples[-1] * width, 1)

    def forward(self, latent: Tensor, step: Tensor, context: Tensor | None = None) -> Tensor:
        """Predict the noise."""
        up = self._climb(latent, step, context, len(self.output_blocks))[-1]
        noise: Tensor = self.out(up)
        return noise

    def features(
        self, latent: Tensor, step: Tensor, context: Tensor | None, taps: Sequence[int]
    ) -> tuple[list[Tensor], Tensor]:
        """What chosen blocks of the way up give, and the middle block (B, D, h / 2^(L-1), w / 2^(L-1)).

        Blocks above the highest tap do not run.

        Args:
            latent: Noised, as `forward` takes it.
            step: (B,).
            context: As `forward` takes it.
            taps: Blocks of the way up, counted from 0; `tap_widths` and `tap_rates` tell their channels and how often
                they are smaller than the latent.
        """
        maps = self._climb(latent, step, context, max(taps) + 1)
        return [maps[tap + 1] for tap in taps], maps[0]

    def _climb(self, latent: Tensor, step: Tensor, context: Tensor | None, blocks: int) -> list[Tensor]:
        """The middle block's output, then that of so many blocks of the way up."""
        embedded = self.time_embed(_of_step(step, self.width).to(latent.dtype))
        x, kept = latent, []
        for down in self.input_blocks:
            x = _run(down, x, embedded, context)
            kept.append(x)
        maps = [_run(self.middle_block, x, embedded, context)]
        for up in self.output_blocks[:blocks]:
            maps.append(_run(up, torch.cat([maps[-1], kept.pop()], dim=1), embedded, context))
        return maps


def _run(block: nn.Module, x: Tensor, embedded: Tensor, context: Tensor | None) -> Tensor:
    for part in block.children():
        if isinstance(part, _ResidualBlock):
            x = part(x, embedded)
        elif isinstance(part, _SpatialTransformer):
            x = part(x, context)
        else:
            x = part(x)
    return x


def _of_step(step: Tensor, width: int) -> Tensor:
    """(B,) → (B, width): cosines, then sines, of falling frequencies."""
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) / half * torch.arange(half, device=step.device, dtype=torch.float32))
    angles = step.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class _ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, embedded: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedded, outputs))
        last = nn.Conv2d(outputs, outputs, 3, padding=1)
        # The published dropout is 0; it stands here for the numbers in the modules' names.
        self.out_layers = nn.Sequential(nn.GroupNorm(GROUPS, outputs), nn.SiLU(), nn.Dropout(0.0), _zero(last))
        self.skip_connection = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        inner = self.in_layers(x) + self.emb_layers(embedded)[:, :, None, None]
        out: Tensor = self.skip_connection(x) + self.out_layers(inner)
        return out


class _Downsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.op(x)
        return out


class Upsample(nn.Module):
    """Each pixel four times, then a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → (B, C, 2h, 2w)."""
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


class _SpatialTransformer(nn.Module):
    """Pixels as tokens: attention among them, attention to the context, and a gated network."""

    def __init__(self, width: int, heads: int, context: int | None) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([_TransformerBlock(width, heads, context)])
        self.proj_out = _zero(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        height, width = x.shape[2:]
        tokens = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        out: Tensor = x + self.proj_out(tokens.transpose(1, 2).unflatten(2, (height, width)))
        return out


class _TransformerBlock(nn.Module):
    def __init__(self, width: int, heads: int, context: int | None) -> None:
        super().__init__()
        self.attn1 = _Attention(width, heads, width)
        self.ff = _FeedForward(width)
        self.attn2 = _Attention(width, heads, width if context is None else context)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.looks_at_context = context is not None

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        inner = self.norm1(x)
        x = x + self.attn1(inner, inner)
        inner = self.norm2(x)
        x = x + self.attn2(inner, context if self.looks_at_context and context is not None else inner)
        out: Tensor = x + self.ff(self.norm3(x))
        return out


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.0))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        out: Tensor = self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class _FeedForward(nn.Module):
    """Four times as wide inside, one half gated by the other (GEGLU)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(_Gated(width, 4 * width), nn.Dropout(0.0), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class _Gated(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, 2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        out: Tensor = value * F.gelu(gate)
        return out


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Start at 0, so that each block begins as nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
