"""Parts of a set by patient, alike in tissues and classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from histocyte.apps.cli.main import app
from histocyte.core.errors import InputError
from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.cards import DatasetCard
from histocyte.datasets.folder import load_folder
from histocyte.datasets.labelled_image import Entry, LabelledImage
from histocyte.datasets.shards.describe import Description, read_description
from histocyte.datasets.shards.divide import divide_groups, divide_shards
from histocyte.datasets.shards.write import write_shards

SHARES = {"train": 60.0, "validation": 20.0, "test": 20.0}


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Thirty patients with two images each; every fifth has a rare class, half are of the colon."""

    def entry(number: int) -> Entry:
        instances = np.zeros((8, 8), np.int32)
        instances[:2, :2], instances[4:6, 4:6] = 1, 2
        patient = number // 2
        image = LabelledImage(
            pixels=np.full((8, 8, 3), number, np.uint8),
            instances=instances,
            classes=np.array([2, 1 if patient % 5 == 0 else 3]),
            group=f"p{patient:02}",
            tissue="colon" if patient % 2 else "breast",
        )
        return Entry(f"i{number:02}", lambda: image)

    card = DatasetCard("cohort", 0.25, "CC0", "own data", lambda name: name, taxonomy=CONSEP)
    write_shards([entry(n) for n in range(60)], Description(card), tmp_path / "set", shard_images=7)
    return tmp_path / "set"


def test_parts_are_alike_and_no_patient_is_in_two(cohort: Path) -> None:
    before = {s.name: s.image.tobytes() for s in load_folder(cohort)}
    found = divide_shards(cohort, SHARES, seed=1)
    assert dict(found.by_split) == {"train": 36, "validation": 12, "test": 12}
    parts = {part: load_folder(f"{cohort}@{part}") for part in SHARES}
    assert {s.name: s.image.tobytes() for part in parts.values() for s in part} == before
    groups = [{s.group for s in part} for part in parts.values()]
    assert sum(len(g) for g in groups) == 30 == len(set.union(*groups))
    for part, patients in (("train", 4), ("validation", 1), ("test", 1)):
        rare = {s.group for s in parts[part] if s.types is not None and (s.types == 1).any()}
        assert len(rare) == patients, part
        colon = sum(s.tissue == "colon" for s in parts[part]) / len(parts[part])
        assert 0.3 <= colon <= 0.7, part


def test_seed_decides_and_an_interruption_changes_nothing(cohort: Path) -> None:
    def splits() -> list[str]:
        paths = sorted(cohort.glob("*.parquet"))
        return [part for path in paths for part in pq.read_table(path)["split"].to_pylist()]

    divide_shards(cohort, SHARES, seed=1)
    first = splits()
    with pytest.raises(InputError, match="has parts already"):
        divide_shards(cohort, SHARES, seed=2)
    divide_shards(cohort, SHARES, seed=2, again=True)
    assert splits() != first
    path = cohort / "shard-00004.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with pytest.raises(InputError, match=r"shard-00004.*cannot be read"):
        divide_shards(cohort, SHARES, seed=1, again=True)
    path.write_bytes(whole)
    divide_shards(cohort, SHARES, seed=1, again=True)
    assert splits() == first


def test_every_part_has_a_group() -> None:
    counts = {name: {"images": 1.0} for name in "abc"}
    assert sorted(divide_groups(counts, {"train": 98, "validation": 1, "test": 1}).values()) == [
        "test",
        "train",
        "validation",
    ]
    with pytest.raises(InputError, match="3 patients or slides, too few for 4 parts"):
        divide_groups(counts, dict.fromkeys("wxyz", 1.0))


def test_command(cohort: Path) -> None:
    run = CliRunner().invoke(app, ["data", "split", str(cohort), "--parts", "a=50,b=50", "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["by_split"] == {"a": 30, "b": 30}
    assert dict(read_description(cohort).by_split) == {"a": 30, "b": 30}
    for parts in ("a", "a=1", "a=1,b=x", "a=1,a=2", "a=1,b=-1"):
        run = CliRunner().invoke(app, ["data", "split", str(cohort), "--replace", "--parts", parts])
        assert isinstance(run.exception, InputError), parts
    run = CliRunner().invoke(app, ["data", "split", str(cohort.parent)])
    assert isinstance(run.exception, InputError)
    assert "histocyte data import" in str(run.exception)
