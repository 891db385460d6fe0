"""A run goes on only as it began."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from histocyte.core.errors import InputError
from histocyte.runs.train.defaults import first_spec
from histocyte.training.options import TrainingOptions, check_same_recipe, check_same_run


def recipe(*, mpp: float = 0.25, crop_px: int = 256, name: str = "a") -> dict[str, Any]:
    spec = first_spec("hover_unet", mpp=mpp).with_changes(name=name)
    return {"model": spec.model_dump(mode="json"), "crops": {"crop_px": crop_px, "zoom": (0.8, 1.25)}}


def test_a_run_goes_on_at_its_resolution_and_on_its_crops(tmp_path: Path) -> None:
    check_same_recipe(tmp_path, recipe())  # begins
    (tmp_path / "recipe.json").write_text(json.dumps(recipe()))
    check_same_recipe(tmp_path, recipe())
    check_same_recipe(tmp_path, recipe(name="b"))
    with pytest.raises(InputError, match=r"on other crops \(crop_px 256 there, 128 now\)"):
        check_same_recipe(tmp_path, recipe(crop_px=128))
    with pytest.raises(InputError, match=r"mpp 0.25 there, 0.5 now"):
        check_same_recipe(tmp_path, recipe(mpp=0.5))


@pytest.mark.parametrize("text", ["[]", "null", '{"model"', "\\x00"])
def test_a_damaged_recipe_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(InputError, match="is damaged"):
        check_same_recipe(tmp_path, recipe())


def test_what_a_file_says_is_quoted_on_one_line(tmp_path: Path) -> None:
    check_same_run(tmp_path, TrainingOptions(), {})
    for value in ("a\nb", "long" * 999):
        stored = json.loads((tmp_path / "options.json").read_text())
        (tmp_path / "options.json").write_text(json.dumps({**stored, "keep": value}))
        with pytest.raises(InputError, match=rf"other options \(keep {value[:1]}[^\n]{{3,70}} there, best now\)"):
            check_same_run(tmp_path, TrainingOptions(), {})
