"""Learning rate over a run, as a factor on its peak."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from histocyte.core.errors import InputError, UnknownNameError

__all__ = ["SCHEDULES", "learning_rate_factor", "plateaus", "warmup_hold_cooldown"]


def warmup_hold_cooldown(step: int, total: int, *, warmup: int = 100, cooldown: float = 0.35) -> float:
    """Factor on the learning rate at a step.

    Linear from 0 over `warmup` steps, 1 until the last `cooldown` share of the run, then linear to 0. Because the
    middle is flat, a run may be made longer while it is under way without having been wrong so far (Hägele et al.
    2024).

    >>> [round(warmup_hold_cooldown(s, 1000), 2) for s in (0, 50, 500, 825, 1000)]
    [0.01, 0.51, 1.0, 0.5, 0.0]
    """
    start = total * (1 - cooldown)
    if step < warmup:
        return (step + 1) / warmup
    return 1.0 if step <= start else max(0.0, (total - step) / (total - start))


def plateaus(scores: Sequence[float], patience: int) -> int:
    """How often `patience` scores in a row were no better than the best before them; each time the count starts over.

    >>> plateaus([0.1, 0.3, 0.2, 0.3, 0.4, 0.1, 0.1, 0.1, 0.1], 2)
    3
    """
    best, bad, found = -math.inf, 0, 0
    for score in scores:
        better = score > best
        best, bad = (score, 0) if better else (best, bad + 1)
        if bad >= patience:
            bad, found = 0, found + 1
    return found


def learning_rate_factor(
    schedule: Mapping[str, Any], step: int, total: int, *, epoch_steps: int = 0, scores: Sequence[float] = ()
) -> float:
    """Factor of a schedule by name.

    Args:
        schedule: {"name": one of `SCHEDULES`, and its options}; empty for "warmup_hold_cooldown".
        step: From 0.
        total: Steps of the run.
        epoch_steps: Steps of an epoch.
        scores: Scores of the validations so far, higher is better.

    Raises:
        UnknownNameError: No such schedule.
        InputError: Options that it does not take, or no epochs to go by.

    >>> learning_rate_factor({"name": "exponential", "gamma": 0.95}, 25, 100, epoch_steps=10)
    0.9025
    """
    options = {k: v for k, v in schedule.items() if k != "name"}
    name = str(schedule.get("name", "warmup_hold_cooldown"))
    if name not in SCHEDULES:
        raise UnknownNameError("schedule", name, SCHEDULES)
    own = name == "warmup_hold_cooldown"
    if epoch_steps < 1 and not own and name not in ("constant", "plateau", "cosine"):
        raise InputError(f"The schedule '{name}' goes by epochs; say how many steps one has (epoch_steps).")
    try:
        if own:
            return warmup_hold_cooldown(step, total, **options)
        return SCHEDULES[name](step, total, max(1, epoch_steps), scores, **options)
    except TypeError as error:
        raise InputError(f"The schedule '{name}' does not take the options {options}: {error}.") from error


def _constant(step: int, total: int, epoch_steps: int, scores: Sequence[float]) -> float:
    return 1.0


def _exponential(step: int, total: int, epoch_steps: int, scores: Sequence[float], *, gamma: float) -> float:
    """γ after each epoch."""
    return float(gamma ** (step // epoch_steps))


def _cosine(step: int, total: int, epoch_steps: int, scores: Sequence[float], *, least: float = 0.0) -> float:
    """Half a cosine from 1 down to `least` (Loshchilov & Hutter 2017, without restarts)."""
    return least + (1 - least) * 0.5 * (1 + math.cos(math.pi * step / total))


def _steps(
    step: int, total: int, epoch_steps: int, scores: Sequence[float], *, gamma: float, epochs: int, restart: int = 0
) -> float:
    """γ after every so many epochs; from epoch `restart` on, again."""
    epoch = step // epoch_steps
    if restart and epoch >= restart:
        epoch -= restart
    return float(gamma ** (epoch // epochs))


def _plateau(step: int, total: int, epoch_steps: int, scores: Sequence[float], *, gamma: float, patience: int) -> float:
    """γ whenever so many validations in a row brought no better score."""
    return float(gamma ** plateaus(scores, patience))


def _ramp_and_halve(
    step: int, total: int, epoch_steps: int, scores: Sequence[float], *, warmup: int, halvings: int, every: int
) -> float:
    """Linear from 0 over the first epochs; in the last ones half as much every so many."""
    epoch, epochs = step // epoch_steps, -(-total // epoch_steps)
    rise = min(1.0, epoch / warmup) if warmup else 1.0
    late = epoch - (epochs - halvings * every)
    return rise * (0.5 ** (1 + late // every) if late >= 0 else 1.0)


SCHEDULES: Mapping[str, Callable[..., float]] = {
    "warmup_hold_cooldown": warmup_hold_cooldown,
    "constant": _constant,
    "exponential": _exponential,
    "cosine": _cosine,
    "steps": _steps,
    "plateau": _plateau,
    "ramp_and_halve": _ramp_and_halve,
}
"""By name."""
