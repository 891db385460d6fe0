"""When a run cannot go on: the loss is not a number, or has left for good."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from statistics import median

from histocyte.core.errors import HistocyteError

__all__ = ["DivergenceWatch", "TrainingError"]

_WINDOW = 200
"""Steps whose median is the usual loss: long enough to smooth batches, short enough to follow a loss that falls."""
_LEAST = 20
"""Steps before there is a usual loss."""

_WAY_OUT = "The last good checkpoint is kept. Begin again in another folder with a lower learning rate"


class TrainingError(HistocyteError):
    """A run that cannot go on; its last good checkpoint is kept."""


class DivergenceWatch:
    """Ends a run whose loss is more than `factor` times its usual value for `steps` steps in a row.

    The usual value is the median of the last 200 losses, those that are too large left out. A batch of rare crops
    raises the loss of a step or two; of 35 runs of all recipes none had a loss of twice its usual value.

    Args:
        factor: 0 for no watch.
        steps: In a row.
        seen: Losses of the steps before, of a run that goes on.
    """

    def __init__(self, factor: float, steps: int, seen: Iterable[float] = ()) -> None:
        self.factor, self.steps, self.strikes = factor, steps, 0
        self._usual: deque[float] = deque(maxlen=_WINDOW)
        for loss in seen:
            self._count(loss)

    @property
    def suspicious(self) -> bool:
        """Whether the last loss was too large: not the moment to keep the weights."""
        return self.strikes > 0

    def see(self, step: int, loss: float, terms: Mapping[str, float]) -> None:
        """Take note of a step's loss.

        Raises:
            TrainingError: It is not a number, or the last of too many that are too large.
        """
        if not math.isfinite(loss):
            values = ", ".join(f"{name} {value:g}" for name, value in terms.items())
            raise TrainingError(f"The loss of step {step:,} is not finite ({values}). {_WAY_OUT}.")
        self._count(loss)
        if self.factor and self.strikes >= self.steps:
            raise TrainingError(
                f"The training diverges: for {self.strikes} steps up to step {step:,} the loss has been more than "
                f"{self.factor:g} times its usual value (now {loss:.3g}, before {median(self._usual):.3g}). {_WAY_OUT}."
            )

    def _count(self, loss: float) -> None:
        if len(self._usual) >= _LEAST and self.factor and loss > self.factor * median(self._usual):
            self.strikes += 1
            return
        self.strikes = 0
        self._usual.append(loss)
