"""Tables that grow by a row, and JSON without numbers that it has none for."""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path

import pytest

from histocyte.core.errors import DiskError
from histocyte.training.journal import Table, write_json


def test_rows_come_back_under_the_columns_of_the_first(tmp_path: Path) -> None:
    table = Table(tmp_path / "log.csv")
    assert table.column("loss") == []
    table.append({"step": 1, "loss": 0.123456789})
    table.append({"step": 2, "loss": math.nan, "new": 3.0})
    Table(tmp_path / "log.csv").append({"loss": 1.0, "step": 3})
    assert (tmp_path / "log.csv").read_text().splitlines() == ["step,loss", "1,0.123457", "2,nan", "3,1"]
    values = table.column("loss")
    assert values[0] == 0.123457
    assert math.isnan(values[1])
    assert table.column("new") == []


@pytest.mark.parametrize("rest", ["4,0.5", "4,0.5,1\n", "\n", "step,loss\n", "4,0."])
def test_half_a_row_and_rows_that_are_done_again_are_cut_off(tmp_path: Path, rest: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n1,0.9\n2,0.8\n3,0.7\n" + rest)
    table = Table(path)
    table.cut(2)
    assert table.column("step") == [1, 2]
    table.append({"step": 3, "loss": 0.7})
    assert path.read_text() == "step,loss\n1,0.9\n2,0.8\n3,0.7\n"


def test_a_file_of_half_a_header_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("")
    table = Table(tmp_path / "log.csv")
    table.cut(5)
    table.append({"step": 1, "loss": 1.0})
    assert table.column("loss") == [1.0]


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DiskError, match=r"Cannot write .*log\.csv: No space left on device\. The last checkpoint"):
        Table(tmp_path / "log.csv").append({"step": 1})


def test_numbers_that_json_lacks_are_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"best": -math.inf, "rows": [{"x": math.nan}, 1.5], "n": 2})

    def refuse(name: str) -> None:
        raise AssertionError(name)

    read = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert read == {"best": None, "rows": [{"x": None}, 1.5], "n": 2}
