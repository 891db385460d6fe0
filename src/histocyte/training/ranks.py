"""Several processes that train one model, as torchrun starts them: each draws its share of every batch.

Gradients are averaged after they are computed, not by hooks on the way as `DistributedDataParallel` does it: the loop
thaws encoders under way, runs parts of a model by themselves (on cached features, for a teacher's maps) and trains
adapters, each of which such hooks would have to be told of. All processes then take the same step.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist

from histocyte.core.errors import HistocyteError, InputError

__all__ = ["LostProcessError", "Ranks", "first_to_speak", "joined", "launched", "ranks", "step_seed"]

_PATIENCE = timedelta(hours=6)
"""How long a process waits for the others: the first one validates, and fills caches, while they wait."""
_STORE_PATIENCE = timedelta(seconds=5)
"""How long for the store in which they agree on who reports an error."""


class LostProcessError(HistocyteError):
    """Another process of the training has ended without a word, or cannot be reached."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together; alone where there is one.

    Attributes:
        rank: From 0; the first one writes files and speaks.
        world: How many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def check_batch(self, size: int) -> None:
        """See that a batch can be shared evenly.

        Raises:
            InputError: It cannot.
        """
        if size % self.world:
            raise InputError(f"{size} crops a batch cannot be shared by {self.world} processes; take a multiple of it.")

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.world > 1:
            values = values.clone()
            with _in_touch():
                dist.all_reduce(values)
            values /= self.world
        return values

    def average_gradients(self, model: nn.Module) -> None:
        """Give every weight the mean of all processes' gradients."""
        if self.world > 1:
            self._average([p.grad for p in model.parameters() if p.grad is not None])

    def average_statistics(self, model: nn.Module) -> None:
        """Give every batch norm the mean of all processes' running statistics."""
        if self.world > 1:
            self._average([b for b in model.buffers() if b.dtype.is_floating_point])

    def tell(self, value: Any) -> Any:
        """What the first process passes; it may be any value of plain types."""
        if self.world == 1:
            return value
        told = [value]
        with _in_touch():
            dist.broadcast_object_list(told, src=0)
        return told[0]

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether it is true in any process."""
        if self.world == 1:
            return flag
        found = torch.tensor(float(flag), device=device)
        with _in_touch():
            dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return bool(found.item())

    def wait(self) -> None:
        """Until all have come here."""
        if self.world > 1:
            with _in_touch():
                dist.barrier()

    def _average(self, tensors: list[Tensor]) -> None:
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            by_type.setdefault(tensor.dtype, []).append(tensor)
        for same in by_type.values():
            flat = torch.cat([t.reshape(-1) for t in same])
            with _in_touch():
                dist.all_reduce(flat)
            flat /= self.world
            for tensor, part in zip(same, flat.split([t.numel() for t in same]), strict=True):
                tensor.copy_(part.view_as(tensor))


def ranks() -> Ranks:
    """This process among those that have joined."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return Ranks()


def launched() -> Ranks:
    """This process among those that torchrun started, whether or not they have joined yet."""
    return Ranks(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the other processes that torchrun started, if any, until the block ends.

    On CUDA they speak by NCCL and each takes the GPU of its number on the machine, otherwise by gloo.

    Yields:
        This process among them.

    Raises:
        LostProcessError: One of them did not come, or left.
    """
    if launched().world == 1 or dist.is_initialized():
        yield ranks()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with _killable(), _in_touch():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield ranks()
    finally:
        dist.destroy_process_group()


def first_to_speak() -> bool:
    """Whether this is the first process of those that torchrun started to ask, now that something ends them all.

    They agree by the store that torchrun keeps for them. Where that cannot be reached each is the first: better twice
    than not at all.
    """
    if launched().world == 1:
        return True
    try:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=_STORE_PATIENCE
        )
        return bool(store.add(f"histocyte/spoken/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", 1) == 1)
    except (RuntimeError, KeyError, ValueError):
        return True


@contextmanager
def _in_touch() -> Iterator[None]:
    """Tell errors of speaking to the others, which come from deep within and in many lines, from those of one's own."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(
            "Another process of this training has ended or cannot be reached. The last checkpoint is kept; run the "
            "same command again to go on."
        ) from error


@contextmanager
def _killable() -> Iterator[None]:
    """SIGTERM ends this process as if nothing handled it: while it waits for the others, no handler would be run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of what is random within the network in a step, such as dropout: it follows from these alone."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))
