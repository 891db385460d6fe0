"""Recipes take encoders by their cards' names, and images are normalised as the encoder's weights want them."""

from __future__ import annotations

import inspect

import pytest
import torch

from histocyte.core.errors import InputError
from histocyte.encoders.catalog.card import IMAGENET
from histocyte.encoders.catalog.find import CARDS
from histocyte.model.build import build_segmenter
from histocyte.recipes.encoder import normalisation
from histocyte.recipes.registry import RECIPES, way_to_adapt

torch.set_num_threads(1)

_VITS = ("cellvit", "cellvit_cppnet", "cellvit_stardist", "frozen_encoder", "lightweight_teacher")
_DIFFUSION = ("pathsegdiff",)
_TAKING = [
    name for name in RECIPES if "encoder" in inspect.signature(RECIPES[name]).parameters and name not in _DIFFUSION
]
_NONE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize("recipe", _TAKING)
def test_a_recipe_takes_the_names_of_cards_and_their_normalisation(recipe: str) -> None:
    for name in ("uni2-h", "vit-ti-22k") if recipe in _VITS else ("mobilevitv2-100", "resnet18"):
        card, spec = CARDS[name], RECIPES[recipe](encoder=name)
        assert (spec.mean, spec.std) == (card.mean, card.std), name
        assert spec.encoder.name == card.part
        assert spec.encoder.options["name"] == card.options["name"]
        assert RECIPES[recipe](encoder=name.upper()) == spec
    with torch.device("meta"):
        build_segmenter(spec)  # the lighter one
    plain = {"vit_tiny_patch16_dinov3": IMAGENET} if recipe in _VITS else {"mobilevitv2_050": _NONE}
    for name, expected in {**plain, "beitv2_base_patch16_224": IMAGENET}.items():
        if recipe not in ("cisca", "frozen_encoder"):  # which build their encoder at once
            spec = RECIPES[recipe](encoder=name)
            assert (spec.mean, spec.std) == expected


def test_what_weights_want_images_by_is_known_or_asked_of_timm() -> None:
    assert normalisation("vit_small_patch16_224") == _HALF
    assert normalisation("resnet50.tv_in1k") == IMAGENET
    assert normalisation("no_such_model") == IMAGENET
    given = RECIPES["lightweight_student"]("resnet18", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    assert (given.mean, given.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_the_lightweight_teachers_encoder_is_kept_with_its_own_taps_and_patch() -> None:
    paper = RECIPES["lightweight_teacher"]()
    assert paper.encoder.options["taps"] == [2, 15, 27, 39]
    assert paper.mean == CARDS["h-optimus-0"].mean
    assert way_to_adapt(paper) == "frozen"
    other = RECIPES["lightweight_teacher"]("vit-s-22k", taps=(1, 2, 3, 4))
    assert (other.multiple, other.tile_px, other.encoder.options["taps"]) == (16, 256, [1, 2, 3, 4])
    with pytest.raises(InputError, match="'resnet18' is a pyramid"):
        RECIPES["lightweight_teacher"]("resnet18")
