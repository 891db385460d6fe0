"""Class and score of an instance from the probabilities of its pixels."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from histocyte.representations.shared.vote import vote, vote_plain


@pytest.fixture
def field():
    rng = np.random.default_rng(3)
    labels = np.repeat(np.repeat(rng.integers(0, 6, (40, 8)), 4, 0), 4, 1).astype(np.int32)  # more than one strip
    types = rng.dirichlet(np.ones(4), (160, 32)).transpose(2, 0, 1).astype(np.float32)
    return labels, rng.random((160, 32), np.float32), types


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_compiled_and_plain_vote_alike(field, dtype):
    labels, nucleus, types = field[0], field[1].astype(dtype), field[2].astype(dtype)
    nucleus[::7, ::5] = np.nan
    types[1, ::3] = np.nan
    ours, plain = vote(labels, nucleus, types), vote_plain(labels, nucleus, types)
    assert np.allclose(ours.scores, plain.scores, atol=1e-6)
    assert np.allclose(ours.class_probabilities, plain.class_probabilities, atol=1e-6)


def test_doubt_counts_where_a_majority_would_hide_it():
    labels = np.ones((1, 3), np.int32)
    types = np.array([[0.0, 0.0, 0.0], [0.6, 0.6, 0.0], [0.4, 0.4, 1.0]], np.float32)[:, None]
    assert np.allclose(vote(labels, np.ones((1, 3)), types).class_probabilities, [[0.4, 0.6]])


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
