from __future__ import annotations

import pytest
import torch

from histocyte.core.errors import InputError
from histocyte.model.build import build_segmenter, count_parameters
from histocyte.recipes.pathsegdiff import pathsegdiff
from histocyte.recipes.plans import PLANS
from histocyte.recipes.registry import way_to_adapt

torch.set_num_threads(1)


def test_the_papers_network_is_frozen_but_for_a_light_head() -> None:
    spec = pathsegdiff()
    assert way_to_adapt(spec) == PLANS["pathsegdiff"]["published"].adapt == "frozen"
    counts = count_parameters(spec)
    assert counts["encoder"] > 400_920_579
    assert counts["all"] - counts["encoder"] < 700_000
    assert spec.multiple == 32
    with torch.device("meta"):
        model = build_segmenter(spec)
    # Strides 16, 8 and 4 of an image of 256 px are 16, 32 and 64 px of the 64 × 64 latent's blocks 4, 7 and 10.
    assert model.encoder.info.strides == (4, 8, 16)
    assert model.encoder.info.widths == (192, 384, 576)
    assert model(torch.empty(1, 3, 256, 256, device="meta")).shape == (1, 2, 256, 256)


def test_step_and_blocks_are_options() -> None:
    spec = pathsegdiff("pathldm", timestep=200, taps=(0, 5), samples=3)
    assert spec.encoder.options["timestep"] == 200
    assert spec.encoder.options["taps"] == [0, 5]
    assert spec.encoder.options["samples"] == 3


def test_only_a_diffusion_model_will_do() -> None:
    with pytest.raises(InputError, match="There are: ldm-brca, pathldm"):
        pathsegdiff("resnet18")
