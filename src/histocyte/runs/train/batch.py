"""How many crops a step of a training has where nobody says: as many as suit the machine."""

from __future__ import annotations

import json
from pathlib import Path

from histocyte.inference.cpus import available_cpus
from histocyte.inference.memory import free_memory
from histocyte.model.spec import ModelSpec

__all__ = ["batch_of_run", "suitable_batch"]

_USUAL = 16
_FEWEST = 4
"""That cores ask for: with fewer, batch norms see too little."""
_CROPS_PER_CORE = 2
_SHARE = 0.7
"""Of the free memory; the images are there too."""


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
        spec: Of the network.
        crop_px: Side of a crop.
        device: To train on, as torch names it.
        frozen: Whether its encoder stays as it is.
        processes: That share a batch, and each machine's memory, at worst.
    """
    from histocyte.inference.torch_runtime import free_gpu_memory
    from histocyte.training.demand import demand_of

    demand = demand_of(spec, crop_px, frozen=frozen)
    free = free_memory() if device == "cpu" else free_gpu_memory(device)
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
