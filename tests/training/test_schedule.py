"""Learning rates over a run."""

from __future__ import annotations

import pytest

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.training.schedule import SCHEDULES, learning_rate_factor, plateaus, warmup_hold_cooldown


def factors(schedule: dict[str, object], total: int, epoch: int = 0, scores: tuple[float, ...] = ()) -> list[float]:
    return [learning_rate_factor(schedule, s, total, epoch_steps=epoch, scores=scores) for s in range(total)]


def test_cellvits_logged_rates() -> None:
    found = [3e-4 * f for f in factors({"name": "exponential", "gamma": 0.95}, 30, 10)]
    assert found[9] == pytest.approx(3.00e-4)
    assert found[10] == pytest.approx(2.85e-4)
    assert found[20] == pytest.approx(2.71e-4, abs=5e-7)


def test_cosine_from_one_to_the_least() -> None:
    found = factors({"name": "cosine", "least": 0.002}, 1000)
    assert found[0] == 1
    assert found[500] == pytest.approx(0.501)
    assert found[-1] == pytest.approx(0.002, abs=1e-5)
    assert found == sorted(found, reverse=True)


def test_steps_begin_anew_with_the_second_phase() -> None:
    found = factors({"name": "steps", "gamma": 0.1, "epochs": 25, "restart": 50}, 100, 1)
    assert [found[i] for i in (0, 24, 25, 49, 50, 74, 75, 99)] == pytest.approx([1, 1, 0.1, 0.1] * 2)


def test_ramp_and_halvings_of_cellpose() -> None:
    found = factors({"name": "ramp_and_halve", "warmup": 10, "halvings": 10, "every": 10}, 500, 1)
    assert found[0] == 0
    assert found[5] == 0.5
    assert found[10] == found[399] == 1
    assert found[400] == 0.5
    assert found[499] == pytest.approx(0.5**10)


def test_plateaus_follow_the_scores() -> None:
    schedule = {"name": "plateau", "gamma": 0.5, "patience": 2}
    assert learning_rate_factor(schedule, 5, 10, scores=[0.1, 0.2]) == 1
    assert learning_rate_factor(schedule, 5, 10, scores=[0.1, 0.2, 0.2, 0.1]) == 0.5
    assert plateaus([], 1) == 0
    assert plateaus([float("nan")] * 3, 3) == 1


def test_no_name_is_our_own_way() -> None:
    assert factors({}, 400) == [warmup_hold_cooldown(s, 400) for s in range(400)]
    assert factors({"name": "warmup_hold_cooldown", "warmup": 2}, 400)[1] == 1


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="No schedule called 'exponentail'. Did you mean 'exponential'"):
        factors({"name": "exponentail"}, 1)
    with pytest.raises(InputError, match="goes by epochs"):
        factors({"name": "exponential", "gamma": 0.9}, 1)
    with pytest.raises(InputError, match="does not take the options"):
        factors({"name": "cosine", "gamma": 0.9}, 1)
    assert len(SCHEDULES) == 7
