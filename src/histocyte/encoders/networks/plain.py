"""A U-Net's own way down, trained from nothing: convolutions at each size, and the largest of four pixels between.

Ronneberger et al. 2015 (U-Net, doi 10.1007/978-3-319-24574-4_28), with the border kept and a norm after each
convolution, as CISCA has it (Vadori et al., arXiv 2409.04175).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.encoders.networks.sides import in_whole_steps
from histocyte.encoders.protocol import EncoderInfo, Features

__all__ = ["PlainEncoder"]


class PlainEncoder(nn.Module):
    """Normalised image (B, 3, H, W) → maps at strides 1, 2, 4 and so on, each twice as wide as the last.

    Args:
        width: Channels at the image's own size.
        depth: How often the size is halved; one map more is given.
        convolutions: At each size, 3 × 3, each with batch norm and ReLU.

    Raises:
        InputError: No channels, halvings or convolutions.
    """

    def __init__(self, *, width: int = 64, depth: int = 4, convolutions: int = 2) -> None:
        super().__init__()
        if min(width, depth, convolutions) < 1:
            raise InputError(
                f"A U-Net's encoder needs a width, depth and convolutions of 1 or more; asked were width {width}, "
                f"depth {depth}, convolutions {convolutions}."
            )
        widths = tuple(width << level for level in range(depth + 1))
        self.stages = nn.ModuleList(
            [_stage(a, b, convolutions) for a, b in zip((3, *widths[:-1]), widths, strict=True)]
        )
        self.info = EncoderInfo(widths, tuple(1 << level for level in range(depth + 1)), 1 << depth)

    def forward(self, image: Tensor) -> Features:
        """Maps, fine to coarse.

        Raises:
            InputError: Height or width is not a multiple of the coarsest stride.
        """
        image = in_whole_steps(image, self.info.multiple)
        maps: list[Tensor] = []
        for stage in self.stages:
            maps.append(stage(F.max_pool2d(maps[-1], 2) if maps else image))
        return Features(tuple(maps))


def _stage(inputs: int, outputs: int, convolutions: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(convolutions):
        layers += [
            # The norm makes a bias idle.
            nn.Conv2d(inputs if number == 0 else outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
