"""Autoencoders whose latent images a diffusion model works on: CompVis's (VQ and KL), and the tiny ones (TAESD).

Rombach et al. 2022 (doi 10.1109/CVPR52688.2022.01042), on Esser et al. 2021 (VQGAN, doi 10.1109/CVPR46437.2021.01268).
Modules are named as in the published checkpoints, so that these load as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.encoders.networks.diffusion.unet import GROUPS, Upsample

__all__ = ["FIRST_STAGES", "Autoencoder", "FirstStage", "TinyAutoencoder", "build_first_stage"]


class FirstStage(Protocol):
    """Image (B, 3, H, W) in −1…1 ↔ latent (B, channels, H / stride, W / stride).

    Attributes:
        channels: Channels of the latent.
        stride: Image px per latent px.
    """

    channels: int
    stride: int

    def encode(self, image: Tensor) -> Tensor:
        """The latent, not quantised and without noise."""
        ...

    def decode(self, latent: Tensor) -> Tensor:
        """The image again.

        Raises:
            InputError: It was built without a decoder.
        """
        ...


class Autoencoder(nn.Module):
    """CompVis's autoencoder, of which a diffusion model needs the way in; by default VQ-f4.

    Args:
        width: Channels at the image's size.
        multiples: Width of each level, in units of `width`; each halves the size of the one before.
        blocks: Residual blocks of each level on the way in; one more on the way out.
        channels: Channels of the latent.
        kind: "vq" with a codebook, or "kl", whose encoder gives a mean and a variance; the mean is used.
        codes: Number of codes of the codebook.
        scale: Factor of the latent, which brings its standard deviation near 1.
        decoder: Whether the way out, and the codebook, are there.

    Raises:
        InputError: An unknown kind, a width that 32 does not divide, no levels or no blocks.
    """

    def __init__(
        self,
        *,
        width: int = 128,
        multiples: Sequence[int] = (1, 2, 4),
        blocks: int = 2,
        channels: int = 3,
        kind: str = "vq",
        codes: int = 8192,
        scale: float = 1.0,
        decoder: bool = False,
    ) -> None:
        super().__init__()
        if kind not in ("vq", "kl"):
            raise InputError(f"There is no autoencoder of kind '{kind}'. There are: vq, kl.")
        if not multiples or min(width, blocks, channels) < 1 or width % GROUPS:
            raise InputError(
                f"An autoencoder needs a width that is a multiple of {GROUPS}, and levels, blocks and channels of 1 "
                f"or more; got width {width}, {len(multiples)} levels, {blocks} blocks, {channels} channels."
            )
        self.channels, self.stride, self.scale = channels, 2 ** (len(multiples) - 1), scale
        widths = [multiple * width for multiple in multiples]
        given = channels if kind == "vq" else 2 * channels
        self.encoder = _WayIn(widths, blocks, given)
        self.quant_conv = nn.Conv2d(given, given, 1)
        self.decoder = _WayOut(widths, blocks, channels) if decoder else None
        if decoder:
            self.post_quant_conv = nn.Conv2d(channels, channels, 1)
        self.quantize = _Codebook(codes, channels) if decoder and kind == "vq" else None

    def encode(self, image: Tensor) -> Tensor:
        """See `FirstStage`."""
        latent: Tensor = self.quant_conv(self.encoder(image))[:, : self.channels]
        return latent * self.scale

    def decode(self, latent: Tensor) -> Tensor:
        """See `FirstStage`; the latent is first brought to its nearest codes."""
        if self.decoder is None:
            raise InputError("This autoencoder was built without a decoder.")
        latent = latent / self.scale
        if self.quantize is not None:
            latent = self.quantize(latent)
        image: Tensor = self.decoder(self.post_quant_conv(latent))
        return image


class _Codebook(nn.Module):
    def __init__(self, codes: int, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, channels)

    def forward(self, latent: Tensor) -> Tensor:
        """The nearest code of each pixel."""
        flat = latent.permute(0, 2, 3, 1).flatten(0, 2)
        nearest = torch.cdist(flat, self.embedding.weight).argmin(1)
        batch, _, height, width = latent.shape
        codes: Tensor = self.embedding(nearest).view(batch, height, width, -1).permute(0, 3, 1, 2)
        return codes


class _WayIn(nn.Module):
    def __init__(self, widths: Sequence[int], blocks: int, outputs: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            [
                _Level([before, *([width] * blocks)], down=level < len(widths) - 1)
                for level, (before, width) in enumerate(zip((widths[0], *widths), widths, strict=False))
            ]
        )
        self.mid = _Middle(widths[-1])
        self.norm_out = _norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], outputs, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv_in(image)
        for level in self.down:
            x = level(x)
        x = self.mid(x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return out


class _WayOut(nn.Module):
    def __init__(self, widths: Sequence[int], blocks: int, channels: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, widths[-1], 3, padding=1)
        self.mid = _Middle(widths[-1])
        self.up = nn.ModuleList(
            [
                _Level([before, *([width] * (blocks + 1))], up=level > 0)
                for level, (width, before) in enumerate(zip(widths, (*widths[1:], widths[-1]), strict=True))
            ]
        )
        self.norm_out = _norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, latent: Tensor) -> Tensor:
        x = self.mid(self.conv_in(latent))
        for level in reversed(self.up):
            x = level(x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return out


class _Level(nn.Module):
    def __init__(self, widths: Sequence[int], *, down: bool = False, up: bool = False) -> None:
        super().__init__()
        self.block = nn.ModuleList([_Residual(a, b) for a, b in zip(widths, widths[1:], strict=False)])
        if down:
            self.downsample = _Down(widths[-1])
        if up:
            self.upsample = Upsample(widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        for name in ("downsample", "upsample"):
            if hasattr(self, name):
                x = getattr(self, name)(x)
        return x


class _Middle(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = _Residual(width, width), _Attention(width), _Residual(width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block_2(self.attn_1(self.block_1(x)))
        return out


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = _norm(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)
        self.same = inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(F.silu(self.norm1(x)))
        inner = self.conv2(F.silu(self.norm2(inner)))
        out: Tensor = (x if self.same else self.nin_shortcut(x)) + inner
        return out


class _Attention(nn.Module):
    """Attention of all pixels to all, one head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.q, self.k, self.v = (nn.Conv2d(width, width, 1) for _ in range(3))
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        inner = self.norm(x)
        q, k, v = (part(inner).flatten(2).transpose(1, 2)[:, None] for part in (self.q, self.k, self.v))
        seen = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).unflatten(2, (height, width))
        out: Tensor = x + self.proj_out(seen)
        return out


class _Down(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        # Padded below and to the right alone, as published.
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return out


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, width, eps=1e-6)


class TinyAutoencoder(nn.Module):
    """The tiny autoencoder TAEF2: plain convolutions of 64 channels, stride 8 (TAESD family, MIT).

    Bohan (madebyollin/taesd), trained to agree with the latents of FLUX.2. The middle blocks of its coarsest levels
    add a term whose norm sees the whole image.

    Args:
        channels: Channels of the latent.
        decoder: Whether the way out is there.

    Raises:
        InputError: No channels.
    """

    stride = 8

    def __init__(self, *, channels: int = 32, decoder: bool = False) -> None:
        super().__init__()
        if channels < 1:
            raise InputError(f"A latent needs channels; got {channels}.")
        self.channels = channels
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1),
            _TinyBlock(),
            _halving(),
            *(_TinyBlock() for _ in range(3)),
            _halving(),
            *(_TinyBlock() for _ in range(3)),
            _halving(),
            *(_TinyBlock(sees_all=True) for _ in range(3)),
            nn.Conv2d(64, channels, 3, padding=1),
        )
        self.decoder = self._way_out() if decoder else None

    def _way_out(self) -> nn.Sequential:
        def doubled() -> list[nn.Module]:
            return [nn.Upsample(scale_factor=2), nn.Conv2d(64, 64, 3, padding=1, bias=False)]

        return nn.Sequential(
            _Clamped(),
            nn.Conv2d(self.channels, 64, 3, padding=1),
            nn.ReLU(),
            *(_TinyBlock(sees_all=True) for _ in range(3)),
            *doubled(),
            *(_TinyBlock() for _ in range(3)),
            *doubled(),
            *(_TinyBlock() for _ in range(3)),
            *doubled(),
            _TinyBlock(),
            nn.Conv2d(64, 3, 3, padding=1),
        )

    def encode(self, image: Tensor) -> Tensor:
        """See `FirstStage`; the network itself takes images from 0 to 1."""
        latent: Tensor = self.encoder((image + 1) / 2)
        return latent

    def decode(self, latent: Tensor) -> Tensor:
        """See `FirstStage`."""
        if self.decoder is None:
            raise InputError("This autoencoder was built without a decoder.")
        image: Tensor = self.decoder(latent).clamp(0, 1) * 2 - 1
        return image


class _Clamped(nn.Module):
    def forward(self, latent: Tensor) -> Tensor:
        return (latent / 3).tanh() * 3


class _TinyBlock(nn.Module):
    def __init__(self, *, sees_all: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()]
        self.conv = nn.Sequential(*layers[:-1])
        self.pool = (
            nn.Sequential(
                nn.Conv2d(64, 256, 1, bias=False), nn.GroupNorm(4, 256), nn.ReLU(), nn.Conv2d(256, 64, 1, bias=False)
            )
            if sees_all
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return F.relu(self.conv(x) + x)


def _halving() -> nn.Conv2d:
    return nn.Conv2d(64, 64, 3, padding=1, stride=2, bias=False)


FIRST_STAGES: dict[str, type[Autoencoder] | type[TinyAutoencoder]] = {
    "autoencoder": Autoencoder,
    "tiny": TinyAutoencoder,
}
"""By the name that options give them."""


def build_first_stage(name: str, **options: object) -> Autoencoder | TinyAutoencoder:
    """A first stage by its name and options.

    Raises:
        InputError: There is none of that name, or its options are out of range.
    """
    if name not in FIRST_STAGES:
        raise InputError(f"There is no first stage '{name}'. There are: {', '.join(FIRST_STAGES)}.")
    return FIRST_STAGES[name](**options)  # type: ignore[arg-type]
