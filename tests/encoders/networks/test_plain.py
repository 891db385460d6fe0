from __future__ import annotations

import pytest
import torch

from histocyte.core.errors import InputError
from histocyte.encoders.networks.plain import PlainEncoder
from histocyte.encoders.protocol import Encoder
from histocyte.encoders.registry import ENCODERS

torch.set_num_threads(1)


def test_maps_are_what_its_info_says_and_no_weight_is_idle() -> None:
    encoder = ENCODERS["plain"](width=8, depth=3)
    assert isinstance(encoder, Encoder)
    maps = encoder(torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))).pyramid
    assert [tuple(m.shape[1:]) for m in maps] == [(8, 32, 48), (16, 16, 24), (32, 8, 12), (64, 4, 6)]
    assert (encoder.info.widths, encoder.info.strides, encoder.info.multiple) == ((8, 16, 32, 64), (1, 2, 4, 8), 8)
    sum(m.square().sum() for m in maps).backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


def test_by_default_it_is_the_u_nets_of_four_halvings_from_64_channels() -> None:
    with torch.device("meta"):
        encoder = PlainEncoder()
    assert encoder.info.widths == (64, 128, 256, 512, 1024)
    steps = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1024)]
    expected = sum(9 * a * b + 9 * b * b + 2 * 2 * b for a, b in steps)  # two convolutions and two norms of two each
    assert sum(p.numel() for p in encoder.parameters()) == expected == 18_847_168


def test_the_largest_of_four_pixels_goes_on() -> None:
    encoder = PlainEncoder(width=1, depth=1, convolutions=1).eval()
    for stage, weight in zip(encoder.stages, (torch.zeros(1, 3, 3, 3), torch.zeros(2, 1, 3, 3)), strict=True):
        weight[:, 0, 1, 1] = 1.0
        stage[0].weight.data = weight
    image = torch.zeros(1, 3, 4, 4)
    image[0, 0] = torch.arange(16.0).view(4, 4)
    fine, coarse = encoder(image).pyramid
    assert fine[0, 0].flatten().tolist() == pytest.approx(range(16), rel=1e-4)
    assert coarse[0, 1].flatten().tolist() == pytest.approx([5, 7, 13, 15], rel=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="steps of 4 px"):
        PlainEncoder(width=4, depth=2)(torch.zeros(1, 3, 8, 10))
    with pytest.raises(InputError, match="depth 0"):
        PlainEncoder(depth=0)
