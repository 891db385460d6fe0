"""Files of cells, ours and those of other programs, and the journal that a run goes on from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
import tifffile
from PIL import Image

from fuzzing.inputs import CORNERS, LABELS, SIDE, cells, moved, write_json
from histocyte.counts.input import read_located
from histocyte.formats.foreign.open import open_cells
from histocyte.formats.geojson.cells import read_geojson, write_geojson
from histocyte.formats.geojson.regions import read_polygons
from histocyte.formats.geoparquet import read_cells, write_parquet
from histocyte.store.journal import Journal
from histocyte.testing.attack import Target


def looked_at(path: Path) -> None:
    """Read a file of cells of any program as the commands do."""
    found = open_cells(path)
    found.shapes.draw((SIDE, SIDE))


def label_map(name: str, write: Callable[[Path], object]) -> Target:
    return Target(f"labels {name}", lambda f: write(f / name), (name,), lambda f: looked_at(f / name))


def saved_mat(path: Path) -> None:
    from scipy.io import savemat

    savemat(path, {"inst_map": LABELS.instances, "inst_type": np.ones((12, 1)), "inst_uid": np.arange(1, 13)[:, None]})


def qupath(folder: Path) -> None:
    kinds = ("detection", "cell", "annotation")
    write_json(
        folder / "cells.geojson",
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "id": f"id-{number}",
                    "geometry": {"type": "Polygon", "coordinates": [moved(*corner)]},
                    "properties": {
                        "objectType": kinds[number % 2],
                        "classification": {"name": "Tumor", "color": [200, 0, 0]},
                        "measurements": {"Area": 6.25, "Probability": 0.9},
                    },
                }
                for number, corner in enumerate(CORNERS)
            ],
        },
    )


def geojson_readers(folder: Path) -> None:
    path = folder / "cells.geojson"
    looked_at(path)
    read_located(path, mpp=0.25)
    read_geojson(path, mpp=0.25)
    read_polygons(path)


def cells_json(folder: Path) -> None:
    contours = [moved(*corner)[:4] for corner in CORNERS]
    nuc = {str(i): {"contour": c, "type": i % 3, "type_prob": 0.9, "centroid": c[0]} for i, c in enumerate(contours)}
    write_json(folder / "hovernet.json", {"mag": 40, "nuc": nuc})
    listed = [{"contour": c, "type": 1, "type_prob": 0.7, "bbox": [[0, 0], [1, 1]]} for c in contours]
    write_json(folder / "cellvit.json", {"type_map": {"1": "tumour"}, "cells": listed})


def tables(folder: Path) -> None:
    write_parquet(folder / "ours.parquet", cells())
    geometry = [shapely.to_wkb(shapely.Polygon(moved(*corner))) for corner in CORNERS]
    pq.write_table(pa.table({"geometry": geometry, "class": ["a", "b"] * 3, "n": range(6)}), folder / "others.parquet")


def table_readers(folder: Path) -> None:
    for name in ("ours.parquet", "others.parquet"):
        looked_at(folder / name)
    read_located(folder / "ours.parquet")
    write_geojson(folder / "again.geojson.gz", read_cells(folder / "ours.parquet"))


def journal(folder: Path) -> None:
    with Journal.open(folder / "j", signature={"slide": "s", "tile_px": 256}) as made:
        for index in range(2):
            made.append(index, cells(), np.zeros(12, np.bool_), {"seconds": 1.0})


def journal_again(folder: Path) -> None:
    with Journal.open(folder / "j", signature={"slide": "s", "tile_px": 256}) as found:
        for index in found.done():
            found.read(index)


TARGETS = (
    label_map("l.npz", lambda path: np.savez_compressed(path, inst=LABELS.instances, type=LABELS.types)),
    label_map("l.npy", lambda path: np.save(path, LABELS.instances)),
    label_map("l.png", lambda path: Image.fromarray(LABELS.instances.astype(np.uint8)).save(path)),
    label_map("l.tif", lambda path: tifffile.imwrite(path, LABELS.instances.astype(np.uint16))),
    label_map("l.mat", saved_mat),
    Target("cells geojson", qupath, ("cells.geojson",), geojson_readers, share=2),
    Target("cells hovernet", cells_json, ("hovernet.json",), lambda f: looked_at(f / "hovernet.json")),
    Target("cells cellvit", cells_json, ("cellvit.json",), lambda f: looked_at(f / "cellvit.json")),
    Target("cells parquet", tables, ("ours.parquet", "others.parquet"), table_readers, share=3),
    Target("journal", journal, tuple(f"j/{n}" for n in ("signature.json", "block-000000.arrow")), journal_again),
)
