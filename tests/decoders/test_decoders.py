"""Every decoder over every kind of encoder it takes: shapes, gradients, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from histocyte.core.errors import InputError
from histocyte.core.maps import MapSpec
from histocyte.decoders.fpn import FPN
from histocyte.decoders.heads import PixelShuffleHeads, PointwiseHeads
from histocyte.decoders.unet import UNet
from histocyte.decoders.unetr import UNETR
from histocyte.encoders.protocol import EncoderInfo, Features

torch.set_num_threads(1)
SPECS = (MapSpec("nucleus", 2, "softmax"), MapSpec("hover", 2), MapSpec("types", 6, "softmax"))
VIT = EncoderInfo((32,) * 4, (16,) * 4, 16)


def taps(info: EncoderInfo, height: int, width: int) -> Features:
    stride = info.strides[0]
    return Features(tuple(torch.randn(2, w, height // stride, width // stride) for w in info.widths))


def test_unetr_brings_tokens_to_the_images_size() -> None:
    decoder = UNETR(VIT, branches=3)
    decoded = decoder(taps(VIT, 48, 32), torch.randn(2, 3, 48, 32))
    assert decoded.shape == (2, 3 * 64, 48, 32)
    assert (decoder.width, decoder.stride) == (192, 1)


@pytest.mark.parametrize("embedding", [384, 1280])
def test_unetr_has_cellvits_sizes(embedding: int) -> None:
    # Counts by the tables of the paper's code: skips, and each branch without its last 1 × 1 convolution.
    skips, branch = {384: (4_689_824, 6_795_632), 1280: (17_477_248, 15_077_440)}[embedding]
    with torch.device("meta"):
        decoder = UNETR(EncoderInfo((embedding,) * 4, (16,) * 4, 16), branches=2)
    assert sum(p.numel() for p in decoder.skips.parameters()) == skips
    assert sum(p.numel() for p in decoder.branches.parameters()) == 2 * branch


def test_unetr_takes_other_widths() -> None:
    info = EncoderInfo((32,) * 4, (16,) * 4, 16)
    assert UNETR(info, branches=2, widths=(8, 6, 10))(taps(info, 48, 32), torch.randn(2, 3, 48, 32)).shape[1] == 128
    with torch.device("meta"):
        usual, same = (UNETR(info, widths=widths) for widths in (None, (256, 128, 312)))
        wide = UNETR(EncoderInfo((1536,) * 4, (16,) * 4, 16), widths=(256, 128, 312))
    assert [p.shape for p in usual.parameters()] == [p.shape for p in same.parameters()]
    assert wide.skips[1][0][0].weight.shape == (1536, 256, 2, 2)
    assert wide.branches[0].bottleneck.weight.shape == (1536, 312, 2, 2)
    with pytest.raises(InputError, match="three widths"):
        UNETR(info, widths=(8, 6))


def test_unetr_fits_other_patches_to_the_image() -> None:
    info = EncoderInfo((32,) * 4, (14,) * 4, 1)
    image = torch.randn(2, 3, 64, 60)
    decoded = UNETR(info)(taps(info, 64, 60), image)
    assert decoded.shape == (2, 64, 64, 60)


def test_unetr_learns_in_every_weight() -> None:
    decoder, heads = UNETR(VIT, branches=3), PointwiseHeads(192, 1, SPECS, own_branch=True)
    heads(decoder(taps(VIT, 32, 32), torch.randn(2, 3, 32, 32))).square().mean().backward()
    parameters = {**dict(decoder.named_parameters()), **dict(heads.named_parameters())}
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in parameters.values())


def test_unetr_says_what_it_needs() -> None:
    for widths, strides in (((8, 8, 8), (16,) * 3), ((8, 16, 32, 64), (2, 4, 8, 16))):
        with pytest.raises(InputError, match="four taps of equal width and stride"):
            UNETR(EncoderInfo(widths, strides, 16))


def test_unet_climbs_to_the_finest_level() -> None:
    info = EncoderInfo((8, 12, 16), (2, 4, 8), 8)
    levels = zip(info.widths, info.strides, strict=True)
    features = Features(tuple(torch.randn(2, width, 48 // stride, 32 // stride) for width, stride in levels))
    decoder = UNet(info, widths=(10, 6), depths=(2, 1))
    assert decoder(features, torch.randn(2, 3, 48, 32)).shape == (2, 6, 24, 16)
    assert (decoder.width, decoder.stride) == (6, 2)
    with pytest.raises(InputError, match=r"needs 2 widths and depths, or 3 to end at .*, got 1 and 1"):
        UNet(info, widths=(10,), depths=(1,))


def test_unet_goes_on_to_the_image_with_one_more_width() -> None:
    info = EncoderInfo((8, 12), (2, 4), 4)
    features = Features((torch.randn(1, 8, 8, 8), torch.randn(1, 12, 4, 4)))
    decoder = UNet(info, widths=(10, 6), depths=(1, 1)).eval()
    image = torch.randn(1, 3, 16, 16)
    decoded = decoder(features, image)
    assert decoded.shape == (1, 6, 16, 16)
    assert (decoder.width, decoder.stride) == (6, 1)
    image[..., 8, 8] += 1
    assert not torch.equal(decoder(features, image), decoded)  # the pixels are looked at again
    with pytest.raises(InputError, match="needs 1 widths and depths, or 3"):
        UNet(EncoderInfo((8, 12), (4, 8), 8), widths=(10, 6), depths=(1, 1))


@pytest.mark.parametrize("heads", [PixelShuffleHeads, PointwiseHeads])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_heads_come_out_at_the_images_size(heads: type, stride: int) -> None:
    assert heads(8, stride, SPECS)(torch.randn(2, 8, 12, 16)).shape == (2, 10, 12 * stride, 16 * stride)


def test_own_branch_heads_read_their_own_part_only() -> None:
    heads = PointwiseHeads(12, 1, SPECS, own_branch=True)
    features = torch.randn(1, 12, 4, 4)
    changed = features.clone()
    changed[:, :4] += 1  # the first part
    same = (heads(features) == heads(changed)).flatten(2).all(-1)[0]
    assert same.tolist() == [False] * 2 + [True] * 8


def test_own_branch_heads_need_equal_parts() -> None:
    with pytest.raises(InputError, match="give the decoder 3 branches"):
        PointwiseHeads(64, 1, SPECS, own_branch=True)


PYRAMID = EncoderInfo((16, 24, 48, 120), (2, 4, 8, 16), 16)


def pyramid(height: int, width: int) -> Features:
    sizes = zip(PYRAMID.widths, PYRAMID.strides, strict=True)
    return Features(tuple(torch.randn(2, w, height // s, width // s) for w, s in sizes))


def test_a_feature_pyramid_ends_at_the_finest_level_and_sees_every_pixel() -> None:
    decoder = FPN(PYRAMID, widths=(32, 24, 16), depths=(1, 1, 1)).eval()
    image = torch.randn(2, 3, 48, 32, requires_grad=True)
    decoded = decoder(pyramid(48, 32), image)
    assert decoded.shape == (2, 16, 24, 16)
    assert (decoder.width, decoder.stride) == (16, 2)
    decoded.sum().backward()
    assert image.grad is not None
    assert (image.grad.abs().sum(1) > 0).float().mean() > 0.9
    assert PixelShuffleHeads(16, 2, SPECS)(decoded).shape == (2, 10, 48, 32)


def test_a_feature_pyramid_refuses_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="needs 3 widths and depths, got 2 and 3"):
        FPN(PYRAMID, widths=(32, 24), depths=(1, 1, 1))
    with pytest.raises(InputError, match="levels double in stride"):
        FPN(VIT)
