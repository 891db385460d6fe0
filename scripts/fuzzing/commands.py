"""Every command that reads files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely
from PIL import Image

from fuzzing.cells import cells_json
from fuzzing.inputs import IMAGE, MODEL, SIDE, cells, command, write_json
from fuzzing.models import copied
from fuzzing.training import LABELLED, RUN_FILES, labelled, reports
from histocyte.formats.geojson.cells import write_geojson
from histocyte.formats.geoparquet import write_parquet
from histocyte.testing.attack import Target
from histocyte.testing.pyramid import write_pyramid

FAST = ("--model", MODEL, "--workers", "1")
SHORT = ("--steps", "1", "--batch", "1", "--crop-px", "64", "--device", "cpu", "--threads", "1", "--mpp", "0.25")


def segment_inputs(folder: Path) -> None:
    Image.fromarray(IMAGE).save(folder / "i.png")
    write_pyramid(folder / "s.tif", IMAGE, 0.25)
    result_regions(folder / "roi.geojson")


def result_regions(path: Path) -> None:
    regions = [shapely.box(0, 0, 60, 60), shapely.box(50, 50, 90, 90).difference(shapely.box(60, 60, 70, 70))]
    write_json(
        path, {"type": "FeatureCollection", "features": [feature(region, f"r{region.area}") for region in regions]}
    )


def feature(geometry: shapely.Polygon, name: str) -> dict[str, object]:
    properties = {"objectType": "annotation", "name": name}
    return {"type": "Feature", "properties": properties, "geometry": shapely.geometry.mapping(geometry)}


def segment(folder: Path) -> None:
    for name in ("s.tif", "i.png"):
        command("segment", folder / name, "-o", folder / "out", *FAST, "--mpp", "0.25", "--roi", folder / "roi.geojson")


def segmented(folder: Path) -> None:
    segment_inputs(folder)
    command("segment", folder / "s.tif", "-o", folder / "out", *FAST, "--json")


RESULT = tuple(f"out/s/{name}" for name in ("run.json", "cells.parquet", "tissue.geojson", "cells.geojson.gz"))


def segment_again(folder: Path) -> None:
    command("segment", folder / "s.tif", "-o", folder / "out", *FAST)
    command("segment", folder / "s.tif", "-o", folder / "out", *FAST, "--force")


def result(folder: Path) -> None:
    """A finished result as `segment` leaves it."""
    write_parquet(folder / "cells.parquet", cells())
    write_geojson(folder / "cells.geojson.gz", cells())
    tissue = feature(shapely.box(0, 0, SIDE, SIDE), "tissue")
    write_json(folder / "tissue.geojson", {"type": "FeatureCollection", "features": [tissue]})
    write_json(folder / "run.json", {"name": "s", "mpp": 0.25, "size_px": [SIDE, SIDE], "signature": {"slide": "f"}})


def counted(folder: Path) -> None:
    (folder / "s").mkdir()
    result(folder / "s")
    result_regions(folder / "roi.geojson")


def counts(folder: Path) -> None:
    command("counts", folder / "s", "--roi", folder / "roi.geojson", "--csv", folder / "counts.csv")
    command("counts", folder / "s", "--json")


def scored(folder: Path) -> None:
    labelled(folder)
    cells_json(folder)
    (folder / "found").mkdir()
    with np.load(folder / "mine" / "i0.npz") as file:
        np.savez(folder / "found" / "i0.npz", inst=file["inst"])
    for path in (folder / "mine").glob("i[12].*"):
        path.unlink()


def score(folder: Path) -> None:
    common = ("--mpp", "0.25", "--no-classes")
    command("score", folder / "found", folder / "mine", *common, "--html", folder / "page.html")


def evaluate(folder: Path) -> None:
    command(
        "evaluate", MODEL, folder / "mine", "--mpp", "0.25", "--images", folder / "names.txt", "--csv", folder / "s.csv"
    )


def compare(folder: Path) -> None:
    command("compare", folder / "one.json", folder / "two.json", "--replicates", "20")
    command("folds", folder / "one.json", folder / "other.json", "--replicates", "20")


def show(folder: Path) -> None:
    for name in ("m.safetensors", "m.onnx"):
        command("models", "show", folder / name)
        command("models", "show", folder / name, "--json")


def both_models(folder: Path) -> None:
    for ending in ("safetensors", "onnx"):
        copied(f"m.{ending}")(folder)


def train(folder: Path) -> None:
    command("train", folder / "mine", "-o", folder / "run", "--recipe", "hover_small", *SHORT)


def trained(folder: Path) -> None:
    labelled(folder)
    train(folder)


def train_again(folder: Path) -> None:
    longer = tuple("2" if i == 1 else text for i, text in enumerate(SHORT))
    command("train", folder / "mine", "-o", folder / "run", "--recipe", "hover_small", *longer)


DISTILLED = tuple(
    f"run/{name}"
    for name in ("distil.json", "options.json", "log.csv", "validation.csv", "best.safetensors", "last.safetensors")
)
TRAINED = tuple(f"run/{name}" for name in (*RUN_FILES, "best.safetensors", "last.safetensors"))


def teacher(folder: Path) -> None:
    labelled(folder)
    copied("m.safetensors")(folder)


def distil(folder: Path) -> None:
    command("distil", folder / "m.safetensors", "--data", folder / "mine", "-o", folder / "run", "--no-cost", *SHORT)


def distilled(folder: Path) -> None:
    teacher(folder)
    distil(folder)


def distil_again(folder: Path) -> None:
    longer = tuple("2" if i == 1 else text for i, text in enumerate(SHORT))
    common = ("--data", folder / "mine", "-o", folder / "run", "--no-cost")
    command("distil", folder / "m.safetensors", *common, *longer)


def train_classifier(folder: Path) -> None:
    short = ("--device", "cpu", "--threads", "1", "--mpp", "0.25", "--epochs", "1", "--validation", "0.5")
    command("train", "classifier", folder / "m.safetensors", folder / "mine", "-o", folder / "c.safetensors", *short)


TARGETS = (
    Target("segment", segment_inputs, ("s.tif", "i.png", "roi.geojson"), segment, share=0.2),
    Target("segment again", segmented, RESULT, segment_again, share=0.1),
    Target("counts", counted, ("s/run.json", "s/cells.parquet", "s/tissue.geojson", "roi.geojson"), counts, share=0.7),
    Target("score", scored, ("mine/i0.npz", "mine/i0.png", "found/i0.npz", "mine/classes.json"), score, share=0.1),
    Target("evaluate", labelled, (*LABELLED, "names.txt"), evaluate, share=0.2),
    Target("compare and folds", reports, ("one.json", "two.json", "other.json"), compare, share=0.2),
    Target("models show", both_models, ("m.safetensors", "m.onnx"), show, share=0.3),
    Target("train", labelled, LABELLED, train, share=0.05, needs="torch"),
    Target("train again", trained, TRAINED, train_again, share=0.05, needs="torch"),
    Target("train classifier", teacher, (*LABELLED, "m.safetensors"), train_classifier, share=0.05, needs="torch"),
    Target("distil", teacher, (*LABELLED, "m.safetensors"), distil, share=0.05, needs="torch"),
    Target("distil again", distilled, DISTILLED, distil_again, share=0.05, needs="torch"),
)
