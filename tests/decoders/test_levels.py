"""Decoders that take any encoder: DPT, FCN and the U-Net over pyramids and over a vision transformer's taps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.core.maps import MapSpec
from histocyte.decoders.dpt import DPT
from histocyte.decoders.fcn import FCN
from histocyte.decoders.levels import level_strides
from histocyte.decoders.residual_heads import ResidualHeads
from histocyte.decoders.unet import UNet
from histocyte.encoders.protocol import EncoderInfo, Features

torch.set_num_threads(1)
ENCODERS = {
    "stride 2 on": EncoderInfo((6, 8, 10), (2, 4, 8), 8),
    "stride 4 on": EncoderInfo((6, 8, 10, 12), (4, 8, 16, 32), 32),
    "stride 1 on": EncoderInfo((6, 8, 10), (1, 2, 4), 4),
    "tokens of 16": EncoderInfo((12,) * 4, (16,) * 4, 16),
    "tokens of 8": EncoderInfo((12,) * 3, (8,) * 3, 8),
    "tokens of 14": EncoderInfo((12,) * 4, (14,) * 4, 1),
    "one level": EncoderInfo((12,), (16,), 16),
}
SIDES = (64, 96)


def features(info: EncoderInfo, sides: tuple[int, int] = SIDES) -> Features:
    generator = torch.Generator().manual_seed(0)
    pairs = zip(info.widths, info.strides, strict=True)
    return Features(tuple(torch.randn(2, w, sides[0] // s, sides[1] // s, generator=generator) for w, s in pairs))


def picture(sides: tuple[int, int] = SIDES) -> Tensor:
    return torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(1))


def whole_unet(info: EncoderInfo) -> UNet:
    """A U-Net that ends at the image's resolution."""
    strides = level_strides(info)
    steps = len(strides) - 1 + strides[0].bit_length() - 1
    return UNet(info, widths=(16, 12, 10, 8, 6)[-steps:], depths=(1,) * steps)


DECODERS: dict[str, Callable[[EncoderInfo], nn.Module]] = {
    "dpt": partial(DPT, width=16, last=8),
    "fcn": partial(FCN, widths=(16, 12, 8)),
    "unet": whole_unet,
}


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_any_encoder_goes_through_and_every_weight_learns(decoder: str, encoder: str) -> None:
    info = ENCODERS[encoder]
    built = DECODERS[decoder](info)
    decoded = built(features(info), picture())
    expected = (2, built.width, SIDES[0] // built.stride, SIDES[1] // built.stride)
    assert decoded.shape == expected
    decoded.square().mean().backward()
    assert {n for n, p in built.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()} == set()


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_level_matters(decoder: str) -> None:
    info = ENCODERS["tokens of 16"]
    built = DECODERS[decoder](info).eval()
    given = features(info)
    decoded = built(given, picture())
    for level in range(4):
        changed = [tap + (number == level) for number, tap in enumerate(given.pyramid)]
        assert not torch.allclose(built(Features(tuple(changed)), picture()), decoded, atol=1e-6)


@pytest.mark.parametrize("decoder", ["dpt", "unet"])
def test_the_pixels_are_looked_at_again(decoder: str) -> None:
    info = ENCODERS["stride 4 on"]
    built = DECODERS[decoder](info).eval()
    image = picture()
    decoded = built(features(info), image)
    assert built.stride == 1
    image[..., 8, 8] += 1
    assert not torch.equal(built(features(info), image), decoded)


def test_dpt_may_end_before_the_image() -> None:
    for name, stride in (("tokens of 16", 2), ("stride 4 on", 2), ("stride 1 on", 1)):
        info = ENCODERS[name]
        built = DPT(info, width=16, last=8, to_image=False)
        assert built.stride == stride
        assert built(features(info), picture()).shape == (2, 8, SIDES[0] // stride, SIDES[1] // stride)
    with pytest.raises(InputError, match="to_image=True"):
        DPT(ENCODERS["tokens of 14"], to_image=False)


def test_fcn_stops_at_the_image() -> None:
    info = ENCODERS["stride 2 on"]
    built = FCN(info, widths=(16, 12, 8, 8))
    assert built.stride == 1
    assert built(features(info), picture()).shape == (2, 8, *SIDES)
    assert FCN(ENCODERS["tokens of 16"], widths=(16,)).stride == 16
    assert FCN(ENCODERS["tokens of 14"], widths=(16,))(features(ENCODERS["tokens of 14"]), picture()).shape[2:] == SIDES
    with pytest.raises(InputError, match="at least one width"):
        FCN(info, widths=())


def test_fcn_is_levels_side_by_side_under_one_convolution() -> None:
    info = ENCODERS["stride 2 on"]
    built, given = FCN(info, widths=(16,)).eval(), features(info)
    finest = given.pyramid[0]
    side_by_side = torch.cat(
        [
            torch.nn.functional.interpolate(part[0](tap), size=finest.shape[-2:], mode="bilinear")
            for part, tap in zip(built.levels, given.pyramid, strict=True)
        ],
        dim=1,
    )
    weights = torch.cat([part[1].weight for part in built.levels], dim=1)
    expected = built.joined(torch.nn.functional.conv2d(side_by_side, weights))
    assert torch.allclose(built(given, picture()), expected, atol=1e-5)


def test_a_unet_over_taps_says_how_far_it_may_climb() -> None:
    with pytest.raises(InputError, match="needs 3 widths and depths, or 4 to end at"):
        UNet(ENCODERS["tokens of 16"], widths=(8, 8), depths=(1, 1))
    with pytest.raises(InputError, match="give it 4 widths"):
        UNet(ENCODERS["tokens of 14"], widths=(8, 8, 8), depths=(1, 1, 1))
    assert UNet(ENCODERS["tokens of 16"], widths=(8, 8, 8), depths=(1, 1, 1)).stride == 2


def test_levels_that_no_pyramid_can_hold() -> None:
    with pytest.raises(InputError, match="strides that double"):
        DPT(EncoderInfo((8, 8), (4, 16), 16))
    with pytest.raises(InputError, match="tap fewer"):
        UNet(EncoderInfo((8,) * 6, (16,) * 6, 16))
    assert level_strides(ENCODERS["tokens of 14"]) == (2, 4, 8, 16)


def test_classes_have_features_of_their_own() -> None:
    specs = (MapSpec("semantic", 3, "softmax"), MapSpec("distance", 4), MapSpec("types", 5, "softmax"))
    heads = ResidualHeads(8, 2, specs, features=16, widths={"distance": 4})
    raw = heads(torch.randn(2, 8, 10, 12))
    assert raw.shape == (2, 12, 20, 24)
    raw[:, 7:].square().mean().backward(retain_graph=True)
    assert heads.cells[0].weight.grad.abs().max() == 0
    raw[:, :7].square().mean().backward()
    assert {n for n, p in heads.named_parameters() if p.grad is None} == set()
    assert heads.heads[1][-1].in_channels == 4
    only = ResidualHeads(8, 1, specs[2:], features=16)
    assert only(torch.randn(2, 8, 6, 6)).shape == (2, 5, 6, 6)
    assert all(p.requires_grad for p in only.parameters())


class _Network(nn.Module):
    """A decoder over an encoder that only resizes, so that the graph has an image as its input."""

    def __init__(self, info: EncoderInfo, decoder: nn.Module) -> None:
        super().__init__()
        self.info, self.decoder = info, decoder
        self.embeds = nn.ModuleList([nn.Conv2d(3, w, s, s) for w, s in zip(info.widths, info.strides, strict=True)])

    def forward(self, image: Tensor) -> Tensor:
        return self.decoder(Features(tuple(embed(image) for embed in self.embeds)), image)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's exporter warns about itself
@pytest.mark.parametrize(
    ("decoder", "encoder"), [("dpt", "tokens of 14"), ("fcn", "tokens of 16"), ("unet", "stride 4 on")]
)
def test_exported_decoders_take_any_size(decoder: str, encoder: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    info = ENCODERS[encoder]
    network = _Network(info, DECODERS[decoder](info)).eval()
    free = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    path = str(tmp_path / "decoder.onnx")
    torch.onnx.export(
        network, (picture(),), path, dynamic_shapes=(free,), dynamo=True, external_data=False, verbose=False
    )
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    image = picture((160, 32))[:1]
    with torch.inference_mode():
        expected = network(image).numpy()
    found = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-3
