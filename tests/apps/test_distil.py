"""`histocyte distil`: from a teacher and folders to a student with a card."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import typer
from numpy.typing import NDArray
from safetensors import safe_open
from torch import nn

from histocyte.apps.cli.distil import distil
from histocyte.core.errors import HistocyteError, InputError, ModelError, UnknownNameError
from histocyte.core.taxonomies import CELLS, CONSEP
from histocyte.core.taxonomy import Taxonomy
from histocyte.core.tiles import tile_spans
from histocyte.datasets.sample import Sample
from histocyte.evaluation.image_json import read_report
from histocyte.inference.embed import FieldFeatures
from histocyte.inference.load import Model, load
from histocyte.inference.runtime import Runtime
from histocyte.model.build import build_segmenter, count_parameters
from histocyte.model.checkpoint import read_spec, save_model
from histocyte.model.features import FeatureInfo
from histocyte.model.history import History, Known, Split
from histocyte.model.learnt_set import Standing
from histocyte.model.spec import ModelSpec, Part
from histocyte.pipeline import instances_on
from histocyte.recipes.hover_small import hover_small
from histocyte.recipes.hover_unet import hover_unet
from histocyte.representations.maps.logits import activated
from histocyte.runs.distil import run as distil_run
from histocyte.runs.distil.cost import measure_cost, measure_here
from histocyte.runs.distil.data import DistilData
from histocyte.runs.distil.student import student_spec
from histocyte.runs.distil.teacher import Source, ask_of, features_grid
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses
from histocyte.training.distil.cache import Teacher
from histocyte.training.distil.fields import labelled_field

torch.set_num_threads(1)


def small(scheme: str, **changes: object) -> ModelSpec:
    return ModelSpec(
        name=f"small-{scheme}",
        encoder=Part(name="plain", options={"width": 4, "depth": 2, "convolutions": 1}),
        decoder=Part(name="unet", options={"widths": [8, 4], "depths": [1, 1]}),
        heads=Part(name="pointwise"),
        representation=Part(name=scheme, options={"classes": len(CONSEP)}),
        taxonomy=CONSEP.to_json(),
        tile_px=64,
        margin_px=8,
        multiple=4,
    ).with_changes(**changes)


@pytest.fixture(scope="module", autouse=True)
def _no_curves() -> Iterator[None]:
    """Drawing them takes longer than these trainings, and is checked elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distil_run.Curves, "draw", lambda *_, **__: None)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Teachers (of random weights), a labelled folder that counts as CoNSeP, and images without labels."""
    folder = tmp_path_factory.mktemp("world")
    for name in ("consep", "more"):
        (folder / name).mkdir()
    for number in range(4):
        labels = packed_ellipses((96, 64), 12, seed=number)
        image = paint_truth(labels, CONSEP)[..., ::-1]
        cv2.imwrite(str(folder / "consep" / f"i{number}.png"), image)
        np.savez(folder / "consep" / f"i{number}.npz", inst=labels.instances, type=labels.types)
        cv2.imwrite(str(folder / "more" / f"u{number}.jpg"), image)
    for scheme in ("hover", "flow"):
        torch.manual_seed(0)
        spec = small(scheme)
        save_model(folder / f"{scheme}.safetensors", spec, build_segmenter(spec).state_dict())
    return folder


def run(world: Path, out: Path, teacher: str = "hover", **options: object) -> dict[str, Any]:
    given: dict[str, Any] = {
        **{"student": "hover_small", "images": [world / "more"], "images_mpp": 0.25, "steps": 1, "batch": 2},
        **{"crop_px": 32, "validation": 0.5, "validate_every": 1, "device": "cpu", "threads": 1, "cost": False},
        **options,
    }
    data = given.pop("data", [world / "consep"])
    distil([str(world / f"{teacher}.safetensors")], data, out, **given)
    card: dict[str, Any] = json.loads((out / "card.json").read_text())
    return card


@pytest.fixture(scope="module")
def done(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    run(world, out, features="cosine", cache=out.parent / "answers")
    return out


def test_crops_that_the_student_does_not_take_are_refused_before_anyone_is_asked(world: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="takes steps of 8 px. Take a multiple of that: --crop-px 96"):
        run(world, tmp_path / "run", crop_px=100)
    assert not (tmp_path / "run").exists()


def test_a_student_with_its_card_comes_out(done: Path, world: Path) -> None:
    spec = read_spec(done / "model.safetensors")
    assert spec.description.startswith("A student of ")
    assert spec.licence.startswith("as all that it learnt from allows (")
    assert spec.classes.names == CONSEP.names
    assert spec.training["distilled_from"][0]["name"] == "small-hover"
    assert spec.training["learnt_from"] == "maps nucleus, hover, types"
    assert len(spec.history.held_out["consep"]) == 2
    assert [entry.name for entry in spec.history.sets if not entry.through] == ["consep", "more"]
    assert set(spec.metrics) == {"consep"}
    with safe_open(done / "model.safetensors", framework="pt") as file:
        assert not any(key.startswith("projection") for key in file.keys())  # noqa: SIM118 (not a dict)
    assert load(done / "model.safetensors", runtime="torch", device="cpu").runtime.multiple == 8
    card = json.loads((done / "card.json").read_text())
    assert card["format"] == "histocyte-distillation/1"
    comparison = card["comparisons"][0]
    kinds = {(d["kind"], d["subject"], d["key"]) for d in comparison["sources"]["consep"]["differences"]}
    assert {("all", "", key) for key in ("bpq", "dq", "sq", "mpq")} <= kinds
    assert comparison["sources"]["consep"]["n_images"] == 2
    assert comparison["classes_significantly_worse"] == []
    weights = count_parameters(spec)["all"]
    assert card["costs"]["my-student"]["parameters"] == weights
    text = (done / "card.md").read_text()
    for part in ("my-student, taught by small-hover", "T = 14, α = 0.3, β = 0.7", f"{weights:,}", "2 held out", "bPQ"):
        assert part in text
    assert str(world) not in text
    assert read_report(done / "student.json").class_names == CONSEP.names
    head = (done / "log.csv").read_text().splitlines()[0]
    assert {"distil_hover", "distil_features", "hover_mse"} <= set(head.split(","))


def test_a_second_student_does_not_ask_again(
    done: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def not_again(*_: object) -> None:
        raise AssertionError("the teacher was asked again")

    monkeypatch.setattr(distil_run, "ask_of", not_again)
    run(world, tmp_path / "other", features="mse", cache=done.parent / "answers", seed=0)
    assert "all there" in " ".join(capfd.readouterr().err.split())
    with pytest.raises(AssertionError, match="asked again"):
        run(world, tmp_path / "third", teacher_views=2, cache=done.parent / "answers")
    with pytest.raises(AssertionError, match="asked again"):
        run(world, tmp_path / "fourth", teacher_tile=128, cache=done.parent / "answers")


def test_a_student_of_another_scheme_learns_from_labels(world: Path, tmp_path: Path) -> None:
    card = run(world, tmp_path, "flow", option=["levels=3"], share=0.0)
    assert card["learnt from"].startswith("maps nucleus, types and labels that the teacher gives")
    terms = (tmp_path / "log.csv").read_text().splitlines()[0].split(",")
    assert {"distil_nucleus", "distil_types", "pseudo_hover_mse", "pseudo_hover_msge", "hover_mse"} <= set(terms)
    with pytest.raises(InputError, match="holds a run with other settings"):
        run(world, tmp_path, "flow", option=["levels=3"], share=0.0, temperature=2.0)


def test_a_student_is_trained_as_its_recipe_was_published(world: Path, tmp_path: Path) -> None:
    # The lightweight model's: T 14, α 0.3, β 0.7; AdamW with a cosine, flows that weigh 2, rare classes more.
    published = {"student": "lightweight_student", "encoder": "mobilenetv2_050", "plan": "published"}
    published |= {"steps": None, "validate_every": None, "crop_px": 64, "plan_option": ["epochs=1"]}
    card = run(world, tmp_path / "run", "flow", **published)
    assert (card["trained as"], card["loss"]) == ("published", "T = 14, α = 0.3, β = 0.7, reading natural")
    options = json.loads((tmp_path / "run" / "options.json").read_text())
    # Five images of 96 × 64 px have the area of eight crops: four batches of two.
    assert (options["steps"], options["epoch_steps"], options["validate_every"]) == (4, 4, 4)
    assert (options["optimiser"], options["learning_rate"], options["weight_decay"]) == ("adamw", 5e-4, 1e-4)
    assert options["schedule"] == {"name": "cosine", "least": 2e-3}
    assert (options["average_decay"], options["clip"], options["encoder_factor"]) == (0, 0, 1)
    weights = options["loss_weights"]
    assert weights["flow_mse"] == pytest.approx(0.7 * 2)
    assert weights["types_focal"] == weights["types_ce_svls_sd"] == pytest.approx(0.7)
    assert {term: w for term, w in weights.items() if term.startswith("distil")} == {
        "distil_flow": 0.3,
        "distil_types": 0.3,
    }
    rare = json.loads((tmp_path / "run" / "recipe.json").read_text())["model"]["representation"]["options"]
    assert len(rare["class_weights"]) == 1 + len(CONSEP)
    first = (tmp_path / "run" / "log.csv").read_text().splitlines()[:2]
    row = dict(zip(*(line.split(",") for line in first), strict=True))
    assert all(float(row[term]) > 0 for term in ("flow_mse", "types_focal", "types_ce_svls_sd", "distil_types"))
    with pytest.raises(InputError, match="holds a run with other settings"):
        run(world, tmp_path / "run", "flow", **published | {"plan_option": ["epochs=2"]})
    plain = run(world, tmp_path / "plain", "flow", **published | {"steps": 1}, squared=False)
    assert plain["loss"].endswith("without T²")
    other = (tmp_path / "plain" / "log.csv").read_text().splitlines()[:2]
    softer = dict(zip(*(line.split(",") for line in other), strict=True))
    assert float(row["distil_types"]) == pytest.approx(14**2 * float(softer["distil_types"]), rel=1e-3)


def test_a_run_told_to_end_goes_on_with_the_same_command(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    validate = distil_run.DistilRun._validate

    def told_to_end(self: distil_run.DistilRun, network: nn.Module) -> dict[str, float]:
        signal.raise_signal(signal.SIGTERM)
        return validate(self, network)

    monkeypatch.setattr(distil_run.DistilRun, "_validate", told_to_end)
    with pytest.raises(typer.Exit) as ended:
        run(world, tmp_path, steps=2)
    assert ended.value.exit_code == 143
    assert "The state of step 1 of 2 is in" in capfd.readouterr().err
    assert not (tmp_path / "card.md").exists()
    monkeypatch.setattr(distil_run.DistilRun, "_validate", validate)
    run(world, tmp_path, steps=2)
    assert [row.split(",")[0] for row in (tmp_path / "log.csv").read_text().splitlines()] == ["step", "1", "2"]


def test_what_cannot_be_done_is_refused_at_once(world: Path, tmp_path: Path) -> None:
    for match, options in (
        ("is one of natural, swapped", {"reading": "other"}),
        ("is one of none, cosine, mse", {"features": "other"}),
        ("A temperature is above 0", {"temperature": 0.0}),
        ("learns by auto, maps, labels", {"way": "other"}),
        ("takes no depth; it takes encoder, levels, mpp, mean, std", {"option": ["depth=3"]}),
        ("expected NAME=VALUE", {"option": ["levels"]}),
        ("--images-mpp", {"images_mpp": None}),
        ("There is no plan 'published' for the recipe 'hover_small'", {"plan": "published"}),
        ("there is none. Name one: --plan published", {"plan_option": ["epochs=1"]}),
        ("--plan-option zoom=1,1", {"student": "cellpose", "plan": "published"}),
        ("--plan-option sampling=area", {"student": "cellvit", "plan": "published", "encoder": "vit_tiny_patch16_224"}),
        ("1, 2, 4, 8 views", {"teacher_views": 3}),
        ("--tile 101: tiles of 'small-hover' are multiples", {"teacher_tile": 101}),
        ("--cache-limit", {"cache_limit": 1e-6}),
    ):
        with pytest.raises(HistocyteError, match=match):
            run(world, tmp_path / "no", **options)
    with pytest.raises(UnknownNameError, match="No recipe called 'nosuch'"):
        run(world, tmp_path / "no", student="nosuch")
    with pytest.raises(InputError, match="cannot learn from maps alone"):
        run(world, tmp_path / "no", "flow", way="maps")
    assert not (tmp_path / "no" / "log.csv").exists()


def test_a_student_tells_the_classes_asked_for_apart(world: Path, tmp_path: Path) -> None:
    card = run(world, tmp_path / "cells", classes="cells")
    spec = read_spec(tmp_path / "cells" / "model.safetensors")
    assert spec.classes.names == CELLS.names
    assert dict(spec.representation.options)["classes"] == len(CELLS)
    assert "inflammatory as lymphocyte or macrophage or neutrophil" in " ".join(card["notes"])
    log = (tmp_path / "cells" / "log.csv").read_text().splitlines()
    values = dict(zip(log[0].split(","), log[1].split(","), strict=True))
    assert float(values["distil_types"]) > 0
    report = read_report(tmp_path / "cells" / "teacher-1.json")
    merged = {name: report.truth_of.get(("consep", name)) for name in report.names_of("consep")}
    assert merged["inflammatory"] == ("lymphocyte", "macrophage", "neutrophil")
    assert merged["epithelial"] in (None, ("epithelial",))
    assert [part["sources"]["consep"]["n_images"] for part in card["comparisons"]] == [2]


def test_classes_of_the_data_are_taught_by_labels_where_the_teacher_has_none(world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(world / "consep", folder)
    (folder / "classes.json").write_text('["large", "small", "odd", "rest"]')
    with pytest.raises(InputError, match="says anything of the classes a, b"):
        run(world, tmp_path / "no", data=[folder], mpp=0.25, classes="a,b")
    card = run(world, tmp_path / "run", data=[folder], mpp=0.25, classes="data")
    assert read_spec(tmp_path / "run" / "model.safetensors").classes.names == ("large", "small", "odd", "rest")
    assert "Labels alone teach large, small, odd, rest" in " ".join(card["notes"])
    assert card["comparisons"], "outlines are compared all the same"
    (folder / "classes.json").unlink()
    with pytest.raises(InputError, match="none of the labelled folders has classes"):
        run(world, tmp_path / "no", data=[folder], mpp=0.25, classes="data")


def test_several_processes_are_refused(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="in one process"):
        run(world, tmp_path)


def test_a_student_takes_its_teachers_classes_and_constants() -> None:
    teacher = hover_unet().with_changes(
        representation={"name": "hover", "options": {"classes": 4, "seam_drop": 0.01, "nucleus_channels": 2}},
        taxonomy={"name": "x", "classes": [{"name": n, "colour": [0, 0, 0]} for n in "abcd"]},
    )
    spec = student_spec("hover_small", teacher, None, {}, "mine")
    assert spec.classes.names == ("a", "b", "c", "d")
    assert dict(spec.representation.options) == {"classes": 4, "seam_drop": 0.01}
    coarse = student_spec("hover_small", teacher, "mobilenetv2_050", {"mpp": 0.5}, "mine")
    scaled = {"classes": 4, "min_area_px": 3, "seam_drop": 0.01, "smoothing_px": 0.4, "sobel_px": 11}
    assert (coarse.mpp, dict(coarse.representation.options)) == (0.5, scaled)
    assert coarse.encoder.options["name"] == "mobilenetv2_050"
    assert student_spec("hover_small", teacher, None, {"std": [0.5, 0.5, 0.5]}, "mine").std == (0.5, 0.5, 0.5)
    assert "seam_drop" not in student_spec("cellpose", teacher, None, {}, "mine").representation.options


def test_the_small_recipe_is_a_twentieth_of_the_default_one() -> None:
    assert 20 * count_parameters(hover_small())["all"] < count_parameters(hover_unet())["all"]


def sample(source: str, name: str, group: str) -> Sample:
    nothing = np.zeros((64, 64), np.int32)
    return Sample(name, np.zeros((64, 64, 3), np.uint8), nothing, None, 0.25, source, group)


def taught_on(held_out: dict[str, list[str]], *sets: str) -> ModelSpec:
    data = [{"name": name, "licence": "", "citation": "", "images": 1, "nuclei": 1} for name in sets]
    return small("hover", history=History.of_earlier(data, {"held_out": held_out}))


def split(samples: list[Sample], *teachers: ModelSpec) -> Split:
    return History().after((t.name, t.history) for t in teachers).split(samples, fraction=0.25, lenient=True)


def test_what_teachers_learnt_from_is_not_held_out() -> None:
    known = [sample("a", f"a{i}", f"patient {i // 2}") for i in range(8)]
    new = [sample("b", f"b{i}", f"b{i}") for i in range(4)]
    one, other = taught_on({"a": ["a0", "a1", "a2"]}, "a"), taught_on({"a": ["a1", "a2", "a5"]}, "a", "c")
    training, validation, _, notes = split([*known, *new], one, other)
    assert [s.name for s in validation if s.source == "a"] == ["a1", "a2"]
    assert [s.name for s in training if s.source == "a"] == ["a4", "a5", "a6", "a7"], "none of the same patients"
    assert len([s for s in validation if s.source == "b"]) == 1
    assert [note for note in notes if "too well" in note] == []
    forgetful = taught_on({}, "a")
    _, again, _, notes = split(known, forgetful)
    assert len({s.group for s in again}) == 1
    assert "did not learn from: it may score too well" in notes[0]
    held = [s.name for s in validation if s.source == "b"]
    data = DistilData(training=training, validation=validation)
    history = data.history([one, taught_on({"c": ["c1", "c2"]}, "c")])
    # The images a0 and a2, too, have taught neither the student nor its teacher.
    assert history.held_out == {"a": ["a0", "a1", "a2"], "b": held, "c": ["c1", "c2"]}
    assert {entry.through for entry in data.history([other]).sets if entry.name == "c"} == {"small-hover"}


def test_labels_of_other_classes_teach_outlines(world: Path) -> None:
    for names, known in (("abcd", False), (("other", "b", "c", "d"), True)):
        classes = [{"name": name, "colour": [0, 0, 0]} for name in names]
        data = DistilData.read(
            [world / "consep"],
            taxonomy=Taxonomy.from_json({"name": "x", "classes": classes}),
            teachers=[small("hover")],
            fraction=0.5,
            seed=0,
            mpp=None,
        )
        assert all((sample.types is not None) == known for sample in (*data.training, *data.validation))
        assert any("its labels teach outlines" in note for note in data.notes) != known


def test_own_classes_that_are_others_teach_outlines_too(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "consep", tmp_path / "mine")
    (tmp_path / "mine" / "classes.json").write_text('["a", "b", "c", "d"]')
    data = DistilData.read(
        [tmp_path / "mine"], taxonomy=CONSEP, teachers=[small("hover")], fraction=0.5, seed=0, mpp=0.25
    )
    assert all(sample.types is None for sample in data.training)
    assert any("The classes of mine are others than the student's: its labels teach outlines" in n for n in data.notes)


def test_what_cannot_begin_is_refused_before_the_teachers_are_asked(
    world: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distil_run, "TeacherCache", None)
    (tmp_path / "cut.safetensors").write_bytes(b"cut")
    for match, out, options in (
        ("does not have all of the levels", tmp_path / "run", {"option": ["levels=6"]}),
        ("cannot be made with levels=99: multiple: Input", tmp_path / "run", {"option": ["levels=99"]}),
        ("levels=x is none that 'hover_small' can have", tmp_path / "run", {"option": ["levels=x"]}),
        ("needs one level", tmp_path / "run", {"option": ["levels=0"]}),
        ("No timm model called 'nosuch'", tmp_path / "run", {"encoder": "nosuch"}),
        ("is not a safetensors file", tmp_path / "run", {"encoder_weights": str(tmp_path / "cut.safetensors")}),
        ("holds a run with other settings", done, {"features": "mse"}),
    ):
        with pytest.raises(HistocyteError, match=match):
            run(world, out, **options)
    assert not (tmp_path / "run").exists()


def test_held_out_images_are_no_images_without_labels_either(tmp_path: Path) -> None:
    folder = tmp_path / "tnbc"  # its images are grouped by what stands before the underscore
    folder.mkdir()
    for name in ("01_1", "01_2", "02_1"):
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((64, 64, 3), np.uint8))
    data = DistilData(validation=[sample("tnbc", "01_1", "01")])
    data.add_images([folder], least_um=16.0, mpp=None)
    assert [f.name for f in data.extra] == ["02_1.png"]


def test_a_copy_of_a_held_out_image_teaches_nothing_under_any_name(tmp_path: Path) -> None:
    held, other = (paint_truth(packed_ellipses((192, 192), 40, seed=seed), CONSEP) for seed in (1, 2))
    folder = tmp_path / "slides"
    folder.mkdir()
    cv2.imwrite(str(folder / "copy.jpg"), np.ascontiguousarray(held[:, ::-1, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 85])
    cv2.imwrite(str(folder / "other.png"), np.ascontiguousarray(other[..., ::-1]))
    nothing = np.zeros(held.shape[:2], np.int32)
    data = DistilData(validation=[Sample("a", held, nothing, None, 0.25, "mine", "a")])
    added = data.add_images([folder], least_um=16.0, mpp=0.25)
    assert [image.path.name for image in added] == ["other.png"]
    assert [f.name for f in data.extra] == ["other.png"]
    known = data.history([]).know([Sample("b", other, nothing, None, 0.25, "renamed", "b")])
    assert known == [Known(Standing.LEARNT, "content")]


def test_a_teacher_is_asked_as_the_pipeline_asks(perfect_model: Model) -> None:
    labels = packed_ellipses((150, 90), 20, seed=5)
    truth = Sample("s", paint_truth(labels, CONSEP), labels.instances, labels.types, 0.25, "painted", "s")
    answer = ask_of(perfect_model, Teacher(perfect_model.spec, "perfect"))(labelled_field(truth, least_um=16.0))
    assert answer.logits.dtype == np.float16
    assert answer.logits.shape == (8, *labels.instances.shape)
    assert np.array_equal(activated(answer.logits, perfect_model.maps)[0] > 0.5, labels.instances > 0)
    np.testing.assert_array_equal(answer.instances.labels, instances_on(truth.image, perfect_model, mpp=0.25).labels)
    assert len(answer.instances) == len(np.unique(labels.instances)) - 1
    assert answer.features is None
    with pytest.raises(InputError, match="no vectors"):
        ask_of(perfect_model, Teacher(perfect_model.spec, "perfect", features=True))


def test_features_of_tiles_are_put_together() -> None:
    height, width, stride = 100, 150, 4
    rows = tile_spans(height, tile_px=64, margin_px=8, multiple=4)
    columns = tile_spans(width, tile_px=64, margin_px=8, multiple=4)
    features = FieldFeatures(FeatureInfo("numbers", 2))
    for row in rows:
        for column in columns:
            down = row.start // stride + np.arange(row.size // stride)
            across = column.start // stride + np.arange(column.size // stride)
            features.add(row, column, np.stack(np.meshgrid(down, across, indexing="ij"), -1).astype(np.float16))
    grid = features_grid(features, (height, width), stride)
    assert np.array_equal(grid, np.mgrid[:25, :38].astype(np.float16)), "every step from a tile, and where it lies"
    features.info = FeatureInfo("with a border", 2, border_px=3)
    with pytest.raises(InputError, match="Leave out --features"):
        features_grid(features, (height, width), stride)


def test_features_need_the_file_for_torch(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    with pytest.raises(ModelError, match="the ONNX file alone"):
        Source(str(tmp_path / "m.onnx"), features=True)


def test_the_network_is_timed_on_a_tile_of_its_own_size(
    perfect_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []

    class Watched(Runtime):
        name, device, parallel, multiple = "watched", "here", 1, 16

        def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            seen.append(images.shape)
            return perfect_model.runtime.predict(images)

    monkeypatch.setattr("histocyte.inference.load.load", lambda *_, **__: replace(perfect_model, runtime=Watched()))
    for length, side in ((100, 96), (600, 256)):
        np.save(tmp_path / "image.npy", np.full((length, length + 50, 3), 255, np.uint8))
        measure_here("perfect", str(tmp_path / "image.npy"), "0.25", "torch", "cpu")
        assert seen[-4:] == [(1, side, side, 3)] * 4


def test_the_cost_of_a_model_is_measured(world: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.npy"
    np.save(image, np.full((64, 64, 3), 200, np.uint8))
    found = json.loads(measure_here(str(world / "hover.safetensors"), str(image), "0.25", "torch", "cpu"))
    assert found["runtime"] == "torch"
    assert found["mm2_per_minute"] > 0
    assert found["network_mm2_per_minute"] > 0
    assert found["peak_bytes"] is None or found["peak_bytes"] > 10**7
    with pytest.raises(HistocyteError, match=r"Running 'none\.safetensors' to measure it failed: .*no model file"):
        measure_cost("none.safetensors", np.zeros((8, 8, 3), np.uint8), 0.25)
