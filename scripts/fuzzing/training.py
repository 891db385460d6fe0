"""Labelled images, what a run of training leaves, reports of scores, and studies."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fuzzing.inputs import command, write_json
from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.class_list import read_class_list
from histocyte.datasets.folder import load_folder
from histocyte.datasets.label_arrays import read_dots
from histocyte.datasets.name_list import named_samples, read_name_list
from histocyte.datasets.own_classes import load_with_own_classes
from histocyte.evaluation.compare import compare_reports
from histocyte.evaluation.folds import merge_folds
from histocyte.evaluation.image_json import read_report
from histocyte.runs.studies.encoders.run import check_folder
from histocyte.runs.studies.encoders.table import read_results, table_of
from histocyte.testing.attack import Target
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

CLASSES = {str(code): name for code, name in enumerate(CONSEP.names, 1)}


def class_list(folder: Path) -> None:
    """A list of classes that is a whole taxonomy."""
    write_json(folder / "classes.json", CONSEP.to_json())


def read_classes(folder: Path) -> None:
    """Read it."""
    read_class_list(folder / "classes.json", "mine")


def labelled(folder: Path) -> None:
    """Three labelled images with a table, classes and a list of names."""
    data = folder / "mine"
    data.mkdir()
    for number in range(3):
        labels = packed_ellipses((64, 64), 6, seed=number)
        cv2.imwrite(str(data / f"i{number}.png"), paint_truth(labels, CONSEP)[..., ::-1])
        np.savez(data / f"i{number}.npz", inst=labels.instances, type=labels.types)
    (data / "images.csv").write_text(
        "name,tissue,patient,median_diameter_px\ni0,Colon,A,20\ni1,Colon,A,21\ni2,Skin,B,\n"
    )
    write_json(data / "classes.json", CLASSES)
    (folder / "names.txt").write_text("i0.png\nmine/i2\n")


LABELLED = tuple(f"mine/{name}" for name in ("i0.npz", "i1.npz", "i0.png", "images.csv", "classes.json"))


def read_labelled(folder: Path) -> None:
    """Read a folder and a list of names in it."""
    names = read_name_list(folder / "names.txt")
    named_samples(load_folder(folder / "mine", mpp=0.25), names, where="names.txt")
    load_with_own_classes([folder / "mine"], mpp=0.25)


def dots(folder: Path) -> None:
    """Labels that are dots."""
    np.savez(folder / "dots.npz", points=np.array([[1.0, 2.0], [30.0, 40.0]]), type=np.array([1, 2], np.uint8))


@cache
def recipe() -> Any:
    """A `ResolvedRecipe`."""
    from histocyte.runs.train.defaults import OUR_CROPS, first_spec
    from histocyte.runs.train.resolved import ResolvedRecipe
    from histocyte.training.options import TrainingOptions

    spec = first_spec("hover_small").with_changes(name="first")
    options = TrainingOptions(steps=2, batch=1, loss_weights={"hover_mse": 1.0})
    return ResolvedRecipe(model=spec, training=options, crops=OUR_CROPS, fold=(2, 3), left_out=("b",))


IMAGES = {"learnt": {"mine": {"a": "p"}}, "held_out": {"mine": {"b": "q"}}, "left_out": {}}
RUN_FILES = ("recipe.json", "options.json", "data.json", "environment.json", "log.csv", "validation.csv")


def training_run(folder: Path) -> None:
    """What a run of training leaves, but its weights."""
    plain = recipe().to_json()
    session = {"from_step": 0, "python": "3", "packages": {"torch": "2"}}
    contents = {"recipe": plain, "options": plain["training"], "data": IMAGES, "environment": {"sessions": [session]}}
    for name, content in contents.items():
        write_json(folder / f"{name}.json", content)
    rows = "".join(f"{step},1.5,0.1,2,3,0\n" for step in range(1, 9))
    (folder / "log.csv").write_text(f"step,loss,lr,hover_mse,crops_per_s,waited\n{rows}")
    (folder / "validation.csv").write_text("step,bpq\n4,0.5\n8,0.25\n")


def go_on(folder: Path) -> None:
    """What is read before a run goes on."""
    from histocyte.runs.folder import RunFolder
    from histocyte.training.environment import record_environment
    from histocyte.training.journal import Table
    from histocyte.training.options import check_same_recipe, check_same_run

    RunFolder(folder).settle_images(IMAGES)
    check_same_recipe(folder, recipe().to_json())
    for name in ("log.csv", "validation.csv"):
        Table(folder / name).cut(4)
        Table(folder / name).column("loss")
    record_environment(folder / "environment.json", {"python": "3"}, step=4)
    check_same_run(folder, recipe().training, {})


def draw_curves(folder: Path) -> None:
    """The curves of a run."""
    from histocyte.runs.train.curves import write_curves

    write_curves(folder, title="run")


def read_recipe(folder: Path) -> None:
    """The recipe of a run that is to be trained again."""
    from histocyte.runs.train.resolved import ResolvedRecipe

    ResolvedRecipe.read(folder / "recipe.json")


def state(folder: Path, *, save: bool = True) -> None:
    """Write the state of a small network's training, or go on from it."""
    import torch

    from histocyte.training.ema import WeightAverage
    from histocyte.training.state import load_state, save_state

    network = torch.nn.Linear(3, 2)
    average, optimiser = WeightAverage(network, 0.9), torch.optim.AdamW(network.parameters())
    if not save:
        load_state(folder / "state.safetensors", network, average, optimiser)
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    if save:
        save_state(folder / "state.safetensors", network, average, optimiser, {"step": 1, "best": 0.5})


@cache
def report() -> str:
    """What `score --json` prints of three images."""
    with tempfile.TemporaryDirectory() as place:
        folder, found = Path(place), Path(place, "found")
        labelled(folder)
        found.mkdir()
        write_json(found / "classes.json", CLASSES)
        for path in (folder / "mine").glob("*.npz"):
            with np.load(path) as file:
                np.savez(found / path.name, inst=np.roll(file["inst"], 1), type=file["type"])
        return command("score", found, folder / "mine", "--mpp", "0.25", "--json")


def reports(folder: Path) -> None:
    """Two reports on the same images, and one on others."""
    for name in ("one.json", "two.json"):
        (folder / name).write_text(report())
    other = json.loads(report())
    for image in other["images"]:
        image["name"] += "b"
    write_json(folder / "other.json", other)


def read_reports(folder: Path) -> None:
    """Compare and average reports."""
    one, two, other = (read_report(folder / f"{name}.json") for name in ("one", "two", "other"))
    compare_reports(one, two, replicates=20).to_json()
    merge_folds([one, other], replicates=20).to_json()


SETTINGS = {"steps": 2, "data": {"a": "b"}}


def study(folder: Path) -> None:
    """A study of encoders with one finished run."""
    write_json(folder / "settings.json", {"settings": SETTINGS, "order": [["a", "deep"]]})
    facts = {
        **{"label": "a", "name": "a", "taps": "deep", "seed": 0, "random": False, "weights_sha256": "", "licence": "x"},
        **{"tapped": [1, 2], "tapped_what": "blocks", "encoder_parameters": 10, "decoder_parameters": 5},
        **{"crops_per_s": 1.5, "feature_bytes_per_crop": 7, "seconds": {"training": 1.0}},
    }
    write_json(folder / "runs" / "a" / "result.json", {**facts, "images": json.loads(report())["images"]})


def study_again(folder: Path) -> None:
    """Go on with the study, and write its table."""
    order = check_folder(folder, SETTINGS, [])
    table = table_of(read_results(folder, order), n_classes=len(CONSEP), replicates=20)
    table.to_csv()
    table.to_markdown((), ())


TARGETS = (
    Target("labelled images", labelled, (*LABELLED, "names.txt"), read_labelled, share=3),
    Target("class list", class_list, ("classes.json",), read_classes, share=0.5),
    Target("dots", dots, ("dots.npz",), lambda folder: read_dots(folder / "dots.npz"), share=0.5),
    Target("reports", reports, ("one.json", "other.json"), read_reports, share=0.5),
    Target("training goes on", training_run, RUN_FILES, go_on, needs="torch"),
    Target("training curves", training_run, RUN_FILES, draw_curves, share=0.05, needs="matplotlib"),
    Target("recipe", training_run, ("recipe.json",), read_recipe, share=0.7, needs="torch"),
    Target("training state", state, ("state.safetensors",), lambda f: state(f, save=False), needs="torch"),
    Target("study", study, ("settings.json", "runs/a/result.json"), study_again, share=0.5),
)
