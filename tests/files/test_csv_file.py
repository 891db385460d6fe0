"""CSV files are there whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from histocyte.files.csv_file import write_rows


def test_rows_come_back_and_none_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.csv"
    write_rows(path, ["name", "n"], [['µ, "a"\nb', 1], [None, 0.5]])
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["name", "n"], ['µ, "a"\nb', "1"], ["", "0.5"]]


def test_an_error_between_rows_leaves_the_old_file(tmp_path: Path) -> None:
    def rows() -> Iterator[list[int]]:
        yield [1]
        raise RuntimeError("no more")

    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(RuntimeError, match="no more"):
        write_rows(tmp_path / "a.csv", ["n"], rows())
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "old"
