"""Files of cells by other programs, written here by hand."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.datasets.cell_files.contents import draw_outlines
from histocyte.datasets.cell_files.json_outlines import read_json_outlines

LABELS = np.zeros((40, 50), np.int32)
LABELS[2:10, 3:12], LABELS[10:20, 3:9], LABELS[30:40, 45:50] = 1, 2, 3


def contours() -> list[list[list[int]]]:
    traced = []
    for i in range(1, 4):
        found, _ = cv2.findContours((i == LABELS).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        traced.append(found[0][:, 0].tolist())
    return traced


def cells() -> list[dict[str, object]]:
    return [{"contour": c, "type": t, "type_prob": 0.5} for c, t in zip(contours(), (2, None, 1), strict=True)]


@pytest.mark.parametrize("name", ["hovernet", "cellvit"])
def test_json_gives_the_labels_back(tmp_path: Path, name: str) -> None:
    hovernet = {"mag": 40, "nuc": {str(i): cell for i, cell in enumerate(cells(), 1)}}
    cellvit = {"type_map": {"1": "a", "2": "b"}, "cells": cells()}
    path = tmp_path / "cells.json"
    path.write_text(json.dumps(hovernet if name == "hovernet" else cellvit))
    read = read_json_outlines(path)
    np.testing.assert_array_equal(draw_outlines(read.outlines, LABELS.shape), LABELS)
    np.testing.assert_array_equal(draw_outlines(read.outlines, (20, 10), (3, 2)), LABELS[2:22, 3:13])
    assert read.types.tolist() == [2, 0, 1]
    assert read.class_names == ({} if name == "hovernet" else {1: "a", 2: "b"})


def test_a_small_cell_on_a_large_one_stays_and_of_equals_the_first() -> None:
    large, small = (np.array([[a, a], [b, a], [b, b], [a, b]], np.int32) for a, b in ((0, 9), (3, 5)))
    for outlines in ([large, small, small], [small, small, large]):
        counts = np.bincount(draw_outlines(outlines, (10, 10)).ravel(), minlength=4)[1:]
        assert sorted(counts.tolist()) == [0, 9, 91]
    assert (draw_outlines([small, small, large], (10, 10)) == 1).sum() == 9


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"nuc"', "no valid JSON"),
        ('{"nuc": NaN}', "no valid JSON"),
        ('{"a": 1}', "it has: a"),
        ("[1]", "it has: list"),
        ('{"cells": [{"centroid": [1, 2]}]}', "no 'contour'"),
        ('{"cells": [{"contour": [[1, 2], [3]]}]}', "no list of"),
        ('{"cells": [{"contour": []}]}', "no list of"),
        ('{"cells": [{"contour": [[1, null], [2, 3]]}]}', "leaves"),
        ('{"cells": [{"contour": [[1, 1e300], [2, 3]]}]}', "leaves"),
        ('{"cells": [{"contour": [[1, 2]], "type": "x"}]}', "no number"),
    ],
)
def test_broken_files_say_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "cells.json"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        read_json_outlines(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_json_outlines(tmp_path / "none.json")
