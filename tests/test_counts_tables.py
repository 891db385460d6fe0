"""The counts in the docs are those that the commands give."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from histocyte.slides.open import open_slide
from histocyte.slides.tissue import find_tissue

ROOT = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "counts_tables.py"))
ANEW = "run: python scripts/counts_tables.py ../shared/data/wsi/CMU-1-Small-Region.svs"


@pytest.fixture(scope="module")
def facts() -> dict:
    return json.loads(SCRIPT["FACTS"].read_text(encoding="utf-8"))


def test_the_docs_show_what_was_counted(facts: dict) -> None:
    page = (ROOT / "docs" / "counts.md").read_text(encoding="utf-8")
    assert SCRIPT["counts_in"](page, "slide") == {"all": facts["cells"], **facts["classes"]}, ANEW
    assert f"{facts['tissue_mm2']:.4g} mm² searched" in page, ANEW
    python = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert f"<Cells: {facts['cells']:,}, " in python, "docs/python.md prints another number of cells"


def test_a_part_of_the_slide_still_has_the_cells_that_it_had(facts: dict, shared: Path, tmp_path: Path) -> None:
    slide = shared / "data" / "wsi" / "CMU-1-Small-Region.svs"
    with open_slide(slide) as reader:
        assert find_tissue(reader).region.area_mm2(reader.mpp) == pytest.approx(facts["tissue_mm2"], abs=1e-5), ANEW
    assert SCRIPT["probe"](slide, tmp_path) == facts["probe"], ANEW
