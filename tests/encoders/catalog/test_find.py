from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.encoders.catalog.find import CARDS, find_card
from histocyte.encoders.catalog.measure import activations_mb, build_empty, facts_of
from histocyte.encoders.registry import ENCODERS

torch.set_num_threads(1)

PUBLISHED = {
    # As counted on the architectures that the weights' pages give; H-optimus' and GigaPath's pages state the sum.
    "uni": 303_350_784,
    "uni2-h": 681_394_176,
    "virchow2": 631_239_424,
    "gigapath": 1_134_953_984,
    "h-optimus-0": 1_134_774_272,
}
ROUNDED = {
    # Millions, as published.
    "vit256": 21.7,
    "sam-b": 89.7,
    "sam-l": 308.3,
    "sam-h": 637.0,
    "virchow": 631.2,
    "h0-mini": 85.7,
    "hibou-b": 85.7,
    "hibou-l": 303.7,
    "phikon": 85.8,
    "phikon-v2": 303.4,
    "dinov2-s": 22.1,
    "dinov2-b": 86.6,
    "dinov2-l": 304.4,
    "dinov2-g": 1136.5,
    "vit-b-22k": 85.8,
    "hybrid-b-22k": 97.9,
    "hybrid-l-22k": 328.0,
    "convnext-b-22k": 87.6,
    "swin2-b-22k": 86.9,
    "mobilevitv2-150": 9.8,
    "resnet50": 23.5,
}
PREFIX = {"uni": 1, "uni2-h": 9, "virchow": 1, "virchow2": 5, "gigapath": 1, "h-optimus-0": 5, "h0-mini": 5, "sam-b": 0}


@pytest.mark.parametrize("name", [*PUBLISHED, "vit256", "resnet18", "sam2-t", "dinov3-s", "swin2-b-22k"])
def test_the_network_has_what_the_card_says(name: str) -> None:
    card = CARDS[name]
    encoder = build_empty(card.part, card.options)
    count = sum(p.numel() for p in encoder.parameters())
    assert count == card.facts.parameters == PUBLISHED.get(name, count)
    assert (encoder.info.widths, encoder.info.strides) == (card.facts.widths, card.facts.strides)
    assert encoder.state_dict().keys()
    assert all(p.is_meta for p in encoder.parameters())


@pytest.mark.parametrize("name", ["vit256", "mobilenetv2"])
def test_facts_are_what_measuring_gives(name: str) -> None:
    card = CARDS[name]
    assert facts_of(build_empty(card.part, card.options)) == card.facts


def test_sizes_are_the_published_ones() -> None:
    assert {name: round(CARDS[name].facts.parameters / 1e6, 1) for name in ROUNDED} == ROUNDED
    assert {name: CARDS[name].facts.prefix_tokens for name in PREFIX} == PREFIX


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_whole(name: str) -> None:
    card = CARDS[name]
    assert card.name == name == name.lower()
    assert card.title
    assert card.paper
    assert card.licence
    assert card.taps_from
    assert bool(card.hub) != bool(card.page)
    assert card.part in ENCODERS
    assert card.facts.parameters > 1e6
    assert card.facts.memory_mb > 4 * card.facts.parameters / 1e6
    if card.part in ("timm_pyramid", "diffusion"):
        assert all(b == 2 * a for a, b in zip(card.facts.strides, card.facts.strides[1:], strict=False))
    else:
        assert list(card.facts.taps) == card.options["taps"]
        assert card.facts.depth is not None
        assert card.facts.taps[-1] <= card.facts.depth
    assert card.options.get("fit", False) == (card.facts.patch_px == 14)
    assert all(0 <= m <= 1 for m in card.mean)
    assert card.commercial == "no" or "NC" not in card.licence


def test_memory_is_weights_and_the_most_that_lives_at_once() -> None:
    class Plain(torch.nn.Module):
        info = dataclasses.make_dataclass("Info", ["multiple"])(1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            first = image.repeat(1, 2, 1, 1)
            second = first + 1
            del first
            return second * 2

    # The image (3 channels) and two tensors of 6 channels, 4 bytes each, of 1024² px.
    assert activations_mb(Plain(), 1024) == round((3 + 6 + 6) * 4 * 1024**2 / 1e6)


def test_the_catalog_needs_no_torch() -> None:
    program = (
        "import sys; from histocyte.encoders.catalog.find import CARDS; assert len(CARDS) > 40; "
        "assert not {'torch', 'timm', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_cards_are_found_by_name_and_by_repository() -> None:
    assert find_card("UNI2-h") is CARDS["uni2-h"]
    assert find_card("hf-hub:mahmoodlab/uni2-h") is CARDS["uni2-h"]
    assert find_card("timm/resnet18.tv_in1k") is CARDS["resnet18"]
    with pytest.raises(UnknownNameError, match="Did you mean 'uni2-h'.*owner/name"):
        find_card("uni2_h")


def test_any_other_of_timms_becomes_a_card() -> None:
    card = find_card("vit_tiny_patch16_384.augreg_in21k_ft_in1k")
    assert card.hub == "timm/vit_tiny_patch16_384.augreg_in21k_ft_in1k"
    assert (card.part, card.options["name"]) == ("timm_vit", "vit_tiny_patch16_384")
    assert (card.licence, card.commercial) == ("apache-2.0", "yes")
    assert card.native_px == 384
    assert card.facts.taps == (3, 6, 9, 12)
    pyramid = find_card("resnet10t")
    assert (pyramid.part, pyramid.facts.strides) == ("timm_pyramid", (2, 4, 8, 16, 32))
    with pytest.raises(InputError, match="No encoder called 'resnet19'"):
        find_card("resnet19")
