"""One training run: data, loop, validation, and the model file at its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from histocyte.core.errors import InputError
from histocyte.core.listener import SILENT, Listener, Stop, Stopped, in_turn, never
from histocyte.core.names import counted
from histocyte.datasets.data_check import DataCheck
from histocyte.encoders.weights.fingerprint import tensor_sha256
from histocyte.evaluation.protocol import evaluate
from histocyte.evaluation.regions import RegionReport, evaluate_regions
from histocyte.evaluation.report import Report
from histocyte.inference.cpus import available_cpus
from histocyte.inference.load import Model
from histocyte.inference.torch_runtime import TorchRuntime, pick_device
from histocyte.model.adapters import merge_adapters
from histocyte.model.build import build_representation
from histocyte.model.delta import delta_of
from histocyte.model.history import History
from histocyte.model.segmenter import Segmenter
from histocyte.pipeline import instances_on, regions_on
from histocyte.recipes.options import changed_plan
from histocyte.recipes.plan import TrainingPlan
from histocyte.recipes.plans import OURS, find_plan
from histocyte.recipes.registry import RECIPES
from histocyte.runs.folder import RunFolder
from histocyte.runs.labelled import are_of_tissue, say_notes, say_unpaired
from histocyte.runs.train.batch import batch_of_run, suitable_batch
from histocyte.runs.train.curves import Curves
from histocyte.runs.train.data import TrainingData
from histocyte.runs.train.defaults import OUR_CROPS, crop_sampler, with_class_weights, with_fitting_sides
from histocyte.runs.train.look import SHEET_FILE, look_at_data
from histocyte.runs.train.options import Adaptation, training_options
from histocyte.runs.train.resolved import ResolvedRecipe
from histocyte.runs.train.result import finished_spec, write_result
from histocyte.runs.train.start import Start
from histocyte.training.crops import BatchSource, CropSampler
from histocyte.training.feature_cache import CachedSampler, FeatureCache
from histocyte.training.fit import TrainingOptions, fit, prepare
from histocyte.training.precision import Precision
from histocyte.training.ranks import joined, launched
from histocyte.training.state import load_moving, load_weights
from histocyte.training.terms import TISSUE_TERM

__all__ = ["OnData", "TrainingRun"]

OnData = Callable[[DataCheck], None]
"""Told what the data of a training are."""


class TrainingRun:
    """A run in a folder.

    Args:
        folder: Folder of the run.
        beginning: Network and weights to begin with.
        name: Name of the model.
        ways: To train it.
        seed: Seed of everything random.
        device: To train on.
        threads: On a CPU.
        plan: How the recipe is trained, by name (`recipes.plans`).
        recipe: Read from a file: it is trained as that says, whatever its plan is now.
        crop_px: Side of a crop in place of the plan's, however large the images are.
        listener: Told how it goes on.
        command: How the model's file says it was made.
        plan_options: What is to be otherwise than the plan says (`recipes.options.changed_plan`).

    Raises:
        InputError: Ways that do not go together, no such plan, or an option that it does not have.
    """

    def __init__(
        self,
        folder: Path,
        beginning: Start,
        *,
        name: str,
        ways: Adaptation,
        seed: int,
        device: str,
        threads: int | None,
        plan: str = OURS,
        recipe: ResolvedRecipe | None = None,
        crop_px: int | None = None,
        listener: Listener = SILENT,
        command: str = "",
        plan_options: Mapping[str, Any] | None = None,
    ) -> None:
        ways.check(beginning)
        self.folder, self.beginning, self.seed, self.ways, self.recipe = folder, beginning, seed, ways, recipe
        self.spec = with_fitting_sides((beginning.spec if recipe is None else recipe.model).with_changes(name=name))
        self.plan_name = plan
        self.options: Mapping[str, Any] = beginning.options if recipe is None else recipe.options
        self.plan_options: Mapping[str, Any] = (plan_options or {}) if recipe is None else recipe.plan_options
        self.plan: TrainingPlan | None = None
        if recipe is not None:
            self.crops = recipe.crops
        elif (planned := find_plan(self.spec.recipe, plan)) is None:
            self.crops = changed_plan(OUR_CROPS, self.plan_options)
        else:
            self.plan = changed_plan(planned, self.plan_options)
            self.crops = self.plan.crops
        self.crop_px, self.command = crop_px, command
        self.ranks = launched()
        self.listener = listener if self.ranks.leads else SILENT
        self.device = pick_device(device)
        if self.ranks.world > 1 and str(self.device) == "cuda":
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.set_num_threads(threads or max(1, available_cpus() // self.ranks.world))
        self.data = TrainingData((), ())

    def load_data(
        self,
        folders: Sequence[Path],
        *,
        share: float,
        mpp: float | None,
        fold: tuple[int, int] | None = None,
        held_out: Sequence[Path] = (),
        left_out: Sequence[str] = (),
    ) -> None:
        """Read the data and part it, as `TrainingData.read` says."""
        self.data = TrainingData.read(
            folders,
            self.beginning,
            share=share,
            seed=self.seed,
            mpp=mpp,
            fold=fold,
            held_out=held_out,
            left_out=left_out,
            listener=self.listener,
        )
        are_of_tissue([*self.data.training, *self.data.validation, *self.data.left_out], self.spec)
        if self.ranks.leads:
            say_unpaired([*folders, *held_out], self.listener)
            say_notes([*self.data.training, *self.data.validation, *self.data.left_out], self.listener)
            for note in self.data.notes:
                self.listener.say(note)
            self.listener.say(self.data.describe())
            self.listener.say(self.data.describe_classes(self.spec.classes.names))
        if self.plan is not None:
            self._follow(self.plan)

    def _follow(self, plan: TrainingPlan) -> None:
        """What a plan changes of the network: weights of classes, and a head for tissues where there are some."""
        self.spec = with_class_weights(self.spec, plan, self.data.training)
        if plan.frozen_epochs and not self.beginning.pretrained:
            self.listener.say(
                f"The plan leaves the encoder as it is for {counted(plan.frozen_epochs, 'epoch')}, and without "
                "--encoder-weights "
                "that is at random."
            )
        if TISSUE_TERM in plan.losses and self.beginning.model is None:
            tissues = self.beginning.options.get("tissues", RECIPES[self.spec.recipe]().tissues)
            if any(s.tissue for s in self.data.training):
                self.spec = self.spec.with_changes(tissues=tissues)
            else:
                self.listener.say(
                    "No image states its tissue (images.csv), so the plan's loss for tissues is left out."
                )
        self.beginning = replace(self.beginning, spec=self.spec)

    def _sampler(self, threads: int) -> CropSampler:
        share = self.ranks.rank, self.ranks.world
        return crop_sampler(
            self.spec,
            self.data.training,
            seed=self.seed,
            crops=self.crops,
            crop_px=self.crop_px,
            share=share,
            threads=threads,
        )

    def look(self, on_data: OnData | None = None) -> None:
        """Look at the data, write what it is into the folder, and say what will not be learnt or looks wrong.

        Args:
            on_data: Called with what was found.

        Raises:
            BusyError: Another process trains in the folder.
            DiskError: A file cannot be written.
        """
        sampler = self._sampler(1)
        with RunFolder(self.folder).held(leads=self.ranks.leads):
            self._look(sampler, on_data)

    def _look(self, sampler: CropSampler, on_data: OnData | None) -> None:
        if not self.ranks.leads:
            return
        found = look_at_data(self.data.parts, sampler, self.spec.classes, self.folder)
        if on_data is not None:
            on_data(found)
        for sentence in found.unlearnt:
            self.listener.say(sentence)
        for warning in found.warnings:
            self.listener.say(f"Warning: {warning}")
        self.listener.say(f"See the labels as they are learnt from: {self.folder / SHEET_FILE}")

    def fit(
        self, *, stop: Stop = never, precision: Precision | None = None, on_data: OnData | None = None, **given: Any
    ) -> None:
        """Train, then write model.safetensors with the best weights and their scores.

        Args:
            stop: Whether to end, looked at between two steps.
            on_data: Called before the first step with what the data are.
            precision: To compute in, in place of the recipe's or of the quickest there is.
            given: Options of `training_options`; what is not given is the plan's, or 4,000 steps of batches that
                suit the machine, validated every 500, at a learning rate of 0.001. None for a recipe that was read.

        Raises:
            TrainingError: It cannot go on; the last good checkpoint is kept.
            InputError: A weight of a term that there is not, or another process trains in the folder.
            DiskError: The folder cannot be written.
            Stopped: Told to; the same call goes on.
        """
        model = self.beginning.network(seed=self.seed)
        self._name_weights(model)
        # A network on a CPU keeps it busy by itself; before a GPU the processors are there to prepare batches.
        threads = 1 if self.device.type == "cpu" else max(1, available_cpus() // self.ranks.world - 1)
        sampler = self._sampler(threads)
        self._settle_crops(sampler)
        if self.recipe is not None:
            options = self.recipe.training
        else:
            given["batch"] = given.get("batch") or self._batch(sampler.crop_px)
            options = training_options(self.spec, self.plan, sampler, self.ways, **given)
        options = replace(options, device=str(self.device), precision=precision or options.precision)
        here = RunFolder(self.folder)
        with joined(self.device) as self.ranks, here.held(leads=self.ranks.leads):
            here.settle_images(self.data.images, write=self.ranks.leads)
            if not here.steps_done:
                self._look(sampler, on_data)
            self._fit(model, sampler, options, stop)

    def _settle_crops(self, sampler: CropSampler) -> None:
        """Keep in the recipe how large crops are, and say where that is another size than was planned."""
        planned = self.crops.crop_px if self.crop_px is None else self.crop_px
        step = self.spec.multiple
        if sampler.crop_px < planned // step * step:
            self.listener.say(
                f"Crops are {sampler.crop_px} px wide in place of {planned}: at {self.spec.mpp:g} µm/px more than a "
                "tenth of them would be wider than their images."
            )
        elif sampler.crop_px != planned:
            self.listener.say(
                f"Crops are {sampler.crop_px} px wide in place of {planned}: the network takes steps of {step}."
            )
        self.crops = replace(self.crops, crop_px=sampler.crop_px)

    def _batch(self, crop_px: int) -> int | None:
        """Crops in a batch where nobody says: those of the run that goes on, of the plan, or as suit the machine."""
        before = batch_of_run(self.folder)
        if before is not None or self.plan is not None or self.ways.cache is not None:
            return before
        frozen = self.ways.how == "frozen"
        batch, why = suitable_batch(self.spec, crop_px, str(self.device), frozen=frozen, processes=self.ranks.world)
        if why:
            self.listener.say(why)
        return batch

    def _resolved(self, options: TrainingOptions) -> ResolvedRecipe:
        return ResolvedRecipe(
            model=self.spec.with_changes(history=History()),  # it is the model's before, and in its file
            training=options,
            crops=self.crops,
            plan=self.plan_name,
            validation=self.data.share,
            started_from=self.beginning.named,
            fold=self.data.fold,
            left_out=self.data.left_out_names,
            options=self.options,
            plan_options=self.plan_options,
        )

    def _fit(self, model: Segmenter, crops: CropSampler, options: TrainingOptions, stop: Stop) -> None:
        published: dict[str, str] = {}
        if self._leaves_out:
            published = {name: tensor_sha256(tensor) for name, tensor in model.encoder.state_dict().items()}
        sampler: BatchSource = crops
        if self.ways.cache is not None:
            sampler = self._cached(model, crops, self.ways.cache, options, stop)
        fixed = prepare(model, options)
        curves = Curves(self.folder, self.spec.name)
        if stop() and self.ranks.world == 1:
            raise Stopped(f"The training in '{self.folder}' is still to be begun")
        fit(
            model,
            self.spec,
            sampler,
            self.folder,
            options,
            fixed=fixed,
            validate=self._validate,
            score="dice" if self.spec.of_tissue else "bpq",
            on_checkpoint=curves.draw,
            stop=stop,
            listener=self.listener,
            facts=self._resolved(options).further(),
        )
        if not self.ranks.leads:
            return
        curves.draw(now=True)
        here = RunFolder(self.folder)
        reached = here.steps_done
        if stop():
            raise Stopped(f"The state of step {reached:,} of {options.steps:,} is in '{self.folder}'")
        load_moving(model, load_weights(here.best), fixed, where=here.best)
        self._finish(model, reached, published if self._leaves_out else None, stop)

    @property
    def _leaves_out(self) -> bool:
        return self.ways.leaves_out and self.beginning.model is None

    def _name_weights(self, model: Segmenter) -> None:
        """Say in the spec which weights the encoder begins with; a recipe's are those that it names."""
        facts = self.beginning.encoder_facts(model, included=not self._leaves_out)
        asked = None if self.recipe is None else self.recipe.model.encoder_weights
        if asked is not None and facts is not None and asked.sha256 != facts.sha256:
            raise InputError(
                f"The recipe's encoder began with '{asked.file}', whose tensors have the SHA-256 {asked.sha256[:16]}…; "
                f"those of '{facts.file}' have {facts.sha256[:16]}…. Pass the same: --encoder-weights."
            )
        self.spec = self.spec.with_changes(encoder_weights=facts)

    def _cached(
        self, model: Segmenter, crops: CropSampler, folder: Path, options: TrainingOptions, stop: Stop
    ) -> CachedSampler:
        """Features of the crops, made by the first process; one training at a time makes any in a folder."""
        if not self.ranks.leads:
            self.ranks.wait()
        with RunFolder(folder).held(leads=self.ranks.leads):
            count = options.cached_crops
            cache = FeatureCache(folder, model, self.spec, crops, device=self.device)
            needed = cache.bytes_needed(count)
            still = f"{needed / 1e9:.2f} GB still to be made" if needed else "all there"
            size = count * cache.crop_bytes / 1e9
            self.listener.say(f"Features of {counted(count, 'crop')} take {size:.2f} GB in '{folder}': {still}.")
            if (times := options.steps * options.batch / count) >= 2:
                self.listener.say(f"Each crop will be seen about {times:,.0f} times; more of them: --cache-passes.")
            with in_turn(self.listener, unit="crops") as told:

                def made(done: int, total: int) -> None:
                    told("features", done, total)
                    if stop() and self.ranks.world == 1:
                        raise Stopped(f"Features of {done:,} of {counted(total, 'crop')} are in '{folder}'")

                filled = cache.fill(count, progress=made)
        if self.ranks.leads:
            self.ranks.wait()
        filled.share = crops.share
        return filled

    def _report(self, network: nn.Module, *, replicates: int, stop: Stop = never) -> Report | RegionReport:
        assert isinstance(network, Segmenter)
        runtime = TorchRuntime(network, device=str(self.device), threads=1, keep_threads=True)
        model = Model(self.spec, runtime, build_representation(self.spec.representation), "")
        names, images = self.spec.classes.names, self.data.validation
        with self.listener.task("scoring", len(images), unit="images") as task:

            def scored(_: object) -> None:
                task.advance()
                if stop():
                    raise Stopped(f"All steps in '{self.folder}' are done; the scores are still to be made")

            if self.spec.of_tissue:
                return evaluate_regions(
                    lambda image, mpp: regions_on(image, model, mpp=mpp),
                    images,
                    names,
                    background=self.spec.has_background,
                    replicates=replicates,
                    on_found=lambda *_: scored(None),
                )
            return evaluate(
                lambda image, mpp: instances_on(image, model, mpp=mpp),
                images,
                names,
                replicates=replicates,
                on_image=scored,
            )

    def _validate(self, network: nn.Module) -> dict[str, float]:
        """Mean bPQ over the held-out images of the sets that part touching nuclei, and each set's own scores.

        Of tissue mean Dice, of all pixels of a set.
        """
        report = self._report(network, replicates=1)
        if isinstance(report, RegionReport):
            dice = {f"{name}_dice": s.scores["mean_dice"].value for name, s in report.sources.items()}
            return {"dice": sum(dice.values()) / len(dice), **dice}
        sources = report.sources
        scores = {f"{name}_{key}": s.scores[key].value for name, s in sources.items() for key in ("bpq", "f1")}
        return {"bpq": sum(s.scores["bpq"].value for s in sources.values()) / len(sources), **scores}

    def _finish(self, model: Segmenter, steps: int, published: Mapping[str, str] | None, stop: Stop) -> None:
        delta = None if published is None else delta_of(model, published)
        merge_adapters(model)
        scores = cast(Mapping[str, Any], self._report(model.eval(), replicates=1000, stop=stop).to_json()["sources"])
        how = {
            "command": self.command,
            "steps": steps,
            "seed": self.seed,
            "adapt": self.ways.how,
            "plan": self.plan_name,
        }
        asked = {"options": self.options, "plan_options": self.plan_options}
        how |= {key: dict(value) for key, value in asked.items() if value}
        spec = finished_spec(self.spec, self.beginning, self.data, scores=scores, how=how)
        weights = model.state_dict() if delta is None else delta
        write_result(RunFolder(self.folder).model, spec, weights, delta=delta is not None, listener=self.listener)
