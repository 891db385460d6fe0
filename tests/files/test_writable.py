"""What cannot be written is refused before the work."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from histocyte.core.errors import DiskError, InputError
from histocyte.files.writable import check_file, check_folder


def test_a_file_may_be_new_in_a_new_folder_or_take_the_place_of_another(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    for path in (tmp_path / "old", tmp_path / "new", tmp_path / "a" / "b" / "new", None):
        check_file(path, example="x")
    check_folder(tmp_path)
    check_folder(tmp_path / "a" / "b")
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


def test_a_folder_where_a_file_is_written_is_refused_with_a_name_for_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder; name the file that is written, such as .*scores\.csv"):
        check_file(tmp_path, example="scores.csv")


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    says = "'.*/file' is a file and no folder"
    with pytest.raises(DiskError, match=says):
        check_file(tmp_path / "file" / "deep" / "a.csv", example="x")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(DiskError, match=says):
            check_folder(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="folders there have no such permission")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever is allowed everything (root) may write anywhere, so the answer of the system is given here.
    monkeypatch.setattr(os, "access", lambda place, mode: place != tmp_path)
    with pytest.raises(DiskError, match="may not be written"):
        check_file(tmp_path / "a.csv", example="x")
    with pytest.raises(DiskError, match="may not be written"):
        check_folder(tmp_path / "run")
