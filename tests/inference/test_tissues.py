"""The head that tells which tissue an image is of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from histocyte.core.errors import InputError
from histocyte.core.instances import Instances
from histocyte.datasets.sample import Sample
from histocyte.evaluation.image_json import image_from_json, image_to_json
from histocyte.evaluation.protocol import evaluate
from histocyte.inference.load import Model
from histocyte.inference.tissues import tells_tissues, tissue_of
from histocyte.inference.torch_runtime import TorchRuntime
from histocyte.inference.views import ViewsRuntime
from histocyte.model.build import build_representation, build_segmenter
from histocyte.runs.train.defaults import first_spec

torch.set_num_threads(1)
TISSUES = ("breast", "bile duct", "colon")


@pytest.fixture(scope="module")
def model() -> Model:
    """A CellViT that calls an image breast where it is dark, and colon where it is bright."""
    torch.manual_seed(0)
    spec = first_spec("cellvit", "vit_tiny_patch16_224").with_changes(tissues=TISSUES, tile_px=64, margin_px=0)
    network = build_segmenter(spec).eval()
    with torch.no_grad():
        features = [
            network.encoder(network.normalise(torch.full((1, 3, 64, 64), shade))).cls[0] for shade in (30.0, 220.0)
        ]
        network.tissue.weight.copy_(torch.stack([features[0], -features[0] - features[1], features[1]]))
        network.tissue.bias.zero_()
    return Model(spec, TorchRuntime(network, device="cpu"), build_representation(spec.representation), "")


def test_the_likeliest_tissue_is_told_of_images_of_any_size_and_resolution(model: Model) -> None:
    assert tells_tissues(model)
    for shade, tissue in ((30, "breast"), (220, "colon")):
        for shape, mpp in (((64, 64), 0.25), ((50, 90), 0.25), ((40, 33), 0.5)):
            assert tissue_of(np.full((*shape, 3), shade, np.uint8), model, mpp=mpp) == tissue, (shape, mpp)
    bright_for_the_greater_part = np.full((64, 192, 3), 220, np.uint8)
    bright_for_the_greater_part[:, :64] = 30
    assert tissue_of(bright_for_the_greater_part, model, mpp=0.25) == "colon"


def test_several_views_of_an_image_tell_its_tissue_by_their_mean(model: Model) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    seen = replace(model, runtime=ViewsRuntime(model.runtime, model.representation, views=4), views=4)
    assert tells_tissues(seen)
    turns = np.stack([np.rot90(image, k) for k in range(4)])
    expected = model.runtime.tissue_probabilities(turns).mean(axis=0)
    np.testing.assert_allclose(seen.runtime.tissue_probabilities(image[None])[0], expected, atol=1e-5)
    assert tissue_of(np.full((64, 64, 3), 220, np.uint8), seen, mpp=0.25) == "colon"


def test_without_a_head_or_a_runtime_that_runs_it_no_tissue_is_told(model: Model, perfect_model: Model) -> None:
    headless = replace(model, spec=model.spec.with_changes(tissues=()))
    for other in (headless, replace(perfect_model, spec=model.spec)):
        assert not tells_tissues(other)
        with pytest.raises(InputError, match="tells no tissues apart"):
            tissue_of(np.zeros((64, 64, 3), np.uint8), other, mpp=0.25)


def test_images_that_state_a_tissue_that_the_head_knows_are_scored_for_it() -> None:
    labels = np.pad(np.ones((8, 8), np.int32), 8)
    stated = {"Breast": 30, "Bile-duct": 31, "colon": 32, "brain": 33, "": 34}
    samples = [
        Sample(str(shade), np.full((24, 24, 3), shade, np.uint8), labels, None, 0.25, "set", "", tissue=tissue)
        for tissue, shade in stated.items()
    ]
    told = {30: "breast", 31: "bile duct", 32: "breast", 33: "colon", 34: "colon"}
    report = evaluate(
        lambda image, mpp: Instances(labels, np.zeros((1, 0), np.float32), np.ones(1, np.float32)),
        samples,
        (),
        tissue=lambda image, mpp: told[int(image[0, 0, 0])],
        tissues=TISSUES,
    )
    score = report.sources["set"].scores["tissue_accuracy"]
    assert (score.value, score.n) == (pytest.approx(2 / 3), 3)
    assert [row.tissue_right for row in report.images] == [True, True, False, None, None]
    back = [image_from_json(image_to_json(row), n_classes=0) for row in report.images]
    assert [row.tissue_right for row in back] == [True, True, False, None, None]
    assert "Tissue accuracy" in {row.score for row in report.table()}
