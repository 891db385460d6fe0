"""Curves of a run under way: not too often, and no error where matplotlib is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from histocyte.core.errors import DiskError, MissingExtraError
from histocyte.runs.train import curves as training_curves


def test_they_are_drawn_now_and_then_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(training_curves, "write_curves", lambda run, *, title: drawn.append(title))
    curves = training_curves.Curves(tmp_path, "mine")
    for _ in range(3):
        curves.draw()
    assert drawn == ["Training of mine"]
    curves.draw(now=True)
    assert len(drawn) == 2


def test_without_matplotlib_a_training_goes_on_and_a_full_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(error: Exception) -> None:
        def write(run: Path, *, title: str) -> None:
            raise error

        monkeypatch.setattr(training_curves, "write_curves", write)
        training_curves.Curves(tmp_path, "mine").draw()

    raising(MissingExtraError("'matplotlib' is not installed."))
    with pytest.raises(DiskError, match="full"):
        raising(DiskError("full"))
