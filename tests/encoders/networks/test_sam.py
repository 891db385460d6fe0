from __future__ import annotations

import pytest
import torch

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.encoders.networks.sam import SamEncoder
from histocyte.encoders.protocol import Encoder

torch.set_num_threads(1)


def empty(**options: object) -> SamEncoder:
    with torch.device("meta"):
        return SamEncoder(**options).eval()


def with_positions(encoder: SamEncoder) -> torch.Tensor:
    """Give it positions to look at, all else being without data."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(encoder.body.pos_embed.shape, generator=generator)
    encoder.body.pos_embed = torch.nn.Parameter(values, requires_grad=False)
    return values


def test_it_is_what_its_info_says() -> None:
    encoder = empty(taps=(12, 3))
    assert isinstance(encoder, Encoder)
    assert encoder.taps == (3, 12)
    features = encoder(torch.empty(2, 3, 64, 48, device="meta"))
    assert [tuple(tap.shape) for tap in features.pyramid] == [(2, 768, 4, 3)] * 2
    assert features.tokens is features.pyramid[-1]
    assert features.cls is not None
    assert features.cls.shape == (2, encoder.info.summary_width) == (2, 256)


def test_crop_takes_the_top_left_positions_and_resample_all_of_them() -> None:
    tokens = torch.empty(1, 5, 7, 768)
    cropping, resampling = empty(position_resampling="crop"), empty()
    stored = with_positions(cropping)
    assert torch.equal(cropping._positions(tokens), stored[:, :5, :7])
    stored = with_positions(resampling)
    found = resampling._positions(tokens)
    assert found.shape == (1, 5, 7, 768)
    assert torch.allclose(found.mean((1, 2)), stored.mean((1, 2)), atol=0.05)
    whole = torch.empty(1, 64, 64, 768)
    assert torch.equal(resampling._positions(whole), stored)


def test_there_is_nothing_to_crop_beyond_1024_px() -> None:
    tokens = torch.empty(1, 65, 64, 768)
    cropping, resampling = empty(position_resampling="crop"), empty()
    with_positions(cropping)
    with_positions(resampling)
    with pytest.raises(InputError, match="cropped from 1024 × 1024 px, and the image has 1040 × 1024"):
        cropping._positions(tokens)
    assert resampling._positions(tokens).shape == tokens.shape


def test_what_it_is_not_is_said() -> None:
    with pytest.raises(InputError, match="not an encoder of Segment Anything"):
        SamEncoder("resnet18")
    with pytest.raises(UnknownNameError, match="samvit_giant"):
        SamEncoder("samvit_giant")
    with pytest.raises(InputError, match="'resample' or 'crop'"):
        empty(position_resampling="stretch")
    with pytest.raises(InputError, match="blocks 1–12"):
        empty(taps=(13,))
    with pytest.raises(InputError, match="make both sides a multiple of 16"):
        empty()(torch.empty(1, 3, 60, 64, device="meta"))
