"""Labelled data of one's own, in the forms that programs leave it in, and the import itself."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from histocyte.apps.cli.main import app
from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.listener import Stopped
from histocyte.datasets.folder import load_folder
from histocyte.datasets.sample import Sample
from histocyte.runs.data.import_data import import_data
from histocyte.runs.data.own.coco import run_lengths

SHARED = Path(__file__).parents[4] / "shared" / "data"
SIDE = 24


def picture(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)


def squares() -> NDArray[np.int32]:
    labels = np.zeros((SIDE, SIDE), np.int32)
    labels[2:8, 2:8], labels[12:20, 10:20] = 1, 2
    return labels


def plain_folder(folder: Path, count: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(picture(i)).save(folder / f"i{i}.png")
        np.savez_compressed(folder / f"i{i}.npz", inst=squares(), type=np.array([0, 2, 1]))
    (folder / "classes.json").write_text('{"1": "tumour", "2": "stroma"}')
    return folder


def same(a: Sample, b: Sample) -> None:
    assert np.array_equal(a.image, b.image)
    assert np.array_equal(a.instances, b.instances)
    assert (a.types is None) == (b.types is None)
    if a.types is not None and b.types is not None:
        assert np.array_equal(a.types, b.types)
    assert (a.ignored is None) == (b.ignored is None)
    if a.ignored is not None and b.ignored is not None:
        assert np.array_equal(a.ignored, b.ignored)
    for name in ("name", "mpp", "mpp_estimated", "group", "separable", "dots", "areas", "centres", "tissue"):
        assert getattr(a, name) == getattr(b, name), name


def test_a_folder_reads_the_same_before_and_after(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "mine", 3)
    (folder / "images.csv").write_text("name,patient,tissue\ni0,p1,colon\ni1,p1,colon\ni2,p2,lung\n")
    found = import_data("folder", folder, tmp_path / "out", mpp=0.5, licence="CC BY 4.0")
    assert (found.images, found.labels) == (3, 6)
    assert found.by_class == {"tumour": 3, "stroma": 3}
    assert found.card.licence == "CC BY 4.0"
    before, after = load_folder(folder, mpp=0.5), load_folder(tmp_path / "out")
    for a, b in zip(before, after, strict=True):
        same(a, b)
    stored = pq.read_table(tmp_path / "out" / "shard-00000.parquet")["image"][0].as_py()
    assert stored["bytes"] == (folder / "i0.png").read_bytes()


@pytest.mark.parametrize(
    "name", ["consep", "tnbc", "monusac", "dsb2018_he", "brca_m2c_points", "crchisto_points", "pannuke_breast25"]
)
def test_real_sets_read_the_same_before_and_after(tmp_path: Path, name: str) -> None:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip("needs ../shared")
    part = tmp_path / name
    part.mkdir()
    names = sorted(p.stem for p in folder.glob("*.npz"))[:3]
    for path in folder.iterdir():
        if path.stem in names or path.name in ("classes.json", "images.csv"):
            (part / path.name).symlink_to(path)
    import_data("folder", part, tmp_path / "out")
    for a, b in zip(load_folder(part), load_folder(tmp_path / "out"), strict=True):
        same(a, b)


@pytest.mark.parametrize(("name", "mpp"), [("glas", None), ("wsss4luad", None), ("ebhi_seg", 0.5)])
def test_real_tissue_reads_the_same_before_and_after(tmp_path: Path, name: str, mpp: float | None) -> None:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip("needs ../shared")
    part = tmp_path / name
    part.mkdir()
    names = sorted(p.name.removesuffix("_mask.png") for p in folder.glob("*_mask.png"))[:3]
    for path in folder.iterdir():
        if path.stem.removesuffix("_mask") in names or path.name in ("classes.json", "images.csv"):
            (part / path.name).symlink_to(path)
    found = import_data("folder", part, tmp_path / "out", mpp=mpp)
    assert (found.images, found.by_class) == (3, {})
    for a, b in zip(load_folder(part, mpp=mpp), load_folder(tmp_path / "out"), strict=True):
        assert a.areas
        same(a, b)


def test_own_tissue_with_codes_that_nobody_looked_at(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    codes = np.zeros((SIDE, SIDE), np.uint8)
    codes[:8], codes[8:16] = 2, 255
    Image.fromarray(picture()).save(folder / "a.png")
    Image.fromarray(codes).save(folder / "a_mask.png")
    (folder / "classes.json").write_text('{"1": "tumour", "2": "stroma", "mpp": 0.5, "ignored": [255]}')
    import_data("folder", folder, tmp_path / "out", licence="CC0 1.0")
    (before,), (after,) = load_folder(folder), load_folder(tmp_path / "out")
    same(before, after)
    assert after.ignored is not None
    assert after.ignored.sum() == 8 * SIDE
    codes[0, 0] = 9
    Image.fromarray(codes).save(folder / "a_mask.png")
    for read in (load_folder, lambda source: import_data("folder", source, tmp_path / "other")):
        with pytest.raises(InputError, match=r"holds the code 9, and the classes are tumour, stroma"):
            read(folder)  # between the classes and an ignored code


def test_an_interrupted_import_goes_on(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "mine", 5)
    asked = iter([False, False, False, True])
    with pytest.raises(Stopped, match="3 of 5 images"):
        import_data("folder", folder, tmp_path / "out", mpp=0.25, stop=lambda: next(asked))
    assert not (tmp_path / "out" / "dataset.json").exists()
    with pytest.raises(InputError, match="needed are pairs|not known"):
        load_folder(tmp_path / "out")
    assert import_data("folder", folder, tmp_path / "out", mpp=0.25).images == 5
    assert import_data("folder", folder, tmp_path / "out", mpp=0.25).images == 5  # nothing is there twice
    other = plain_folder(tmp_path / "other", 2)
    (other / "i0.png").rename(other / "a.png")
    (other / "i0.npz").rename(other / "a.npz")
    with pytest.raises(InputError, match="holds shards of other images"):
        import_data("folder", other, tmp_path / "out", mpp=0.25)


def test_a_killed_import_leaves_whole_shards(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "mine", 40)
    program = (
        "import sys, time; from pathlib import Path; import histocyte.datasets.shards.write as w\n"
        "from histocyte.runs.data import import_data as run\n"
        "old = w.row_of\n"
        "def slow(*a):\n    time.sleep(0.05); return old(*a)\n"
        "w.row_of = slow; plain = w.write_shards\n"
        "run.write_shards = lambda *a, **k: plain(*a, **k, shard_images=4)\n"
        "run.import_data('folder', sys.argv[1], sys.argv[2], mpp=0.25)\n"
    )
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", program, str(folder), str(out)])
    try:
        for _ in range(600):
            if list(out.glob("shard-*.parquet")):
                break
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        process.wait()
    kept = sum(pq.ParquetFile(p).metadata.num_rows for p in out.glob("shard-*.parquet"))
    assert 0 < kept < 40
    said: list[str] = []

    class Told:
        def say(self, text: str) -> None:
            said.append(text)

        def task(self, *given: Any, **more: Any) -> Any:
            from histocyte.core.listener import SILENT

            return SILENT.task(*given, **more)

    assert import_data("folder", folder, out, mpp=0.25, listener=Told()).images == 40
    assert f"Going on behind {kept:,} of 40 images" in said[0]
    assert [s.name for s in load_folder(out)] == [s.name for s in load_folder(folder, mpp=0.25)]


def test_images_with_files_of_cells_of_any_program(tmp_path: Path) -> None:
    (tmp_path / "in" / "images").mkdir(parents=True)
    (tmp_path / "in" / "labels").mkdir()
    for name in "ab":
        Image.fromarray(picture()).save(tmp_path / "in" / "images" / f"{name}.png")
    ring = [[2, 2], [8, 2], [8, 8], [2, 8], [2, 2]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    cells = [
        {
            "type": "Feature",
            "geometry": shape,
            "properties": {"objectType": "detection", "classification": {"name": "Tumor"}},
        }
    ]
    for name in "ab":
        path = tmp_path / "in" / "labels" / f"{name}.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": cells}))
    with pytest.raises(InputError, match="Pass it: --mpp"):
        import_data("labels", tmp_path / "in", tmp_path / "out")
    found = import_data("labels", tmp_path / "in", tmp_path / "out", mpp=0.5)
    assert found.by_class == {"Tumor": 2}
    sample = load_folder(tmp_path / "out")[0]
    assert 36 <= (sample.instances > 0).sum() <= 49
    with pytest.raises(InputError, match="has the class 'Tumor', which is not one of stroma, other"):
        import_data("labels", tmp_path / "in", tmp_path / "c", mpp=0.5, classes="stroma,other")


def test_label_maps_in_a_folder_beside(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    (tmp_path / "masks").mkdir()
    Image.fromarray(picture()).save(tmp_path / "img" / "a.png")
    Image.fromarray(squares().astype(np.uint16)).save(tmp_path / "masks" / "a.png")
    import_data("labels", tmp_path, tmp_path / "out", mpp=0.25)
    (sample,) = load_folder(tmp_path / "out")
    assert np.array_equal(sample.instances, squares())
    Image.fromarray(np.zeros((5, 5), np.uint16) + 1).save(tmp_path / "masks" / "a.png")
    with pytest.raises(InputError, match="5 × 5 px, and its image is 24 × 24 px"):
        import_data("labels", tmp_path, tmp_path / "other", mpp=0.25)


def coco_file(folder: Path, segmentations: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture()).save(folder / "a.png")
    data = {
        "images": [{"id": 7, "file_name": "a.png", "width": SIDE, "height": SIDE}],
        "categories": [{"id": 4, "name": "stroma"}, {"id": 9, "name": "tumour"}],
        "annotations": [
            {"id": i, "image_id": 7, "category_id": 9 if i else 4, "segmentation": s}
            for i, s in enumerate(segmentations)
        ],
    }
    (folder / "coco.json").write_text(json.dumps(data))
    return folder


def packed(counts: list[int]) -> str:
    """COCO's text, written as its own program does."""
    text = ""
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            part = value & 31
            value >>= 5
            more = value != -1 if part & 16 else value != 0
            text += chr((part | 32 if more else part) + 48)
    return text


def lengths(mask: NDArray[np.bool_]) -> list[int]:
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, len(flat)]).tolist()
    return [0, *counts] if flat[0] else counts


@pytest.mark.parametrize("form", ["numbers", "text"])
def test_coco_run_lengths(tmp_path: Path, form: str) -> None:
    masks = [squares() == i for i in (1, 2)]
    counts: list[Any] = [lengths(mask) for mask in masks]
    if form == "text":
        counts = [packed(each) for each in counts]
    source = coco_file(tmp_path / "in", [{"size": [SIDE, SIDE], "counts": each} for each in counts])
    found = import_data("coco", source, tmp_path / "out", mpp=0.25)
    assert found.by_class == {"stroma": 1, "tumour": 1}
    (sample,) = load_folder(tmp_path / "out")
    assert np.array_equal(sample.instances, squares())
    with pytest.raises(ValueError, match="add up to"):
        run_lengths([1, 2], (SIDE, SIDE))


def test_coco_polygons_and_places_outside(tmp_path: Path) -> None:
    source = coco_file(tmp_path / "in", [[[2, 2, 8, 2, 8, 8, 2, 8]], [[12, 12, 20, 12, 20, 20, 12, 20]]])
    import_data("coco", source, tmp_path / "out", mpp=0.25)
    (sample,) = load_folder(tmp_path / "out")
    assert sample.types is not None
    assert sample.types.tolist() == [0, 1, 2]
    data = json.loads((source / "coco.json").read_text())
    data["images"][0]["file_name"] = "../../secret.png"
    (source / "coco.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="lies outside"):
        import_data("coco", source, tmp_path / "other", mpp=0.25)


def encoded(pixels: NDArray[np.generic], path: Path) -> bytes:
    Image.fromarray(pixels).save(path, format="PNG")
    return path.read_bytes()


def test_parquet_of_masks_with_categories(tmp_path: Path) -> None:
    scratch = tmp_path / "x.png"
    row = {
        "image": {"bytes": encoded(picture(), scratch), "path": None},
        "instances": [{"bytes": encoded(((squares() == i) * 255).astype(np.uint8), scratch)} for i in (1, 2)],
        "categories": [3, 0],
        "tissue": "Bile-duct",
    }
    (tmp_path / "in").mkdir()
    pq.write_table(pa.Table.from_pylist([row, row]), tmp_path / "in" / "fold2-00000.parquet")
    found = import_data("parquet", tmp_path / "in", tmp_path / "out", mpp=0.25, classes="pannuke")
    assert (found.images, found.by_split) == (2, {"fold2": 2})
    sample = load_folder(tmp_path / "out")[1]
    assert sample.types is not None
    assert sample.types.tolist() == [0, 4, 1]
    assert sample.tissue == "bile duct"
    assert np.array_equal(sample.instances, squares())
    pq.write_table(pa.table({"picture": [1]}), tmp_path / "in" / "fold2-00000.parquet")
    with pytest.raises(InputError, match="has the columns picture"):
        import_data("parquet", tmp_path / "in", tmp_path / "other", mpp=0.25)


def test_more_than_65535_cells_in_one_image(tmp_path: Path) -> None:
    side = 264
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(folder / "a.png")
    ids = np.arange(1, side * side + 1, dtype=np.int32).reshape(side, side)
    np.savez_compressed(folder / "a.npz", inst=ids)
    import_data("folder", folder, tmp_path / "out", mpp=0.25)
    (sample,) = load_folder(tmp_path / "out")
    assert np.array_equal(sample.instances, ids)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda out: (out / "dataset.json").write_text("{"), "cannot be read"),
        (lambda out: (out / "dataset.json").write_text('{"form": "other"}'), "of this form"),
        (lambda out: (out / "shard-00000.parquet").write_bytes(b"PAR1"), "cannot be read"),
        (lambda out: (out / "shard-00000.parquet").unlink(), "has no shard"),
        (lambda out: pq.write_table(pa.table({"name": ["a"]}), out / "shard-00000.parquet"), "lacks the column"),
    ],
)
def test_damaged_sets_are_refused_in_a_line(tmp_path: Path, damage: Any, says: str) -> None:
    out = tmp_path / "out"
    import_data("folder", plain_folder(tmp_path / "mine"), out, mpp=0.25)
    damage(out)
    with pytest.raises(InputError, match=says) as caught:
        load_folder(out)
    assert "\n" not in str(caught.value)


def test_the_command_line(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "mine", 2)
    run = CliRunner().invoke(
        app, ["data", "import", "folder", str(folder), "-o", str(tmp_path / "out"), "--mpp", "0.25"]
    )
    assert run.exit_code == 0, run.output
    assert "stroma" in run.stdout
    facts = json.loads(CliRunner().invoke(app, ["data", "show", str(tmp_path / "out"), "--json"]).stdout)
    assert (facts["images"], facts["by_class"]) == (2, {"tumour": 2, "stroma": 2})
    listed = json.loads(CliRunner().invoke(app, ["data", "list", "--json"]).stdout)
    assert len(listed["sets"]) == 16
    with pytest.raises(UnknownNameError, match="pannuke"):
        import_data("pannuk", folder, tmp_path / "x")
    with pytest.raises(InputError, match="There is no file or folder"):
        import_data("folder", tmp_path / "none", tmp_path / "x")
    with pytest.raises(InputError, match="a resolution and a licence of its own"):
        import_data("consep", folder, tmp_path / "x", mpp=0.25)
    with pytest.raises(InputError, match="has no official parts"):
        load_folder(Path(f"{folder}@train"), mpp=0.25)


@pytest.mark.torch
def test_a_model_is_trained_on_parts_of_an_imported_set(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "mine", 4)
    import_data("folder", folder, tmp_path / "out", mpp=0.25, set_name="squares")
    command = ["train", str(tmp_path / "out"), "-o", str(tmp_path / "run"), "--recipe", "hover_small", "--steps", "1"]
    command += ["--encoder", "mobilenetv2_050", "--batch", "2", "--crop-px", "32", "--threads", "1", "--device", "cpu"]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 0, run.output
    assert (tmp_path / "run" / "model.safetensors").is_file()
