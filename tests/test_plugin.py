"""Another package adds an encoder, a decoder, a representation and a recipe: installed, and nothing here edited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from histocyte.testing.synthetic import paint_tissue

PACKAGE = Path(__file__).parents[1] / "examples" / "plugin"

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def histocyte(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command, in an environment where the example package is installed."""
    site = tmp_path_factory.mktemp("site")
    quiet = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-build-isolation")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *quiet, "--target", str(site), str(PACKAGE)], check=True, timeout=120
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from histocyte.apps.cli.main import run; run()", *arguments],
            env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four labelled images."""
    folder = tmp_path_factory.mktemp("data")
    for seed in range(4):
        tissue = paint_tissue((256, 256), seed=seed)
        cv2.imwrite(str(folder / f"image_{seed}.png"), tissue.image[..., ::-1])
        np.savez(folder / f"image_{seed}.npz", inst=tissue.labels.instances)
    return folder


def test_its_recipe_is_listed_with_where_it_is_from(histocyte: Command) -> None:
    answer = histocyte("recipes", "list", "--json")
    assert answer.returncode == 0, answer.stderr
    recipes = {r["name"]: r for r in json.loads(answer.stdout)["recipes"]}
    assert recipes["border_unet"]["from"] == "histocyte-border"
    assert recipes["hover_unet"]["from"] == "histocyte"


@pytest.mark.torch
def test_its_parts_train_and_segment(histocyte: Command, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    answer = histocyte(
        *("train", str(data), "--recipe", "border_unet", "-o", str(run), "--mpp", "0.25", "--steps", "40"),
        *("--batch", "2", "--validation", "0.3", "--threads", "1", "--validate-every", "40"),
    )
    assert answer.returncode == 0, answer.stderr
    losses = [float(line.split(",")[2]) for line in (run / "log.csv").read_text().splitlines()[1:]]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])  # it learns
    image = next(data.glob("*.png"))
    model = run / "model.safetensors"
    answer = histocyte("segment", str(image), "--mpp", "0.25", "--model", str(model), "-o", str(tmp_path), "--json")
    assert answer.returncode == 0, answer.stderr
    cells = json.loads(answer.stdout)["cells"]
    assert cells > 0
    assert pq.read_metadata(tmp_path / image.stem / "cells.parquet").num_rows == cells


def test_without_the_package_its_parts_are_refused_by_name() -> None:
    from histocyte.core.errors import UnknownNameError
    from histocyte.model.build import build_representation
    from histocyte.model.spec import Part

    with pytest.raises(UnknownNameError, match="No representation called 'border'"):
        build_representation(Part(name="border"))


def test_its_representation_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PACKAGE / "src"))
    from histocyte_border.representation import Border

    from histocyte.testing.contracts import check_representation

    check_representation(Border(), min_quality=0.9, skip=("thin",))
