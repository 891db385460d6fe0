"""Features of a frozen latent diffusion model, from one noised pass: what PathSegDiff segments tissue with.

Danisetty et al. 2025 (PathSegDiff, arXiv 2504.06950): the image's latent gets the noise of one step, the denoiser
runs once, and what its blocks on the way up hold is decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.encoders.networks.diffusion.condition import Condition
from histocyte.encoders.networks.diffusion.first_stage import build_first_stage
from histocyte.encoders.networks.diffusion.schedule import alphas_bar
from histocyte.encoders.networks.diffusion.unet import DenoisingUNet
from histocyte.encoders.networks.sides import in_whole_steps
from histocyte.encoders.protocol import EncoderInfo, Features

__all__ = ["DiffusionEncoder"]

_NOISE_PX = 1024
"""Image px that the fixed noise covers in each direction; it repeats beyond."""


class DiffusionEncoder(nn.Module):
    """Image (B, 3, H, W) in −1…1 (mean and std of 0.5) → maps of chosen blocks of the denoiser, fine to coarse.

    At inference the noise of a place in the image is always the same, so that an image has one result; in training it
    is drawn afresh, unless the whole encoder runs as at inference, as it does while its features are kept on disk. The
    summary is the mean of the middle block.

    Args:
        first_stage: {"name": "autoencoder" or "tiny", …options} (`first_stage`).
        denoiser: Options of `DenoisingUNet`.
        condition: Options of `Condition`; without one, the denoiser is told nothing of the image.
        timestep: Step whose noise the latent gets, counted from 0.
        taps: Blocks of the way up, counted from 0.
        schedule: Variance that the first and the last step add.
        steps: Number of steps of the noise schedule.
        samples: Noises that the features are the mean of.
        seed: Seed of the fixed noise.

    Raises:
        InputError: Blocks, steps or samples that there are not, or parts that do not fit each other.
    """

    noise: Tensor
    share: Tensor

    def __init__(
        self,
        *,
        first_stage: Mapping[str, Any] | None = None,
        denoiser: Mapping[str, Any] | None = None,
        condition: Mapping[str, Any] | None = None,
        timestep: int = 50,
        taps: Sequence[int] = (4, 7, 10),
        schedule: Sequence[float] = (0.0015, 0.0195),
        steps: int = 1000,
        samples: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.first_stage = build_first_stage(**({"name": "autoencoder"} if first_stage is None else dict(first_stage)))
        self.condition = None if condition is None else Condition(**condition)
        context = None if self.condition is None else self.condition.context
        given = {"channels": self.first_stage.channels, "context": context} | dict(denoiser or {})
        self.denoiser = DenoisingUNet(**given)
        if (given["channels"], given["context"]) != (self.first_stage.channels, context):
            raise InputError(
                f"The denoiser takes {given['channels']} channels and a context of {given['context']}; the first stage "
                f"gives {self.first_stage.channels} channels and the condition a context of {context}."
            )
        blocks = len(self.denoiser.output_blocks)
        if not taps or len(set(taps)) < len(taps) or not all(0 <= tap < blocks for tap in taps):
            raise InputError(f"The denoiser has blocks 0 to {blocks - 1} on its way up; asked were {list(taps)}.")
        if not 0 <= timestep < steps or samples < 1:
            raise InputError(
                f"The noise schedule has steps 0 to {steps - 1}, and a mean is of 1 noise or more; asked were step "
                f"{timestep} and {samples} noises."
            )
        # Fine to coarse, as every pyramid; of equal ones the later block first.
        self.taps = sorted(taps, key=lambda tap: -tap)
        self.timestep, self.samples = timestep, samples
        left = alphas_bar(steps, *schedule)[timestep]
        self.register_buffer("share", torch.stack([left, 1 - left]).sqrt().float(), persistent=False)
        side = -(-_NOISE_PX // self.first_stage.stride)
        drawn = torch.Generator().manual_seed(seed)
        fixed = torch.randn(samples, self.first_stage.channels, side, side, generator=drawn, device="cpu")
        self.register_buffer("noise", fixed.to(self.share.device), persistent=False)
        stride = self.first_stage.stride
        rates = [self.denoiser.tap_rates[tap] for tap in self.taps]
        self.info = EncoderInfo(
            tuple(self.denoiser.tap_widths[tap] for tap in self.taps),
            tuple(stride * rate for rate in rates),
            stride * self.denoiser.multiple,
            self.denoiser.middle_width,
        )

    def forward(self, image: Tensor) -> Features:
        """Maps fine to coarse, the coarsest also as tokens, and the summary.

        Raises:
            InputError: Height or width is not a multiple of `info.multiple`.
        """
        image = in_whole_steps(image, self.info.multiple)
        latent = self.first_stage.encode(image)
        context = None if self.condition is None else self.condition(image)
        step = torch.full((image.shape[0],), self.timestep, device=image.device)
        found: list[list[Tensor]] = []
        for number in range(self.samples):
            noised = self.share[0] * latent + self.share[1] * self._noise(latent, number)
            maps, middle = self.denoiser.features(noised, step, context, self.taps)
            found.append([*maps, middle.mean((2, 3))])
        *maps, summary = [
            torch.stack(parts).mean(0) if self.samples > 1 else parts[0] for parts in zip(*found, strict=True)
        ]
        return Features(tuple(maps), maps[-1], summary)

    def _noise(self, latent: Tensor, number: int) -> Tensor:
        if self.training:
            return torch.randn_like(latent)
        side = self.noise.shape[-1]
        rows, columns = (torch.arange(latent.shape[axis], device=latent.device) % side for axis in (2, 3))
        return self.noise[number : number + 1].index_select(2, rows).index_select(3, columns).to(latent.dtype)
