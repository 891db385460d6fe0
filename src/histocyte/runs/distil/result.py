"""The end of a distillation: teachers and student scored on the same images, measured, and put on the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors.torch import load_file

from histocyte.core.compared import ComparedClasses, compared_classes
from histocyte.core.errors import HistocyteError, MissingExtraError
from histocyte.core.listener import SILENT, Listener, Stop, Stopped, never
from histocyte.core.plain_text import as_utf8
from histocyte.core.taxonomy import Taxonomy
from histocyte.datasets.sample import Sample
from histocyte.evaluation.compare import Comparison, compare_reports
from histocyte.evaluation.image_json import StoredReport
from histocyte.evaluation.protocol import evaluate
from histocyte.evaluation.report import Report
from histocyte.files.atomic import write_atomically
from histocyte.inference.load import Model, load
from histocyte.model.build import count_parameters
from histocyte.model.checkpoint import load_model, save_model
from histocyte.model.onnx.export import export_onnx
from histocyte.pipeline import instances_on
from histocyte.runs.distil.card import Cost, card_json, card_markdown
from histocyte.runs.distil.cost import measure_cost
from histocyte.runs.distil.data import DistilData
from histocyte.runs.distil.teacher import Source

__all__ = ["DistilResult", "score"]


def score(
    model: Model,
    samples: Sequence[Sample],
    truth: Taxonomy,
    *,
    replicates: int,
    listener: Listener = SILENT,
    stop: Stop = never,
) -> Report:
    """A model's report on labelled images, whose types are of the classes `truth`.

    Raises:
        Stopped: Told to.
    """
    with listener.task(f"scoring {model.spec.name}", len(samples), unit="images") as task:

        def scored(_: object) -> None:
            task.advance()
            if stop():
                raise Stopped("The student is trained, and is still to be compared with its teachers")

        both = compared_classes(truth, model.taxonomy)
        return evaluate(
            lambda image, mpp: instances_on(image, model, mpp=mpp),
            [sample if both.identical else _in_classes(sample, both) for sample in samples],
            model.taxonomy.names,
            compared=None if both.identical else dict.fromkeys({s.source for s in samples}, both),
            replicates=replicates,
            on_image=scored,
        )


def _in_classes(sample: Sample, both: ComparedClasses) -> Sample:
    """The sample with the types of the classes that are compared."""
    types = both.true_types()[sample.types] if both.classes and sample.types is not None else None
    return replace(sample, types=types, one_of=None)


@dataclass(frozen=True, slots=True)
class DistilResult:
    """A student that is done.

    Attributes:
        path: Its file, in the folder of the run.
        teachers: Whom it learnt from.
        data: On which both are scored.
        facts: What the card says of how it was taught.
        device: To run on.
        threads: On a CPU.
        listener: Told how it goes on.
    """

    path: Path
    teachers: Sequence[Source]
    data: DistilData
    facts: Mapping[str, str]
    device: torch.device
    threads: int
    listener: Listener = SILENT

    def card(self, *, cost: bool, stop: Stop = never) -> dict[str, Any]:
        """Score all on the held-out images, measure them, and write card.md and card.json; gives the latter.

        Args:
            cost: Measure time and memory too.
            stop: Looked at after each image.

        Raises:
            Stopped: Told to; the student is trained, and the card still to be made.
        """
        student = load(self.path, runtime="torch", device=str(self.device))
        stored, report = self._scored("student", student, student.spec.classes, stop)
        spec = student.spec.with_changes(metrics=report.to_json()["sources"])
        save_model(self.path, spec, load_file(self.path))
        comparisons: list[Comparison] = []
        for number, source in enumerate(self.teachers, 1):
            theirs, _ = self._scored(f"teacher-{number}", source.load(str(self.device)), student.spec.classes, stop)
            comparisons.append(compare_reports(theirs, stored))
        costs = self._costs(measured=cost)
        folder, notes = self.path.parent, self.data.notes
        card = card_json(self.facts, comparisons, costs, notes)
        title = f"{spec.name}, taught by {', '.join(t.teacher.spec.name for t in self.teachers)}"
        with write_atomically(folder / "card.json") as file:
            file.write(orjson.dumps(card, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY, default=str))
        with write_atomically(folder / "card.md") as file:
            file.write(as_utf8(card_markdown(title, self.facts, comparisons, costs, notes)))
        return card

    def _scored(self, name: str, model: Model, truth: Taxonomy, stop: Stop) -> tuple[StoredReport, Report]:
        """A model's report, in the classes that it has in common with those of the truth."""
        torch.set_num_threads(self.threads)  # loading a model leaves one
        samples = self.data.validation
        report = score(model, samples, truth, replicates=1000, listener=self.listener, stop=stop)
        file = self.path.parent / f"{name}.json"
        facts = {"model": model.spec.name, "model_sha256": model.sha256, "runtime": model.runtime.name}
        with write_atomically(file) as out:
            out.write(orjson.dumps({**facts, **report.to_json()}, option=orjson.OPT_SERIALIZE_NUMPY))
        return StoredReport(file, model.spec.name, report.class_names, report.images, report.mode), report

    def _costs(self, *, measured: bool) -> dict[str, Cost]:
        """Costs of teachers and student, all by the same runtime where that can be."""
        onnx = measured and all(t.files.onnx is not None for t in self.teachers) and self._exported()
        spec = load_model(self.path)[0]
        models = [(t.teacher.spec, t.path, t.name) for t in self.teachers] + [(spec, self.path, str(self.path))]
        costs: dict[str, Cost] = {}
        for each, file, name in models:
            plain = "torch" if file.suffix == ".safetensors" else "auto"
            cpu = self._measured(name, "openvino" if onnx else plain, "cpu") if measured else {}
            gpu = self._measured(name, "torch", "cuda") if measured and self.device.type == "cuda" else {}
            label = each.name if each.name not in costs else f"{each.name} ({len(costs) + 1})"
            costs[label] = Cost(count_parameters(each)["all"], file.stat().st_size, cpu, gpu)
        return costs

    def _measured(self, name: str, runtime: str, device: str) -> dict[str, Any]:
        """Nothing where it fails: the card can do without."""
        image = self.data.validation[0]
        self.listener.say(f"Measuring {name} on {device} …")
        try:
            return measure_cost(name, image.image, image.mpp, runtime=runtime, device=device)
        except HistocyteError as error:
            self.listener.say(str(error))
            return {}

    def _exported(self) -> bool:
        """Make the student's ONNX file, with which it runs without torch; whether that was possible."""
        spec, network = load_model(self.path)
        try:
            export_onnx(spec, network, self.path.with_suffix(".onnx"))
        except MissingExtraError:
            return False
        except Exception as error:  # noqa: BLE001 (whatever stands in the way, hours of training have their card)
            self.listener.say(f"The student could not be exported to ONNX: {error}")
            return False
        return True
