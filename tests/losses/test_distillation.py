"""The distillation terms against the same formulas written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from histocyte.losses.distillation import (
    feature_distance,
    merged_divergence,
    softened_binary_divergence,
    softened_divergence,
    weighted_squared_error,
)

rng = np.random.default_rng(3)
STUDENT, TEACHER = (rng.normal(0, 6, (2, 5, 4, 3)).astype(np.float32) for _ in range(2))


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z.astype(np.float64))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 14.0])
@pytest.mark.parametrize("squared", [True, False])
def test_the_divergence_is_hintons(temperature: float, squared: bool) -> None:
    theirs, mine = softmax(TEACHER / temperature), softmax(STUDENT / temperature)
    by_hand = (theirs * np.log(theirs / mine)).sum(axis=1).mean() * (temperature**2 if squared else 1)
    found = softened_divergence(
        torch.from_numpy(STUDENT), torch.from_numpy(TEACHER), temperature=temperature, squared=squared
    )
    assert float(found) == pytest.approx(by_hand, rel=1e-4)


def test_one_pixel_by_hand() -> None:
    """Logits 28, 0 of the teacher and 0, 0 of the student at T = 14: softmax(2, 0) against a half each, times 196."""
    p = 1 / (1 + np.exp(-2.0))
    by_hand = 196 * (p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p)))
    assert by_hand == pytest.approx(64.2514, abs=1e-3)
    teacher = torch.tensor([28.0, 0.0]).view(1, 2, 1, 1)
    assert float(softened_divergence(torch.zeros_like(teacher), teacher, temperature=14)) == pytest.approx(by_hand)
    one = softened_binary_divergence(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 28.0), temperature=14)
    assert float(one) == pytest.approx(by_hand, rel=1e-5)


def test_logarithms_of_probabilities_do_as_logits() -> None:
    student, teacher = torch.from_numpy(STUDENT), torch.from_numpy(TEACHER)
    a = softened_divergence(student, teacher, temperature=14)
    assert float(softened_divergence(student, teacher.log_softmax(1), temperature=14)) == pytest.approx(float(a))
    assert float(softened_divergence(teacher, teacher, temperature=14)) == pytest.approx(0, abs=1e-5)


def test_the_binary_divergence_is_that_of_two_classes() -> None:
    student, teacher = torch.from_numpy(STUDENT[:, :1]), torch.from_numpy(TEACHER[:, :1])
    two = softened_divergence(
        torch.cat([torch.zeros_like(student), student], 1),
        torch.cat([torch.zeros_like(teacher), teacher], 1),
        temperature=3,
    )
    assert float(softened_binary_divergence(student, teacher, temperature=3)) == pytest.approx(float(two), rel=1e-5)
    sure = torch.full((1, 1, 1, 1), 200.0)
    assert torch.isfinite(softened_binary_divergence(-sure, sure, temperature=1))


def test_the_temperature_squared_keeps_the_gradients_size() -> None:
    """Near each other, T² KL comes to half the variance of the difference of logits, whatever T."""
    student = torch.from_numpy(TEACHER * 0.01).requires_grad_()
    teacher = torch.from_numpy(TEACHER * 0.02)
    sizes = []
    for temperature in (5.0, 50.0):
        softened_divergence(student, teacher, temperature=temperature).backward()
        assert student.grad is not None
        sizes.append(float(student.grad.norm()))
        student.grad = None
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


def test_squared_errors_count_by_weight() -> None:
    student, teacher = torch.zeros(1, 2, 1, 2), torch.tensor([[[[1.0, 5.0]], [[3.0, 5.0]]]])
    assert float(weighted_squared_error(student, teacher)) == pytest.approx((1 + 25 + 9 + 25) / 4)
    assert float(weighted_squared_error(student, teacher, torch.tensor([[[[1.0, 0.0]]]]))) == pytest.approx(5)


def test_features_are_compared_on_the_coarser_grid() -> None:
    teacher = torch.randn(1, 3, 2, 2, generator=torch.manual_seed(0))
    finer = teacher.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert float(feature_distance(finer, teacher, way="mse")) == pytest.approx(0, abs=1e-6)
    assert float(feature_distance(5 * finer, teacher, way="cosine")) == pytest.approx(0, abs=1e-5)
    assert float(feature_distance(-finer, teacher, way="cosine")) == pytest.approx(2, abs=1e-5)
    assert float(feature_distance(0 * finer, 7 * teacher, way="mse")) == pytest.approx(1, abs=1e-5)


def test_two_lists_of_one_class_each_are_as_if_they_were_one() -> None:
    generator = torch.manual_seed(0)
    student, teacher = (torch.randn(2, 4, 5, 6, generator=generator) for _ in range(2))
    order = [0, 3, 1, 2]  # the student's classes stand in another order
    groups = [((1,), (3,)), ((2,), (1,)), ((3,), (2,))]
    merged = merged_divergence(student, teacher, groups, temperature=1)
    torch.testing.assert_close(merged, softened_divergence(student[:, order], teacher, temperature=1))


def test_what_one_list_alone_says_is_left_as_it_is() -> None:
    """The teacher's 1 and 2 are the student's 2, its 3 is the student's 1 or 4; its 4 and the student's 3 are alone."""
    generator = torch.manual_seed(1)
    teacher = 2 * torch.randn(1, 5, 3, 3, generator=generator)
    student = torch.randn(1, 5, 3, 3, generator=generator).requires_grad_()
    groups = [((1, 2), (2,)), ((3,), (1, 4))]
    before = student.detach().softmax(1)
    for temperature in (1.0, 3.0):
        one = merged_divergence(student, teacher, groups, temperature=temperature, squared=False)
        squared = merged_divergence(student, teacher, groups, temperature=temperature)
        torch.testing.assert_close(squared, one * temperature**2)
    optimiser = torch.optim.Adam([student], lr=0.05)
    for _ in range(600):
        optimiser.zero_grad()
        loss = merged_divergence(student, teacher, groups, temperature=2)
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 1e-5
    mine, theirs = student.detach().softmax(1), teacher.softmax(1)
    torch.testing.assert_close(mine[:, 0], theirs[:, 0], atol=0.01, rtol=0)
    share = theirs[:, 1:3].sum(1) / theirs[:, 1:4].sum(1)
    torch.testing.assert_close(mine[:, 2] / mine[:, [1, 2, 4]].sum(1), share, atol=0.01, rtol=0)
    torch.testing.assert_close(mine[:, 1] / mine[:, 4], before[:, 1] / before[:, 4], atol=0.2, rtol=0.2)
    single = merged_divergence(student, teacher, [((1,), (2,))], temperature=2)
    yes_or_no = [z[:, 1:].logsumexp(1, keepdim=True) - z[:, :1] for z in (student, teacher)]
    torch.testing.assert_close(single, softened_binary_divergence(*yes_or_no, temperature=2))
