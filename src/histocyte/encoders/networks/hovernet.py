"""HoVer-Net's encoder: a pre-activated ResNet-50 that keeps the image's resolution in its first stage.

Graham et al. 2019 (HoVer-Net, doi 10.1016/j.media.2019.101563), on He et al. 2016 (identity mappings, pre-activation,
doi 10.1007/978-3-319-46493-0_38). Its weights were first trained elsewhere, where a convolution of stride 2 pads below
and to the right alone; that is part of the architecture here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.encoders.networks.sides import in_whole_steps
from histocyte.encoders.protocol import EncoderInfo, Features

__all__ = ["HoverNetEncoder", "mirror"]

_STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
"""Units of each stage and their inner channels; four times as many go out."""


class HoverNetEncoder(nn.Module):
    """Normalised image (B, 3, H, W) → maps of 256, 512, 1024 and 2048 channels at strides 1, 2, 4 and 8.

    Args:
        mirror_px: Border that the image gets on each side before anything else, mirrored in it: what a decoder of
            unpadded convolutions takes off again ("hover_branches" with `padding="valid"`). The maps are then of an
            image that is so much larger.
        pad_stem: Pad the first convolution, so that the finest map has the image's size; else it is 3 px smaller on
            each side, as in the original HoVer-Net.

    Raises:
        InputError: Borders that make the finest map's sides no multiple of 8.
    """

    def __init__(self, *, mirror_px: int = 0, pad_stem: bool = True) -> None:
        super().__init__()
        beyond = mirror_px - (0 if pad_stem else 3)
        if mirror_px < 0 or 2 * beyond % 8:
            raise InputError(
                f"A border of {mirror_px} px leaves no whole steps of 8 px; use a multiple of 4"
                f"{'' if pad_stem else ' plus 3, for the first convolution is not padded'}."
            )
        self.mirror_px = mirror_px
        self.stem = nn.Conv2d(3, 64, 7, padding=3 if pad_stem else 0, bias=False)
        self.stem_norm = nn.BatchNorm2d(64)
        stages, width = [], 64
        for number, (units, inner) in enumerate(_STAGES):
            stages.append(_Stage(width, inner, units, stride=1 if number == 0 else 2))
            width = 4 * inner
        self.stages = nn.ModuleList(stages)
        self.info = EncoderInfo(tuple(4 * inner for _, inner in _STAGES), (1, 2, 4, 8), 8)

    def forward(self, image: Tensor) -> Features:
        """Maps, fine to coarse.

        Raises:
            InputError: Height or width is not a multiple of 8.
        """
        image = in_whole_steps(image, self.info.multiple)
        return Features(tuple(self.pyramid(mirror(image, self.mirror_px) if self.mirror_px else image)))

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """Maps of an image as it is, without a border."""
        x = F.relu(self.stem_norm(self.stem(image)))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def mirror(image: Tensor, border: int) -> Tensor:
    """(B, C, H, W) → (B, C, H + 2 border, W + 2 border), mirrored about the outermost pixels, as often as it takes.

    As `F.pad` does it with "reflect", which ends where the border is as wide as the image.
    """
    for axis in (2, 3):
        image = image.index_select(axis, _mirrored(image.shape[axis], border, image.device))
    return image


def _mirrored(length: int, border: int, device: torch.device) -> Tensor:
    """Which of `length` places each of `length` + 2 `border` places shows."""
    # A tensor, for torch exports no remainder by a symbol, which `length` is then.
    last = torch.full((1,), length - 1, device=device)
    turn = (2 * last).clamp(min=1)
    place = torch.remainder(torch.arange(-border, length + border, device=device).abs(), turn)
    return torch.where(place <= last, place, turn - place)


class _Stage(nn.Module):
    """Units, each adding to what came in; the first one's sum starts from a 1 × 1 convolution of the input."""

    def __init__(self, inputs: int, inner: int, units: int, *, stride: int) -> None:
        super().__init__()
        outputs = 4 * inner
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        self.units = nn.ModuleList(
            [_Unit(inputs, inner, stride=stride, activated=True), *(_Unit(outputs, inner) for _ in range(units - 1))]
        )
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        total = self.shortcut(x)
        for number, unit in enumerate(self.units):
            total = total + unit(x if number == 0 else total)
        return F.relu(self.norm(total))


class _Unit(nn.Module):
    """Bottleneck: (norm, ReLU,) 1 × 1, norm, ReLU, 3 × 3, norm, ReLU, 1 × 1.

    Args:
        inputs: Channels.
        inner: Channels of the 3 × 3 convolution.
        stride: Stride of that convolution.
        activated: The input has been through norm and ReLU already.
    """

    def __init__(self, inputs: int, inner: int, *, stride: int = 1, activated: bool = False) -> None:
        super().__init__()
        self.norm = None if activated else nn.BatchNorm2d(inputs)
        self.conv1, self.norm1 = nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.norm2 = nn.Conv2d(inner, inner, 3, stride=stride, bias=False), nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, 4 * inner, 1, bias=False)
        before = 1 if stride == 1 else 0
        self.pad: Sequence[int] = (before, 1, before, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.norm is not None:
            x = F.relu(self.norm(x))
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.conv2(F.pad(x, self.pad))))
        out: Tensor = self.conv3(x)
        return out
