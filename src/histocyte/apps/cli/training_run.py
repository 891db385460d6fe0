"""One training run from the command line: data, loop, validation, and the model file at its end."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from histocyte.apps.cli.output import progress_bar, say
from histocyte.core.errors import InputError
from histocyte.datasets.cards import DATASETS
from histocyte.datasets.folder import load_folders
from histocyte.datasets.sample import Sample
from histocyte.datasets.splits import split_by_group
from histocyte.evaluation.protocol import evaluate
from histocyte.evaluation.report import Report
from histocyte.inference.cpus import available_cpus
from histocyte.inference.load import Model
from histocyte.inference.torch_runtime import TorchRuntime, pick_device
from histocyte.model.build import build_representation
from histocyte.model.checkpoint import save_model
from histocyte.model.segmenter import Segmenter
from histocyte.pipeline import instances_on
from histocyte.recipes.training import crop_sampler, data_facts, first_spec, held_out, start
from histocyte.training.fit import TrainingOptions, fit

__all__ = ["TrainingRun"]


class TrainingRun:
    """A run in a folder.

    Args:
        folder: Of the run.
        recipe: By name.
        name: Of the model.
        encoder_weights: Starting weights of the encoder.
        seed: Of everything random.
        device: To train on.
        threads: On a CPU.
    """

    def __init__(
        self,
        folder: Path,
        recipe: str,
        name: str,
        encoder_weights: Path | None,
        seed: int,
        device: str,
        threads: int | None,
    ) -> None:
        self.folder, self.seed = folder, seed
        self.spec = first_spec(recipe).with_changes(name=name)
        self.encoder_weights = encoder_weights
        self.device = pick_device(device)
        torch.set_num_threads(threads or available_cpus())
        self.training: list[Sample] = []
        self.validation: list[Sample] = []

    def load_data(self, folders: Sequence[Path], *, validation: float, mpp: float | None) -> None:
        """Read the data and hold out whole groups.

        Raises:
            InputError: A folder without labelled images, or one whose data is never to be trained on.
        """
        for folder in folders:
            card = DATASETS.get(folder.resolve().name)
            if card is not None and card.external:
                raise InputError(f"'{folder}' is an external test set, never trained or selected on. Leave it out.")
        samples = load_folders(folders, taxonomy=self.spec.classes, mpp=mpp)
        self.training, self.validation = split_by_group(samples, fraction=validation, seed=self.seed)
        say(f"{len(self.training)} images to train on, {len(self.validation)} held out.")

    def fit(self, *, steps: int, batch: int, validate_every: int) -> None:
        """Train, then write model.safetensors with the best weights and their scores."""
        options = TrainingOptions(
            steps=steps,
            batch=batch,
            seed=self.seed,
            validate_every=validate_every,
            device=str(self.device),
        )
        model = start(self.spec, self.encoder_weights, seed=self.seed)
        sampler = crop_sampler(self.spec, self.training, seed=self.seed)
        with progress_bar("steps") as bar:
            task = bar.add_task("training", total=steps, note="")

            def show(step: int, terms: Mapping[str, float]) -> None:
                bar.update(task, completed=step, note=f"loss {terms['loss']:.2f}")

            fit(model, self.spec, sampler, self.folder, options, validate=self._validate, progress=show)
        self._finish(model, steps)

    def _report(self, network: nn.Module, *, replicates: int) -> Report:
        assert isinstance(network, Segmenter)
        runtime = TorchRuntime(network, device=str(self.device), threads=1, keep_threads=True)
        model = Model(self.spec, runtime, build_representation(self.spec.representation), "")
        names = self.spec.classes.names
        return evaluate(
            lambda image, mpp: instances_on(image, model, mpp=mpp), self.validation, names, replicates=replicates
        )

    def _validate(self, network: nn.Module) -> dict[str, float]:
        """Mean bPQ over the held-out images of the sets that part touching nuclei, and each set's own scores."""
        sources = self._report(network, replicates=1).sources
        scores = {f"{name}_{key}": s.scores[key].value for name, s in sources.items() for key in ("bpq", "f1")}
        return {"bpq": sum(s.scores["bpq"].value for s in sources.values()) / len(sources), **scores}

    def _finish(self, model: Segmenter, steps: int) -> None:
        model.load_state_dict(load_file(self.folder / "best.safetensors"))
        report = self._report(model.eval(), replicates=1000).to_json()
        arguments = [a if not Path(a).exists() else Path(a).name for a in sys.argv[1:]]
        spec = self.spec.with_changes(
            data=data_facts([*self.training, *self.validation]),
            metrics=report["sources"],
            training={
                "command": f"histocyte {shlex.join(arguments)}",
                "steps": steps,
                "seed": self.seed,
                "held_out": held_out(self.validation),
            },
        )
        path = self.folder / "model.safetensors"
        save_model(path, spec, model.state_dict())
        say(f"Wrote {path}. Next: histocyte segment SLIDE --model {path}")
