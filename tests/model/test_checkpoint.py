"""Model files that are not what they should be."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from histocyte.core.errors import ModelError
from histocyte.inference.load import load
from histocyte.model.checkpoint import SPEC_KEY, load_model, read_spec
from histocyte.model.zoo import find_model

SMALL = find_model("hover-small-consep").safetensors
assert SMALL is not None


@pytest.mark.torch
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    assert SMALL is not None
    weights = load_file(SMALL)
    name = sorted(weights)[0]
    weights[name] = weights[name].copy()
    weights[name].flat[0] = np.nan
    save_file(weights, tmp_path / "m.safetensors", metadata={SPEC_KEY: read_spec(SMALL).model_dump_json()})
    with pytest.raises(ModelError, match=f"no numbers .*in {name}: its training diverged"):
        load_model(tmp_path / "m.safetensors")


def test_a_web_page_in_its_place_is_called_one(tmp_path: Path) -> None:
    for suffix in ("safetensors", "onnx"):
        (tmp_path / f"m.{suffix}").write_text("<!DOCTYPE html>\n<html><body>Sign in</body></html>")
        with pytest.raises(ModelError, match="it is a web page"):
            load(tmp_path / f"m.{suffix}", runtime="torch" if suffix == "safetensors" else "openvino")


@pytest.mark.torch
def test_a_file_that_was_cut_off_is_said_to_be(tmp_path: Path) -> None:
    assert SMALL is not None
    shutil.copy(SMALL, tmp_path / "m.safetensors")
    content = SMALL.read_bytes()
    for size in (0, 5, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "m.safetensors").write_bytes(content[:size])
        with pytest.raises(ModelError, match=r"it is empty|not a safetensors file|is damaged or cut off"):
            load_model(tmp_path / "m.safetensors")


@pytest.mark.torch
def test_a_spec_of_a_giant_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    assert SMALL is not None
    spec = read_spec(SMALL)
    options = {**spec.decoder.options, "widths": [20_000, 20_000, 20_000]}
    giant = spec.with_changes(decoder={"name": spec.decoder.name, "options": options})
    save_file(load_file(SMALL), tmp_path / "m.safetensors", metadata={SPEC_KEY: giant.model_dump_json()})
    with pytest.raises(ModelError, match=r"asks for [\d,]{11,}, and there can be [\d,]{7} at most"):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.torch
def test_a_part_that_cannot_be_built_is_told_with_the_file(tmp_path: Path) -> None:
    assert SMALL is not None
    spec = read_spec(SMALL)
    for decoder, says in (
        ({"name": "unet", "options": {"width": 3}}, "The part 'unet' does not take the options"),
        ({"name": "unett"}, "No decoder called 'unett'. Did you mean 'unet'"),
    ):
        changed = spec.with_changes(decoder=decoder)
        save_file(load_file(SMALL), tmp_path / "m.safetensors", metadata={SPEC_KEY: changed.model_dump_json()})
        with pytest.raises(ModelError, match=rf"^'\S+m\.safetensors' cannot be used: {says}"):
            load_model(tmp_path / "m.safetensors")
