"""The encoder study's runs: features once, the decoder trained over them, the held-out images scored; resumable."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from histocyte.core.errors import HistocyteError, InputError
from histocyte.core.listener import Stop, Stopped, never
from histocyte.core.names import counted
from histocyte.datasets.sample import Sample
from histocyte.encoders.catalog.card import EncoderCard
from histocyte.encoders.catalog.find import find_card
from histocyte.evaluation.image_json import image_to_json
from histocyte.evaluation.image_scores import ImageInfo, ImageScores, score_image
from histocyte.model.segmenter import Segmenter
from histocyte.runs.folder import RunFolder
from histocyte.runs.studies.encoders.network import (
    crops_per_second,
    predictor,
    starting_network,
    study_sampler,
    study_spec,
)
from histocyte.runs.studies.encoders.plan import Budget, Run
from histocyte.runs.studies.encoders.weights import (
    Ready,
    check_same_weights,
    check_unseen,
    lacking_weights,
    weights_sha256,
)
from histocyte.runs.train.defaults import with_fitting_sides
from histocyte.training.crops import Batch
from histocyte.training.feature_cache import CachedSampler, FeatureCache
from histocyte.training.fit import TrainingOptions, fit, prepare
from histocyte.training.state import load_moving, load_weights

__all__ = ["Failure", "Outcome", "check_folder", "run_study", "study_order"]

_SETTINGS = "settings.json"
_SETTINGS_BEFORE = {"tile_px": 512, "margin_px": 32}
"""Settings of studies of earlier versions, which do not say it."""
_SEED_STRIDE = 10**6
"""Passes over the crops between two seeds' orders of them; no run takes as many."""

Progress = Callable[[str, int, int], None]
"""What is done, how much of it, of how much."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that did not end in scores."""

    label: str
    taps: str
    seed: int
    reason: str


@dataclass(slots=True)
class Outcome:
    """What became of the runs that were asked for; finished ones lie in the folder."""

    failures: list[Failure] = field(default_factory=list)
    ready: list[Ready] = field(default_factory=list)
    done: int = 0


def study_order(
    folder: Path, settings: dict[str, Any], runs: Sequence[Run], *, reference: str | None = None
) -> list[tuple[str, str]]:
    """Label and taps of all runs of the study in a folder, in the order in which they were first asked for.

    Args:
        folder: Folder of the study; nothing in it is changed.
        settings: The same for all its runs.
        runs: Asked for now.
        reference: Label of the encoder that others are to be compared with; the first where None.

    Raises:
        InputError: It holds a study with other settings, or no run is of the reference.
    """
    here, order = RunFolder(folder, "study"), list[tuple[str, str]]()
    if (stored := here.stored(_SETTINGS)) is not None:
        there = _order(stored.get("order"))
        if not isinstance(stored.get("settings"), dict) or there is None:
            raise InputError(f"'{folder / _SETTINGS}' is damaged: it names no settings or no runs. Use another folder.")
        here.refuse_another({**_SETTINGS_BEFORE, **stored["settings"]}, settings)
        order = there
    order = list(dict.fromkeys([*order, *((run.choice.label, run.taps) for run in runs)]))
    labels = list(dict.fromkeys(label for label, _ in order))
    if reference is not None and reference not in labels:
        raise InputError(f"No encoder here is the reference '{reference}'. There is: {', '.join(labels)}.")
    return order


def check_folder(
    folder: Path, settings: dict[str, Any], runs: Sequence[Run], *, reference: str | None = None
) -> list[tuple[str, str]]:
    """Begin or go on with the study in a folder: `study_order`, written down.

    Raises:
        InputError: It holds a study with other settings, or no run is of the reference.
        DiskError: It cannot be written.
    """
    order = study_order(folder, settings, runs, reference=reference)
    RunFolder(folder).write(_SETTINGS, {"settings": settings, "order": order})
    return order


def _order(stored: object) -> list[tuple[str, str]] | None:
    """Label and taps of a study's runs as they are stored; None where they are no such thing."""
    if not isinstance(stored, list):
        return None
    pairs = [pair for pair in stored if isinstance(pair, list) and len(pair) == 2 and all(_is_text(t) for t in pair)]
    return [(label, taps) for label, taps in pairs] if len(pairs) == len(stored) else None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def run_study(
    runs: Sequence[Run],
    budget: Budget,
    training: Sequence[Sample],
    held_out: Sequence[Sample],
    class_names: Sequence[str],
    folder: Path,
    *,
    device: str = "cpu",
    keep_features: bool = False,
    progress: Progress | None = None,
    on_run: Callable[[Run, str, str], None] | None = None,
    stop: Stop = never,
) -> Outcome:
    """Do every run that is not done; one that fails is listed with its reason and stops no other.

    Args:
        runs: In the order of `plan_runs`.
        budget: The same for all.
        training: Images to train on.
        held_out: Images to score.
        class_names: The cell classes.
        folder: Folder of the study; `runs/KEY/result.json` for each that is done.
        device: To train on.
        keep_features: Whether features stay on the disk once their runs are done.
        progress: Called within a run.
        on_run: Called before each run with "begins", and after with "done", "failed", "ready" or "there"; the last is
            the reason of a failure.
        stop: Looked at between runs, and within them between two steps.

    Raises:
        Stopped: Told to; the same call goes on.
    """
    outcome, say = Outcome(), on_run or (lambda run, what, why: None)
    lacking: dict[str, Ready | None] = {}
    for number, run in enumerate(runs):
        if stop():
            raise Stopped(f"{outcome.done} of {counted(len(runs), 'run')} in '{folder}' done")
        say(run, "begins", "")
        label, place = run.choice.label, folder / "runs" / run.key
        try:
            if (place / "result.json").exists():
                check_same_weights(place / "result.json", run.choice)
                outcome.done += 1
                say(run, "there", "")
                continue
            card = find_card(run.choice.name)
            if label not in lacking:
                lacking[label] = lacking_weights(run.choice, card)
                if (ready := lacking[label]) is not None:
                    outcome.ready.append(ready)
            if lacking[label] is not None:
                say(run, "ready", "")
                continue
            check_unseen(run.choice, held_out)
            one = _OneRun(run, card, budget, folder, device, progress or (lambda what, done, total: None), stop)
            RunFolder(place).write("result.json", one.result(training, held_out, class_names))
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001 (whatever an encoder throws is its finding, not the study's end)
            reason = str(error) if isinstance(error, HistocyteError) else f"{type(error).__name__}: {error}"
            reason = " ".join(reason.split())
            outcome.failures.append(Failure(label, run.taps, run.seed, reason))
            say(run, "failed", reason)
        else:
            outcome.done += 1
            say(run, "done", "")
        last = all(later.features_key != run.features_key for later in runs[number + 1 :])
        if last and not keep_features:
            shutil.rmtree(folder / "features" / run.features_key, ignore_errors=True)
    return outcome


class _OneRun:
    """One training and its scores."""

    def __init__(
        self,
        run: Run,
        card: EncoderCard,
        budget: Budget,
        folder: Path,
        device: str,
        progress: Progress,
        stop: Stop,
    ) -> None:
        self.run, self.card, self.budget = run, card, budget
        self.folder, self.device, self.progress, self.stop = folder, device, progress, stop
        self.spec = with_fitting_sides(study_spec(card, run.taps, budget))
        if run.choice.normalisation is not None:
            mean, std = run.choice.normalisation
            self.spec = self.spec.with_changes(mean=(mean,) * 3, std=(std,) * 3)

    def result(
        self, training: Sequence[Sample], held_out: Sequence[Sample], class_names: Sequence[str]
    ) -> dict[str, Any]:
        """Train, score, and say it all in plain values."""
        network = starting_network(self.spec, self.run.choice, seed=self.run.seed)
        clock = [time.perf_counter()]
        sampler, crop_bytes = self._features(network, training)
        clock.append(time.perf_counter())
        self._fit(network, sampler)
        clock.append(time.perf_counter())
        rows = list(self._score(network, held_out, class_names))
        clock.append(time.perf_counter())
        seconds = [round(after - before, 1) for before, after in zip(clock, clock[1:], strict=False)]
        options = self.spec.encoder.options
        return {
            "label": self.run.choice.label,
            "name": self.run.choice.name,
            "taps": self.run.taps,
            "seed": self.run.seed,
            "random": self.run.choice.random,
            "weights_sha256": weights_sha256(self.run.choice),
            "tapped": list(options.get("taps") or options.get("depths") or ()),
            "tapped_what": "blocks" if "taps" in options else "levels",
            "encoder_parameters": sum(p.numel() for p in network.encoder.parameters()),
            "decoder_parameters": sum(p.numel() for n, p in network.named_parameters() if not n.startswith("encoder.")),
            "crops_per_s": round(crops_per_second(network, self.budget.crop_px, self.device), 3),
            "feature_bytes_per_crop": crop_bytes,
            "licence": self.card.licence,
            "seconds": dict(zip(("features", "training", "scoring"), seconds, strict=True)),
            "images": [image_to_json(row) for row in rows],
        }

    def _features(self, network: Segmenter, training: Sequence[Sample]) -> tuple[_Reordered, int]:
        cache = FeatureCache(
            self.folder / "features" / self.run.features_key,
            network,
            self.spec,
            study_sampler(self.spec, training, self.budget),
            device=self.device,
        )
        filled = cache.fill(
            self.budget.crops, batch=4, progress=lambda done, total: self.progress("crops", done, total)
        )
        return _Reordered(filled, self.run.seed), cache.crop_bytes

    def _fit(self, network: Segmenter, sampler: _Reordered) -> None:
        budget = self.budget
        options = TrainingOptions(
            steps=budget.steps,
            batch=budget.batch,
            learning_rate=budget.learning_rate,
            adapt="frozen",
            cached_crops=sampler.cached.crops,
            seed=self.run.seed,
            # Nothing is chosen by the held-out images: they are looked at once, after the last step.
            validate_every=budget.steps,
            checkpoint_every=max(25, budget.steps // 10),
            device=self.device,
        )
        fixed = prepare(network, options)
        place = self.folder / "runs" / self.run.key
        fit(
            network,
            self.spec,
            sampler,
            place,
            options,
            fixed=fixed,
            validate=lambda _: {"bpq": 0.0},
            progress=lambda step, _: self.progress("steps", step, budget.steps),
            stop=self.stop,
        )
        self._look(f"The training of {self.run.choice.label} is at step {RunFolder(place).steps_done:,}")
        load_moving(network, load_weights(place / "best.safetensors"), fixed, where=place / "best.safetensors")

    def _look(self, stands: str) -> None:
        if self.stop():
            raise Stopped(f"{stands}, in '{self.folder}'")

    def _score(
        self, network: Segmenter, held_out: Sequence[Sample], class_names: Sequence[str]
    ) -> Iterator[ImageScores]:
        predict = predictor(self.spec, network.eval(), device=self.device)
        for number, sample in enumerate(held_out):
            self.progress("images", number, len(held_out))
            self._look(f"{self.run.choice.label} is trained and still to be scored")
            info = ImageInfo(sample.name, sample.source, sample.group, sample.mpp)
            yield score_image(sample.labels, predict(sample.image, sample.mpp), info, n_classes=len(class_names))


class _Reordered:
    """Batches of cached crops in an order of its own for each seed; the crops are the same for all."""

    def __init__(self, cached: CachedSampler, seed: int) -> None:
        self.cached, self.seed = cached, seed

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        # Whole passes further on, so that every crop still comes once before any comes again.
        first = self.seed * _SEED_STRIDE * self.cached.crops
        return self.cached.batches(first + start, first + stop, size)
