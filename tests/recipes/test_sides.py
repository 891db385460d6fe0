"""Every recipe's network takes an image of every size that its spec allows, and gives maps of that size."""

from __future__ import annotations

import pytest
import torch

from histocyte.core.errors import InputError
from histocyte.model.build import build_segmenter
from histocyte.model.spec import ModelSpec
from histocyte.recipes.fitting import fitting_crop_px
from histocyte.recipes.plans import PLANS
from histocyte.recipes.registry import RECIPES
from histocyte.runs.train.defaults import OUR_CROPS, first_spec, with_fitting_sides

torch.set_num_threads(1)

# Any network is quick on tensors without data, so each is tried as it is, a giant too.
_SPECS = {name: RECIPES[name]() for name in RECIPES} | {
    "hover_small, four levels": RECIPES["hover_small"](levels=4),
    "hovernet, original and compatible": RECIPES["hovernet"]("original", compatible=True),
    "cppnet": RECIPES["stardist"]("resnet18", refined=True),
    "cellpose, five levels": RECIPES["cellpose"](levels=5),
    "cisca over a pyramid": RECIPES["cisca"]("mobilenetv2"),
    "cisca over patches of 14 px": RECIPES["cisca"]("dinov2-s"),
    "cellvit over SAM": RECIPES["cellvit"]("sam-b"),
    "student over a ResNet": RECIPES["lightweight_student"]("resnet18"),
}


@pytest.mark.parametrize("name", _SPECS)
def test_every_side_that_is_a_multiple_is_taken(name: str) -> None:
    spec: ModelSpec = _SPECS[name]
    with torch.device("meta"):
        network = build_segmenter(spec).eval()
    channels = sum(each.channels for each in network.specs)
    # From some 112 px, of which a published HoVer-Net mirrors 95 at each border; an odd and an even multiple.
    least = -(-112 // spec.multiple) | 1
    height, width = least * spec.multiple, (least + 1) * spec.multiple
    with torch.inference_mode():
        assert network(torch.empty(1, 3, height, width, device="meta")).shape == (1, channels, height, width)
    for crops in (OUR_CROPS, *(plan.crops for plan in PLANS.get(spec.recipe, {}).values())):
        side = fitting_crop_px(crops.crop_px, spec)
        assert side % spec.multiple == 0
        assert side >= 0.8 * crops.crop_px


@pytest.mark.parametrize("recipe", ["hover_unet", "lightweight_student"])
def test_an_encoder_that_joins_cells_gets_the_sides_it_needs(recipe: str) -> None:
    """MobileViTv2 joins the cells of a level two by two: of stride 16 in the one recipe, of 32 in the other."""
    spec = first_spec(recipe, "mobilevitv2_050").with_changes(multiple=16)
    assert with_fitting_sides(spec).multiple == {"hover_unet": 32, "lightweight_student": 64}[recipe]


@pytest.mark.parametrize("encoder", ["test_coatnet", "maxxvit_rmlp_nano_rw_256"])
def test_an_encoder_for_images_of_one_size_is_refused(encoder: str) -> None:
    with pytest.raises(InputError, match=f"'{encoder}' does not take images of every size"):
        with_fitting_sides(first_spec("hover_unet", encoder))
