"""A class for each pixel, read back as regions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from histocyte.core.errors import InputError, ResolutionError
from histocyte.core.instances import Labels
from histocyte.core.labels import clean_instances
from histocyte.representations.semantic.scheme import Semantic
from histocyte.testing.contracts import check_representation

torch.set_num_threads(1)


def decoded(scene, classes, *, background=True):
    """Regions found where `scene` (H, W) holds the class of each pixel."""
    types = np.equal(scene, np.arange(0 if background else 1, classes + 1)[:, None, None]).astype(np.float32)
    return Semantic(classes, background).decode({"types": types})


def kinds(found):
    """(H, W) class of each pixel by the instances."""
    return np.concatenate([[0], found.class_probabilities.argmax(1) + 1])[found.labels]


def test_keeps_the_contract_but_for_objects_of_one_class_that_touch():
    for representation in (Semantic(2), Semantic.at(0.5, classes=2)):
        check_representation(representation, skip=("touching",))


def test_touching_objects_come_apart_by_class_alone():
    scene = np.zeros((40, 60), np.uint8)
    scene[10:30, 5:20], scene[10:30, 20:35], scene[10:30, 35:50] = 1, 1, 2
    found = decoded(scene, 2)
    assert len(found) == 2
    assert np.array_equal(kinds(found), scene)


def test_a_lumen_belongs_to_its_gland():
    scene = np.zeros((50, 50), np.uint8)
    scene[10:40, 10:40] = 1
    scene[20:30, 20:30] = 0
    found = decoded(scene, 1)
    assert len(found) == 1
    assert (found.labels > 0).sum() == 900


@pytest.mark.parametrize("background", [True, False])
def test_enclosed_regions_keep_their_class_and_area(background):
    rng = np.random.default_rng(0)
    scene = np.full((120, 150), 1, np.uint8)
    for _ in range(25):
        row, column = rng.integers(0, (110, 140))
        scene[row : row + rng.integers(4, 20), column : column + rng.integers(4, 25)] = rng.integers(1, 4)
    scene[50:80, 40:90], scene[55:75, 50:80], scene[60:70, 60:70] = 2, 3, 1  # one within the other
    found = decoded(scene, 3, background=background)
    assert np.array_equal(clean_instances(found.labels), found.labels)
    assert np.mean(kinds(found) == scene) > 0.99  # what is under 10 px vanishes


def test_many_islands_take_few_cuts():
    scene = np.ones((200, 200), np.uint8)
    for row in range(5, 190, 10):
        for column in range(5, 190, 10):
            scene[row : row + 5, column : column + 5] = 2
    found = decoded(scene, 2)
    assert np.array_equal(kinds(found), scene)


def test_poor_maps_do_no_harm():
    types = np.full((3, 30, 40), np.nan, np.float16)
    assert len(Semantic(2).decode({"types": types})) == 0
    types[:, 10:, :] = np.array([0.2, 0.7, 0.1])[:, None, None]
    found = Semantic(2).decode({"types": types})
    assert len(found) == 1
    assert found.scores[0] == pytest.approx(0.8, abs=1e-3)
    assert found.class_probabilities[0] == pytest.approx([0.875, 0.125], abs=1e-3)


def test_specks_vanish():
    scene = np.zeros((30, 30), np.uint8)
    scene[3:6, 3:6], scene[15:20, 15:17] = 1, 1
    assert len(decoded(scene, 1)) == 1


def test_constants_follow_the_resolution():
    assert Semantic.at(0.25, classes=2) == Semantic(2)
    areas = [Semantic.at(mpp, classes=2, background=False).min_area_px for mpp in (0.125, 0.5, 2.0)]
    assert areas == [40, 3, 1]
    assert all(a > b for a, b in pairwise(areas))
    with pytest.raises(ResolutionError):
        Semantic.at(float("nan"), classes=2)
    with pytest.raises(InputError, match="one class that is all of them"):
        Semantic(0)


# --- what is learnt ---

TRUTH = np.zeros((16, 16), np.int32)
TRUTH[2:8, 2:8], TRUTH[9:15, 2:14] = 1, 2


@pytest.mark.parametrize("background", [True, False])
def test_unknown_pixels_teach_nothing(background):
    semantic = Semantic(2, background)
    target = torch.from_numpy(semantic.encode(Labels(TRUTH, np.array([0, 2, 0], np.uint8)))["types"])[None]
    raw = torch.randn(1, 2 + background, 16, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    terms = semantic.loss_terms(raw, {"types": target}, torch.zeros(1))
    assert set(terms) == set(semantic.loss_weights)
    assert all(value > 0 for value in terms.values())
    sum(terms.values()).backward()
    learnt = raw.grad[0].abs().sum(0).numpy() > 0
    assert learnt[TRUTH == 1].all()
    assert not learnt[TRUTH == 2].any()
    assert learnt[TRUTH == 0].all() == background


def test_labels_without_classes_teach_nothing():
    semantic = Semantic(2)
    assert semantic.encode(Labels(TRUTH))["types"].max() == 0
    raw = torch.randn(1, 3, 16, 16, requires_grad=True)
    target = {"types": torch.zeros(1, 3, 16, 16)}
    terms = semantic.loss_terms(raw, target, torch.ones(1))
    assert all(value == 0 for value in terms.values())


def test_the_truth_costs_nothing():
    semantic = Semantic(2)
    target = torch.from_numpy(semantic.encode(Labels(TRUTH, np.array([0, 2, 1], np.uint8)))["types"])[None]
    terms = semantic.loss_terms(60 * target, {"types": target}, torch.ones(1))
    assert all(value.item() == pytest.approx(0, abs=1e-4) for value in terms.values())
