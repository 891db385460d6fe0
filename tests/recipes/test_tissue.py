from __future__ import annotations

import pytest
import torch

from histocyte.core.errors import InputError
from histocyte.core.taxonomy import NO_CLASSES
from histocyte.core.tissues import BCSS
from histocyte.decoders.fcn8 import FCN8
from histocyte.encoders.protocol import EncoderInfo
from histocyte.model.build import build_representation, build_segmenter, count_parameters
from histocyte.recipes.registry import RECIPES

torch.set_num_threads(1)
NAMES = ("tissue_dpt", "tissue_fcn", "tissue_fcn8", "tissue_unet")


@pytest.mark.parametrize("name", NAMES)
def test_a_map_of_classes_at_the_images_size(name: str) -> None:
    spec = RECIPES[name](taxonomy=BCSS)
    assert spec.of_tissue
    with torch.device("meta"):
        model = build_segmenter(spec)
    assert model(torch.empty(1, 3, 96, 64, device="meta")).shape == (1, 6, 96, 64)


@pytest.mark.parametrize("encoder", ["convnext-b-22k", "uni", "dinov2-s", "resnet18"])
@pytest.mark.parametrize("name", ["tissue_dpt", "tissue_fcn", "tissue_unet"])
def test_over_any_encoder(name: str, encoder: str) -> None:
    with torch.device("meta"):
        model = build_segmenter(RECIPES[name](encoder))
    assert model(torch.empty(1, 3, 64, 96, device="meta")).shape == (1, 2, 64, 96)


def test_vgg16_is_whole_and_its_fully_connected_layers_are_convolutions() -> None:
    counts = count_parameters(RECIPES["tissue_fcn8"]())
    convolutions = 14_714_688
    assert counts["encoder"] == convolutions
    assert counts["all"] - counts["encoder"] == pytest.approx(512 * 49 * 4096 + 4096 * 4096, rel=0.01)


def test_smaller_regions_than_asked_for_are_none() -> None:
    representation = build_representation(RECIPES["tissue_fcn"](mpp=0.5, min_area_um2=100).representation)
    assert representation.min_area_px == 400


def test_what_is_refused() -> None:
    for name in NAMES:
        with pytest.raises(InputError, match="at least one class"):
            RECIPES[name](taxonomy=NO_CLASSES)
    with pytest.raises(InputError, match="3 to 5 levels"):
        RECIPES["tissue_unet"](levels=6)
    with pytest.raises(InputError, match="three levels"):
        FCN8(EncoderInfo((8, 8), (8, 16), 16))
