"""Regions of a whole slide: the same however it is cut, gone on with, and refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.listener import Stopped
from histocyte.core.taxonomy import CellClass, Taxonomy
from histocyte.inference.load import Model
from histocyte.inference.runtime import Runtime
from histocyte.model.build import build_representation
from histocyte.model.spec import ModelSpec
from histocyte.pipeline import segment
from histocyte.pipeline.tissue_map import TissueSettings
from histocyte.recipes.tissue import tissue_fcn
from histocyte.results.folder import Options, segment_to_folder
from histocyte.results.tissue import TissueOptions, tissue_to_folder

TAXONOMY = Taxonomy("two", (CellClass("gland", (200, 0, 0)), CellClass("mucus", (0, 0, 200))))


class ByColour(Runtime):
    """A network that looks at each pixel alone: red is gland, blue is mucus."""

    name, device, parallel, multiple = "by colour", "none", 2, 32

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        red, blue = images[..., 0] > images[..., 2], images[..., 2] > images[..., 0]
        return np.stack([~(red | blue), red, blue], axis=1).astype(np.float32)


def model(spec: ModelSpec | None = None) -> Model:
    spec = (spec or tissue_fcn(taxonomy=TAXONOMY)).with_changes(tile_px=64, margin_px=16)
    return Model(spec, ByColour(), build_representation(spec.representation), "0")


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    y, x = np.mgrid[:400, :500]
    image = np.full((400, 500, 3), 235, np.uint8)
    distance = np.hypot(x - 230, y - 200)
    image[distance < 170] = (200, 120, 120)
    image[distance < 80] = (120, 120, 200)
    path = tmp_path_factory.mktemp("slides") / "slide.png"
    cv2.imwrite(str(path), image[..., ::-1])
    return path


@pytest.fixture(scope="module")
def everywhere(slide: Path) -> Path:
    box = {"type": "Polygon", "coordinates": [[[0, 0], [500, 0], [500, 400], [0, 400], [0, 0]]]}
    path = slide.parent / "roi.geojson"
    path.write_text(json.dumps({"type": "Feature", "geometry": box, "properties": {"objectType": "annotation"}}))
    return path


def shapes(folder: Path) -> list[tuple[str, shapely.Polygon]]:
    features = json.loads((folder / "slide" / "regions.geojson").read_text())["features"]
    return [
        (f["properties"]["classification"]["name"], shapely.from_geojson(json.dumps(f["geometry"]))) for f in features
    ]


def options(roi: Path, *, block_px: int = 1024, batch: int = 1, workers: int = 1) -> TissueOptions:
    settings = TissueSettings(block_px, batch, min_area_um2=200)
    return TissueOptions(mpp=1.0, roi=roi, workers=workers, settings=settings)


def test_blocks_batch_and_workers_change_nothing(slide: Path, everywhere: Path, tmp_path: Path) -> None:
    whole = tissue_to_folder(slide, tmp_path / "a", model(), options(everywhere))
    assert whole["classes"]["gland"]["regions"] == 1  # wider than any of the blocks below
    ring = np.pi * (170**2 - 80**2)
    assert whole["classes"]["gland"]["area_mm2"] * 1e6 == pytest.approx(ring, rel=0.02)
    (gland, ring_shape), (mucus, _) = shapes(tmp_path / "a")
    assert (gland, mucus, len(ring_shape.interiors)) == ("gland", "mucus", 1)
    for number, how in enumerate(({"block_px": 40}, {"block_px": 32, "batch": 3, "workers": 2})):
        tissue_to_folder(slide, tmp_path / str(number), model(), options(everywhere, **how))
        for (_, a), (_, b) in zip(shapes(tmp_path / "a"), shapes(tmp_path / str(number)), strict=True):
            assert shapely.symmetric_difference(a, b).area < 0.002 * a.area


def test_it_goes_on_and_keeps_what_is_finished(slide: Path, everywhere: Path, tmp_path: Path) -> None:
    asked = iter([False, False, True, True, True])
    chosen = options(everywhere, block_px=64)
    with pytest.raises(Stopped, match="blocks"):
        tissue_to_folder(slide, tmp_path, model(), chosen, stop=lambda: next(asked, True))
    folder = tmp_path / "slide"
    blocks = sorted((folder / ".tissue").glob("block-*.z"))
    assert len(blocks) > 1
    assert not (folder / "regions.json").exists()
    blocks[0].write_bytes(blocks[1].read_bytes())  # whole, and another one's
    tissue_to_folder(slide, tmp_path, model(), chosen)
    fresh = tissue_to_folder(slide, tmp_path / "fresh", model(), chosen)
    assert not (folder / ".tissue").exists()
    assert (folder / "regions.geojson").read_bytes() == (tmp_path / "fresh" / "slide" / "regions.geojson").read_bytes()
    assert tissue_to_folder(slide, tmp_path, model(), chosen)["already_done"]
    coarser = replace(chosen, settings=replace(chosen.settings, simplify_um=9.0))
    with pytest.raises(InputError, match="made with another simplify_um"):
        tissue_to_folder(slide, tmp_path, model(), coarser)
    table = pq.read_table(folder / "regions.parquet")
    assert table["class"].to_pylist() == ["gland", "mucus"]
    assert min(table["probability"].to_pylist()) > 0.97
    assert sum(table["area_um2"].to_pylist()) / 1e6 == pytest.approx(
        sum(found["area_mm2"] for found in fresh["classes"].values()), abs=1e-5
    )


def test_a_model_of_cells_is_refused(slide: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finds cells and tells no tissue apart"):
        tissue_to_folder(slide, tmp_path, "hover-small-consep", TissueOptions(mpp=1.0))


def test_a_model_of_tissue_is_not_taken_for_one_of_cells(slide: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finds no cells. Use it with: histocyte tissue"):
        segment_to_folder(slide, tmp_path, model(), Options(mpp=1.0))
    with pytest.raises(InputError, match="finds no cells"):
        segment(str(slide), model=model(), mpp=1.0)
    assert not list(tmp_path.rglob("cells.*"))
