from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from histocyte.export.manifest import write_manifest


def test_numpy_paths_and_sets_become_json_in_a_fixed_order(tmp_path):
    record = {
        "seconds": {"read": np.float32(0.5), "decode": np.float64("nan")},
        "count": np.int64(3),
        "ok": np.bool_(True),
        "sizes": np.arange(6).reshape(2, 3).T,
        "path": Path("a") / "b",
        "classes": {"b", "a"},
        "options": MappingProxyType({1: None}),
        "µ": "µm",
    }
    write_manifest(tmp_path / "run.json", record)
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    assert json.loads(text) == {
        "classes": ["a", "b"],
        "count": 3,
        "ok": True,
        "options": {"1": None},
        "path": str(Path("a") / "b"),
        "seconds": {"decode": None, "read": 0.5},
        "sizes": [[0, 3], [1, 4], [2, 5]],
        "µ": "µm",
    }
    assert text.startswith('{\n  "classes"')
    assert text.endswith("}\n")


def test_what_cannot_be_written_leaves_the_old_record(tmp_path):
    write_manifest(tmp_path / "run.json", {"a": 1})
    with pytest.raises(TypeError):
        write_manifest(tmp_path / "run.json", {"a": object()})
    assert json.loads((tmp_path / "run.json").read_text()) == {"a": 1}
