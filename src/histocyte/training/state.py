"""A run on disk: everything needed to go on exactly where it stopped, in safetensors and JSON, without pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from histocyte.core.errors import DiskError, ModelError
from histocyte.files.atomic import publish
from histocyte.files.foreign import foreign_parser
from histocyte.training.adapt import Fixed
from histocyte.training.ema import WeightAverage

__all__ = ["load_moving", "load_state", "load_weights", "moving", "save_state", "save_weights"]

_NOTHING = Fixed()


def save_state(
    path: Path,
    model: nn.Module,
    average: WeightAverage,
    optimiser: torch.optim.Optimizer,
    progress: Mapping[str, Any],
    fixed: Fixed = _NOTHING,
) -> None:
    """Write weights, averaged weights, the optimiser's moments, torch's generator and the progress, all or nothing.

    The batches need no state: they follow from the step (`training.crops`). What training leaves as it is (`fixed`) is
    not written, but named by its hash.

    Raises:
        DiskError: The file cannot be written; the one before it is kept.
    """
    tensors = {f"model.{k}": v for k, v in moving(model, fixed).items()}
    tensors |= {f"average.{k}": v for k, v in moving(average.model, fixed).items()}
    state = optimiser.state_dict()["state"]
    tensors |= {f"optimiser.{i}.{k}": torch.as_tensor(v) for i, entry in state.items() for k, v in entry.items()}
    tensors["generator"] = torch.get_rng_state()
    metadata = {
        "progress": json.dumps({**progress, "average_updates": average.updates}),
        **({"fixed_sha256": fixed.sha256} if fixed.names else {}),
    }
    _write(path, tensors, metadata)


def save_weights(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write weights alone, all or nothing.

    Raises:
        DiskError: The file cannot be written; the one before it is kept.
    """
    _write(path, weights)


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """What `save_weights` wrote.

    Raises:
        ModelError: It is not there, or damaged.
    """
    with foreign_parser(
        lambda why: ModelError(f"'{path}' holds no weights that can be read ({why}). Use another folder.")
    ):
        return load_file(path)


def _write(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> None:
    temporary = path.with_suffix(".part")
    own = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
    try:
        save_file(own, temporary, metadata=None if metadata is None else dict(metadata))
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        publish(temporary, path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            temporary.unlink()
        before = "; the one before it is kept" if path.exists() else ""
        raise DiskError(
            f"The checkpoint '{path}' could not be written ({error}){before}. Make room and run the same command again."
        ) from error


def load_state(
    path: Path, model: nn.Module, average: WeightAverage, optimiser: torch.optim.Optimizer, fixed: Fixed = _NOTHING
) -> dict[str, Any]:
    """Put back what `save_state` wrote, into parts of the same build; returns the progress.

    Raises:
        ModelError: Not such a file, of another model, or of one whose fixed weights are others.
    """
    with _is_checkpoint(path):
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            progress = _Progress.model_validate(json.loads(metadata["progress"])).model_dump(exclude_unset=True)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        updates = progress.pop("average_updates")
    if metadata.get("fixed_sha256", fixed.sha256) != fixed.sha256:
        raise ModelError(
            f"'{path}' belongs to a run whose fixed weights are others than these. Go on with the encoder weights that "
            "it began with, or use another folder."
        )
    load_moving(model, _under(tensors, "model."), fixed, where=path)
    load_moving(average.model, _under(tensors, "average."), fixed, where=path)
    average.updates = updates
    with _is_checkpoint(path):
        optimiser.load_state_dict({**optimiser.state_dict(), "state": _moments(tensors, optimiser)})
        torch.set_rng_state(tensors["generator"])
    return progress


class _Progress(BaseModel):
    """How far a run was; further facts are kept as they are."""

    model_config = ConfigDict(extra="allow", strict=True)

    step: Annotated[int, Field(ge=0)]
    average_updates: Annotated[int, Field(ge=0)]
    best: float | None = None
    scores: list[float] = Field(default_factory=list)


def _is_checkpoint(path: Path) -> AbstractContextManager[None]:
    remedy = "Delete it, and the run starts over; a model.safetensors in its folder stays of use."
    return foreign_parser(lambda why: ModelError(f"'{path}' is not a checkpoint of a training run ({why}). {remedy}"))


def _moments(
    tensors: Mapping[str, torch.Tensor], optimiser: torch.optim.Optimizer
) -> dict[int, dict[str, torch.Tensor]]:
    """What the optimiser keeps of each parameter, by the parameter's number.

    Raises:
        ValueError: It is not what it keeps of these.
    """
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in _under(tensors, "optimiser.").items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = tensor
    shapes = [parameter.shape for group in optimiser.param_groups for parameter in group["params"]]
    names = {frozenset(kept) for kept in moments.values()}
    for number, kept in moments.items():
        if len(names) > 1 or any(tensor.shape not in ((), shapes[number]) for tensor in kept.values()):
            raise ValueError(f"its optimiser kept something else of parameter {number}")
    return moments


def moving(model: nn.Module, fixed: Fixed) -> dict[str, torch.Tensor]:
    """The tensors of a model that training may change."""
    return {k: v for k, v in model.state_dict().items() if k not in fixed.names}


def load_moving(model: nn.Module, tensors: Mapping[str, torch.Tensor], fixed: Fixed, *, where: Path) -> None:
    """Load what `moving` gave; fixed tensors may be among them.

    Raises:
        ModelError: Missing, left over or of another shape.
    """
    try:
        missing, left_over = model.load_state_dict(dict(tensors), strict=False)
    except RuntimeError as error:
        raise ModelError(f"'{where}' belongs to another model: {str(error).splitlines()[1].strip()}") from error
    missing = [k for k in missing if k not in fixed.names]
    if missing or left_over:
        raise ModelError(
            f"'{where}' belongs to another model. Missing: {', '.join(missing[:8]) or 'nothing'}; "
            f"left over: {', '.join(left_over[:8]) or 'nothing'}."
        )


def _under(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
