"""One distillation: teachers asked, student trained, both scored, the card written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from histocyte.core.errors import InputError
from histocyte.core.listener import SILENT, Listener, Stop, Stopped, never
from histocyte.core.names import counted
from histocyte.inference.cpus import available_cpus
from histocyte.inference.load import Model
from histocyte.inference.torch_runtime import TorchRuntime, pick_device
from histocyte.model.build import build_representation
from histocyte.model.checkpoint import save_model
from histocyte.model.licences import bound_by, licence_of
from histocyte.model.segmenter import Segmenter
from histocyte.model.spec import ModelSpec
from histocyte.recipes.plan import TrainingPlan
from histocyte.recipes.plans import OURS, losses_of
from histocyte.recipes.registry import way_to_adapt
from histocyte.runs.distil.data import DistilData
from histocyte.runs.distil.result import DistilResult, score
from histocyte.runs.distil.teacher import Source, ask_of
from histocyte.runs.folder import RunFolder
from histocyte.runs.train.batch import batch_of_run, suitable_batch
from histocyte.runs.train.curves import Curves
from histocyte.runs.train.defaults import OUR_CROPS, SHARES, colour_of, origin, plan_in_steps, start
from histocyte.training.distil.cache import TeacherCache
from histocyte.training.distil.crops import DistilSampler
from histocyte.training.distil.lessons import Lessons, Way, lessons_of
from histocyte.training.distil.losses import (
    DistilLosses,
    DistilOptions,
    add_projection,
    drop_projection,
    loss_weights,
)
from histocyte.training.fit import TrainingOptions, fit, prepare
from histocyte.training.state import load_moving, load_weights
from histocyte.training.terms import TISSUE_TERM

__all__ = ["DistilRun", "DistilSettings"]

_IDENTITY = "distil.json"


@dataclass(frozen=True, slots=True)
class DistilSettings:
    """What decides the student, beside data and teachers.

    Attributes:
        way: By maps or labels (`training.distil_lessons`).
        share: Share of crops without labels in a batch.
        crop_px: Side of a crop.
        options: Options of the losses.
        seed: Seed of everything random.
        plan: How the student's recipe is trained, by name (`recipes.plans`).
        planned: What that says; None for our own way.
    """

    way: Way = "auto"
    share: float = 0.5
    crop_px: int = 256
    options: DistilOptions = field(default_factory=DistilOptions)
    seed: int = 0
    plan: str = OURS
    planned: TrainingPlan | None = None

    def to_json(self) -> dict[str, Any]:
        """In plain values, as a run's folder keeps them."""
        mine = asdict(self)
        # What our own way is changes with versions, and a run of an earlier one says nothing of plans.
        return {key: value for key, value in mine.items() if key not in ("plan", "planned") or self.planned}


class DistilRun:
    """A run in a folder.

    Args:
        folder: Folder of the run.
        teachers: One or more.
        student: What is to be trained.
        encoder_weights: Starting weights of its encoder.
        data: What it learns from.
        settings: How.
        device: To run on.
        threads: On a CPU.
        listener: Told how it goes on.
        command: How the model's file says it was made.

    Raises:
        InputError: Settings that do not go together, or a student that cannot be made or has no such weights.
        ModelError: Weights that do not fit it.
    """

    def __init__(
        self,
        folder: Path,
        teachers: Sequence[Source],
        student: ModelSpec,
        encoder_weights: str | None,
        data: DistilData,
        settings: DistilSettings,
        *,
        device: str,
        threads: int | None,
        listener: Listener = SILENT,
        command: str = "",
    ) -> None:
        settings.options.check()
        if settings.crop_px % student.multiple:
            nearest = max(1, round(settings.crop_px / student.multiple)) * student.multiple
            raise InputError(
                f"Crops of {settings.crop_px} px do not fit this student, which takes steps of {student.multiple} px. "
                f"Take a multiple of that: --crop-px {nearest}."
            )
        self.listener, self.here, self.command = listener, RunFolder(folder), command
        self.folder, self.sources, self.spec, self.data, self.settings = folder, teachers, student, data, settings
        self.teachers = [source.teacher for source in teachers]
        self.lessons: Lessons = lessons_of(student, [t.spec for t in self.teachers], way=settings.way)
        self.encoder_weights = encoder_weights
        plan = settings.planned
        self.adapt = way_to_adapt(student) if plan is None else plan.adapt
        self.colour = colour_of(OUR_CROPS.augmentation if plan is None else plan.augmentation)
        if plan is not None and plan.sampling != "area":
            raise InputError(
                f"Distillation draws images by their area, and the plan '{settings.plan}' by '{plan.sampling}'. Say "
                "that it may: --plan-option sampling=area."
            )
        if plan is not None and plan.zoom != (1.0, 1.0):
            raise InputError(
                f"Distillation chooses the size of crops itself, and the plan '{settings.plan}' zooms them by "
                f"{plan.zoom[0]:g}–{plan.zoom[1]:g}. Say that it may: --plan-option zoom=1,1."
            )
        if self.adapt != "full" and encoder_weights is None:
            raise InputError(
                f"The recipe '{student.recipe}' keeps its encoder as it begins ('{self.adapt}'), and without "
                "--encoder-weights that is at random. Pass them (histocyte encoders list)."
            )
        # What cannot be made is told before hours of asking; what is trained is made again then, from a seed of its
        # own.
        model = start(student, encoder_weights, seed=settings.seed)
        if encoder_weights is not None:
            self.spec = student.with_changes(encoder_weights=origin(model, encoder_weights, included=True))
        self.representation = build_representation(student.representation)
        self.device, self.threads = pick_device(device), threads or available_cpus()
        torch.set_num_threads(self.threads)

    def ask(self, folder: Path | None, *, most_bytes: int, stop: Stop = never) -> TeacherCache:
        """Ask the teachers about all images, as far as a folder does not hold the answers.

        Args:
            folder: Within the run's where None.
            most_bytes: That the answers may take.
            stop: Looked at after each image.

        Raises:
            InputError: The run's folder holds one that was taught otherwise.
            DiskError: They do not fit.
            Stopped: Told to; what was answered is kept.
        """
        self.here.check(_IDENTITY, self._identity())
        fields = [*self.data.labelled, *self.data.extra]
        cache = TeacherCache(folder or self.folder / "teachers", most_bytes=most_bytes)
        every, still = cache.bytes_needed(self.teachers, fields)
        rest = f"{still / 1e9:.2f} GB still to be made" if still else "all there"
        self.listener.say(
            f"What the teachers say of {counted(len(fields), 'image')} takes {every / 1e9:.2f} GB in "
            f"'{cache.folder}': {rest}."
        )
        cache.check_room(self.teachers, fields)
        for source, teacher in zip(self.sources, self.teachers, strict=True):
            missing = cache.missing(teacher, fields)
            if not missing:
                continue
            model = source.load(str(self.device))
            torch.set_num_threads(self.threads)  # loading a model leaves one
            with self.listener.task(f"asking {teacher.spec.name}", len(missing), unit="images") as task:

                def answered() -> None:
                    task.advance()
                    if stop():
                        raise Stopped(f"What the teachers have said so far is in '{cache.folder}'")  # noqa: B023

                cache.fill(teacher, missing, ask_of(model, teacher), progress=answered)
        return cache

    def train(
        self,
        cache: TeacherCache,
        *,
        steps: int | None = None,
        batch: int | None = None,
        validate_every: int | None = None,
        learning_rate: float | None = None,
        stop: Stop = never,
    ) -> Path:
        """Train the student; gives its model file.

        What is not given is the plan's, or our own: 4,000 steps, validated every 500, at a learning rate of 0.001.

        Raises:
            InputError: Another process trains in the folder, or it holds a run that was taught otherwise.
            Stopped: Told to by `stop`, looked at between two steps; the same call goes on.
        """
        model = start(self.spec, self.encoder_weights, seed=self.settings.seed)
        grid = self._feature_grid(model)
        if grid:
            torch.manual_seed(self.settings.seed)
            add_projection(model, self.teachers[0].feature_shape[0])
        plan = self.settings.planned
        planned: dict[str, Any] = {} if plan is None else plan_in_steps(plan, self._crops_in_epoch(), batch=batch)
        given = {"steps": steps, "validate_every": validate_every, "learning_rate": learning_rate}
        planned |= {name: value for name, value in given.items() if value is not None}
        planned["batch"] = planned.get("batch") or batch or self._batch()
        planned["loss_weights"] = loss_weights(
            self.settings.options, self.lessons, self.representation, self._own_losses()
        )
        options = replace(
            TrainingOptions(), **planned, seed=self.settings.seed, adapt=self.adapt, device=str(self.device)
        )
        with self.here.held():
            self.here.settle(_IDENTITY, self._identity())
            self._fit(model, self._sampler(cache, grid), options, stop)
        drop_projection(model)
        return self._write(model.eval(), self.here.steps_done)

    def _crops_in_epoch(self) -> int:
        """Crops whose area is that of all images."""
        frames = (each.frame(self.spec.mpp) for each in (*self.data.labelled, *self.data.extra))
        area = sum(height * width for height, width in frames)
        return max(1, round(area / self.settings.crop_px**2))

    def _own_losses(self) -> dict[str, float] | None:
        """Weights of the student's own terms where a plan has some; nothing is taught of an image's tissue."""
        plan = self.settings.planned
        if plan is None:
            return None
        return {term: weight for term, weight in losses_of(plan, self.spec).items() if term != TISSUE_TERM}

    def _batch(self) -> int:
        """Crops in a batch where nobody says: those of the run that goes on, or as suit the machine."""
        before = batch_of_run(self.folder)
        if before is not None:
            return before
        batch, why = suitable_batch(self.spec, self.settings.crop_px, str(self.device))
        if why:
            self.listener.say(why)
        return batch

    def _fit(self, model: Segmenter, sampler: DistilSampler, options: TrainingOptions, stop: Stop) -> None:
        fixed = prepare(model, options)
        losses = DistilLosses(
            model, self.representation, self.lessons, self.settings.options, tuple(self._own_losses() or ())
        )
        curves = Curves(self.folder, self.spec.name)
        if stop():
            raise Stopped(f"The training in '{self.folder}' is still to be begun")
        fit(
            model,
            self.spec,
            sampler,
            self.folder,
            options,
            fixed=fixed,
            losses=losses,
            validate=self._validate,
            on_checkpoint=curves.draw,
            stop=stop,
            listener=self.listener,
        )
        curves.draw(now=True)
        if stop():
            reached = self.here.steps_done
            raise Stopped(f"The state of step {reached:,} of {options.steps:,} is in '{self.folder}'")
        load_moving(model, load_weights(self.here.best), fixed, where=self.here.best)

    def _sampler(self, cache: TeacherCache, grid: int) -> DistilSampler:
        return DistilSampler(
            student=self.spec,
            lessons=self.lessons,
            teachers=self.teachers,
            cache=cache,
            labelled=self.data.labelled,
            extra=self.data.extra,
            colour=self.colour,
            share=self.settings.share,
            crop_px=self.settings.crop_px,
            feature_grid=grid,
            weights=SHARES if self.settings.planned is None else None,
            seed=self.settings.seed,
        )

    def _feature_grid(self, model: Segmenter) -> int:
        """Steps of the coarser of the two grids of features in a crop; 0 where they are not learnt from."""
        if self.settings.options.features == "none":
            return 0
        encoder: Any = model.encoder
        theirs = self.teachers[0].feature_shape[1] * self.teachers[0].spec.mpp / self.spec.mpp
        return max(1, round(self.settings.crop_px / max(theirs, encoder.info.strides[-1])))

    def _identity(self) -> dict[str, object]:
        """What makes this run what it is: another way of teaching, other teachers or other images make another."""
        return {
            "teachers": [source.to_json() for source in self.sources],
            "lessons": self.lessons.to_json(),
            "settings": self.settings.to_json(),
            "images": self.data.sha256(),
            "student": self.spec.with_changes(name="").model_dump(mode="json", exclude={"histocyte"}),
        }

    def _validate(self, network: nn.Module) -> dict[str, float]:
        """Mean bPQ over the held-out images of the sets that part touching nuclei, and each set's own scores."""
        assert isinstance(network, Segmenter)
        runtime = TorchRuntime(network, device=str(self.device), threads=1, keep_threads=True)
        model = Model(self.spec, runtime, self.representation, "")
        samples = self.data.validation
        sources = score(model, samples, self.spec.classes, replicates=1, listener=self.listener).sources
        scores = {f"{name}_{key}": s.scores[key].value for name, s in sources.items() for key in ("bpq", "f1")}
        return {"bpq": sum(s.scores["bpq"].value for s in sources.values()) / len(sources), **scores}

    def _write(self, model: Segmenter, steps: int) -> Path:
        taught = [t.spec for t in self.teachers]
        history = self.data.history(taught).model_copy(update={"bound_by": bound_by(self.spec, taught)})
        self.spec = self.spec.with_changes(
            history=history,
            training={
                "command": self.command,
                "steps": steps,
                "seed": self.settings.seed,
                "adapt": self.adapt,
                "distilled_from": [source.to_json() for source in self.sources],
                "learnt_from": self.lessons.describe(),
                "loss": asdict(self.settings.options),
                "plan": self.settings.plan,
            },
        )
        description = f"A student of {', '.join(t.name for t in taught)}."
        self.spec = self.spec.with_changes(description=description, licence=licence_of(self.spec))
        path = self.here.model
        save_model(path, self.spec, model.state_dict())
        return path

    def result(self, path: Path) -> DistilResult:
        """What can be said of the student in a file."""
        how = self.settings.options
        facts = {
            "student": f"{self.spec.name}, recipe {self.spec.recipe}",
            "teachers": ", ".join(f"{t.spec.name} (SHA-256 {t.sha256[:12]}…)" for t in self.teachers),
            "learnt from": f"{self.lessons.describe()}; features: {how.features}",
            "loss": f"T = {how.temperature:g}, α = {how.alpha:g}, β = {how.beta:g}, reading {how.reading}"
            + ("" if how.squared else ", without T²"),
            "trained as": self.settings.plan,
            "images": self.data.describe(),
            "made by": self.command,
        }
        return DistilResult(path, self.sources, self.data, facts, self.device, self.threads, self.listener)
