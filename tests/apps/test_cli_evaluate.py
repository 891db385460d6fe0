"""`histocyte evaluate --html` from a model file to the page."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from histocyte.apps.cli.evaluate import evaluate
from histocyte.core.errors import InputError
from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.folder import load_folder
from histocyte.inference.load import Model
from histocyte.model.build import build_segmenter
from histocyte.model.checkpoint import load_model, save_model
from histocyte.model.history import History
from histocyte.recipes.hover_unet import hover_unet
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
torch.set_num_threads(1)

APP = typer.Typer()
APP.command()(evaluate)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images as CoNSeP has them, of two patients and two tissues."""
    folder = tmp_path_factory.mktemp("data") / "consep"
    folder.mkdir()
    for number in range(3):
        labels = packed_ellipses((128, 128), 16, seed=number)
        cv2.imwrite(str(folder / f"i{number}.png"), paint_truth(labels, CONSEP)[..., ::-1])
        np.savez(folder / f"i{number}.npz", inst=labels.instances, type=labels.types)
    (folder / "images.csv").write_text("name,tissue,patient\ni0,Colon,A\ni1,Colon,A\ni2,Skin,B\n")
    return folder


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that has learnt nothing and takes everything for nuclei; it says it knows one of the images."""
    spec = hover_unet().with_changes(
        name="tiny",
        encoder={"name": "timm_pyramid", "options": {"name": "resnet10t", "depths": [0, 1]}},
        decoder={"name": "unet", "options": {"widths": [8], "depths": [1]}},
        data=[{"name": "consep"}],
        training={"held_out": {"consep": ["i0", "i2"]}},
    )
    torch.manual_seed(0)
    model = build_segmenter(spec)
    nucleus = model.get_parameter("heads.heads.0.bias")
    nucleus.data.fill_(4.0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, spec, model.state_dict())
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(APP, [*map(str, arguments)])


def test_a_test_is_of_images_that_neither_taught_nor_chose(data: Path, model_file: Path, tmp_path: Path) -> None:
    common = ("--runtime", "torch", "--device", "cpu", "--split", "test", "--json")
    answer = run(model_file, data, *common)
    assert isinstance(answer.exception, InputError)
    assert "'tiny' was trained or chosen on all: none was left out" in str(answer.exception)
    spec, model = load_model(model_file)
    training = {"held_out": {"consep": ["i0", "i2"]}, "left_out": {"consep": ["i2"]}}
    path = tmp_path / "apart.safetensors"
    save_model(path, spec.with_changes(training=training), model.state_dict())
    table = tmp_path / "images.csv"
    facts = json.loads(run(path, data, *common, "--csv", table).stdout)
    assert (facts["split"], facts["trained_on_and_left_out"]) == ("test", 2)
    with table.open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["i2"]


def test_an_image_in_a_folder_of_another_name_is_known_by_what_it_shows(
    data: Path, model_file: Path, tmp_path: Path
) -> None:
    spec, model = load_model(model_file)
    samples = load_folder(data)
    path = tmp_path / "knows.safetensors"
    save_model(path, spec.with_changes(history=History.of(samples[:2], samples[2:])), model.state_dict())
    folder = tmp_path / "ours"
    folder.mkdir()
    for number, sample in enumerate(samples):
        image = np.ascontiguousarray(sample.image[:, ::-1, ::-1])
        cv2.imwrite(str(folder / f"tile{number}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 85])
        np.savez(folder / f"tile{number}.npz", inst=sample.instances[:, ::-1])
    common = (path, folder, "--mpp", 0.25, "--runtime", "torch", "--device", "cpu")
    facts = json.loads(run(*common, "--json").stdout)
    assert (facts["trained_on_and_left_out"], facts["sources"]["ours"]["n_images"]) == (2, 1)
    assert facts["known_images"]["learnt"][0] == {"source": "ours", "name": "tile0", "by": "content"}
    assert [row["name"] for row in facts["images"]] == ["tile2"]
    assert facts["doubts"] == []
    (folder / "tile2.npz").unlink()
    says = str(run(*common).exception)
    assert "all of these images (2), 2 of them in a folder of another name, known by what they show" in says


def test_an_image_without_labels_is_passed_over_and_said(data: Path, model_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "consep"
    shutil.copytree(data, folder)
    (folder / "i1.npz").unlink()
    answer = run(model_file, folder, "--runtime", "torch", "--device", "cpu", "--json")
    assert json.loads(answer.stdout)["sources"]["consep"]["n_images"] == 2
    said = " ".join(answer.stderr.split())
    assert "1 file is an image without labels or labels without an image, e.g. 'i1.png'" in said


def test_two_cells_of_one_id_are_said(data: Path, model_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "consep"
    shutil.copytree(data, folder)
    with np.load(folder / "i0.npz") as file:
        inst, types = file["inst"], file["type"]
    inst[inst == 1] = 0
    inst[:8, :8] = inst[-8:, -8:] = 1
    np.savez(folder / "i0.npz", inst=inst, type=types)
    answer = run(model_file, folder, "--runtime", "torch", "--device", "cpu", "--json")
    (note,) = json.loads(answer.stdout)["notes"]
    assert "i0.npz': 1 of" in note
    assert "such as id 1; each counts as one cell." in note
    assert " ".join(note.split()) in " ".join(answer.stderr.split())


def test_a_list_of_images_is_scored_alone(data: Path, model_file: Path, tmp_path: Path) -> None:
    names, table = tmp_path / "names.txt", tmp_path / "images.csv"
    names.write_text("i2.png\ni1\n")
    common = (model_file, data, "--runtime", "torch", "--device", "cpu", "--images", names, "--json")
    facts = json.loads(run(*common, "--csv", table).stdout)
    assert facts["trained_on_and_left_out"] == 1
    with table.open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["i2"]
    names.write_text("i9")
    assert "names.txt' names 'i9', and there is no such image in consep" in str(run(*common).exception)


def test_a_model_file_is_scored_into_a_page_a_table_and_json(data: Path, model_file: Path, tmp_path: Path) -> None:
    page, table = tmp_path / "report.html", tmp_path / "images.csv"
    answer = run(model_file, data, "--runtime", "torch", "--device", "cpu", "--html", page, "--csv", table, "--json")
    assert answer.exit_code == 0, answer.exception
    facts = json.loads(answer.stdout)
    source = facts["sources"]["consep"]
    assert (facts["model"], facts["runtime"], facts["split"]) == ("tiny", "torch", "unseen")
    assert (facts["trained_on_and_left_out"], source["n_images"], source["n_groups"]) == (1, 2, 2)
    assert source["n_found"] > 0
    with table.open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["i0", "i2"]
    html = page.read_text(encoding="utf-8")
    assert html.endswith("</html>")
    assert not re.search(r"<script|https?://(?!www\.w3\.org)", html)
    assert facts["model_sha256"] in html
    assert "unseen; 1 image the model was trained on was left out" in html
    assert f"{source['scores']['dice']['value']:.3f}" in html
    assert source["scores"]["dice"]["low"] is None  # of two images
    assert "– for an interval: fewer than 5 patients" in html
    assert all(f"{t}, n = 1 image" in html for t in ("Colon", "Skin"))
    assert all(name in html for name in CONSEP.names)
    # Both unseen images have a worst tile of four panels, the one the model was trained on has none.
    assert html.count('role="img"') == 8
    assert ["i0, from" in html, "i1, from" in html, "i2, from" in html] == [True, False, True]


def test_a_model_that_is_never_wrong_has_a_page_without_mistakes(
    data: Path, perfect_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("histocyte.inference.load.load", lambda *args, **options: perfect_model)
    page = tmp_path / "report.html"
    answer = run("perfect", data, "--html", page)
    assert answer.exit_code == 0, answer.exception
    html = page.read_text(encoding="utf-8")
    assert "Not one mistake was seen." in html
    bpq = html[html.index(">bPQ<") :]
    assert re.findall(r"<span>([^<]*)</span> <small>([^<]*)</small> <small>([^<]*)</small>", bpq)[0] == (
        *("1.000", "–", "n = 3"),
    )


def test_a_page_that_cannot_be_written_is_refused_before_scoring(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("histocyte.inference.load.load", lambda *args, **options: pytest.fail("loaded a model"))
    answer = run("perfect", data, "--html", tmp_path)
    assert isinstance(answer.exception, InputError)


def test_classes_of_a_folder_are_scored_where_the_model_has_them_and_said_where_not(
    data: Path, model_file: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for number in range(3):
        for suffix in ("png", "npz"):
            shutil.copy(data / f"i{number}.{suffix}", mine)
    scored = {}
    for names in (CONSEP.names, ("other", "b", "c", "d"), ("a", "b", "c", "d")):
        (mine / "classes.json").write_text(json.dumps(names))
        result = run(model_file, mine, "--split", "all", "--mpp", 0.25, "--json")
        scored[names] = json.loads(result.stdout)["sources"]["mine"]["classes"], " ".join(result.stderr.split())
    (every, said), (some, said_of_some), (none, said_of_none) = scored.values()
    assert {c["name"] for c in every} == set(CONSEP.names)
    assert "classes" not in said.lower()
    assert [c["name"] for c in some] == ["other"]
    assert "Cells found as inflammatory or epithelial or spindle" in said_of_some
    assert "that are b or c or d count as of unknown class" in said_of_some
    assert not none
    assert "has the classes a, b, c, d" in said_of_none
    assert "classes are not scored" in said_of_none
