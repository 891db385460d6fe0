"""HoVer-Net's network: sizes, borders, and what its parts do in other company."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import Taxonomy
from histocyte.core.tiles import tile_spans
from histocyte.decoders.hover_branches import HoverBranches
from histocyte.encoders.networks import hovernet as hovernet_encoder
from histocyte.encoders.networks.hovernet import HoverNetEncoder, mirror
from histocyte.encoders.protocol import EncoderInfo, Features
from histocyte.model.build import build_segmenter
from histocyte.model.onnx.export import export_onnx
from histocyte.model.segmenter import activate
from histocyte.model.spec import Part
from histocyte.recipes.hovernet import hovernet
from histocyte.recipes.registry import RECIPES

torch.set_num_threads(1)
SMALL = EncoderInfo((16, 24, 32, 40), (1, 2, 4, 8), 8)
NARROW = (8, 8, 8)


def pyramid(info: EncoderInfo, height: int, width: int) -> Features:
    generator = torch.Generator().manual_seed(0)
    return Features(
        tuple(
            torch.randn(2, w, height // s, width // s, generator=generator)
            for w, s in zip(info.widths, info.strides, strict=True)
        )
    )


@pytest.mark.parametrize(("mode", "taxonomy", "count"), [("fast", None, 37_639_626), ("original", CONSEP, 54_744_457)])
@pytest.mark.parametrize("compatible", [False, True])
def test_parameter_counts_are_those_of_the_published_code(
    mode: str, taxonomy: Taxonomy | None, count: int, compatible: bool
) -> None:
    options = {} if taxonomy is None else {"taxonomy": taxonomy}
    with torch.device("meta"):
        model = build_segmenter(RECIPES["hovernet"](mode, compatible=compatible, **options))
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize("mode", ["fast", "original"])
@pytest.mark.parametrize("compatible", [False, True])
def test_maps_have_the_images_size(mode: Literal["fast", "original"], compatible: bool) -> None:
    with torch.device("meta"):
        model = build_segmenter(hovernet(mode, taxonomy=CONSEP, compatible=compatible))
        assert model(torch.empty(1, 3, 64, 40)).shape == (1, 2 + 2 + 5, 64, 40)
        model = build_segmenter(hovernet(mode, taxonomy=Taxonomy("none", ()), compatible=compatible))
        assert model(torch.empty(1, 3, 40, 64)).shape == (1, 2 + 2, 40, 64)


@pytest.mark.parametrize(("kernel", "border"), [(3, 46), (5, 92)])
def test_padding_changes_nothing_away_from_the_border(kernel: int, border: int) -> None:
    features = pyramid(SMALL, 256, 216)
    torch.manual_seed(0)
    padded = HoverBranches(SMALL, branches=2, kernel=kernel, widths=NARROW).eval()
    unpadded = HoverBranches(SMALL, branches=2, kernel=kernel, widths=NARROW, padding="valid").eval()
    unpadded.load_state_dict(padded.state_dict())
    with torch.inference_mode():
        whole, middle = padded.climb(features.pyramid), unpadded.climb(features.pyramid)
    assert whole.shape == (2, 16, 256, 216)
    assert middle.shape == (2, 16, 256 - 2 * border, 216 - 2 * border)
    # The last convolution is padded in either mode.
    last = kernel // 2
    inner = whole[..., border + last : -border - last, border + last : -border - last]
    assert torch.allclose(inner, middle[..., last:-last, last:-last], atol=1e-5)
    assert not torch.allclose(whole[..., border:-border, border:-border], middle, atol=1e-3)


def test_the_border_is_mirrored_as_torch_does_it() -> None:
    image = torch.arange(2 * 3 * 7 * 9.0).view(2, 3, 7, 9)
    reflected = torch.nn.functional.pad(image, (6, 6, 6, 6), mode="reflect")
    assert torch.equal(mirror(image, 6), reflected)
    # Wider than the image, where torch gives up.
    rows = [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert torch.equal(mirror(image[..., :4, :1], 5)[..., 3], image[..., rows, 0])


def test_a_mirrored_border_is_what_the_encoder_sees() -> None:
    torch.manual_seed(0)
    encoder = HoverNetEncoder(mirror_px=95, pad_stem=False).eval()
    del encoder.stages[1:]
    image = torch.rand(1, 3, 16, 24)
    with torch.inference_mode():
        seen = encoder(image).pyramid
        given = encoder.pyramid(mirror(image, 95))
    assert seen[0].shape == (1, 256, 16 + 184, 24 + 184)
    assert torch.equal(seen[0], given[0])


@pytest.mark.parametrize("strides", [(4, 8, 16, 32), (2, 4, 8, 16, 32), (4, 8)])
def test_branches_go_behind_any_pyramid(strides: tuple[int, ...]) -> None:
    info = EncoderInfo(tuple(8 * (i + 2) for i in range(len(strides))), strides, strides[-1])
    decoder = HoverBranches(info, branches=2)
    decoded = decoder(pyramid(info, 64, 96), torch.empty(2, 3, 64, 96))
    assert decoded.shape == (2, 128, 64 // strides[0], 96 // strides[0])
    decoded.square().mean().backward()
    assert all(p.grad is not None for p in decoder.parameters())


def test_branches_go_behind_a_timm_resnet() -> None:
    options = {"name": "resnet18", "depths": [0, 1, 2, 3]}
    spec = hovernet(taxonomy=CONSEP).with_changes(encoder=Part(name="timm_pyramid", options=options), multiple=16)
    assert build_segmenter(spec).eval()(torch.zeros(1, 3, 64, 32)).shape == (1, 2 + 2 + 5, 64, 32)


@pytest.mark.parametrize(("mode", "taken"), [("fast", 46), ("original", 95)])
def test_tiles_overlap_by_what_unpadded_convolutions_take_off(mode: Literal["fast", "original"], taken: int) -> None:
    spec = hovernet(mode, compatible=True)
    assert taken <= spec.margin_px < taken + 8
    spans = tile_spans(2000, tile_px=spec.tile_px, margin_px=spec.margin_px, multiple=spec.multiple)
    assert [s.core_start for s in spans[1:]] == [s.core_stop for s in spans[:-1]]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's exporter warns about itself
def test_an_exported_hovernet_takes_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(hovernet_encoder, "_STAGES", ((1, 2), (1, 4), (1, 8), (1, 16)))  # the same with fewer weights
    spec = hovernet("original", taxonomy=CONSEP, compatible=True).with_changes(tile_px=256)
    options = {**spec.decoder.options, "units": [2, 1, 0], "widths": [8, 8, 8]}
    spec = spec.with_changes(decoder=Part(name="hover_branches", options=options))
    model = build_segmenter(spec).eval()
    export_onnx(spec, model, tmp_path / "hovernet.onnx")
    session = runtime.InferenceSession(str(tmp_path / "hovernet.onnx"), providers=["CPUExecutionProvider"])
    for shape in ((1, 96, 48, 3), (2, 8, 16, 3)):  # the second is smaller than the border
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        with torch.inference_mode():
            maps = activate(model(torch.from_numpy(images).permute(0, 3, 1, 2).float()), model.specs).numpy()
        exported = session.run(None, {"images": images})[0]
        assert exported.shape == maps.shape
        # Weights are stored as float16.
        assert np.abs(exported - maps).max() < 1e-2


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(UnknownNameError, match="fast, original"):
        hovernet("slow")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="multiple of 8, e.g. 64 × 72"):
        HoverNetEncoder()(torch.zeros(1, 3, 64, 70))
    with pytest.raises(InputError, match="multiple of 4 plus 3"):
        HoverNetEncoder(mirror_px=96, pad_stem=False)
    with pytest.raises(InputError, match="strides double.*'unetr'"):
        HoverBranches(EncoderInfo((8,) * 4, (16,) * 4, 16))
    with pytest.raises(InputError, match="3 widths and units"):
        HoverBranches(SMALL, widths=[64])
    with pytest.raises(InputError, match="leave 20 × 28 of 112 × 120 px"):
        HoverBranches(SMALL, padding="valid")(pyramid(SMALL, 112, 120), torch.empty(2, 3, 112, 120))
