"""Class and score of an instance from the probabilities of its pixels."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from histocyte.core.instances import Labels
from histocyte.representations.flow.scheme import Flow
from histocyte.representations.hover.scheme import Hover
from histocyte.representations.shared.vote import vote, vote_plain
from histocyte.representations.star.scheme import Star


@pytest.fixture
def field():
    rng = np.random.default_rng(3)
    labels = np.repeat(np.repeat(rng.integers(0, 6, (40, 8)), 4, 0), 4, 1).astype(np.int32)  # more than one strip
    types = rng.dirichlet(np.ones(4), (160, 32)).transpose(2, 0, 1).astype(np.float32)
    return labels, rng.random((160, 32), np.float32), types


@pytest.mark.parametrize("majority", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_compiled_and_plain_vote_alike(field, dtype, majority):
    labels, nucleus, types = field[0], field[1].astype(dtype), field[2].astype(dtype)
    nucleus[::7, ::5] = np.nan
    types[1, ::3] = np.nan
    types[:, 5, 5] = np.nan
    ours, plain = (how(labels, nucleus, types, majority=majority) for how in (vote, vote_plain))
    assert np.allclose(ours.scores, plain.scores, atol=1e-6)
    assert np.allclose(ours.class_probabilities, plain.class_probabilities, atol=1e-6)


def test_doubt_counts_where_a_majority_would_hide_it():
    labels = np.ones((1, 3), np.int32)
    types = np.array([[0.0, 0.0, 0.0], [0.6, 0.6, 0.0], [0.4, 0.4, 1.0]], np.float32)[:, None]
    assert np.allclose(vote(labels, np.ones((1, 3)), types).class_probabilities, [[0.4, 0.6]])


def test_as_published_the_class_of_most_pixels_counts():
    labels = np.ones((1, 10), np.int32)
    types = np.zeros((3, 1, 10), np.float32)
    types[1:, 0, :6], types[1:, 0, 6:] = [[0.51], [0.49]], [[0.01], [0.99]]
    nucleus = np.ones((1, 10))
    assert np.allclose(vote(labels, nucleus, types, majority=True).class_probabilities, [[0.6, 0.4]])
    assert np.allclose(vote(labels, nucleus, types).class_probabilities, [[0.31, 0.69]])


@pytest.mark.parametrize("scheme", [Hover, Flow, Star])
def test_schemes_read_as_published_take_the_class_of_most_pixels(scheme):
    rows, columns = np.mgrid[:48, :48]
    labels = Labels(((rows - 24) ** 2 + (columns - 24) ** 2 < 150).astype(np.int32), np.array([0, 1], np.uint8))
    for compat, expected in ((False, 1), (True, 0)):
        representation = scheme(2, compat=compat)
        maps = dict(representation.encode(labels))
        maps["types"] = np.where(rows < 26, np.array([0, 0.51, 0.49])[:, None, None], [[[0]], [[0.01]], [[0.99]]])
        found = representation.decode({**maps, "types": maps["types"].astype(np.float32)})
        assert found.class_probabilities.argmax(axis=1).tolist() == [expected]


def test_as_published_a_nucleus_of_background_alone_has_the_class_its_probabilities_tell():
    types = np.array([0.9, 0.02, 0.08], np.float32)[:, None, None]
    found = vote(np.ones((1, 1), np.int32), np.ones((1, 1)), types, majority=True)
    assert np.allclose(found.class_probabilities, [[0.2, 0.8]])


def test_background_is_left_out_of_the_classes():
    types = np.array([0.9, 0.075, 0.025], np.float32)[:, None, None]
    assert np.allclose(vote(np.ones((1, 1), np.int32), np.ones((1, 1)), types).class_probabilities, [[0.75, 0.25]])


def test_without_any_evidence_classes_are_equal():
    types = np.full((3, 1, 1), np.nan, np.float32)
    found = vote(np.ones((1, 1), np.int32), np.full((1, 1), np.nan), types)
    assert found.class_probabilities.tolist() == [[0.5, 0.5]]
    assert found.scores.tolist() == [0.0]


def test_no_instances_and_no_classes():
    found = vote(np.zeros((4, 4), np.int32), np.ones((4, 4)), np.ones((3, 4, 4)))
    assert found.class_probabilities.shape == (0, 2)
    assert vote(np.ones((4, 4), np.int32), np.ones((4, 4))).class_probabilities.shape == (1, 0)


def test_nothing_warns_on_missing_values():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vote(np.ones((2, 2), np.int32), np.full((2, 2), np.nan), np.full((2, 2, 2), np.nan))
