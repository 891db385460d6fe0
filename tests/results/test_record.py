"""A finished result is one whose record is the run's and whose files are those that the record names."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.core.geometry import area_text
from histocyte.core.listener import Stopped
from histocyte.core.taxonomies import CONSEP
from histocyte.formats.geoparquet import read_cells
from histocyte.formats.manifest import RunRecord
from histocyte.inference.load import Model
from histocyte.pipeline import Settings
from histocyte.results import Options, segment_to_folder
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

OPTIONS = Options(mpp=0.25, settings=Settings(block_px=96), workers=1)
FORCE = replace(OPTIONS, force=True)


@pytest.fixture(autouse=True, scope="module")
def _quick_pictures() -> Iterator[None]:
    """Drawing takes longer than all else on so small a slide."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("histocyte.results.outputs.draw_overview", lambda *_, **__: np.zeros((8, 8, 3), np.uint8))
        yield


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "picture.png"
    cv2.imwrite(str(path), paint_truth(packed_ellipses((200, 180), 40, seed=2), CONSEP)[..., ::-1])
    return path


@pytest.fixture(scope="module")
def made(picture: Path, perfect_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made")
    segment_to_folder(picture, out, perfect_model, OPTIONS)
    return out


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """A folder of results with a finished one, elsewhere than it was made."""
    shutil.copytree(made, tmp_path / "moved")
    return tmp_path / "moved"


def changed(folder: Path, **facts: Any) -> None:
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | facts))


def test_a_moved_result_is_found_from_anywhere(
    out: Path, picture: Path, perfect_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(out)
    for where in (out, Path("."), Path("..") / out.name):
        record = segment_to_folder(picture, where, perfect_model, OPTIONS)
        assert record.already_done
        assert record.outputs["parquet"] == str(where / "picture" / "cells.parquet")
        assert record.outputs["run"] == str(where / "picture" / "run.json")
    assert json.loads((out / "picture" / "run.json").read_text())["outputs"]["parquet"] == "cells.parquet"


@pytest.mark.parametrize("content", ["[]", "null", "{}", "7", "", '{"signature": [], "outputs": null}', '"\ud800"'])
def test_a_record_that_is_none_counts_for_nothing(content: str, out: Path, picture: Path, perfect_model: Model) -> None:
    (out / "picture" / "run.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    record = segment_to_folder(picture, out, perfect_model, OPTIONS)
    assert "already_done" not in record
    assert json.loads((out / "picture" / "run.json").read_text())["cells"] == 40


@pytest.mark.parametrize("facts", [{"outputs": [1]}, {"cells": "40"}, {"cells": -1}, {"notes": None}, {"size_px": [1]}])
def test_a_record_of_other_types_counts_for_nothing(
    facts: dict[str, Any], out: Path, picture: Path, perfect_model: Model
) -> None:
    changed(out / "picture", **facts)
    assert "already_done" not in segment_to_folder(picture, out, perfect_model, OPTIONS)


def test_files_elsewhere_do_not_stand_for_those_of_the_folder(
    out: Path, made: Path, picture: Path, perfect_model: Model
) -> None:
    names = json.loads((out / "picture" / "run.json").read_text())["outputs"]
    changed(out / "picture", outputs={what: str(made / "picture" / name) for what, name in names.items()})
    assert segment_to_folder(picture, out, perfect_model, OPTIONS).outputs["parquet"].startswith(str(out))
    (out / "picture" / "cells.parquet").unlink()
    assert "already_done" not in segment_to_folder(picture, out, perfect_model, OPTIONS)
    assert len(read_cells(out / "picture" / "cells.parquet")) == 40


@pytest.mark.parametrize("name", ["cells.parquet", "overview.png", "summary.csv"])
def test_a_file_that_is_gone_is_made_again_and_one_that_was_changed_is_not_replaced(
    name: str, out: Path, picture: Path, perfect_model: Model
) -> None:
    file = out / "picture" / name
    whole = file.read_bytes()
    file.unlink()
    assert "already_done" not in segment_to_folder(picture, out, perfect_model, OPTIONS)
    assert file.read_bytes() == whole
    file.write_bytes(whole + b"by hand")
    with pytest.raises(InputError, match=f"{name} was changed since.*--force"):
        segment_to_folder(picture, out, perfect_model, OPTIONS)
    segment_to_folder(picture, out, perfect_model, FORCE)
    assert file.read_bytes() == whole


class KilledError(Exception):
    """In place of a kill."""


@pytest.mark.parametrize("where", ["Summary.write", "draw_overview", "publish_record"])
def test_killed_while_publishing_it_is_no_finished_result(
    where: str, out: Path, picture: Path, perfect_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object, **__: object) -> None:
        raise KilledError

    other = replace(FORCE, mpp=0.3)
    with monkeypatch.context() as patch:
        place = "folder" if where == "publish_record" else "outputs"
        patch.setattr(f"histocyte.results.{place}.{where}", kill)
        with pytest.raises(KilledError):
            segment_to_folder(picture, out, perfect_model, other)
    assert not (out / "picture" / "run.json").exists()
    record = segment_to_folder(picture, out, perfect_model, replace(other, force=False))
    assert record.resumed_blocks == record.blocks > 1
    assert record.mpp == read_cells(out / "picture" / "cells.parquet").mpp == 0.3


def test_the_old_result_stays_until_the_new_one_is_written(
    out: Path, picture: Path, perfect_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: p.read_bytes() for p in (out / "picture").iterdir()}

    def kill(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("histocyte.results.outputs.Summary.add", kill)
        with pytest.raises(KilledError):
            segment_to_folder(picture, out, perfect_model, replace(FORCE, mpp=0.3))
    assert {p.name: p.read_bytes() for p in (out / "picture").iterdir() if p.is_file()} == before


def test_a_forced_run_goes_on_too(out: Path, picture: Path, perfect_model: Model) -> None:
    asked = iter([False, False])
    with pytest.raises(Stopped, match="of 'picture' done"):
        segment_to_folder(picture, out, perfect_model, FORCE, stop=lambda: next(asked, True))
    record = segment_to_folder(picture, out, perfect_model, FORCE)
    assert 0 < record.resumed_blocks < record.blocks
    assert segment_to_folder(picture, out, perfect_model, FORCE).resumed_blocks == 0


def test_formats_add_up_for_one_run_and_none_stays_of_another(out: Path, picture: Path, perfect_model: Model) -> None:
    folder = out / "picture"
    (folder / "cells.geojson.gz").unlink()
    changed(folder, outputs={"parquet": "cells.parquet"})
    segment_to_folder(picture, out, perfect_model, replace(OPTIONS, formats=("geojson",)))
    assert segment_to_folder(picture, out, perfect_model, OPTIONS).already_done
    segment_to_folder(picture, out, perfect_model, replace(FORCE, mpp=0.3, formats=("geojson",)))
    assert not (folder / "cells.parquet").exists()
    record = json.loads((folder / "run.json").read_text())
    assert set(record["output_bytes"]) == set(record["outputs"]) == {"geojson", "overview", "summary", "tissue"}


def test_what_another_process_finished_meanwhile_is_kept(
    out: Path, picture: Path, perfect_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, hidden = out / "picture", out / "picture" / "later.json"
    os.rename(folder / "run.json", hidden)
    from histocyte.results import folder as module

    opened = module.Journal.open

    def open_late(*arguments: Any, **options: Any) -> Any:
        os.rename(hidden, folder / "run.json")
        return opened(*arguments, **options)

    monkeypatch.setattr(module.Journal, "open", open_late)
    assert segment_to_folder(picture, out, perfect_model, OPTIONS).already_done
    assert not (folder / ".journal").exists()


def test_other_tiles_are_another_run_with_the_same_cells(
    out: Path, picture: Path, perfect_model: Model, tmp_path: Path
) -> None:
    tiles = replace(OPTIONS, tile_px=96, margin_px=8)
    with pytest.raises(InputError, match="made with another tile_px, margin_px"):
        segment_to_folder(picture, out, perfect_model, tiles)
    usual = segment_to_folder(picture, out, perfect_model, OPTIONS)
    other = segment_to_folder(picture, tmp_path / "other", perfect_model, tiles)
    written = json.loads(Path(other.outputs["run"]).read_text())["signature"]["settings"]
    assert (written["tile_px"], written["margin_px"]) == (96, 8)
    ours, theirs = (Path(record.outputs["geojson"]).read_bytes() for record in (usual, other))
    assert gzip.decompress(ours) == gzip.decompress(theirs)
    with pytest.raises(InputError, match=r"^--tile 100: .* multiples of 16 px up to 16384, e\.g\. 96 or 112\.$"):
        segment_to_folder(picture, tmp_path / "never", perfect_model, replace(OPTIONS, tile_px=100))
    assert not (tmp_path / "never").exists()


def test_a_record_shows_itself_and_is_plain_values_for_programs(
    picture: Path, tmp_path: Path, perfect_model: Model
) -> None:
    record = segment_to_folder(picture, str(tmp_path), perfect_model, OPTIONS)
    assert isinstance(record, RunRecord)
    first, count = next(iter(record.classes.items()))
    assert repr(record).startswith(f"<RunRecord picture: {record.cells:,} cells ({count:,} {first}")
    assert f") on {area_text(record.tissue_mm2)}>" in repr(record)
    page = record._repr_html_()
    assert f"<td>{first}<td>{count:,}<td>{count / record.tissue_mm2:,.1f}" in page
    assert record.outputs["parquet"] in page
    stored = json.loads((tmp_path / "picture" / "run.json").read_text())
    assert {**record.to_json(), "outputs": None} == {**stored, "outputs": None}
    assert "already_done" not in stored
    kept = segment_to_folder(picture, tmp_path, perfect_model, OPTIONS)
    assert kept.to_json() == record.to_json() | {"already_done": True}
