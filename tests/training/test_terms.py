"""Loss terms by name, as a plan asks for them: every published value is met, quirks and all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from histocyte.core.errors import UnknownNameError
from histocyte.core.instances import Labels
from histocyte.representations.distance.scheme import Distance
from histocyte.representations.flow.scheme import Flow
from histocyte.representations.hover.scheme import Hover
from histocyte.representations.protocol import Representation
from histocyte.representations.star.scheme import Star
from histocyte.testing.scenes import packed_ellipses
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


@pytest.mark.parametrize(
    "representation", [Hover(2), Hover(2, nucleus_channels=2), Star(2), Flow(2), Distance(2)], ids=lambda r: str(r)[:20]
)
def test_nothing_is_learnt_where_nothing_is_taught(representation: Representation) -> None:
    scene = packed_ellipses((64, 64), 8, seed=1)
    unknown = np.zeros((64, 64), bool)
    unknown[20:50, 10:40] = True
    maps = representation.encode(replace(scene, instances=np.where(unknown, 0, scene.instances).astype(np.int32)))
    target = {name: torch.from_numpy(np.asarray(each, np.float32))[None] for name, each in maps.items()}
    taught = torch.from_numpy(~unknown)[None]
    channels = sum(spec.channels for spec in representation.maps)
    raw = torch.randn(1, channels, 64, 64, generator=torch.Generator().manual_seed(0))
    other = torch.where(taught[:, None], raw, raw.flip(2) + 3).requires_grad_()
    terms = [loss_terms(representation, r, target, torch.ones(1), taught=taught) for r in (raw, other)]
    for name, value in terms[0].items():
        assert torch.isfinite(value), name
        assert value.item() == terms[1][name].item(), name
    torch.stack(list(terms[1].values())).sum().backward()
    assert other.grad is not None
    assert other.grad[0, :, ~taught[0]].abs().max() == 0
    assert other.grad[0, :, taught[0]].abs().max() > 0


def test_a_perfect_answer_beside_unknown_places_costs_nothing() -> None:
    """What the network is taken to have said there is right in every sum over pixels, of overlaps too."""
    labels = np.zeros((32, 32), np.int32)
    labels[4:12, 4:12] = 1
    maps = Hover(2).encode(Labels(labels, np.array([0, 2], np.uint8)))
    target = {name: torch.from_numpy(np.asarray(each, np.float32))[None] for name, each in maps.items()}
    unknown = torch.zeros(1, 32, 32, dtype=torch.bool)
    unknown[:, 16:] = True
    sure = {"nucleus": 40 * target["nucleus"] - 20, "hover": target["hover"], "types": 40 * target["types"] - 20}
    raw = torch.where(unknown[:, None], 7.0, torch.cat([sure[spec.name] for spec in Hover(2).maps], 1))
    terms = loss_terms(Hover(2), raw, target, torch.ones(1), taught=~unknown)
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(dict.fromkeys(terms, 0.0), abs=1e-3)
