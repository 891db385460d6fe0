"""The number of torch's threads, which is one for the whole process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["threads_as_before"]


@contextmanager
def threads_as_before() -> Iterator[None]:
    """Whatever a run makes of the number of threads, the process that called it gets its own back."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
