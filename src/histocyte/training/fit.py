"""The training loop: plain torch, on a CPU or a GPU, that can be killed at any moment and goes on exactly."""

from __future__ import annotations

import csv
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from histocyte.core.errors import HistocyteError, InputError
from histocyte.model.adapters import ATTENTION, DOWN, UP
from histocyte.model.build import build_representation
from histocyte.model.segmenter import Segmenter
from histocyte.model.spec import ModelSpec
from histocyte.representations.protocol import Representation
from histocyte.training.adapt import Fixed, adapt
from histocyte.training.crops import Batch, BatchSource
from histocyte.training.ema import WeightAverage
from histocyte.training.feature_cache import restored
from histocyte.training.precision import Precision, autocast
from histocyte.training.schedule import warmup_hold_cooldown
from histocyte.training.state import load_state, moving, save_state

__all__ = ["Losses", "TrainingError", "TrainingOptions", "fit", "prepare"]


Losses = Callable[[Tensor, Batch], Mapping[str, Tensor]]
"""(B, C, H, W) raw channels of all maps, and the batch they were predicted on → unweighted loss terms, scalars."""


class TrainingError(HistocyteError):
    """A run that cannot go on; its last checkpoint is kept."""


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How a run is done; saved with it."""

    steps: int = 4000
    batch: int = 16
    learning_rate: float = 1e-3
    encoder_factor: float = 0.3
    """Learning rate of the pre-trained encoder, as a share of the decoder's: it needs to move less."""
    weight_decay: float = 1e-4
    clip: float = 5.0
    """Largest norm of the gradient; a rare crop full of tiny nuclei would throw the weights otherwise."""
    average_decay: float = 0.999
    adapt: str = "full"
    """How much of the encoder is trained: full, frozen, last-N or lora (`training.adapt`)."""
    frozen: tuple[str, ...] = ()
    """Further modules that stay as they are, by name prefix, e.g. the first layers of a pre-trained encoder."""
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_targets: tuple[str, ...] = ATTENTION
    """Linear layers of the encoder that get an adapter, by pattern."""
    cached_crops: int = 0
    """Number of crops whose features are kept (`training.feature_cache`); 0 where the encoder runs in every step."""
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    """Weight by loss term; the representation's own where empty."""
    seed: int = 0
    validate_every: int = 500
    checkpoint_every: int = 100
    device: str = "cpu"
    precision: Precision = "auto"


def fit(
    model: Segmenter,
    spec: ModelSpec,
    sampler: BatchSource,
    run: Path,
    options: TrainingOptions,
    *,
    fixed: Fixed | None = None,
    losses: Losses | None = None,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    score: str = "bpq",
    progress: Callable[[int, Mapping[str, float]], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Path:
    """Train, or go on with the run in the folder.

    Args:
        model: With its starting weights; made ready in place (`training.adapt`), with adapters put in for "lora".
        spec: What the model is; written into every model file.
        sampler: Draws the batches: a `CropSampler`, or a `CachedSampler` for a frozen encoder.
        run: Folder of the run: last.safetensors (state), best.safetensors (averaged weights of the best validation),
            both without what stays as it is; log.csv, validation.csv, options.json, progress.json.
        options: How.
        fixed: What `prepare` gave, where the model has been made ready before.
        losses: The loss terms, weighted by `options.loss_weights`; the representation's own where None.
        validate: Averaged model → named scores.
        score: The score by which the best is kept.
        progress: Called after each step with the step and its losses.
        stop: Asked after each step, its validation done; where it is true the run ends there, with its state written.

    Returns:
        The state file; of fewer steps than asked where `stop` ended the run.

    Raises:
        TrainingError: The loss is not finite.
        InputError: The folder holds a run with other options, or they do not go together.
    """
    run.mkdir(parents=True, exist_ok=True)
    representation = build_representation(spec.representation)
    if options.cached_crops and options.adapt != "frozen":
        raise InputError(f"Cached features are those of a frozen encoder; with adapt '{options.adapt}' it changes.")
    _check_same_run(run, options, representation)
    fixed = fixed or prepare(model, options)
    device = torch.device(options.device)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = _optimiser(model, options)
    average = WeightAverage(model, options.average_decay, fixed.names)
    last = run / "last.safetensors"
    torch.manual_seed(options.seed)
    done, best = 0, -math.inf
    if last.exists():
        state = load_state(last, model, average, optimiser, fixed)
        done, best = state["step"], state["best"]
        _truncate_log(run / "log.csv", done)
    computing = autocast(options.precision, device)
    losses = losses or partial(_own_losses, representation)
    weights = options.loss_weights or representation.loss_weights
    began, first = time.monotonic(), done
    for step, batch in enumerate(sampler.batches(done, options.steps, options.batch), start=done):
        factor = warmup_hold_cooldown(step, options.steps)
        for group in optimiser.param_groups:
            group["lr"] = group["base_lr"] * factor
        terms = _step(model, fixed, losses, weights, batch, options, optimiser, computing, device)
        average.update(model)
        done = step + 1
        rate = (done - first) * options.batch / (time.monotonic() - began)
        _log(run / "log.csv", {"step": done, "lr": options.learning_rate * factor, **terms, "crops_per_s": rate})
        if progress is not None:
            progress(done, terms)
        finished = done == options.steps
        if validate is not None and (done % options.validate_every == 0 or finished):
            scores = validate(average.model)
            _log(run / "validation.csv", {"step": done, **scores})
            if scores[score] > best:
                best = scores[score]
                save_weights(moving(average.model, fixed), run / "best.safetensors")
        stopped = stop is not None and stop()
        if done % options.checkpoint_every == 0 or finished or stopped:
            save_state(last, model, average, optimiser, {"step": done, "best": best}, fixed)
            _write_json(run / "progress.json", {"step": done, "of": options.steps, "best": best, "crops_per_s": rate})
        if stopped:
            break
    return last


def prepare(model: Segmenter, options: TrainingOptions) -> Fixed:
    """Make a model ready as the options say (`training.adapt.adapt`), once; `fit` does it itself if need be."""
    return adapt(
        model,
        options.adapt,
        frozen=options.frozen,
        targets=options.lora_targets,
        rank=options.lora_rank,
        alpha=options.lora_alpha,
        seed=options.seed,
    )


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write weights alone, all or nothing."""
    from safetensors.torch import save_file

    temporary = path.with_suffix(".part")
    save_file({k: v.detach().contiguous().clone() for k, v in weights.items()}, temporary)
    os.replace(temporary, path)


def _step(
    model: Segmenter,
    fixed: Fixed,
    losses: Losses,
    weights: Mapping[str, float],
    batch: Batch,
    options: TrainingOptions,
    optimiser: torch.optim.Optimizer,
    computing: Callable[[], AbstractContextManager[object]],
    device: torch.device,
) -> dict[str, float]:
    images = torch.from_numpy(batch.images).to(device, memory_format=torch.channels_last)
    fixed.train(model)
    with computing():
        raw = model(images) if batch.features is None else _from_features(model, images, batch.features)
    terms = losses(raw.float(), batch)
    terms = {name: terms[name] for name, weight in weights.items() if weight and name in terms}
    loss: Tensor = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    if not torch.isfinite(loss):
        values = ", ".join(f"{name} {float(term.detach()):g}" for name, term in terms.items())
        raise TrainingError(
            f"The loss is not finite ({values}). The last checkpoint is kept; go on with a lower learning rate."
        )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], options.clip)
    optimiser.step()
    return {"loss": float(loss.detach()), **{name: float(term.detach()) for name, term in terms.items()}}


def _own_losses(representation: Representation, raw: Tensor, batch: Batch) -> dict[str, Tensor]:
    target = {name: torch.from_numpy(maps).to(raw.device) for name, maps in batch.maps.items()}
    return representation.loss_terms(raw, target, torch.from_numpy(batch.separable).to(raw.device))


def _from_features(model: Segmenter, images: Tensor, stored: Mapping[str, NDArray[np.float16]]) -> Tensor:
    """As the model's own `forward`, but for the encoder."""
    raw: Tensor = model.heads(model.decoder(restored(stored, images.device), model.normalise(images)))
    return raw


def _optimiser(model: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    groups = []
    for encoder in (True, False):
        # Adapters start from nothing, as a decoder does, and learn at its rate.
        lr = options.learning_rate * (options.encoder_factor if encoder else 1.0)
        for decays in (True, False):
            # Biases and norms are not pulled to zero: it would only shift what the next layer sees.
            chosen = [
                p
                for n, p in model.named_parameters()
                if p.requires_grad and _pretrained(n) == encoder and (p.ndim > 1) == decays
            ]
            groups.append(
                {"params": chosen, "lr": lr, "base_lr": lr, "weight_decay": options.weight_decay if decays else 0.0}
            )
    return torch.optim.AdamW(groups)


def _pretrained(name: str) -> bool:
    return name.startswith("encoder.") and name.rpartition(".")[2] not in {DOWN, UP}


def _check_same_run(run: Path, options: TrainingOptions, representation: Representation) -> None:
    """A longer run may follow from a shorter one; anything else that differs is another run."""
    path = run / "options.json"
    mine = json.loads(json.dumps(asdict(options)))
    mine["loss_weights"] = dict(options.loss_weights or representation.loss_weights)
    if path.exists():
        free = {"steps", "device", "precision", "validate_every", "checkpoint_every"}
        # A run of an earlier version has not heard of newer options: it was done by their defaults.
        theirs = {**json.loads(json.dumps(asdict(TrainingOptions()))), **json.loads(path.read_text())}
        theirs["loss_weights"] = theirs["loss_weights"] or dict(representation.loss_weights)
        other = [k for k in mine if k not in free and mine[k] != theirs[k]]
        if other:
            listed = ", ".join(f"{k} {theirs[k]} there, {mine[k]} now" for k in other)
            raise InputError(f"'{run}' holds a run with other options ({listed}). Use them, or another folder.")
    _write_json(path, mine)


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(data, indent=2))
    os.replace(temporary, path)


def _log(path: Path, row: Mapping[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def _truncate_log(path: Path, done: int) -> None:
    """Drop the rows of steps after the checkpoint: they are done again."""
    if path.exists():
        head, *rows = path.read_text().splitlines()
        kept = [row for row in rows if int(row.split(",")[0]) <= done]
        path.write_text("\n".join([head, *kept]) + "\n")
