"""How many crops a step of a training has where nobody says: as many as suit the machine."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from histocyte.inference.cpus import available_cpus
from histocyte.inference.torch_runtime import free_gpu_memory
from histocyte.model.build import build_segmenter
from histocyte.model.spec import ModelSpec

__all__ = ["Demand", "batch_of_run", "demand_of", "suitable_batch"]

_USUAL = 16
_FEWEST = 4
"""That cores ask for: with fewer, batch norms see too little."""
_CROPS_PER_CORE = 2
_SHARE = 0.7
"""Share of the free memory that a batch may take; the images need some too."""
_FLOAT_BYTES = 4
_COPIES = 5
"""Copies of the weights: themselves, their average, gradients, and Adam's two moments."""
_BESIDE = 2.0
"""What a step takes for each byte that it keeps for the way back: gradients, and what kernels work in. Measured with
`hover_unet` on a CPU: 1.75."""
_CGROUP = Path("/sys/fs/cgroup")


def batch_of_run(folder: Path) -> int | None:
    """The batch of the run in a folder, which goes on with it wherever that is; None where there is no run."""
    try:
        found = json.loads((folder / "options.json").read_text(encoding="utf-8"))["batch"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # nothing there, or what the run itself refuses
    return found if isinstance(found, int) and found > 0 else None


def suitable_batch(
    spec: ModelSpec, crop_px: int, device: str, *, frozen: bool = False, processes: int = 1
) -> tuple[int, str]:
    """A batch for a machine, and why it is none of 16 crops; nothing where it is.

    On a GPU as many as fit its memory; on a CPU two for each core, four at least, so that a step takes seconds, and as
    many as fit.

    Args:
        spec: Spec of the network.
        crop_px: Side of a crop.
        device: To train on, as torch names it.
        frozen: Whether its encoder stays as it is.
        processes: That share a batch, and each machine's memory, at worst.
    """
    demand = demand_of(spec, crop_px, frozen=frozen)
    free = _free_memory() if device == "cpu" else free_gpu_memory(device)
    batch, why = _USUAL, ""
    cores = available_cpus()
    if device == "cpu" and _CROPS_PER_CORE * cores < batch:
        batch = max(_FEWEST, 1 << (_CROPS_PER_CORE * cores).bit_length() - 1)
        why = f"suit {cores} processor{'s' * (cores > 1)}"
    while free is not None and batch > 1 and processes * demand.of(-(-batch // processes)) > _SHARE * free:
        batch //= 2
        why = f"suit the {free / 1e9:.1f} GB of memory that are free"
    batch = max(1, batch // processes) * processes
    if not why:
        return batch, ""
    return batch, f"Batches of {batch} {'crop' if batch == 1 else 'crops'} {why}; the usual are --batch {_USUAL}."


@dataclass(frozen=True, slots=True)
class Demand:
    """Memory of a step, bytes in single precision.

    Attributes:
        weights: Whatever the batch.
        crop: For each crop of the batch.
    """

    weights: int
    crop: int

    def of(self, batch: int) -> int:
        """For a batch of so many crops."""
        return self.weights + batch * self.crop


def demand_of(spec: ModelSpec, crop_px: int, *, frozen: bool = False) -> Demand:
    """What training a network takes.

    Args:
        spec: Spec of the network.
        crop_px: Side of a crop.
        frozen: Whether its encoder stays as it is.
    """
    with torch.device("meta"):
        model = build_segmenter(spec).train()
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(not frozen)
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def see(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    crops = 2  # a batch norm wants more than one value of a channel
    with torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor):
        maps = model(torch.empty(crops, 3, crop_px, crop_px, device="meta"))
    learnt = sum(p.numel() for p in model.parameters() if p.requires_grad)
    every = sum(p.numel() for p in model.parameters())
    weights = _FLOAT_BYTES * (every + (_COPIES - 1) * learnt)
    return Demand(weights, round(_BESIDE * (sum(kept.values()) + maps.nbytes) / crops))


def _free_memory() -> int | None:
    """Bytes: the least of what the system and the control group have left; None where neither says."""
    known = [value for value in (_of_the_system(), _of_the_group()) if value is not None]
    return min(known) if known else None


def _of_the_system() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:  # without Linux' count, all there is
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _of_the_group() -> int | None:
    try:
        most = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        return None if most == "max" else max(0, int(most) - int((_CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        return None
