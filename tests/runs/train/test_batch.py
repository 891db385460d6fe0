"""Where nobody says how many crops a batch has, it suits the machine, and a run goes on with its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from histocyte.model.spec import ModelSpec
from histocyte.runs.train import batch as training_batch
from histocyte.runs.train.batch import batch_of_run, demand_of, suitable_batch
from histocyte.runs.train.defaults import first_spec

CPU = "cpu"


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return first_spec("hover_unet", "lcnet_035")


@pytest.mark.parametrize(("cores", "batch"), [(1, 4), (2, 4), (3, 4), (4, 8), (7, 8), (8, 16), (64, 16)])
def test_few_cores_have_small_batches(spec: ModelSpec, cores: int, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_batch, "available_cpus", lambda: cores)
    monkeypatch.setattr(training_batch, "_free_memory", lambda: 10**12)
    found, why = suitable_batch(spec, 256, CPU)
    assert found == batch
    assert why == (
        ""
        if batch == 16
        else f"Batches of {batch} crops suit {cores} processor{'s' * (cores > 1)}; the usual are --batch 16."
    )


def test_a_batch_fits_the_memory_that_is_free(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_batch, "available_cpus", lambda: 16)
    demand = demand_of(spec, 256)
    for batch, crops in ((16, 17), (8, 9), (2, 2)):
        monkeypatch.setattr(training_batch, "_free_memory", lambda crops=crops: demand.of(crops) / 0.7)
        assert suitable_batch(spec, 256, CPU)[0] == batch
    monkeypatch.setattr(training_batch, "_free_memory", lambda: 0)
    assert suitable_batch(spec, 256, CPU)[0] == 1
    assert suitable_batch(spec, 256, CPU, processes=3)[0] == 3, "each process draws a crop at least"
    monkeypatch.setattr(training_batch, "_free_memory", lambda: None)
    assert suitable_batch(spec, 256, CPU) == (16, "")


def test_memory_grows_with_the_crop_and_a_frozen_encoder_takes_less(spec: ModelSpec) -> None:
    small, large = demand_of(spec, 128), demand_of(spec, 256)
    assert small.weights == large.weights
    assert large.crop == pytest.approx(4 * small.crop, rel=0.05)
    frozen = demand_of(spec, 256, frozen=True)
    assert frozen.crop < large.crop
    assert frozen.weights < large.weights


def test_a_run_goes_on_with_its_own_batch(tmp_path: Path) -> None:
    assert batch_of_run(tmp_path) is None
    for text, found in ((json.dumps({"batch": 6}), 6), ('{"batch": "6"}', None), ("[]", None), ("{", None)):
        (tmp_path / "options.json").write_text(text)
        assert batch_of_run(tmp_path) == found
