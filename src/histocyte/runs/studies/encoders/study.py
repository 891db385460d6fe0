"""An encoder study at work: images parted, every run done, results written."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from histocyte.core.listener import SILENT, Listener, Stop, in_turn, never
from histocyte.core.names import counted
from histocyte.core.taxonomy import NO_CLASSES
from histocyte.core.version import __version__
from histocyte.datasets.own_classes import classes_to_learn, load_to_learn, refuse_untaught
from histocyte.files.atomic import write_atomically
from histocyte.inference.cpus import available_cpus
from histocyte.inference.torch_runtime import pick_device
from histocyte.runs.folder import RunFolder
from histocyte.runs.labelled import say_notes, say_unpaired
from histocyte.runs.studies.encoders.page import write_study_page
from histocyte.runs.studies.encoders.plan import Budget, Run, settings_of, split
from histocyte.runs.studies.encoders.plots import write_plots
from histocyte.runs.studies.encoders.run import Failure, Outcome, check_folder, run_study, study_order
from histocyte.runs.studies.encoders.scores import SCORES
from histocyte.runs.studies.encoders.table import Table, read_results, table_of
from histocyte.runs.studies.encoders.weights import Ready
from histocyte.training.crops import held_px

__all__ = ["EncoderStudy"]


class EncoderStudy:
    """A study in a folder.

    Args:
        folder: Folder of the study.
        budget: The same for every run.
        data: Folders of labelled images.
        data_mpp: Resolution of those that are not known by name, µm/px.
        device: To run on.
        threads: On a CPU.
        classes: To tell apart, as `datasets.own_classes.classes_to_learn` takes them; those of the data where None.
        listener: Told how it goes on.
        fixed: Whether crops are as large as the budget says, though images are smaller.
    """

    def __init__(
        self,
        folder: Path,
        budget: Budget,
        data: Sequence[Path],
        *,
        data_mpp: float | None,
        device: str,
        threads: int | None,
        classes: str | Sequence[str] | None = None,
        listener: Listener = SILENT,
        fixed: bool = True,
    ) -> None:
        self.listener, self.classes = listener, classes
        taxonomy = classes_to_learn(data, classes=classes, mpp=data_mpp) or NO_CLASSES
        budget = replace(budget, classes=taxonomy.names)
        self.folder, self.budget, self.data, self.data_mpp = folder, budget, data, data_mpp
        self.device = str(pick_device(device))
        torch.set_num_threads(threads or available_cpus())
        samples = load_to_learn(data, taxonomy, mpp=data_mpp, listener=listener)
        refuse_untaught(samples, taxonomy)
        say_unpaired(data, listener)
        say_notes(samples, listener)
        self.training, self.held_out = split(samples, budget, listener=listener)
        if not fixed:
            held = max(32, held_px(self.training, budget.mpp) // 32 * 32)
            self.budget = budget = replace(budget, crop_px=min(budget.crop_px, held))
        self.settings = settings_of(budget, self.training, self.held_out)
        self.order: list[tuple[str, str]] = []
        self.taps: list[str] = []
        self.seeds: list[int] = []

    def run(self, runs: Sequence[Run], *, reference: str | None, keep_features: bool, stop: Stop = never) -> Outcome:
        """Do what is not done.

        Raises:
            InputError: The folder holds another study, or no run is of the reference.
            BusyError: Another process is at work on it.
            Stopped: Told to; the same call goes on.
        """
        study_order(self.folder, self.settings, runs, reference=reference)  # what is wrong is told before all else
        with RunFolder(self.folder).held():
            return self._run(runs, reference=reference, keep_features=keep_features, stop=stop)

    def _run(self, runs: Sequence[Run], *, reference: str | None, keep_features: bool, stop: Stop) -> Outcome:
        self.order = check_folder(self.folder, self.settings, runs, reference=reference)
        self.taps, self.seeds = list(dict.fromkeys(r.taps for r in runs)), list(dict.fromkeys(r.seed for r in runs))
        self.listener.say(
            f"{counted(len(self.training), 'image')} to train on, {len(self.held_out)} held out; "
            f"{counted(len(runs), 'run')}."
        )
        now = ""
        with self.listener.task("runs", len(runs), unit="runs") as task, in_turn(self.listener) as within:

            def told(run: Run, what: str, why: str) -> None:
                nonlocal now
                one = f"{run.choice.label}, {run.taps}, seed {run.seed}"
                if what == "begins":
                    now = one
                    return
                task.advance()
                if what in ("done", "failed"):
                    self.listener.say(f"{what}: {one}{': ' * bool(why)}{why}")

            return run_study(
                runs,
                self.budget,
                training=self.training,
                held_out=self.held_out,
                class_names=self.budget.classes,
                folder=self.folder,
                device=self.device,
                keep_features=keep_features,
                progress=lambda what, done, total: within(f"{now}: {what}", done, total),
                on_run=told,
                stop=stop,
            )

    def write(self, outcome: Outcome, *, reference: str | None, replicates: int) -> tuple[dict[str, object], Table]:
        """Table, plots and page of all that is done in the folder; gives what study.json holds, and the table."""
        results = read_results(self.folder, self.order)
        table = table_of(results, n_classes=len(self.budget.classes), reference=reference, replicates=replicates)
        ready = [(r, self.command(r)) for r in outcome.ready]
        study = self._study(table, outcome.failures, ready)
        self._put("study.json", json.dumps(study, indent=1, ensure_ascii=False))
        self._put("table.csv", table.to_csv())
        self._put("table.md", table.to_markdown(outcome.failures, ready))
        plots = write_plots(table, self.folder) if table.rows else {}
        write_study_page(self.folder / "study.html", table, plots, outcome.failures, ready, self.settings)
        return study, table

    def command(self, ready: Ready) -> str:
        """What adds an encoder to this study once its weights are here."""
        budget, usual = self.budget, Budget()
        words = ["histocyte", "study", "encoders"]
        for folder in self.data:
            words += ["--data", str(folder)]
        words += ["--encoders", ready.argument, "--taps", ",".join(self.taps), "-o", str(self.folder)]
        for name in ("steps", "batch", "crops", "crop_px", "mpp", "decoder", "held_out", "split_seed"):
            if getattr(budget, name) != getattr(usual, name):
                words += [f"--{name.replace('_', '-')}", str(getattr(budget, name))]
        for name in ("tile", "margin"):
            if getattr(budget, f"{name}_px") != getattr(usual, f"{name}_px"):
                words += [f"--{name}", str(getattr(budget, f"{name}_px"))]
        if self.classes is not None:
            words += ["--classes", self.classes if isinstance(self.classes, str) else f"{','.join(self.classes)},"]
        if self.seeds != [0]:
            words += ["--seeds", ",".join(map(str, self.seeds))]
        if self.data_mpp is not None:
            words += ["--data-mpp", str(self.data_mpp)]
        return shlex.join(words)

    def _study(
        self, table: Table, failures: Sequence[Failure], ready: Sequence[tuple[Ready, str]]
    ) -> dict[str, object]:
        return {
            "format": "histocyte-study-encoders/1",
            "histocyte": __version__,
            "torch": torch.__version__,
            "device": self.device,
            "threads": torch.get_num_threads(),
            "settings": self.settings,
            "about": {key: about for key, (_, about) in SCORES.items()},
            "reference": table.reference,
            "replicates": table.replicates,
            "level": 0.95,
            "images": dict(table.images),
            "groups": dict(table.groups),
            "rows": table.to_json(),
            "failed": [{"label": f.label, "taps": f.taps, "seed": f.seed, "reason": f.reason} for f in failures],
            "ready": [
                {
                    "label": r.label,
                    "missing": r.missing,
                    "memory_mb": r.memory_mb,
                    "gated": r.gated,
                    "page": r.page,
                    "command": command,
                }
                for r, command in ready
            ],
        }

    def _put(self, name: str, text: str) -> None:
        with write_atomically(self.folder / name) as file:
            file.write(text.encode())
