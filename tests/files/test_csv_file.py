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


def test_names_that_a_spreadsheet_takes_for_formulas_are_text_and_numbers_stay_numbers(tmp_path: Path) -> None:
    formulas = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-", '-"x"']
    plain = ["a=1", "'=1", "", "region 1", "µ-@", "1e5", "-0.25", "+3", "-inf", "-1e-05"]
    write_rows(tmp_path / "a.csv", ["=name", "n"], [[text, -1.5] for text in (*formulas, *plain)])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["'=name", "n"]
    assert [name for name, _ in rows] == [*(f"'{text}".replace("\r", "\n") for text in formulas), *plain]
    assert {n for _, n in rows} == {"-1.5"}


def test_a_name_that_is_no_unicode_can_be_written(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.csv", ["name"], [["a\udcff.svs"]])
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "name\na\\udcff.svs\n"
