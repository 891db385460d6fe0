"""Learning rate over a run: warm up, hold, and cool down at the end."""

from __future__ import annotations

__all__ = ["warmup_hold_cooldown"]


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
