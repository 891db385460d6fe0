from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from histocyte.core.instances import Labels
from histocyte.losses.gradient import diagonal_gradient_error
from histocyte.losses.pixel import weighted_absolute_error, widen
from histocyte.losses.region import pixel_tversky, tversky
from histocyte.representations.distance.loss import distance_loss_terms
from histocyte.representations.distance.scheme import Distance

torch.set_num_threads(1)
TRUTH = np.zeros((32, 32), np.int32)
TRUTH[4:14, 4:14], TRUTH[4:14, 14:24], TRUTH[20:28, 6:20] = 1, 2, 3


def targets(distance: Distance, types: tuple[int, ...]) -> dict[str, Tensor]:
    maps = distance.encode(Labels(TRUTH, np.array((0, *types), np.uint8)))
    return {name: torch.from_numpy(value)[None] for name, value in maps.items()}


def raw_of(target: dict[str, Tensor], distance: Distance) -> Tensor:
    """Raw channels that say exactly the target, with certainty."""
    return torch.cat([target[s.name] * (1.0 if s.activation == "linear" else 60.0) for s in distance.maps], 1)


def noise(channels: int, seed: int) -> Tensor:
    return torch.randn(1, channels, 32, 32, generator=torch.Generator().manual_seed(seed), requires_grad=True)


def test_the_truth_costs_nothing() -> None:
    distance = Distance(classes=3)
    target = targets(distance, (1, 2, 3))
    terms = distance.loss_terms(raw_of(target, distance), target, torch.ones(1))
    assert set(terms) == set(distance.loss_weights)
    assert all(value.item() == pytest.approx(0, abs=1e-4) for value in terms.values()), terms


def test_anything_else_costs_in_every_term() -> None:
    distance = Distance(classes=3)
    terms = distance.loss_terms(noise(11, 0), targets(distance, (1, 2, 3)), torch.ones(1))
    assert all(value.item() > 0.01 for value in terms.values()), terms


def test_weights_are_the_published_ones() -> None:
    without, types = Distance().loss_weights, Distance(4).loss_weights
    assert sum(without.values()) == pytest.approx(1)
    assert without["body_dice"] == pytest.approx(2 / 9)
    # The two parts of the types' loss share one of six terms.
    assert sum(types.values()) - types["types_tversky"] == pytest.approx(1)
    assert types["types_ce"] / types["contour_dice"] == pytest.approx(5)


def test_images_with_cells_not_apart_train_the_foreground_only() -> None:
    distance = Distance()
    raw = noise(7, 1)
    terms = distance.loss_terms(raw, targets(distance, ()), torch.zeros(1))
    assert {name for name, value in terms.items() if value.item() != 0} == {"semantic_ce"}
    torch.stack(list(terms.values())).sum().backward()
    assert raw.grad is not None
    assert raw.grad[:, 3:].abs().max() == 0
    # Contour and body are one there: what raises both alike against background is all that matters.
    with torch.no_grad():
        moved = raw.clone()
        odds = torch.logsumexp(raw[:, :2], 1, keepdim=True)
        moved[:, :1], moved[:, 1:2] = odds - np.log(4.0), odds + np.log(0.75)
        again = distance.loss_terms(moved, targets(distance, ()), torch.zeros(1))
    assert again["semantic_ce"].item() == pytest.approx(terms["semantic_ce"].item(), rel=1e-5)


def test_a_batch_of_both_kinds_learns_from_each_what_it_says() -> None:
    distance = Distance()
    target = {name: torch.cat([value, value]) for name, value in targets(distance, ()).items()}
    raw = torch.cat([noise(7, 2), noise(7, 3)]).detach().requires_grad_()
    terms = distance.loss_terms(raw, target, torch.tensor([1.0, 0.0]))
    (terms["distance_mae"] + terms["distance_msge"] + terms["contour_dice"]).backward()
    assert raw.grad is not None
    assert raw.grad[0].abs().max() > 0
    assert raw.grad[1].abs().max() == 0
    alone = distance.loss_terms(raw[:1], targets(distance, ()), torch.ones(1))
    assert terms["distance_mae"].item() == pytest.approx(alone["distance_mae"].item(), rel=0.01)


def test_cells_of_unknown_class_train_no_classes() -> None:
    distance = Distance(classes=2)
    raw = noise(10, 4)
    terms = distance.loss_terms(raw, targets(distance, (1, 0, 0)), torch.ones(1))
    (terms["types_ce"] + terms["types_tversky"]).backward()
    assert raw.grad is not None
    learnt = raw.grad[0, 7:].abs().sum(0).numpy() > 0
    assert not learnt[TRUTH > 1].any()
    assert learnt[TRUTH == 1].all()


def test_rare_classes_can_weigh_more() -> None:
    raw, even = noise(11, 5).detach(), Distance(classes=3)
    target = targets(even, (1, 2, 3))
    first = even.loss_terms(raw, target, torch.ones(1))
    second = Distance(classes=3, class_weights=(1.0, 1.0, 9.0, 1.0)).loss_terms(raw, target, torch.ones(1))
    assert second["types_ce"] > 1.2 * first["types_ce"]


def test_distances_count_near_cells_most() -> None:
    distance = Distance()
    target = targets(distance, ())
    named = {"semantic": target["semantic"] * 60, "distance": target["distance"].clone()}
    near, far = (dict(named) for _ in range(2))
    for terms, place in ((near, (15, 10)), (far, (30, 31))):
        terms["distance"] = named["distance"].clone()
        terms["distance"][0, 0, place[0], place[1]] += 1
    costs = [distance_loss_terms(t, target, torch.ones(1))["distance_mae"].item() for t in (near, far)]
    assert costs[0] > 10 * costs[1] > 0


# --- the functions by themselves ---


def test_masks_grow_by_a_disc() -> None:
    mask = torch.zeros(1, 1, 21, 21)
    mask[..., 10, 10] = 1
    rows, columns = np.mgrid[-10:11, -10:11]
    assert torch.equal(widen(mask, 6)[0, 0] > 0, torch.from_numpy(rows**2 + columns**2 <= 36))


def test_gradients_are_taken_along_each_diagonal() -> None:
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    flat, inside = torch.zeros(1, 2, 40, 40), torch.zeros(1, 1, 40, 40)
    inside[..., 8:32, 8:32] = 1
    for channel, along, across in ((0, rows + columns, columns - rows), (1, columns - rows, rows + columns)):
        costs = []
        for place in (along, across):
            maps = flat.clone()
            maps[:, channel] = place
            costs.append(diagonal_gradient_error(maps, flat, inside).item())
        assert costs[0] > 1
        assert costs[1] == pytest.approx(0, abs=1e-6)


def test_weights_of_nothing_cost_nothing() -> None:
    maps, nowhere = torch.ones(1, 2, 8, 8), torch.zeros(1, 1, 8, 8)
    assert weighted_absolute_error(maps, -maps, nowhere).item() == 0
    assert weighted_absolute_error(maps, -maps, nowhere + 0.3).item() == pytest.approx(2)


def test_tversky_punishes_what_is_missed_more() -> None:
    target = torch.zeros(1, 1, 8, 8)
    target[..., :4] = 1
    missed, surplus = target.clone(), target.clone()
    missed[..., 2:4] = 0
    surplus[..., 4:6] = 1
    assert tversky(missed, target) > tversky(surplus, target) > tversky(target, target) == 0
    absent = torch.zeros(1, 1, 8, 8)
    assert tversky(absent, absent).item() == pixel_tversky(absent, absent).item() == 0
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :2] = 1
    for loss in (tversky, pixel_tversky):
        assert loss(missed, target, mask).item() == pytest.approx(0, abs=1e-6)
        assert loss(missed, target).item() > 0.1


def test_region_tversky_teaches_what_is_wrongly_said() -> None:
    # Where a class is not true, the pixelwise loss hardly falls when the network says less of it.
    target = torch.zeros(1, 2, 8, 8)
    target[:, 0] = 1
    said = torch.full((1, 2, 8, 8), 0.5, requires_grad=True)
    slopes = [torch.autograd.grad(loss(said, target), said)[0][0, 1].abs().max() for loss in (tversky, pixel_tversky)]
    assert slopes[0] > 100 * slopes[1]
