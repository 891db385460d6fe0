"""Networks put together from a spec: any timm CNN behind U-Net, any timm ViT behind UNETR."""

from __future__ import annotations

import pytest
import torch

from histocyte.core.errors import ModelError, UnknownNameError
from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import Taxonomy
from histocyte.model.build import build_segmenter
from histocyte.model.segmenter import activate
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.cellvit import cellvit
from histocyte.recipes.hover_unet import hover_unet

torch.set_num_threads(1)
SMALL_VIT = "vit_tiny_patch16_224"


def image(side: int = 64) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 255


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenetv2_100", "efficientnet_b0"])
def test_any_timm_cnn_goes_through_the_unet(encoder: str) -> None:
    model = build_segmenter(hover_unet(encoder))
    raw = model(image())
    assert raw.shape == (2, 1 + 2 + 5, 64, 64)
    raw.square().mean().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("encoder", "patch"),
    [(SMALL_VIT, 16), ("deit3_small_patch16_224", 16), ("vit_small_patch14_reg4_dinov2", 14)],
)
def test_any_timm_vit_goes_through_unetr(encoder: str, patch: int, shared: bool) -> None:
    model = build_segmenter(cellvit(encoder, patch_px=patch, shared=shared, taxonomy=CONSEP)).eval()
    with torch.inference_mode():
        raw, tissue = model.forward_with_tissue(image())
        assert torch.equal(model(image()), raw)
        assert torch.equal(model.tissue_logits(image()), tissue)
    assert raw.shape == (2, 2 + 2 + 5, 64, 64)
    assert tissue.shape == (2, 19)
    maps = activate(raw, model.specs)
    assert torch.allclose(maps[:, :2].sum(1), torch.ones(2, 64, 64))
    assert torch.allclose(maps[:, 4:].sum(1), torch.ones(2, 64, 64))


def test_cellvit_learns_in_every_weight() -> None:
    model = build_segmenter(cellvit(SMALL_VIT))
    raw, tissue = model.forward_with_tissue(image(32))
    (raw.square().mean() + tissue.square().mean()).backward()
    assert {name for name, p in model.named_parameters() if p.grad is None} == set()


def test_cellvit_without_classes_and_tissues() -> None:
    model = build_segmenter(cellvit(SMALL_VIT, taxonomy=Taxonomy("none", ()), tissues=())).eval()
    assert model(image(32)).shape == (2, 4, 32, 32)
    with pytest.raises(ModelError, match="does not tell tissues apart"):
        model.tissue_logits(image(32))


def test_a_cnn_has_no_summary_to_tell_tissues_by() -> None:
    with pytest.raises(ModelError, match="cannot tell tissues apart"):
        build_segmenter(hover_unet().with_changes(tissues=("breast",)))


def test_faults_in_a_spec_are_said() -> None:
    spec = hover_unet()
    with pytest.raises(UnknownNameError, match="No decoder called 'unett'. Did you mean 'unet'"):
        build_segmenter(spec.with_changes(decoder=Part(name="unett")))
    with pytest.raises(UnknownNameError, match="No heads called 'pointy'"):
        build_segmenter(spec.with_changes(heads=Part(name="pointy")))
    with pytest.raises(ModelError, match="does not take the options"):
        build_segmenter(spec.with_changes(decoder=Part(name="unet", options={"depht": 3})))


def test_a_spec_travels_as_json() -> None:
    spec = cellvit(SMALL_VIT, taps=(2, 4, 8, 12))
    again = ModelSpec.parse(spec.model_dump_json(), where="here")
    assert again == spec
    assert build_segmenter(again).encoder.taps == (2, 4, 8, 12)
