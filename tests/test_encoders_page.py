from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_table_of_encoders_is_that_of_the_catalog() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "encoders_table.py"))
    page = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    shown = page.partition(script["BEGIN"])[2].partition(script["END"])[0].strip()
    assert shown == script["table"](), "run: python scripts/encoders_table.py"
