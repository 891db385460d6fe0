"""Options of recipes and plans as NAME=VALUE: what is read from them, what is refused, what they say they are."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from histocyte.core.errors import HistocyteError, InputError, UnknownNameError
from histocyte.core.taxonomies import CONSEP, PANNUKE
from histocyte.model.build import build_segmenter
from histocyte.recipes.options import PLAN_OPTIONS, changed_plan, make_spec, parsed, recipe_options
from histocyte.recipes.plan import Crops
from histocyte.recipes.plans import PLANS
from histocyte.recipes.registry import RECIPES

CELLVIT = PLANS["cellvit"]["published"]


def test_values_are_json_lists_with_commas_or_text() -> None:
    assert parsed(["taps=3,6,9,12", "shared=True", "mpp=0.5", "mode=fast", "tissues=breast,bile duct", "x=[1]"]) == {
        "taps": [3, 6, 9, 12],
        "shared": True,
        "mpp": 0.5,
        "mode": "fast",
        "tissues": ["breast", "bile duct"],
        "x": [1],
    }
    with pytest.raises(InputError, match=r"--option taps: expected NAME=VALUE"):
        parsed(["taps"])
    with pytest.raises(InputError, match="names taps twice"):
        parsed(["taps=1", "taps=2"])


def test_options_make_the_papers_variants() -> None:
    def options(recipe: str, *texts: str) -> dict[str, object]:
        spec = make_spec(recipe, parsed(texts), taxonomy=PANNUKE)
        return {**spec.encoder.options, **spec.decoder.options, **spec.heads.options, "tissues": spec.tissues}

    cellvit = options("cellvit", "encoder=vit_tiny_patch16_224", "taps=1,2,3,4", "shared=true", "tissues=breast")
    assert (cellvit["taps"], cellvit["branches"], cellvit["own_branch"]) == ([1, 2, 3, 4], 1, False)
    assert cellvit["tissues"] == ("breast",), "one value where a list is wanted is a list of one"
    assert options("hovernet", "mode=original")["kernel"] == 5
    assert options("frozen_encoder", "taps=deep")["taps"] == [3, 6, 9, 12]
    drops = options("cellvit_cppnet", "drop_path=0.1", "attention_drop=0.1")["arch_options"]
    assert isinstance(drops, dict)
    assert (drops["drop_path_rate"], drops["attn_drop_rate"]) == (0.1, 0.1)


def test_what_is_left_out_at_random_is_so_in_training_alone() -> None:
    texts = ["encoder=vit_tiny_patch16_224", "drop_path=0.5", "attention_drop=0.5"]
    spec = make_spec("cellvit", parsed(texts), taxonomy=PANNUKE)
    torch.manual_seed(0)
    network = build_segmenter(spec.with_changes(tissues=()))
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        first, again = (network.encoder.train()(image).tokens for _ in range(2))
        assert (first - again).abs().max() > 0.01
        first, again = (network.encoder.eval()(image).tokens for _ in range(2))
        assert torch.equal(first, again)


@pytest.mark.parametrize(
    ("recipe", "text", "says"),
    [
        ("cellvit", "tap=3,6,9,12", "takes no tap; it takes encoder, taps, patch_px, shared,"),
        ("cellvit", "taxonomy=pannuke", "takes no taxonomy"),
        ("cellvit", "taps=a,b", "taps=a,b is none that 'cellvit' can have: "),
        ("cellvit", "shared=perhaps", "shared=perhaps is none that 'cellvit' can have: "),
        ("cellvit", "drop_path=1.5", "asked were 1.5 and 0 of 'vit256'"),
        ("hovernet", "mode=slow", "mode=slow is none that 'hovernet' can have: "),
        ("cellvit", "encoder=sam-b,drop", "encoder=sam-b,drop is none"),
        ("cellpose", "levels=many", "levels=many is none"),
    ],
)
def test_what_cannot_be_is_refused_with_what_there_is(recipe: str, text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        make_spec(recipe, parsed([text]), taxonomy=CONSEP)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_every_option_of_every_recipe_says_what_it_is(recipe: str) -> None:
    for option in recipe_options(recipe):
        assert len(option.meaning) >= 20, f"{option.name} of {recipe} says only {option.meaning!r}"
        assert "likewise" not in option.meaning.lower()


def test_a_plan_is_changed_by_name() -> None:
    texts = ["sampling=area", "augmentation=none", "schedule.gamma=0.85", "frozen_epochs=0", "zoom=0.8,1.25"]
    plan = changed_plan(CELLVIT, parsed(texts))
    assert (plan.sampling, plan.augmentation, plan.frozen_epochs, plan.zoom) == ("area", "none", 0, (0.8, 1.25))
    assert plan.schedule == {"name": "exponential", "gamma": 0.85}
    assert (plan.losses, plan.learning_rate, CELLVIT.schedule["gamma"]) == (CELLVIT.losses, 3e-4, 0.95)
    assert changed_plan(CELLVIT, {"schedule": "constant"}).schedule == {"name": "constant"}
    assert changed_plan(CELLVIT, {}) == CELLVIT
    ours = changed_plan(Crops(), parsed(["augmentation=cellvit"]))
    assert (ours.augmentation, ours.sampling, ours.crop_px) == ("cellvit", "sets", 256)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sampler=area", "no such option; there are optimiser, epochs, augmentation, sampling, schedule,"),
        ("batch=4", "has a flag of its own, --batch"),
        ("sampling=often", "sampling=often is none that 'the plan' can have: Input should be 'sets', 'area',"),
        ("sampling_gamma=2", "it can be from 0 to 1"),
        ("frozen_epochs=-1", "it can be 0 or more"),
        ("schedule.gamma=fast", "a number of 0 or more is needed"),
        ("schedule.gama=0.8", "does not take the options"),
        ("zoom=2,1", "a range of numbers above 0"),
        ("source=me", "no such option"),
    ],
)
def test_what_a_plan_cannot_be_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        changed_plan(CELLVIT, parsed([text]))
    assert says in str(caught.value)


def test_our_own_way_is_changed_in_its_crops_alone() -> None:
    with pytest.raises(InputError, match="without a published plan there are augmentation, sampling, sampling_"):
        changed_plan(Crops(), {"frozen_epochs": 3})


def test_an_unknown_schedule_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match="exponential"):
        changed_plan(CELLVIT, {"schedule": "sometimes"})


def test_plans_are_changed_in_no_other_way() -> None:
    """Every plan takes its own values back, so that each of its options can be typed."""
    for plans in PLANS.values():
        for plan in plans.values():
            mine = {name: getattr(plan, name) for name in ("betas", "zoom", "sampling", "amsgrad", "keep", "epsilon")}
            texts = [f"{k}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in mine.items()]
            assert changed_plan(plan, parsed(texts)) == plan
    assert np.isclose(CELLVIT.sampling_gamma, 0.85)


ODD = ["", "0", "-1", "1e999", "NaN", "null", "[]", "{}", "[1,2", ",", "'x'", "9" * 5000, "[" * 5000, "\x00", "[[1]]"]


@pytest.mark.parametrize("recipe", ["cellvit", "cisca", "hover_small", "lightweight_teacher"])
def test_whatever_is_asked_for_is_made_or_refused(recipe: str) -> None:
    for option in recipe_options(recipe):
        for value in ODD:
            with contextlib.suppress(HistocyteError):
                make_spec(recipe, parsed([f"{option.name}={value}"]), taxonomy=PANNUKE)


def test_whatever_is_asked_of_a_plan_is_done_or_refused() -> None:
    for name in (*PLAN_OPTIONS, "schedule.gamma", "schedule.", "schedule.name", "sampling.x", ".", " "):
        for value in ODD:
            with contextlib.suppress(HistocyteError):
                changed_plan(CELLVIT, parsed([f"{name}={value}"]))
