"""Every reader and every command, each with the small inputs it is attacked with: for `fuzz.py` and the tests.

A new reader or command gets a line in one of these lists. What is written here is whole; `histocyte.testing.mutations`
damages it.
"""

from __future__ import annotations

from fuzzing import cells, commands, data, models, slides, training

__all__ = ["TARGETS"]

TARGETS = (
    *slides.TARGETS,
    *cells.TARGETS,
    *models.TARGETS,
    *training.TARGETS,
    *commands.TARGETS,
    *data.TARGETS,
)
"""All of them."""
