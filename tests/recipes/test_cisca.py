"""CISCA's network over any encoder, and the study of frozen encoders that is built from it."""

from __future__ import annotations

import pytest
import torch

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import Taxonomy
from histocyte.encoders.catalog.find import CARDS
from histocyte.model.build import build_representation, build_segmenter
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.cisca import cisca
from histocyte.recipes.frozen_encoder import frozen_encoder, tapped_blocks
from histocyte.recipes.registry import RECIPES
from histocyte.representations.distance.scheme import Distance
from histocyte.runs.train.defaults import first_spec

torch.set_num_threads(1)
NONE = Taxonomy("none", ())


def test_they_are_recipes() -> None:
    assert RECIPES["cisca"](taxonomy=NONE).recipe == "cisca"
    assert RECIPES["frozen_encoder"](taxonomy=CONSEP, mpp=0.5).recipe == "frozen_encoder"


@pytest.mark.parametrize("encoder", ["mobilenetv2", "convnext_atto", "vit-ti-22k", "dinov2-s"])
def test_a_network_learns_in_every_weight_that_it_uses(encoder: str) -> None:
    model = build_segmenter(frozen_encoder(encoder, taxonomy=CONSEP))
    model.encoder.requires_grad_(False).eval()
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    raw = model(image)
    assert raw.shape == (2, 3 + 4 + 5, 64, 64)
    raw.square().mean().backward()
    trained = {n: p.grad for n, p in model.named_parameters() if not n.startswith("encoder.")}
    assert {n for n, gradient in trained.items() if gradient is None} == set()


@pytest.mark.parametrize("encoder", ["swin2-b-22k", "sam2-t", "uni2-h", "hybrid-l-22k", "sam-b"])
def test_large_encoders_fit_the_same_decoder(encoder: str) -> None:
    spec = frozen_encoder(encoder)
    with torch.device("meta"):
        model = build_segmenter(spec)
    widths = [step[0][0].out_channels for step in model.decoder.steps]
    assert widths == [512, 256, 128, 64, 32][-len(widths) :]
    assert (model.decoder.width, model.decoder.stride) == (32, 1)
    assert (spec.mean, spec.std) == (CARDS[encoder].mean, CARDS[encoder].std)
    assert spec.multiple % 16 == 0
    assert all(spec.multiple % stride == 0 for stride in CARDS[encoder].facts.strides if stride != 14)


def test_cisca_without_an_encoder_is_a_u_net_of_its_own() -> None:
    spec = cisca()
    assert (spec.name, spec.encoder.name, spec.multiple) == ("cisca", "plain", 16)
    assert first_spec("cisca").encoder == spec.encoder
    with torch.device("meta"):
        model = build_segmenter(spec)
    assert model.encoder.info.widths == (64, 128, 256, 512, 1024)
    convolutions = [[m for m in step.modules() if isinstance(m, torch.nn.Conv2d)] for step in model.decoder.steps]
    assert [[(c.in_channels, c.out_channels) for c in step] for step in convolutions] == [
        [(1024 + 512, 512), (512, 512)],
        [(512 + 256, 256), (256, 256)],
        [(256 + 128, 128), (128, 128)],
        [(128 + 64, 64), (64, 64)],
    ]
    assert (model.decoder.stride, model.decoder.image) == (1, None)


def test_ciscas_own_u_net_learns_in_every_weight() -> None:
    small = cisca(taxonomy=CONSEP).with_changes(
        encoder=Part(name="plain", options={"width": 4}),
        decoder=Part(name="unet", options={"widths": [32, 16, 8, 4], "depths": [2] * 4}),
    )
    model = build_segmenter(small)
    raw = model(torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(0)) * 255)
    assert raw.shape == (2, 3 + 4 + 5, 32, 64)
    raw.square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_cisca_over_an_encoder() -> None:
    spec = cisca("efficientnetv2-s")
    assert first_spec("cisca", "efficientnetv2-s").encoder == spec.encoder
    with torch.device("meta"):
        model = build_segmenter(spec)
    assert len(model.decoder.steps) == 5


@pytest.mark.parametrize("encoder", [None, "efficientnetv2-s"])
def test_cisca_without_classes_and_as_published(encoder: str | None) -> None:
    spec = cisca(encoder, taxonomy=NONE, mpp=0.5, compatible=True)
    assert ModelSpec.parse(spec.model_dump_json(), where="here") == spec
    assert build_representation(spec.representation) == Distance.at(0.5, contour="full", compat=True)
    assert build_representation(cisca(encoder).representation) == Distance(len(CONSEP))
    with torch.device("meta"):
        model = build_segmenter(spec)
    assert [m.name for m in model.specs] == ["semantic", "distance"]


@pytest.mark.parametrize(
    ("preset", "depth", "blocks"),
    [
        ("deep", 12, (3, 6, 9, 12)),
        ("shallow", 12, (2, 4, 6, 8)),
        ("mixed", 12, (2, 3, 6, 12)),
        ("deep", 24, (6, 12, 18, 24)),
        ("shallow", 24, (3, 6, 9, 12)),
        ("mixed", 24, (3, 6, 12, 24)),
        ("mixed", 32, (4, 8, 16, 32)),
        ("shallow", 40, (5, 10, 15, 20)),
    ],
)
def test_taps_by_depth(preset: str, depth: int, blocks: tuple[int, ...]) -> None:
    assert tapped_blocks(preset, depth) == blocks


def test_taps_by_choice() -> None:
    assert frozen_encoder("uni", taps="mixed").encoder.options["taps"] == [3, 6, 12, 24]
    assert frozen_encoder("vit-ti-22k", taps=(1, 5, 9)).encoder.options["taps"] == [1, 5, 9]
    assert frozen_encoder("h-optimus-0").encoder.options["taps"] == [2, 15, 27, 39]
    with torch.device("meta"):
        assert build_segmenter(frozen_encoder("vit-ti-22k", taps=(1, 5, 12))).decoder.stride == 1
    with pytest.raises(InputError, match="is a pyramid"):
        frozen_encoder("resnet18", taps="deep")
    with pytest.raises(UnknownNameError, match="choice of taps"):
        frozen_encoder("uni", taps="deepest")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="8 blocks or more"):
        tapped_blocks("deep", 6)
