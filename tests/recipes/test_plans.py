"""How recipes are trained as published: numbers, terms that exist, sampling, tissues, and that a plan trains."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.taxonomies import CONSEP, PANNUKE
from histocyte.core.taxonomy import NO_CLASSES
from histocyte.datasets.sample import Sample
from histocyte.model.build import build_representation, build_segmenter
from histocyte.recipes.options import changed_plan
from histocyte.recipes.plans import PLANS, find_plan, losses_of
from histocyte.recipes.registry import RECIPES
from histocyte.runs.train.defaults import (
    augmentation_of,
    crop_sampler,
    first_spec,
    image_weights,
    options_of,
    with_class_weights,
    with_class_weights_of_plan,
)
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses
from histocyte.training.fit import TrainingOptions, fit
from histocyte.training.journal import Table
from histocyte.training.sampling import cellvit_weights
from histocyte.training.schedule import learning_rate_factor
from histocyte.training.terms import TISSUE_TERM, term_names

torch.set_num_threads(1)
_OF_TISSUE = ("pathsegdiff", "tissue_dpt", "tissue_fcn", "tissue_fcn8", "tissue_unet")
"""Recipes whose maps are classes of tissue and nothing else."""
EVERY = [(recipe, name) for recipe, plans in PLANS.items() for name in plans]


def samples(
    sides: tuple[int, ...] = (128, 128, 256), tissues: tuple[str, ...] = ("Breast", "", "Bile-duct")
) -> list[Sample]:
    found = []
    for number, (side, tissue) in enumerate(zip(sides, tissues, strict=True)):
        labels = packed_ellipses((side, side), 12, seed=number)
        image = paint_truth(labels, CONSEP)
        types = labels.types if number else np.where(np.arange(len(labels.types)) > 0, 1, 0)
        found.append(
            Sample(
                f"s{number}", image, labels.instances, types.astype(np.uint8), 0.25, "own", f"s{number}", tissue=tissue
            )
        )
    return found


@pytest.mark.parametrize(("recipe", "name"), EVERY)
def test_a_plan_weighs_terms_that_there_are_and_can_be_written(recipe: str, name: str) -> None:
    plan = PLANS[recipe][name]
    spec = first_spec(recipe)
    terms = {*term_names(build_representation(spec.representation)), TISSUE_TERM}
    assert set(plan.losses) <= terms
    assert all(weight > 0 for weight in plan.losses.values())
    json.dumps(plan.to_json(), allow_nan=False)
    assert any(sign in plan.source for sign in ("doi", "arXiv"))
    assert len(plan.lines()) >= 5
    options = options_of(plan, crop_sampler(spec, samples(), seed=0, crops=plan.crops))
    assert set(options) <= {f.name for f in dataclasses.fields(TrainingOptions)}
    for step in (0, options["steps"] // 2, options["steps"] - 1):
        factor = learning_rate_factor(
            options["schedule"], step, options["steps"], epoch_steps=options["epoch_steps"], scores=[0.1]
        )
        assert 0 <= factor <= 1


def test_cellvit_is_trained_with_its_numbers() -> None:
    plan = find_plan("cellvit", "published")
    assert plan is not None
    spec = first_spec("cellvit").with_changes(tissues=RECIPES["cellvit"]().tissues)
    # 64 images of the crops' size: an epoch of batch 16 has 4 steps.
    many = samples((256,) * 64, ("",) * 64)
    options = options_of(plan, crop_sampler(spec, many, seed=0, crops=plan.crops))
    assert options["steps"] == 130 * 4
    assert options["frozen_steps"] == 25 * 4
    assert options["validate_every"] == 10 * 4
    assert (options["optimiser"], options["learning_rate"], options["betas"]) == ("adamw", 3e-4, (0.85, 0.95))
    assert options["weight_decay"] == 1e-4
    assert options["loss_weights"] == {
        **{"nucleus_focal_tversky": 1, "nucleus_dice": 1, "hover_mse": 2.5, "hover_msge": 8},
        **{"types_ce": 0.5, "types_dice": 0.2, "types_focal_tversky": 0.5, "tissue_ce": 0.1},
    }
    as_run = PLANS["cellvit"]["as-run"]
    assert as_run.losses["hover_msge_ij"] == 8
    assert "nucleus_focal_tversky" not in as_run.losses


@pytest.mark.parametrize(
    ("recipe", "epochs", "rates", "numbers"),
    [
        (
            "hovernet",
            100,
            {0: 1, 24: 1, 25: 0.1, 49: 0.1, 50: 1, 74: 1, 75: 0.1, 99: 0.1},
            {"optimiser": "adam", "learning_rate": 1e-4, "weight_decay": 0.0, "betas": (0.9, 0.999), "batch": 8},
        ),
        (
            "cellpose",
            500,
            {0: 0, 1: 1 / 9, 8: 8 / 9, 9: 1, 399: 1, 400: 0.5, 409: 0.5, 410: 0.25, 499: 0.5**10},
            {"optimiser": "sgd", "learning_rate": 0.2, "weight_decay": 1e-5, "betas": (0.9, 0.999), "batch": 8},
        ),
    ],
)
def test_methods_are_trained_with_their_numbers(
    recipe: str, epochs: int, rates: dict[int, float], numbers: dict[str, object]
) -> None:
    plan = PLANS[recipe]["published"]
    options = options_of(plan, crop_sampler(first_spec(recipe), samples(), seed=0, crops=plan.crops))
    each = options["epoch_steps"]
    assert options["steps"] == epochs * each
    assert {name: options[name] for name in numbers} == numbers
    for epoch, expected in rates.items():
        found = learning_rate_factor(options["schedule"], epoch * each, options["steps"], epoch_steps=each)
        assert found == pytest.approx(expected), epoch


def test_hovernet_and_cellpose_weigh_and_zoom_as_published() -> None:
    hovernet, cellpose = PLANS["hovernet"]["published"], PLANS["cellpose"]["published"]
    assert hovernet.frozen_epochs == 50
    assert {term: w for term, w in hovernet.losses.items() if w != 1} == {"hover_msge": 2}
    assert (hovernet.zoom, cellpose.zoom) == ((0.8, 1.2), (0.75, 1.25))
    assert (hovernet.keep, cellpose.keep, cellpose.crop_px) == ("best", "last", 224)


def test_a_teacher_works_in_the_steps_of_its_encoders_patches() -> None:
    spec = first_spec("lightweight_teacher", "vit_tiny_patch16_224")
    assert (spec.multiple, spec.tile_px, spec.margin_px) == (16, 256, 32)
    assert first_spec("lightweight_teacher").multiple == 14


def test_images_are_drawn_by_the_weights_of_the_plan() -> None:
    given = samples()
    plan = PLANS["cellvit"]["published"]
    sampler = crop_sampler(first_spec("cellvit", taxonomy=CONSEP), given, seed=0, crops=plan.crops)
    # "" < "Bile-duct" < "Breast"
    present = np.array([[c in s.types[1:] for c in range(1, 5)] for s in given if s.types is not None])
    expected = cellvit_weights(np.array([2, 0, 1]), present) * np.array([1, 1, 4])
    assert sampler.shares == pytest.approx(expected / expected.sum())
    flat = crop_sampler(
        first_spec("cisca", taxonomy=CONSEP), given, seed=0, crops=PLANS["cellvit_cppnet"]["cppnet"].crops
    ).shares
    assert flat == pytest.approx([1 / 6, 1 / 6, 4 / 6])
    copies = image_weights(PLANS["cisca"]["published"].crops, given, CONSEP.names)
    assert copies.mean() == pytest.approx(16_035 / 5_688, rel=0.02)


def test_rare_classes_weigh_more_where_the_plan_says_so() -> None:
    given = samples()
    for recipe in ("cisca", "lightweight_teacher"):
        spec = with_class_weights(first_spec(recipe, taxonomy=CONSEP), PLANS[recipe]["published"], given)
        weights = spec.representation.options["class_weights"]
        assert len(weights) == 5
        counts = sum(np.bincount(s.types[1:], minlength=5)[1:] for s in given if s.types is not None)
        assert np.argmin(weights[1:]) == np.argmax(counts)
    spec = first_spec("cellvit", taxonomy=CONSEP)
    assert with_class_weights(spec, PLANS["cellvit"]["published"], given) is spec


@pytest.mark.parametrize("name", ["histocyte", "cellvit", "flips", "cisca"])
def test_augmentations_keep_the_crops_shape(name: str) -> None:
    sample = samples()[0]
    for seed in range(4):
        image, labels = augmentation_of(name, mpp=0.25)(sample.image, sample.instances, np.random.default_rng(seed))
        assert image.shape == sample.image.shape
        assert image.dtype == np.uint8
        assert labels.shape == sample.instances.shape
    assert len(augmentation_of("flips", mpp=0.25).steps) == 3


def test_a_plan_trains_and_goes_on_exactly(tmp_path: Path) -> None:
    plan = dataclasses.replace(PLANS["cellvit"]["as-run"], epochs=4, frozen_epochs=1, crop_px=64, validate_epochs=1)
    given = samples((96, 96, 96))
    encoder = {"name": "timm_vit", "options": {"name": "vit_tiny_patch16_224", "taps": [1, 2, 3, 4]}}
    spec = first_spec("cellvit").with_changes(encoder=encoder, tissues=("breast", "bile duct"))
    sampler = crop_sampler(spec, given, seed=0, crops=plan.crops)
    assert sampler.tissues is not None
    assert sampler.tissues.tolist() == [0, -1, 1]
    planned = options_of(plan, sampler, batch=4)
    assert planned["steps"] == 8
    ended = []
    for stops in ((8,), (3, 8)):
        run = tmp_path / str(len(stops))
        for stop in stops:
            torch.manual_seed(0)
            steps: list[int] = []
            fit(
                *(build_segmenter(spec), spec, sampler, run, TrainingOptions(**planned)),
                validate=lambda _: {"bpq": 0.5},
                progress=lambda step, _, steps=steps: steps.append(step),  # type: ignore[misc]
                stop=lambda stop=stop, steps=steps: steps[-1] == stop,  # type: ignore[misc]
            )
        ended.append((run / "last.safetensors").read_bytes())
        log = Table(run / "log.csv")
        assert log.column("lr") == pytest.approx([3e-4 * 0.95 ** (s // 2) for s in range(8)], rel=1e-4)
        assert all(value > 0 for value in log.column(TISSUE_TERM))
        assert len(log.column("hover_msge_ij")) == 8
    assert ended[0] == ended[1]


def test_what_is_not_published_is_said() -> None:
    assert find_plan("cellvit", "ours") is None
    with pytest.raises(InputError, match="There is no plan 'published' for the recipe 'hover_unet'"):
        find_plan("hover_unet", "published")
    with pytest.raises(UnknownNameError, match="No plan for 'cellvit' called 'publised'. Did you mean 'published'"):
        find_plan("cellvit", "publised")


def test_a_distilled_student_weighs_classes_as_its_published_training_does() -> None:
    given = samples()
    weighed = with_class_weights_of_plan(first_spec("lightweight_student", taxonomy=CONSEP), given)
    plan = find_plan("lightweight_student", "published")
    assert plan is not None
    assert weighed == with_class_weights(first_spec("lightweight_student", taxonomy=CONSEP), plan, given)
    weights = weighed.representation.options["class_weights"]
    assert len(weights) == len(CONSEP) + 1
    assert len(set(weights)) > 1
    for recipe in ("hover_small", "cellpose"):
        assert with_class_weights_of_plan(first_spec(recipe, taxonomy=CONSEP), given) == first_spec(
            recipe, taxonomy=CONSEP
        )
    without = [dataclasses.replace(sample, types=None) for sample in given]
    assert with_class_weights_of_plan(first_spec("lightweight_student", taxonomy=CONSEP), without) == first_spec(
        "lightweight_student", taxonomy=CONSEP
    )


def test_images_are_drawn_by_pannukes_counts_where_they_are_of_its_tissues_and_classes() -> None:
    crops = changed_plan(PLANS["cellvit"]["published"], {"sampling": "cellvit-pannuke"}).crops
    given = samples((128,) * 3, ("Breast", "HeadNeck", "Kidney"))
    weights = image_weights(crops, given, PANNUKE.names)
    assert weights[0] < weights[1] < weights[2], "kidney is rarer than head and neck, and that than breast"
    with pytest.raises(InputError, match=r"PanNuke, which does not have Brain\. Draw by what the images at hand have"):
        image_weights(crops, samples((128,) * 3, ("Breast", "Brain", "Kidney")), PANNUKE.names)
    with pytest.raises(InputError, match="does not have other, spindle"):
        image_weights(crops, given, CONSEP.names)


def test_no_augmentation_leaves_crops_as_they_are() -> None:
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    labels = np.arange(32 * 32, dtype=np.int32).reshape(32, 32)
    for seed in range(5):
        varied = augmentation_of("none", mpp=0.25)(image, labels, np.random.default_rng(seed))
        assert all(np.array_equal(a, b) for a, b in zip(varied, (image, labels), strict=True))


def test_rays_that_are_measured_again_learn_from_both_measurements() -> None:
    plan = PLANS["stardist"]["published"]
    refined = first_spec("stardist", "mobilenetv2_050", options={"refined": True})
    assert losses_of(plan, refined) == {**plan.losses, "rays_initial_l1": 1.0}
    assert "rays_initial_l1" in term_names(build_representation(refined.representation))
    assert losses_of(plan, first_spec("stardist")) == plan.losses


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name not in _OF_TISSUE])
def test_every_recipe_makes_a_model_of_outlines_where_there_are_no_classes(recipe: str) -> None:
    spec = first_spec(recipe, taxonomy=NO_CLASSES)
    representation = build_representation(spec.representation)
    assert not any(each.name == "types" for each in representation.maps)


@pytest.mark.parametrize("recipe", _OF_TISSUE)
def test_a_recipe_for_tissue_needs_classes(recipe: str) -> None:
    with pytest.raises(InputError, match="at least one class"):
        first_spec(recipe, taxonomy=NO_CLASSES)
