"""`histocyte data audit` on folders: the page, the record, and what wrong input is told."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.runs.audit.audit_folders import audit_folders


def folder(path: Path, seeds: dict[str, int]) -> Path:
    """Images of dark discs with their labels."""
    path.mkdir()
    for name, seed in seeds.items():
        rng = np.random.default_rng(seed)
        image = np.clip(rng.normal(210, 12, (160, 160, 3)), 0, 255).astype(np.uint8)
        labels = np.zeros((160, 160), np.int32)
        for number, (row, column) in enumerate(np.ndindex(4, 4), start=1):
            x, y = (int(20 + 40 * place + rng.integers(-6, 7)) for place in (column, row))
            cv2.circle(labels, (x, y), 12, number, -1)
        image[labels > 0] //= 3
        cv2.imwrite(str(path / f"{name}.png"), image)
        np.savez(path / f"{name}.npz", inst=labels)
    return path


def test_a_page_and_a_record_show_an_image_that_is_in_both_folders(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    train, test = folder(tmp_path / "train", {"a": 1, "b<i>": 2}), folder(tmp_path / "test", {"c": 1, "d": 3})
    found = audit_folders([train, test], tmp_path / "out", mpp=0.25)
    assert found.findings[0].check == "leak"
    record = json.loads((tmp_path / "out/audit.json").read_text())
    assert record["findings"][0]["images"] == ["a", "c"]
    assert [(row["source"], row["split"], row["cells"]) for row in record["counts"]] == [
        ("train", "train", 32),
        ("test", "test", 32),
    ]
    assert record["licences"]["commercial"] == "unknown"
    page = (tmp_path / "out/audit.html").read_text()
    assert "train/a" in page
    assert "test/c" in page
    assert page.count("data:image/webp") == 2
    assert "http" not in page.replace("http://www.w3.org", "")


def test_wrong_input_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for bad, said in ((tmp_path / "none", "There is no folder"), (tmp_path / "empty", "holds no labelled image")):
        with pytest.raises(InputError, match=said):
            audit_folders([bad], tmp_path / "out", mpp=0.25)
    assert not (tmp_path / "out").exists()
