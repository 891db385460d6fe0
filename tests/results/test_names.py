"""Folders of results: one for each slide, within the folder of results, whatever slides are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from histocyte.results.names import result_names


def names_of(*paths: str) -> list[str]:
    return result_names([Path(p) for p in paths])


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/d/P1/slides/a.tif", "/d/P2/slides/a.tif"], ["P1-slides-a", "P2-slides-a"]),
        (["/d/P1/a.tif", "/d/P2/a.tif", "/d/P2/b.tif"], ["P1-a", "P2-a", "b"]),
        (["/d/a.tif", "/d/a.tiff"], ["a.tif", "a.tiff"]),
        (["/d/P1/a.tif", "/d/P1/a.tiff", "/d/P2/a.tif"], ["P1-a.tif", "P1-a.tiff", "P2-a"]),
        (["/d/A.tif", "/d/a.tiff"], ["A.tif", "a.tiff"]),
        (["/d/a.ome.tif", "/d/a.svs"], ["a.ome.tif", "a.svs"]),
        (["/d/A\u030a.tif", "/d/\u00c5.svs"], ["A\u030a.tif", "\u00c5.svs"]),
        (["/d/A.tif", "/d/a.tif"], ["A.tif", "a.tif-2"]),
        (["/d/P1/a.tif", "/e/P1-a.tif", "/d/P2/a.tif"], ["P1-a.tif", "P1-a.tif-2", "P2-a"]),
        (["/P1/a.tif", "/a.tif"], ["P1-a", "a"]),
        (["/d/1.2.840.10008.55", "/d/1.2.840.10008.56"], ["1.2.840.10008.55", "1.2.840.10008.56"]),
    ],
)
def test_no_two_slides_share_a_name(paths: list[str], names: list[str]) -> None:
    assert names_of(*paths) == names


def test_a_dicom_folder_keeps_the_last_part_of_its_identifier(tmp_path: Path) -> None:
    folders = [tmp_path / "1.2.840.113619.2.55", tmp_path / "1.2.840.113619.2.56"]
    for folder in folders:
        folder.mkdir()
    assert result_names(folders) == [f.name for f in folders]


@pytest.mark.parametrize(
    "name", ["...png", "..png", ".png", "..", "a\\..\\..\\b.svs", "\udcff\udc80.svs", "a\nb\x1b[2J.svs"]
)
def test_results_stay_in_their_folder_and_are_unicode(name: str, tmp_path: Path) -> None:
    (result,) = result_names([tmp_path / name])
    assert result not in {"", ".", ".."}
    assert (tmp_path / result).resolve().parent == tmp_path.resolve()
    assert result.isprintable()
    (tmp_path / result.encode().decode()).mkdir()


def test_long_names_fit_a_file_system(tmp_path: Path) -> None:
    folders = [tmp_path / ("é" * 90 + str(i)) / ("s" * 100) for i in range(2)]
    one, other = result_names([f / "a.svs" for f in folders])
    assert max(len(os.fsencode(one)), len(os.fsencode(other))) <= 200
    assert one != other
