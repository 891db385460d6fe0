"""Losses against values of the published CellViT code (shared/oracles/losses), quirks included."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from histocyte.losses.gradient import gradient_error
from histocyte.losses.pixel import cross_entropy, mean_squared_error
from histocyte.losses.region import dice, focal_tversky, multiclass_focal_tversky

torch.set_num_threads(1)
ORACLES = Path(__file__).parents[2].parent / "shared" / "oracles" / "losses"
pytestmark = pytest.mark.skipif(not ORACLES.is_dir(), reason="the published values are not here")


@pytest.fixture(scope="module")
def given() -> dict[str, Tensor]:
    with np.load(ORACLES / "inputs.npz") as stored:
        given = {key: torch.from_numpy(stored[key]) for key in stored}
    nucleus = (given["inst"] > 0).long()
    given["np_true"] = F.one_hot(nucleus, 2).permute(0, 3, 1, 2).float()
    given["nt_true"] = F.one_hot(given["type_map"].long(), 6).permute(0, 3, 1, 2).float()
    given["np"], given["nt"] = given["np_logits"].softmax(1), given["nt_logits"].softmax(1)
    return given


@pytest.fixture(scope="module")
def expected() -> dict[str, float]:
    return json.loads((ORACLES / "expected.json").read_text())


def test_cross_entropy(given: dict[str, Tensor], expected: dict[str, float]) -> None:
    assert cross_entropy(given["nt"], given["nt_true"]).item() == pytest.approx(expected["xentropy(nt)"], rel=1e-5)


def test_dice(given: dict[str, Tensor], expected: dict[str, float]) -> None:
    for branch in ("np", "nt"):
        value = dice(given[branch], given[f"{branch}_true"]).item()
        assert value == pytest.approx(expected[f"dice({branch})"], rel=1e-5)


def test_mean_squared_error(given: dict[str, Tensor], expected: dict[str, float]) -> None:
    value = mean_squared_error(given["hv_pred"], given["hv_true"]).item()
    assert value == pytest.approx(expected["mse(hv)"], rel=1e-5)


def test_gradient_error_as_the_published_code_runs_it(given: dict[str, Tensor], expected: dict[str, float]) -> None:
    focus = given["np_true"][:, 1:]
    value = gradient_error(given["hv_pred"], given["hv_true"], focus, transposed=True).item()
    assert value == pytest.approx(expected["msge(hv)_ij"], rel=1e-5)


def test_focal_tversky(given: dict[str, Tensor], expected: dict[str, float]) -> None:
    once = focal_tversky(given["np"], given["np_true"]).item()
    twice = focal_tversky(given["np"].softmax(1), given["np_true"]).item()
    assert once == pytest.approx(expected["focal_tversky(np)_input_logits"], rel=1e-5)
    assert twice == pytest.approx(expected["focal_tversky(np)_double_softmax"], rel=1e-5)


def test_multiclass_focal_tversky(given: dict[str, Tensor], expected: dict[str, float]) -> None:
    once = multiclass_focal_tversky(given["nt"], given["nt_true"]).item()
    twice = multiclass_focal_tversky(given["nt"].softmax(1), given["nt_true"]).item()
    assert once == pytest.approx(expected["mc_focal_tversky(nt)_input_logits"], rel=1e-5)
    assert twice == pytest.approx(expected["mc_focal_tversky(nt)_double_softmax"], rel=1e-5)
