"""Damaged files of runs, recipes, caches and data end in one kind line each, whatever is wrong with them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from histocyte.core.instances import Instances, Labels
from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.augment.steps import Augmentation
from histocyte.datasets.folder import load_folder
from histocyte.datasets.name_list import named_samples, read_name_list
from histocyte.datasets.sample import Sample
from histocyte.evaluation.image_json import image_to_json
from histocyte.evaluation.image_scores import ImageInfo, score_image
from histocyte.model.build import build_segmenter
from histocyte.model.classifier import ClassifierSpec, Head, load_classifier, save_classifier
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.plan import Crops
from histocyte.runs.folder import RunFolder
from histocyte.runs.studies.encoders.plan import Choice, Run
from histocyte.runs.studies.encoders.run import check_folder
from histocyte.runs.studies.encoders.table import read_results, table_of
from histocyte.runs.studies.encoders.weights import check_same_weights
from histocyte.runs.train.batch import batch_of_run
from histocyte.runs.train.curves import write_curves
from histocyte.runs.train.defaults import crop_sampler
from histocyte.runs.train.resolved import ResolvedRecipe
from histocyte.testing.mutations import (
    failures,
    mutated_bytes,
    mutated_json,
    safetensors_header,
    with_safetensors_header,
)
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses
from histocyte.training.adapt import Fixed
from histocyte.training.distil.cache import Answer, Teacher, TeacherCache
from histocyte.training.distil.crops import DistilSampler
from histocyte.training.distil.fields import Field, labelled_field
from histocyte.training.distil.lessons import lessons_of
from histocyte.training.ema import WeightAverage
from histocyte.training.environment import record_environment
from histocyte.training.feature_cache import FeatureCache
from histocyte.training.fit import TrainingOptions, fit
from histocyte.training.journal import Table, steps_done
from histocyte.training.optimiser import make_optimiser
from histocyte.training.options import check_same_recipe, check_same_run
from histocyte.training.state import load_moving, load_state, load_weights

torch.set_num_threads(1)
SEED = 12
Cases = Iterator[tuple[str, Callable[[], object]]]


def spec_of(scheme: str = "hover") -> ModelSpec:
    return ModelSpec(
        name="small",
        recipe="hover_unet",
        encoder=Part(name="plain", options={"width": 2, "depth": 2, "convolutions": 1}),
        decoder=Part(name="unet", options={"widths": [4, 2], "depths": [1, 1]}),
        heads=Part(name="pointwise"),
        representation=Part(name=scheme, options={"classes": len(CONSEP)}),
        taxonomy=CONSEP.to_json(),
        tile_px=64,
        margin_px=8,
        multiple=4,
    )


def sample_of(seed: int = 0) -> Sample:
    labels = packed_ellipses((48, 48), 4, seed=seed)
    image = paint_truth(labels, CONSEP)
    return Sample(f"s{seed}", image, labels.instances, labels.types, 0.25, "own", f"s{seed}")


SPEC = spec_of()
OPTIONS = TrainingOptions(steps=2, batch=1, validate_every=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step of two."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    sampler = crop_sampler(SPEC, [sample_of()], seed=0)
    recipe = ResolvedRecipe(model=SPEC, training=OPTIONS, crops=Crops(crop_px=48))
    fit(
        *(build_segmenter(SPEC), SPEC, sampler, folder, OPTIONS),
        validate=lambda _: {"bpq": 0.5},
        facts=recipe.further(),
        stop=lambda: True,
    )
    RunFolder(folder).settle_images({"learnt": {"own": {"s0": "print"}}, "held_out": {}, "left_out": {}})
    return folder


def damaged(content: bytes, count: int, draw: random.Random) -> Iterator[bytes]:
    """Copies of a file with faults in its bytes, and, of JSON and safetensors, in what it says."""
    for number in range(count):
        if number % 2 and content[:1] in b"{[":
            changed = mutated_json(json.loads(content), draw)
            yield json.dumps(changed).encode("utf-8", "surrogatepass")
        elif number % 2 and content[8:9] == b"{":
            yield with_safetensors_header(content, mutated_json(safetensors_header(content), draw))
        else:
            yield mutated_bytes(content, draw)
    yield from (b"", b"null", b"[]", b"3", b'"x"', b"[" * 60_000, b"\xff\xfe\x00", b"{}")


def attempts(path: Path, whole: Path, tries: dict[str, Callable[[], object]], *, count: int) -> Cases:
    """Each of the ways to read a file, on damaged copies of it."""
    draw = random.Random(f"{SEED} {path.name}")
    for number, content in enumerate(damaged(whole.read_bytes(), count, draw)):
        for name, attempt in tries.items():

            def once(content: bytes = content, attempt: Callable[[], object] = attempt) -> object:
                path.write_bytes(content)
                return attempt()

            yield f"{path.name} {number} {name} {content[:40]!r}", once


def test_files_of_a_run_that_goes_on(run: Path, tmp_path: Path) -> None:
    recipe = json.loads((run / "recipe.json").read_text())
    names = {"learnt": {"own": {"s0": "print"}}, "held_out": {}, "left_out": {}}
    facts = {"python": "3"}
    tries: dict[str, dict[str, Callable[[], object]]] = {
        "options.json": {
            "same run": lambda: check_same_run(tmp_path, OPTIONS, {"a": 1.0}),
            "batch": lambda: batch_of_run(tmp_path),
        },
        "data.json": {"same images": lambda: RunFolder(tmp_path).settle_images(names)},
        "recipe.json": {
            "same recipe": lambda: check_same_recipe(tmp_path, recipe),
            "read": lambda: ResolvedRecipe.read(tmp_path / "recipe.json"),
        },
        "progress.json": {"steps": lambda: steps_done(tmp_path)},
        "environment.json": {
            "record": lambda: record_environment(tmp_path / "environment.json", facts, step=1),
        },
        "log.csv": {
            "cut": lambda: (Table(tmp_path / "log.csv").cut(1), Table(tmp_path / "log.csv").column("loss")),
            "append": lambda: Table(tmp_path / "log.csv").append({"step": 1, "loss": 0.5}),
        },
    }
    cases = [
        case
        for name, ways in tries.items()
        for case in attempts(tmp_path / name, run / name, ways, count=60 if name == "recipe.json" else 24)
    ]
    assert failures(cases) == []


def test_states_and_weights(run: Path, tmp_path: Path) -> None:
    def go_on() -> object:
        model = build_segmenter(SPEC)
        average, optimiser = WeightAverage(model, 0.9), make_optimiser(model, OPTIONS)
        load_state(tmp_path / "last.safetensors", model, average, optimiser)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimiser.step()
        return None

    def best() -> object:
        path = tmp_path / "best.safetensors"
        return load_moving(build_segmenter(SPEC), load_weights(path), Fixed(), where=path)

    cases = [
        *attempts(tmp_path / "last.safetensors", run / "last.safetensors", {"go on": go_on}, count=60),
        *attempts(tmp_path / "best.safetensors", run / "best.safetensors", {"load": best}, count=30),
    ]
    assert failures(cases) == []


def test_curves_of_a_damaged_run(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw = random.Random(SEED)
    files = {name: (run / name).read_bytes() for name in ("log.csv", "validation.csv", "options.json", "progress.json")}
    files["environment.json"] = (run / "environment.json").read_bytes()

    def one(name: str, content: bytes) -> Callable[[], object]:
        def attempt() -> object:
            for file, whole in files.items():
                (tmp_path / file).write_bytes(content if file == name else whole)
            return write_curves(tmp_path, title="Damaged")

        return attempt

    cases = [
        (f"{name} {content[:40]!r}", one(name, content))
        for name, whole in files.items()
        for content in list(damaged(whole, 2, draw))[: 3 if name.endswith("csv") else 8]
    ]
    assert failures(cases) == []


def test_features_that_were_kept(tmp_path: Path) -> None:
    sampler = crop_sampler(SPEC, [sample_of()], seed=0)
    model = build_segmenter(SPEC)
    whole = tmp_path / "whole"
    whole.mkdir()
    FeatureCache(whole, model, SPEC, sampler).fill(1, batch=1)
    (shard,) = whole.glob("features-*.safetensors")

    def use() -> object:
        cache = FeatureCache(tmp_path / "used", model, SPEC, sampler)
        cache.shard = 1
        return cache.fill(1, batch=1).batch(0, 1)

    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "cache.json").write_bytes((whole / "cache.json").read_bytes())
    cases = list(attempts(tmp_path / "used" / shard.name, shard, {"use": use}, count=24))
    assert failures(cases) == []
    cases = list(attempts(tmp_path / "used" / "cache.json", whole / "cache.json", {"use": use}, count=24))
    assert failures(cases) == []


def test_answers_of_teachers_that_were_kept(tmp_path: Path) -> None:
    teacher, sample = Teacher(SPEC, "0" * 64), sample_of()
    field = labelled_field(sample, least_um=0.0)

    def ask(field: Field) -> Answer:
        assert field.sample is not None
        labels = Labels(field.sample.instances, field.sample.types)
        count = int(labels.instances.max())
        logits = np.zeros((teacher.channels, *labels.instances.shape), np.float16)
        classes = np.eye(len(CONSEP), dtype=np.float32)[np.zeros(count, int)]
        return Answer(logits, Instances(labels.instances, classes, np.ones(count, np.float32)))

    whole = tmp_path / "whole"
    whole.mkdir()
    TeacherCache(whole).fill(teacher, [field], ask)
    (answer,) = whole.iterdir()
    (tmp_path / "used").mkdir()

    def use() -> object:
        cache = TeacherCache(tmp_path / "used")
        cache.fill(teacher, [field], ask)
        lessons = lessons_of(SPEC, [SPEC], way="labels")
        return DistilSampler(SPEC, lessons, [teacher], cache, [field], colour=Augmentation([]), crop_px=48).batch(0, 1)

    assert failures(attempts(tmp_path / "used" / answer.name, answer, {"use": use}, count=30)) == []


def test_files_of_a_study(tmp_path: Path) -> None:
    choice = Choice("resnet18", None, True)
    chosen = Run(choice, "deep", 0)
    folder = tmp_path / "study"
    (folder / "runs" / chosen.key).mkdir(parents=True)
    check_folder(folder, {"steps": 2, "images": {"own": 1}}, [chosen])
    whole = tmp_path / "settings.json"
    whole.write_bytes((folder / "settings.json").read_bytes())
    ways: dict[str, Callable[[], object]] = {
        "check": lambda: check_folder(folder, {"steps": 2, "images": {"own": 1}}, [chosen])
    }
    assert failures(attempts(folder / "settings.json", whole, ways, count=40)) == []
    result = tmp_path / "result.json"
    sample = sample_of()
    count = int(sample.instances.max())
    found = Instances(sample.instances, np.eye(4, dtype=np.float32)[[0] * count], np.ones(count, np.float32))
    scores = score_image(sample.labels, found, ImageInfo("s0", "own", "s0", 0.25), n_classes=4)
    facts = {"label": choice.label, "name": choice.name, "taps": "deep", "seed": 0, "random": True}
    facts |= {"tapped": [1], "tapped_what": "levels", "encoder_parameters": 1, "decoder_parameters": 1}
    facts |= {"crops_per_s": 1.0, "feature_bytes_per_crop": 1, "licence": "x", "seconds": {"training": 1.0}}
    facts |= {"weights_sha256": "", "images": [image_to_json(scores)]}
    result.write_text(json.dumps(facts))
    there = folder / "runs" / chosen.key / "result.json"
    order = [(choice.label, "deep")]
    ways = {
        "same weights": lambda: check_same_weights(there, choice),
        "table": lambda: table_of(read_results(folder, order), n_classes=4, replicates=2),
    }
    assert failures(attempts(there, result, ways, count=40)) == []


def test_files_of_a_classifier(tmp_path: Path) -> None:
    width, classes = 3, len(CONSEP)
    spec = ClassifierSpec(
        taxonomy=CONSEP.to_json(), model="m", model_sha256="0" * 64, embedding="e", width=width, training={}, scores={}
    )
    layers = ((np.ones((classes, width), np.float32), np.zeros(classes, np.float32)),)
    whole = tmp_path / "whole.safetensors"
    save_classifier(whole, spec, Head(np.zeros(width, np.float32), np.ones(width, np.float32), layers))

    def use() -> object:
        found = load_classifier(tmp_path / "used.safetensors")
        return found.head.probabilities(np.zeros((2, found.spec.width), np.float32))

    assert failures(attempts(tmp_path / "used.safetensors", whole, {"use": use}, count=60)) == []


def test_what_lies_beside_images(tmp_path: Path) -> None:
    sample = sample_of()
    assert sample.types is not None
    cv2.imwrite(str(tmp_path / "a.png"), sample.image)
    np.savez(tmp_path / "a.npz", inst=sample.instances, type=sample.types)
    original = tmp_path / "original"
    original.mkdir()
    texts = {
        "images.csv": "name,patient,tissue,mpp\na,p1,breast,0.25\n",
        "classes.json": json.dumps({"mpp": 0.25, "1": "one", "2": "two", "3": "three", "4": "four"}),
        "list.txt": "a.png\nown/b  # a comment\n",
    }
    for name, text in texts.items():
        (original / name).write_text(text)

    def load() -> object:
        return load_folder(tmp_path, mpp=0.25)

    def listed() -> object:
        return named_samples([sample], read_name_list(tmp_path / "list.txt"), where="The list")

    for name, way in {"images.csv": load, "classes.json": load, "list.txt": listed}.items():
        cases = list(attempts(tmp_path / name, original / name, {"load": way}, count=40))
        assert failures(cases) == [], name
        (tmp_path / name).unlink()
    save_file({"x": np.zeros(1)}, tmp_path / "x.safetensors")  # another kind of file beside them
    assert load_folder(tmp_path, mpp=0.25)
