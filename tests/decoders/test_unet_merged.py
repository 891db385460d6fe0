"""The U-Net with fewer operations gives the maps of the plain one."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from histocyte.decoders.levels import level_strides
from histocyte.decoders.unet import UNet
from histocyte.decoders.unet_merged import MergedUNet, spread_over_repeats
from histocyte.encoders.protocol import EncoderInfo, Features

torch.set_num_threads(1)
ENCODERS = {
    "stride 2 on": EncoderInfo((6, 8, 10), (2, 4, 8), 8),
    "stride 4 on": EncoderInfo((6, 8, 10, 12), (4, 8, 16, 32), 32),
    "stride 1 on": EncoderInfo((6, 8, 10), (1, 2, 4), 4),
    "tokens of 16": EncoderInfo((12,) * 4, (16,) * 4, 16),
    "tokens of 14": EncoderInfo((12,) * 4, (14,) * 4, 1),
}


def lived_in(network: nn.Module, seed: int = 0) -> None:
    """Batch norms as training leaves them, none the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight.data, 0.5, 2.0),
                (module.bias.data, -1.0, 1.0),
                (module.running_mean, -1.0, 1.0),
                (module.running_var, 0.3, 3.0),
            ):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    network.eval()


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 4)])
def test_a_convolution_of_repeated_pixels_is_a_transposed_one_of_the_pixels(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((2, 3, *size), generator=generator, dtype=torch.float64)
    weight = torch.randn((5, 3, 3, 3), generator=generator, dtype=torch.float64)
    plain = F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), weight, padding=1)
    merged = F.conv_transpose2d(x, spread_over_repeats(weight), stride=2, padding=1)
    assert torch.allclose(plain, merged, atol=1e-12)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_maps_are_those_of_the_plain_network(encoder: str, depth: int) -> None:
    torch.manual_seed(2)
    info = ENCODERS[encoder]
    strides = level_strides(info)
    steps = len(strides) - 1 + strides[0].bit_length() - 1
    unet = UNet(info, widths=(16, 12, 10, 8, 6)[-steps:], depths=(depth,) * steps)
    lived_in(unet)
    before = copy.deepcopy(unet.state_dict())
    merged = MergedUNet(unet).eval()
    given = Features(tuple(torch.randn(2, w, 64 // s, 96 // s) for w, s in zip(info.widths, info.strides, strict=True)))
    image = torch.randn((2, 3, 64, 96))
    with torch.no_grad():
        plain, fewer = unet(given, image), merged(given, image)
    assert plain.std() > 0.1
    assert torch.allclose(plain, fewer, atol=1e-5 * float(plain.abs().max()))
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())
    assert (merged.width, merged.stride) == (unet.width, unet.stride)
    # Only the step from patches of 14 px to the image does not repeat pixels.
    same = [step is plain for step, plain in zip(merged.steps, unet.steps, strict=True)]
    assert same == [encoder == "tokens of 14" and number == steps - 1 for number in range(steps)]
