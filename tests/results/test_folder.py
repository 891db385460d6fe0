"""A slide's folder of results: whole, resumable after any kill, and clear about what went wrong."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from histocyte.core.errors import DiskError, InputError, ResolutionError, SlideError
from histocyte.core.instances import Labels
from histocyte.core.taxonomies import CONSEP
from histocyte.counts.count import count_cells
from histocyte.datasets.sample import Sample
from histocyte.evaluation.files.pairs import true_images
from histocyte.formats.geoparquet import read_cells
from histocyte.inference.load import Model
from histocyte.model.history import History
from histocyte.model.learnt_set import Standing
from histocyte.pipeline import Settings
from histocyte.results import Options, segment_to_folder
from histocyte.runs.scoring.known import known_to_its_model
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

SETTINGS = Settings(block_px=96)
OPTIONS = Options(mpp=0.25, settings=SETTINGS, workers=2)

SCRIPT = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[3:]
import conftest, test_folder
model = conftest.make_perfect_model()
predict = model.runtime.predict
def slow(images):
    time.sleep(0.02)
    return predict(images)
model.runtime.predict = slow
test_folder.segment_to_folder(sys.argv[1], sys.argv[2], model, test_folder.OPTIONS)
"""


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = packed_ellipses((480, 400), 240, seed=2)
    path = tmp_path_factory.mktemp("slides") / "picture.png"
    cv2.imwrite(str(path), paint_truth(labels, CONSEP)[..., ::-1])
    return path


@pytest.fixture(scope="module")
def undisturbed(picture: Path, perfect_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    segment_to_folder(picture, out, perfect_model, OPTIONS)
    return out / "picture"


def test_the_folder_holds_what_is_promised(undisturbed: Path) -> None:
    files = {p.name for p in undisturbed.iterdir()}
    assert files == {"cells.parquet", "cells.geojson.gz", "summary.csv", "overview.png", "tissue.geojson", "run.json"}
    record = json.loads((undisturbed / "run.json").read_text())
    cells = read_cells(undisturbed / "cells.parquet")
    features = json.loads(gzip.decompress((undisturbed / "cells.geojson.gz").read_bytes()))["features"]
    assert record["cells"] == len(cells) == len(features) == 240
    assert sum(record["classes"].values()) == len(cells)
    rows = list(csv.DictReader((undisturbed / "summary.csv").read_text().splitlines()))
    assert len(rows) >= len(CONSEP)
    assert cv2.imread(str(undisturbed / "overview.png")) is not None
    assert json.loads((undisturbed / "tissue.geojson").read_text())["type"] == "FeatureCollection"
    assert record["mpp"] == 0.25
    assert record["peak_memory_mb"] > 0
    assert set(record["seconds"]) == {"read", "forward", "decode", "total"}


@pytest.mark.parametrize("attempt", range(2))
def test_killed_at_any_moment_it_goes_on_to_the_same_files(
    attempt: int, picture: Path, undisturbed: Path, tmp_path: Path, perfect_model: Model
) -> None:
    command = [sys.executable, "-c", SCRIPT, str(picture), str(tmp_path), *map(str, Path(__file__).parents[:2])]
    blocks = tmp_path / "picture" / ".journal"
    chance = random.Random(attempt)
    for _ in range(2):
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        deadline = time.monotonic() + 90
        before = len(list(blocks.glob("*"))) if blocks.exists() else 0
        while process.poll() is None and time.monotonic() < deadline:
            if blocks.exists() and len(list(blocks.glob("*"))) > before + 2:
                time.sleep(chance.uniform(0, 0.3))
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    record = segment_to_folder(picture, tmp_path, perfect_model, OPTIONS)
    assert record.cells == 240
    for name in ("cells.parquet", "cells.geojson.gz", "summary.csv", "tissue.geojson"):
        assert (tmp_path / "picture" / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert not blocks.exists()


def test_a_finished_result_is_kept_and_another_one_needs_force(
    picture: Path, perfect_model: Model, tmp_path: Path
) -> None:
    segment_to_folder(picture, tmp_path, perfect_model, OPTIONS)
    stamp = (tmp_path / "picture" / "cells.parquet").stat().st_mtime_ns
    assert segment_to_folder(picture, tmp_path, perfect_model, OPTIONS).already_done
    assert (tmp_path / "picture" / "cells.parquet").stat().st_mtime_ns == stamp
    other = replace(OPTIONS, mpp=0.3)
    with pytest.raises(InputError, match="--force"):
        segment_to_folder(picture, tmp_path, perfect_model, other)
    record = segment_to_folder(picture, tmp_path, perfect_model, replace(other, force=True))
    assert record.mpp == 0.3


def test_a_region_wins_over_the_tissue(picture: Path, perfect_model: Model, tmp_path: Path) -> None:
    square = {"type": "Polygon", "coordinates": [[[0, 0], [200, 0], [200, 400], [0, 400], [0, 0]]]}
    feature = {"type": "Feature", "geometry": square, "properties": {"name": "left"}}
    corner = {**feature, "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]]}}
    roi = tmp_path / "roi.geojson"
    far = {**feature, "geometry": {"type": "Polygon", "coordinates": [[[900, 0], [909, 0], [909, 9], [900, 0]]]}}
    far["properties"] = {"name": "far"}
    roi.write_text(json.dumps({"type": "FeatureCollection", "features": [feature, corner, far]}))
    record = segment_to_folder(picture, tmp_path, perfect_model, replace(OPTIONS, roi=roi))
    cells = read_cells(record.outputs["parquet"])
    rows = csv.DictReader((tmp_path / "picture" / "summary.csv").read_text().splitlines())
    assert {next(iter(row.values())) for row in rows} == {"all", "left", "left (2)"}
    assert 0 < len(cells) < 240
    assert cells.xy[:, 0].max() <= 200
    assert record.tissue_mm2 == pytest.approx(200 * 400 * 0.25**2 / 1e6)
    assert any("Outside the slide" in note and "1 of 3 regions, 'far'" in note for note in record.notes)


def test_a_cell_that_stands_off_from_the_tissue_is_found_and_the_outline_stays_with_the_tissue(
    perfect_model: Model, tmp_path: Path
) -> None:
    labels = np.zeros((1280, 1280), np.int32)  # 0.102 mm²: large enough for tissue to be looked for
    labels[200:600, 200:600] = packed_ellipses((400, 400), 380, seed=2).instances
    cv2.ellipse(labels, (660, 400), (12, 18), 0, 0, 360, int(labels.max()) + 1, -1)  # 15 µm from the tissue
    path = tmp_path / "rim.png"
    cv2.imwrite(str(path), paint_truth(Labels(labels), CONSEP)[..., ::-1])
    record = segment_to_folder(path, tmp_path / "out", perfect_model, replace(OPTIONS, settings=Settings()))
    found = read_cells(tmp_path / "out" / "rim" / "cells.parquet").xy
    assert np.hypot(*(found - (660.5, 400.5)).T).min() < 1
    assert record.searched_beyond_um == 24.0
    assert record.tissue_mm2 == pytest.approx((400 * 0.25) ** 2 / 1e6, rel=0.06)
    (tissue,) = json.loads((tmp_path / "out" / "rim" / "tissue.geojson").read_text())["features"]
    assert max(x for x, _ in tissue["geometry"]["coordinates"][0]) < 630
    assert count_cells(tmp_path / "out" / "rim").regions[0].classes[0].count == record.cells


def test_finding_nothing_is_explained(perfect_model: Model, tmp_path: Path) -> None:
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.full((300, 300, 3), 250, np.uint8))
    record = segment_to_folder(blank, tmp_path, perfect_model, OPTIONS)
    assert record.cells == 0
    assert any("No cell was found" in note and "0.25 µm/px" in note for note in record.notes)
    assert len(read_cells(record.outputs["parquet"])) == 0
    assert cv2.imread(record.outputs["overview"]) is not None


def test_a_result_says_that_the_model_has_learnt_from_the_image_and_so_does_its_score(
    picture: Path, perfect_model: Model, tmp_path: Path
) -> None:
    pixels = np.ascontiguousarray(cv2.imread(str(picture))[..., ::-1])
    nothing = np.zeros(pixels.shape[:2], np.int32)
    taught = History.of([Sample("any name", pixels, nothing, None, 0.25, "any set", "a")])
    model = replace(perfect_model, spec=perfect_model.spec.with_changes(history=taught))
    part = tmp_path / "part.jpg"
    cv2.imwrite(str(part), np.ascontiguousarray(pixels[100:360, 60:320, ::-1][::-1]))
    record = segment_to_folder(part, tmp_path / "out", model, OPTIONS)
    assert record.known_to_model == "learnt"
    assert any("has learnt from this image or a part of it" in note for note in record.notes)
    (tmp_path / "truth").mkdir()
    np.savez(tmp_path / "truth" / "part.npz", inst=packed_ellipses((260, 260), 9, seed=1).instances)
    (truth,) = true_images(tmp_path / "truth")
    assert known_to_its_model(tmp_path / "out" / "part", truth, 0.25) == Standing.LEARNT
    assert known_to_its_model(tmp_path / "out" / "part" / "cells.parquet", truth, 0.25) == Standing.LEARNT
    other = segment_to_folder(part, tmp_path / "new", perfect_model, OPTIONS)
    assert other.known_to_model == ""
    assert known_to_its_model(tmp_path / "new" / "part", truth, 0.25) == Standing.NEW


def test_a_wrong_resolution_shows_in_the_notes(picture: Path, perfect_model: Model, tmp_path: Path) -> None:
    spec = perfect_model.spec.with_changes(mpp=2.0)
    record = segment_to_folder(picture, tmp_path, replace(perfect_model, spec=spec), replace(OPTIONS, mpp=2.0))
    assert any("unusual" in note for note in record.notes)


def test_what_cannot_be_read_is_refused_in_one_line(perfect_model: Model, picture: Path, tmp_path: Path) -> None:
    with pytest.raises(ResolutionError, match="--mpp"):
        segment_to_folder(picture, tmp_path, perfect_model, replace(OPTIONS, mpp=None))
    text = tmp_path / "notes.svs"
    text.write_text("not a slide")
    truncated = tmp_path / "cut.png"
    truncated.write_bytes(picture.read_bytes()[:2000])
    for path in (text, truncated, tmp_path / "nothing.svs"):
        with pytest.raises((SlideError, InputError)) as caught:
            segment_to_folder(path, tmp_path / "out", perfect_model, OPTIONS)
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_clear_error_and_leaves_no_half_file(
    picture: Path, perfect_model: Model, tmp_path: Path
) -> None:
    disk = tmp_path / "small"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        with pytest.raises(DiskError, match="small"):
            segment_to_folder(picture, disk, perfect_model, OPTIONS)
        assert not (disk / "picture" / "run.json").exists()
        for path in (disk / "picture").glob("cells*"):
            read_cells(path)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_changed_slide_is_told_from_itself_and_an_older_fingerprint_says_nothing(
    picture: Path, perfect_model: Model, tmp_path: Path
) -> None:
    slide = tmp_path / "slide.bmp"
    pixels = cv2.imread(str(picture))
    pixels = np.repeat(np.repeat(pixels, 2, axis=0), 2, axis=1)  # 2.3 MB: its ends are not all of it
    cv2.imwrite(str(slide), pixels)
    options = replace(OPTIONS, mpp=0.125)
    segment_to_folder(slide, tmp_path, perfect_model, options)
    assert segment_to_folder(slide, tmp_path, perfect_model, options).already_done
    manifest = tmp_path / "slide" / "run.json"
    record = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(record | {"signature": record["signature"] | {"slide": "ab" * 32}}))
    with pytest.raises(InputError, match="earlier version, which looked at less of the slide.*--force"):
        segment_to_folder(slide, tmp_path, perfect_model, options)
    manifest.write_text(json.dumps(record))
    size = slide.stat().st_size
    pixels[400:404] = 255 - pixels[400:404]
    cv2.imwrite(str(slide), pixels)
    assert slide.stat().st_size == size
    with pytest.raises(InputError, match="another slide"):
        segment_to_folder(slide, tmp_path, perfect_model, options)


def test_a_slide_that_goes_away_is_one_error_and_the_run_goes_on_when_it_is_back(
    undisturbed: Path, picture: Path, perfect_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, away = tmp_path / "picture.ome.tif", tmp_path / "away"
    tile = {"tile": (16, 16), "photometric": "rgb", "metadata": {"axes": "YXS"}}
    tifffile.imwrite(slide, cv2.imread(str(picture))[..., ::-1], **tile)
    predict, calls = perfect_model.runtime.predict, iter(range(100))

    def moved_away(images: np.ndarray) -> np.ndarray:
        if next(calls) == 3:
            slide.rename(away)
        return predict(images)

    monkeypatch.setattr(perfect_model.runtime, "predict", moved_away)
    monkeypatch.setattr("histocyte.slides.tiff_reader._CACHE_BYTES", 1)
    with pytest.raises(SlideError, match=r"^\S*picture\.ome\.tif is no longer there\.") as raised:
        segment_to_folder(slide, tmp_path, perfect_model, replace(OPTIONS, workers=1))
    assert not isinstance(raised.value.__context__, SlideError)
    away.rename(slide)
    record = segment_to_folder(slide, tmp_path, perfect_model, replace(OPTIONS, workers=1))
    assert record.resumed_blocks > 0
    assert record.cells == 240
