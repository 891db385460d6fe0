"""A loss that is not a number or has left for good ends a run; one bad batch does not."""

from __future__ import annotations

import math

import pytest

from histocyte.training.watch import DivergenceWatch, TrainingError


def test_a_bad_batch_is_forgiven_and_a_lasting_rise_is_not() -> None:
    watch = DivergenceWatch(5.0, 4)
    for step in range(1, 101):
        watch.see(step, 2.0 + 0.1 * math.sin(step), {})
    for step in (101, 102, 103):
        watch.see(step, 40.0, {})
        assert watch.suspicious
    watch.see(104, 2.0, {})
    assert not watch.suspicious
    for step in (105, 106, 107):
        watch.see(step, 40.0, {})
    with pytest.raises(TrainingError, match=r"diverges: for 4 steps up to step 108 .*more than 5 times.*lower"):
        watch.see(108, 40.0, {})


def test_a_loss_that_is_no_number_names_its_terms() -> None:
    for loss in (math.nan, math.inf):
        with pytest.raises(TrainingError, match=r"loss of step 3 is not finite \(dice nan, ce 1\)"):
            DivergenceWatch(0.0, 50).see(3, loss, {"dice": math.nan, "ce": 1.0})


def test_a_run_that_goes_on_remembers() -> None:
    usual = [1.0] * 30 + [9.0] * 3
    watch = DivergenceWatch(5.0, 4, usual)
    assert watch.suspicious
    with pytest.raises(TrainingError, match="diverges"):
        watch.see(34, 9.0, {})


def test_without_a_factor_and_at_the_beginning_nothing_is_said() -> None:
    for watch in (DivergenceWatch(0.0, 1, [1.0] * 100), DivergenceWatch(5.0, 1, [1.0] * 5)):
        watch.see(101, 1e6, {})
        assert not watch.suspicious
