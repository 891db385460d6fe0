"""What a model file may say of itself, and what is refused before anything is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from histocyte.core.errors import ModelError
from histocyte.model.checkpoint import SPEC_KEY, read_spec
from histocyte.model.spec import ModelSpec
from histocyte.recipes.hover_small import hover_small
from histocyte.recipes.registry import RECIPES


def written(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A model file whose spec is changed, whatever becomes of it."""
    spec = json.loads(hover_small().model_dump_json())
    change(spec)
    save_file({"w": np.zeros(1, np.float32)}, folder / "m.safetensors", metadata={SPEC_KEY: json.dumps(spec)})
    return folder / "m.safetensors"


def options(**given: object) -> Callable[[dict[str, Any]], object]:
    return lambda spec: spec["representation"]["options"].update(given)


def of_classes(count: int) -> Callable[[dict[str, Any]], object]:
    return lambda s: s["taxonomy"].update(classes=[{"name": f"c{i}", "colour": [1, 2, 3]} for i in range(count)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.update(mpp=float("nan")), "mpp: .*finite"),
        (lambda s: s.update(mpp=40), "mpp: .*less than or equal to 10, got 40"),
        (lambda s: s.update(tile_px=0), "tile_px: .*got 0"),
        (lambda s: s.update(tile_px=-5), "tile_px: .*got -5"),
        (lambda s: s.update(margin_px=-1), "margin_px: .*got -1"),
        (lambda s: s.update(multiple=0), "multiple: .*got 0"),
        (lambda s: s.update(margin_px=384), "tiles of 768 px with margins of 384 px cannot be"),
        (lambda s: s.update(multiple=7), "in multiples of 7"),
        (lambda s: s.update(std=[0.2, 0, 0.2]), r"std\.1: .*greater than 0"),
        (lambda s: s.update(mean=[0.2, float("inf"), 0.2]), r"mean\.1: .*finite"),
        (lambda s: s["taxonomy"]["classes"][0].update(colour="x"), "taxonomy: Not a taxonomy"),
        (lambda s: s["taxonomy"]["classes"][0].update(colour=[1, 2, 300]), "taxonomy: Not a taxonomy"),
        (lambda s: s["taxonomy"]["classes"][1].update(name="other"), "'other' is none"),
        (lambda s: s["taxonomy"]["classes"][1].update(name=float("nan")), "no name: nan"),
        (of_classes(0), "its maps tell 4 classes apart, and it names 0"),
        (of_classes(5), "its maps tell 4 classes apart, and it names 5"),
        (of_classes(300), "A taxonomy of 300 classes: there can be 255"),
        (options(classes=-1), r"classes: .*got -1"),
        (options(classes="many"), "classes: .*integer"),
        (options(nucleus_threshold=float("nan")), "the option 'nucleus_threshold' cannot be nan"),
        (options(nucleus_threshold=1.5), "nucleus_threshold: .*got 1.5"),
        (options(nucleus_channels=3), "nucleus_channels: .*got 3"),
        (options(min_area_px=-3), "min_area_px: .*got -3"),
        (options(smoothing_px=0), "smoothing_px: .*got 0"),
        (options(sobel_px=4), "sobel_px: a kernel has an odd number"),
        (
            lambda s: s["encoder"]["options"].update(depth=10**12),
            r"encoder\.options: the option 'depth' cannot be 1000000000000",
        ),
        (
            lambda s: s["decoder"]["options"].update(widths=[8, [float("nan")]]),
            r"decoder\.options: the option 'widths' cannot be nan",
        ),
        (
            lambda s: s.update(encoder_weights={"sha256": "0" * 64, "file": "../other.safetensors"}),
            "no name of a file: '../other.safetensors'",
        ),
        (lambda s: s["heads"].update(name=3), r"heads\.name: .*string"),
        (options(colour="red"), "unexpected keyword argument 'colour'"),
        (lambda s: s["representation"].update(name="horer"), "Did you mean 'hover'"),
        (lambda s: s["representation"].update(name="flow", options={"classes": 4, "steps": 10**5}), "steps: "),
        (lambda s: s["representation"].update(name="star", options={"classes": 4, "max_overlap": 2}), "max_overlap: "),
        (
            lambda s: s["representation"].update(name="distance", options={"classes": 4, "seam_drop": float("inf")}),
            "the option 'seam_drop' cannot be inf",
        ),
    ],
)
def test_a_spec_that_cannot_be_is_refused_when_it_is_read(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        read_spec(written(tmp_path, change))
    assert "m.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_that_is_nested_too_deep_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for text in (b'{"__metadata__":' + b"[" * 50_000 + b"]" * 50_000 + b"}", b"[" * 50_000):
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        with pytest.raises(ModelError, match="not a safetensors file"):
            read_spec(path)
    deep = "[" * 50_000 + "]" * 50_000
    save_file({"w": np.zeros(1, np.float32)}, path, metadata={SPEC_KEY: '{"name": ' + deep + "}"})
    with pytest.raises(ModelError, match="holds no valid histocyte model spec"):
        read_spec(path)


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_passes(name: str, tmp_path: Path) -> None:
    spec = RECIPES[name]()
    save_file({"w": np.zeros(1, np.float32)}, tmp_path / "m.safetensors", metadata={SPEC_KEY: spec.model_dump_json()})
    assert read_spec(tmp_path / "m.safetensors") == spec


def test_a_change_that_cannot_be_is_an_error_for_people() -> None:
    with pytest.raises(ModelError, match="cannot be changed so: tile_px"):
        hover_small().with_changes(tile_px=-1)
    assert isinstance(hover_small().with_changes(tile_px=256), ModelSpec)
