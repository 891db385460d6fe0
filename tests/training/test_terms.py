"""Loss terms by name, as a plan asks for them: every published value is met, quirks and all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from histocyte.core.errors import UnknownNameError
from histocyte.representations.flow import Flow
from histocyte.representations.hover import Hover
from histocyte.representations.star import Star
from histocyte.training.terms import FURTHER_TERMS, loss_terms, term_names, weighted

torch.set_num_threads(1)
ORACLES = Path(__file__).parents[2].parent / "shared" / "oracles" / "losses"
NAMES = {
    "xentropy(nt)": "types_ce",
    "dice(np)": "nucleus_dice",
    "dice(nt)": "types_dice",
    "mse(hv)": "hover_mse",
    "msge(hv)_ij": "hover_msge_ij",
    "focal_tversky(np)_input_logits": "nucleus_focal_tversky",
    "focal_tversky(np)_double_softmax": "nucleus_focal_tversky_double_softmax",
    "mc_focal_tversky(nt)_input_logits": "types_focal_tversky",
    "mc_focal_tversky(nt)_double_softmax": "types_focal_tversky_double_softmax",
    "csm_ce": "types_ce",
    "csm_ce_svls": "types_ce_svls",
    "csm_ce_sd": "types_ce_sd",
    "csm_ce_svls_sd": "types_ce_svls_sd",
    "csm_focal": "types_focal",
}


@pytest.fixture(scope="module")
def terms() -> dict[str, Tensor]:
    if not ORACLES.is_dir():
        pytest.skip("the published values are not here")
    with np.load(ORACLES / "inputs.npz") as stored:
        given = {key: torch.from_numpy(stored[key]) for key in stored}
    raw = torch.cat([given["np_logits"], given["hv_pred"], given["nt_logits"]], 1)
    target = {
        "nucleus": F.one_hot((given["inst"] > 0).long(), 2).permute(0, 3, 1, 2).float(),
        "hover": given["hv_true"],
        "types": F.one_hot(given["type_map"].long(), 6).permute(0, 3, 1, 2).float(),
    }
    representation = Hover(classes=5, nucleus_channels=2)
    return loss_terms(representation, raw, target, torch.ones(len(raw)), wanted=FURTHER_TERMS)


@pytest.mark.skipif(not ORACLES.is_dir(), reason="the published values are not here")
def test_every_published_value_has_a_term_of_its_own() -> None:
    assert NAMES.keys() == json.loads((ORACLES / "expected.json").read_text()).keys()


@pytest.mark.parametrize(("published", "ours"), NAMES.items())
def test_published_values(terms: dict[str, Tensor], published: str, ours: str) -> None:
    expected = json.loads((ORACLES / "expected.json").read_text())[published]
    assert terms[ours].item() == pytest.approx(expected, rel=1e-5)


def test_terms_of_classes_go_with_any_scheme_that_has_them() -> None:
    smoothed = {"types_ce_svls", "types_ce_sd", "types_ce_svls_sd", "types_focal"}
    for representation in (Hover(classes=2), Star(classes=2), Flow(classes=2)):
        assert smoothed <= set(term_names(representation))
    without = set(term_names(Hover()))
    assert not any(name.startswith("types") for name in without)
    assert "hover_msge_ij" in without
    assert "hover_msge_ij" not in term_names(Star(classes=2))


def test_only_what_is_wanted_is_computed_and_a_wrong_name_is_refused() -> None:
    hover = Hover(classes=1)
    raw = torch.zeros(1, 5, 8, 8)
    target = {"nucleus": torch.zeros(1, 1, 8, 8), "hover": torch.zeros(1, 2, 8, 8), "types": torch.zeros(1, 2, 8, 8)}
    found = loss_terms(hover, raw, target, torch.ones(1), wanted=("types_ce_sd", "nonsense"))
    assert "types_ce_sd" in found
    assert "types_ce_svls" not in found
    assert set(weighted(found, {"nucleus_bce": 1.0, "hover_mse": 0.0, "tissue_ce": 0.1})) == {"nucleus_bce"}
    with pytest.raises(UnknownNameError, match="No loss term called 'nonsense'"):
        weighted(found, {"nonsense": 1.0})
    assert weighted(found, {"nonsense": 1.0}, strict=False) == {}


def test_a_nucleus_map_of_one_channel_has_the_same_double_softmax() -> None:
    torch.manual_seed(0)
    logit, truth = torch.randn(1, 1, 8, 8), (torch.rand(1, 1, 8, 8) > 0.5).float()
    name = "nucleus_focal_tversky_double_softmax"
    rest, hover = torch.zeros(1, 2, 8, 8), {"hover": torch.zeros(1, 2, 8, 8)}
    one = loss_terms(Hover(), torch.cat([logit, rest], 1), {"nucleus": truth, **hover}, torch.ones(1), wanted=(name,))
    two = loss_terms(
        Hover(nucleus_channels=2),
        torch.cat([-logit / 2, logit / 2, rest], 1),
        {"nucleus": torch.cat([1 - truth, truth], 1), **hover},
        torch.ones(1),
        wanted=(name,),
    )
    assert one[name].item() == pytest.approx(two[name].item(), rel=1e-6)
