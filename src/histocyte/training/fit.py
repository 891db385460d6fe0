"""The training loop: plain torch, on a CPU or GPUs, that can be killed at any moment and goes on exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.core.listener import SILENT, Listener
from histocyte.model.build import build_representation
from histocyte.model.segmenter import Segmenter
from histocyte.model.spec import ModelSpec
from histocyte.representations.protocol import Representation
from histocyte.training.adapt import Fixed, adapt
from histocyte.training.crops import Batch, BatchSource
from histocyte.training.ema import WeightAverage
from histocyte.training.environment import environment, record_environment
from histocyte.training.feature_cache import restored
from histocyte.training.journal import Table, write_json
from histocyte.training.optimiser import clip_gradients, is_pretrained, make_optimiser
from histocyte.training.options import TrainingOptions, check_same_recipe, check_same_run
from histocyte.training.precision import autocast
from histocyte.training.ranks import ranks, step_seed
from histocyte.training.schedule import learning_rate_factor, plateaus
from histocyte.training.state import load_state, moving, save_state, save_weights
from histocyte.training.terms import TISSUE_TERM, loss_terms, term_names, weighted
from histocyte.training.watch import DivergenceWatch, TrainingError

__all__ = ["Losses", "TrainingError", "TrainingOptions", "fit", "prepare", "term_names"]

Losses = Callable[[Tensor, Batch], Mapping[str, Tensor]]
"""(B, C, H, W) raw channels of all maps, and the batch they were predicted on → unweighted loss terms, scalars."""


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
    on_checkpoint: Callable[[], None] | None = None,
    stop: Callable[[], bool] | None = None,
    listener: Listener = SILENT,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Train, or go on with the run in the folder.

    Started in several processes that have joined (`training.ranks`), each is given a sampler of its share of every
    batch; the first one validates and writes. Batch norms see all of a batch on CUDA, elsewhere each its own share.

    Args:
        model: With its starting weights; made ready in place (`training.adapt`), with adapters put in for "lora".
        spec: What the model is; written into every model file.
        sampler: Draws the batches: a `CropSampler`, or a `CachedSampler` for a frozen encoder.
        run: Folder of the run: last.safetensors (state), best.safetensors (averaged weights of the best validation),
            both without what stays as it is; log.csv, validation.csv, recipe.json, options.json, environment.json,
            progress.json.
        options: How.
        fixed: What `prepare` gave, where the model has been made ready before.
        losses: The loss terms, weighted by `options.loss_weights`; the representation's own where None.
        validate: Averaged model → named scores.
        score: The score by which the best is kept.
        progress: Called after each step with the step and its losses.
        on_checkpoint: Called after each checkpoint.
        listener: Told how it goes on.
        stop: Asked after each step, its validation done; where it is true the run ends there, with its state written.
        facts: What recipe.json says beside the model and the options.

    Returns:
        The state file; of fewer steps than asked where `stop` ended the run, or too many validations without a better
        score.

    Raises:
        TrainingError: The loss is not finite or has left for good, or the weights are not finite.
        InputError: The folder holds a run with other options, or they do not go together.
        DiskError: A file could not be written; the last checkpoint is kept.
    """
    if options.cached_crops and options.adapt != "frozen":
        raise InputError(f"Cached features are those of a frozen encoder; with adapt '{options.adapt}' it changes.")
    loop = _Loop(model, spec, run, options, fixed, losses, facts or {})
    loop.say_where(listener)
    if loop.finished:
        return loop.last
    with listener.task("training", options.steps, done=loop.done) as task:
        for step, batch, waited in loop.timed(sampler):
            terms = loop.step(step, batch, waited)
            rate = f"{loop.rate:.3g}" if loop.rate < 1000 else f"{loop.rate:,.0f}"
            task.advance(note=f"loss {terms['loss']:.2f}, {rate} crops/s")
            if progress is not None:
                progress(loop.done, terms)
            validated = validate is not None and (loop.done % options.validate_every == 0 or loop.done == options.steps)
            if validate is not None and validated:
                loop.validate(validate, score)
            stopped = loop.ranks.any(stop is not None and stop(), loop.device)
            kept = loop.checkpoint(last=stopped or loop.finished, validated=validated)
            if kept and on_checkpoint is not None and loop.ranks.leads:
                on_checkpoint()
            if stopped or loop.finished:
                break
    return loop.last


def prepare(model: Segmenter, options: TrainingOptions) -> Fixed:
    """Make a model ready as the options say (`training.adapt.adapt`), once; `fit` does it itself if need be."""
    if ranks().world > 1 and torch.device(options.device).type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return adapt(
        model,
        options.adapt,
        frozen=options.frozen,
        targets=options.lora_targets,
        rank=options.lora_rank,
        alpha=options.lora_alpha,
        seed=options.seed,
    )


class _Loop:
    """One run under way: what is trained, what has been seen of it, and its files."""

    def __init__(
        self,
        model: Segmenter,
        spec: ModelSpec,
        run: Path,
        options: TrainingOptions,
        fixed: Fixed | None,
        losses: Losses | None,
        facts: Mapping[str, Any],
    ) -> None:
        self.options, self.ranks, self.device = options, ranks(), torch.device(options.device)
        self.ranks.check_batch(options.batch)
        run.mkdir(parents=True, exist_ok=True)
        representation = build_representation(spec.representation)
        recipe = {"model": spec.model_dump(mode="json"), "training": asdict(options), **facts}
        if self.ranks.leads:
            check_same_recipe(run, recipe)
            check_same_run(run, options, representation.loss_weights)
        self.fixed = fixed or prepare(model, options)
        self.model: Segmenter = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = make_optimiser(model, options)
        self.waiting = [p for n, p in model.named_parameters() if p.requires_grad and is_pretrained(n)]
        self.average = WeightAverage(self.model, options.average_decay, self.fixed.names)
        self.computing = autocast(options.precision, self.device)
        self.weights = options.loss_weights or representation.loss_weights
        self.own_losses = losses is None
        self.losses = losses or partial(_own_losses, representation, tuple(self.weights))
        self.run, self.last = run, run / "last.safetensors"
        self.log, self.table = Table(run / "log.csv"), Table(run / "validation.csv")
        self._go_on()
        if self.ranks.leads:
            record_environment(
                run / "environment.json", environment(self.device, ranks=self.ranks.world), step=self.done
            )
            write_json(run / "recipe.json", recipe)

    def _go_on(self) -> None:
        """Take up the state there is."""
        self.done, self.best, self.overdue, self.lost = 0, -math.inf, False, 0
        self.scores: list[float] = []
        if self.last.exists():
            state = load_state(self.last, self.model, self.average, self.optimiser, self.fixed)
            self.done, best = state["step"], state["best"]
            self.best = -math.inf if best is None else best
            self.scores = [float(s) for s in state.get("scores", [])]
        losses: list[float] = []
        if self.ranks.leads:
            self.lost = self.log.cut(self.done)
            self.table.cut(self.done)
            losses = self.log.column("loss")[-500:]
        losses = self.ranks.tell(losses)
        self.watch = DivergenceWatch(self.options.divergence_factor, self.options.divergence_steps, losses)
        self.finished = self._has_ended()
        self.kept_at = time.monotonic()

    def say_where(self, listener: Listener) -> None:
        """Where it goes on."""
        lost = f" ({self.lost:,} done after the last checkpoint are done again)" if self.lost else ""
        if self.finished and self.done:
            listener.say(f"The training has ended at step {self.done:,}.")
        elif self.done:
            listener.say(f"Going on from step {self.done:,} of {self.options.steps:,}{lost}.")
        elif self.lost:
            listener.say(f"The run ended at step {self.lost:,}, before its first checkpoint: it begins again.")

    def _has_ended(self) -> bool:
        patience = self.options.patience
        return self.done >= self.options.steps or (patience > 0 and plateaus(self.scores, patience) > 0)

    def timed(self, sampler: BatchSource) -> Iterator[tuple[int, Batch, float]]:
        """Step, batch, and the seconds that were waited for it."""
        self.began, self.first, self.waited = time.monotonic(), self.done, 0.0
        if self.finished:
            return
        batches = sampler.batches(self.done, self.options.steps, self.options.batch)
        for step in range(self.done, self.options.steps):
            asked = time.monotonic()
            batch = next(batches)
            yield step, batch, time.monotonic() - asked

    def step(self, step: int, batch: Batch, waited: float) -> dict[str, float]:
        """Learn from a batch; gives the losses."""
        options = self.options
        factor = learning_rate_factor(
            options.schedule, step, options.steps, epoch_steps=options.epoch_steps, scores=self.scores
        )
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_lr"] * factor
        torch.manual_seed(step_seed(options.seed, step, self.ranks.rank))
        terms = self._learn(step, batch)
        self.average.update(self.model)
        self.done = step + 1
        self.finished = self._has_ended()
        seconds = max(1e-9, time.monotonic() - self.began)
        self.waited += waited
        self.rate = (self.done - self.first) * options.batch / seconds
        if self.ranks.leads:
            speed = {"crops_per_s": self.rate, "waited": self.waited / seconds}
            self.log.append({"step": self.done, "lr": options.learning_rate * factor, **terms, **speed})
        return terms

    def _learn(self, step: int, batch: Batch) -> dict[str, float]:
        model, images = self.model, torch.from_numpy(batch.images)
        images = images.to(self.device, memory_format=torch.channels_last)
        self._hold(step < self.options.frozen_steps)
        with self.computing():
            raw, tissues = _forward(model, images, batch, tissues=bool(self.weights.get(TISSUE_TERM)))
        terms = dict(self.losses(raw.float(), batch))
        if tissues is not None:
            terms[TISSUE_TERM] = _tissue_loss(tissues.float(), batch)
        terms = weighted(terms, self.weights, strict=self.own_losses)
        loss: Tensor = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        # One transfer, and one loss for all processes: what is not finite in one of them ends all.
        values = self.ranks.mean(torch.stack([loss, *terms.values()]).detach().float()).tolist()
        said = dict(zip(("loss", *terms), values, strict=True))
        self.watch.see(step + 1, said["loss"], {name: said[name] for name in terms})
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.ranks.average_gradients(model)
        norm = clip_gradients(model, self.options.clip, each=self.options.clip_each)
        if not torch.isfinite(norm):
            raise TrainingError(
                f"The gradient of step {step + 1:,} is not finite. The last good checkpoint is kept. Begin again in "
                "another folder with a lower learning rate."
            )
        self.optimiser.step()
        self.ranks.average_statistics(model)
        return said

    def _hold(self, held: bool) -> None:
        """Into training mode, but for what stays, and for the encoder while it waits for its turn."""
        self.fixed.train(self.model)
        if self.options.frozen_steps:
            for parameter in self.waiting:
                parameter.requires_grad_(not held)
        if held:
            self.model.encoder.eval()

    def validate(self, score_of: Callable[[nn.Module], Mapping[str, float]], score: str) -> None:
        """Score the averaged weights, and keep them if they are the best."""
        self._check_weights()
        scores: Mapping[str, float] = {}
        if self.ranks.leads:
            scores = score_of(self.average.model)
            self.table.append({"step": self.done, **scores})
        reached = float(self.ranks.tell(scores[score] if self.ranks.leads else None))
        self.scores.append(reached)
        if reached > self.best or self.options.keep == "last" or math.isinf(self.best):
            self.best = max(self.best, reached) if math.isfinite(reached) else self.best
            if self.ranks.leads:
                save_weights(moving(self.average.model, self.fixed), self.run / "best.safetensors")
        self.finished = self._has_ended()

    def checkpoint(self, *, last: bool, validated: bool) -> bool:
        """Write the state if it is due; not while the loss is suspiciously large, so that a good one stays."""
        every, minutes = self.options.checkpoint_every, self.options.checkpoint_minutes
        late = self.ranks.any(time.monotonic() - self.kept_at >= 60 * minutes, self.device)
        self.overdue |= validated or late or (every > 0 and self.done % every == 0)
        if not last and (not self.overdue or self.watch.suspicious):
            return False
        self._check_weights()
        self.overdue = False
        best = self.best if math.isfinite(self.best) else None
        if self.ranks.leads:
            progress = {"step": self.done, "best": best, "scores": self.scores}
            save_state(self.last, self.model, self.average, self.optimiser, progress, self.fixed)
            far = {"step": self.done, "of": self.options.steps, "best": best, "crops_per_s": self.rate}
            write_json(self.run / "progress.json", far)
        self.ranks.wait()
        self.kept_at = time.monotonic()
        return True

    def _check_weights(self) -> None:
        for name, tensor in moving(self.model, self.fixed).items():
            if tensor.dtype.is_floating_point and not torch.isfinite(tensor).all():
                raise TrainingError(
                    f"After step {self.done:,} the weights '{name}' are not finite. The last good checkpoint is kept. "
                    "Begin again in another folder with a lower learning rate."
                )


def _forward(model: Segmenter, images: Tensor, batch: Batch, *, tissues: bool) -> tuple[Tensor, Tensor | None]:
    """Raw channels, and tissue logits where they are to be learnt and the batch knows them."""
    wanted = tissues and model.tissue is not None and batch.tissues is not None
    if batch.features is not None:
        features = restored(batch.features, images.device)
        raw: Tensor = model.heads(model.decoder(features, model.normalise(images)))
        return raw, model.tissue(features.cls) if wanted and model.tissue is not None else None
    if wanted:
        return model.forward_with_tissue(images)
    return model(images), None


def _tissue_loss(logits: Tensor, batch: Batch) -> Tensor:
    assert batch.tissues is not None
    truth = torch.from_numpy(batch.tissues).to(logits.device)
    known = truth >= 0
    entropy = F.cross_entropy(logits, truth.clamp(min=0), reduction="none")
    return (entropy * known).sum() / known.sum().clamp(min=1)


def _own_losses(
    representation: Representation, wanted: tuple[str, ...], raw: Tensor, batch: Batch
) -> dict[str, Tensor]:
    target = {name: torch.from_numpy(maps).to(raw.device) for name, maps in batch.maps.items()}
    separable = torch.from_numpy(batch.separable).to(raw.device)
    taught = None if batch.taught is None else torch.from_numpy(batch.taught).to(raw.device)
    return loss_terms(representation, raw, target, separable, wanted=wanted, taught=taught)
