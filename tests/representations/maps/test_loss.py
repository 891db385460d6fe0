"""The loss terms of a map of classes, which all representations share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from histocyte.core.instances import Labels
from histocyte.losses.pixel import cross_entropy
from histocyte.losses.region import dice, multiclass_focal_tversky
from histocyte.representations.distance.scheme import Distance
from histocyte.representations.flow.scheme import Flow
from histocyte.representations.hover.scheme import Hover
from histocyte.representations.maps.loss import known_classes, types_loss_terms
from histocyte.representations.maps.types_map import types_map
from histocyte.representations.protocol import Representation
from histocyte.representations.star.scheme import Star

torch.set_num_threads(1)
TRUTH = np.zeros((16, 16), np.int32)
TRUTH[2:8, 2:8], TRUTH[2:8, 8:14], TRUTH[10:14, 3:10] = 1, 2, 3


def truth_of(*types: int) -> Tensor:
    return torch.from_numpy(types_map(Labels(TRUTH, np.array((0, *types), np.uint8)), 2))[None]


def test_classes_are_known_where_an_image_says_any() -> None:
    known = known_classes(torch.cat([truth_of(1, 2, 0), truth_of(0, 0, 0)]))
    assert np.array_equal(known[0, 0].numpy() > 0, TRUTH != 3)
    assert known[1].sum() == 0


def test_an_image_without_nuclei_teaches_background_and_one_of_unknown_classes_nothing() -> None:
    empty = np.zeros((16, 16), np.int32)
    raw = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for labels, teaches in ((Labels(empty, np.zeros(1, np.uint8)), True), (Labels(TRUTH), False)):
        truth = torch.from_numpy(types_map(labels, 2))[None]
        assert known_classes(truth).mean() == teaches
        for name, term in types_loss_terms(raw, truth).items():
            (gradient,) = torch.autograd.grad(term, raw, retain_graph=True)
            assert (gradient[:, 0] < 0).all() if teaches else not gradient.any(), name


def test_terms_are_those_of_the_known_pixels() -> None:
    raw, truth = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)), truth_of(1, 2, 0)
    terms = types_loss_terms(raw, truth)
    seen = torch.from_numpy(TRUTH != 3)
    said, true = raw.softmax(1)[:, :, seen][..., None], truth[:, :, seen][..., None]
    assert terms["types_ce"].item() == pytest.approx(cross_entropy(said, true).item(), rel=1e-5)
    assert terms["types_dice"].item() == pytest.approx(dice(said, true).item(), rel=1e-5)
    assert terms["types_focal_tversky"].item() == pytest.approx(multiclass_focal_tversky(said, true).item(), rel=1e-5)


@pytest.mark.parametrize("representation", [Hover(2), Star(2), Flow(2), Distance(2)], ids=lambda r: type(r).__name__)
def test_every_representation_learns_classes_from_known_nuclei_alone(representation: Representation) -> None:
    """Of two images the second knows no class: it says nothing, not even what is background."""
    target = {}
    for name in (spec.name for spec in representation.maps):
        pair = [representation.encode(Labels(TRUTH, np.array(t, np.uint8)))[name] for t in ((0, 1, 2, 1), (0, 0, 0, 0))]
        target[name] = torch.from_numpy(np.stack(pair))
    channels = sum(spec.channels for spec in representation.maps)
    raw = torch.randn(2, channels, 16, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)
    terms = representation.loss_terms(raw, target, torch.ones(2))
    torch.stack([value for name, value in terms.items() if name.startswith("types")]).sum().backward()
    assert raw.grad is not None
    assert (raw.grad[0, -3:].abs().sum(0) > 0).all()
    assert raw.grad[1].abs().max() == 0


def test_a_label_that_leaves_the_class_open_teaches_the_sum_of_what_it_may_be() -> None:
    one_of = np.array([[0, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
    labels = Labels(TRUTH, np.array([0, 0, 3, 0], np.uint8), one_of)
    truth = torch.from_numpy(types_map(labels, 3))[None]
    raw = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3), requires_grad=True)
    terms = types_loss_terms(raw, truth)
    p = raw.detach().softmax(1)[0].numpy()
    per_pixel = np.select(
        [TRUTH == 0, TRUTH == 1, TRUTH == 2], [-np.log(p[0]), -np.log(p[1] + p[2]), -np.log(p[3])], 0.0
    )
    assert terms["types_ce"].item() == pytest.approx(per_pixel.sum() / (TRUTH != 3).sum(), rel=1e-5)
    terms["types_ce"].backward()
    assert raw.grad is not None
    down = raw.grad[0][:, torch.from_numpy(TRUTH == 1)]
    assert (down[1:3] < 0).all()  # both are pushed up
    assert (down[[0, 3]] > 0).all()
    assert np.array_equal(known_classes(truth)[0, 0].numpy() > 0, (TRUTH == 0) | (TRUTH == 2))
