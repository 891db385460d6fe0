from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.formats.manifest import SlideFacts, read_manifest, write_manifest


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


def test_records_are_typed_and_keep_what_they_do_not_know(tmp_path):
    facts = {"name": "s", "mpp": np.float64(0.25), "size_px": (np.int64(7), 5), "signature": {"a": 1}, "more": [1]}
    write_manifest(tmp_path / "run.json", facts)
    read = read_manifest(tmp_path / "run.json", SlideFacts)
    assert (read.mpp, read.size_px, read.scanned_px) == (0.25, (7, 5), (7, 5))
    write_manifest(tmp_path / "run.json", read)
    assert json.loads((tmp_path / "run.json").read_text())["more"] == [1]
    for other in ({"mpp": 0}, {"mpp": np.nan}, {"size_px": (7,)}, {"bounds_px": (0, 0, 7)}, {"searched_beyond_um": -1}):
        write_manifest(tmp_path / "run.json", facts | other)
        with pytest.raises(InputError, match="not the record of a run"):
            read_manifest(tmp_path / "run.json", SlideFacts)


def test_what_cannot_be_written_leaves_the_old_record(tmp_path):
    write_manifest(tmp_path / "run.json", {"a": 1})
    with pytest.raises(TypeError):
        write_manifest(tmp_path / "run.json", {"a": object()})
    assert json.loads((tmp_path / "run.json").read_text()) == {"a": 1}
