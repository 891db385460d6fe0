"""What a folder holds: slides at any depth, and pictures about them, which are named and passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from histocyte.core.errors import InputError
from histocyte.slides.listing import find_slides, list_slides


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(128) + b"DICM" if name.endswith(".dcm") else b"x")


def found(folder: Path, **options: object) -> tuple[list[str], list[str]]:
    answer = find_slides([folder], **options)  # type: ignore[arg-type]
    return [str(p.relative_to(folder)) for p in answer.slides], [str(p.relative_to(folder)) for p in answer.passed_over]


def test_one_folder_a_slide(tmp_path: Path) -> None:
    make(tmp_path, "u1/A.svs", "u1/logs/A.parcel", "u2/B.svs", "u2/annotations.txt", "case/1.dcm", ".hidden/C.svs")
    assert found(tmp_path) == (["case", "u1/A.svs", "u2/B.svs"], [])
    make(tmp_path, "D.svs")
    assert found(tmp_path, recursive=False) == (["case", "D.svs"], [])


def test_pictures_about_a_slide_are_passed_over_and_named(tmp_path: Path) -> None:
    beside = ["a_mask.png", "a-overlay.jpg", "a.labels.png", "a_tissue_mask.tif", "s.png", "s_Thumbnail.jpg", "s_.png"]
    make(tmp_path, "a.png", "a_2.png", "label.png", "mask_of_b.png", "s.svs", *beside)
    slides, about = found(tmp_path)
    assert slides == ["a.png", "a_2.png", "label.png", "mask_of_b.png", "s.svs"]
    assert sorted(about) == sorted(beside)


def test_so_are_those_in_folders_of_their_own(tmp_path: Path) -> None:
    make(tmp_path, "images/a.png", "masks/a.png", "Overlays/a.tif", "labels/a_x.png", "project/data/1/thumbnail.jpg")
    slides, about = found(tmp_path)
    assert slides == ["images/a.png"]
    assert about == ["labels/a_x.png", "masks/a.png", "Overlays/a.tif", "project/data/1/thumbnail.jpg"]
    assert found(tmp_path / "masks") == (["a.png"], [])  # which the user named
    make(tmp_path, "only/masks/a.png", "only/masks/b.png")
    with pytest.raises(InputError, match=r"'a\.png' and 1 more are taken for pictures about slides"):
        find_slides([tmp_path / "only"])


def test_results_are_no_slides(tmp_path: Path) -> None:
    make(tmp_path, "a.svs", "a/run.json", "a/overview.png", "b/.journal/lock", "b/overview.png", "out/new/picture.png")
    assert found(tmp_path, results=tmp_path / "out") == (["a.svs"], [])


def test_the_data_of_a_scan_is_not_looked_into(tmp_path: Path) -> None:
    make(tmp_path, "m.mrxs", "m/Data0000.dat", "m/preview/x.jpg")
    assert found(tmp_path) == (["m.mrxs"], [])


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    make(tmp_path, "in/a.svs")
    (tmp_path / "in" / "again").symlink_to(tmp_path)
    assert found(tmp_path) == (["in/a.svs"], [])


def test_a_file_given_by_name_is_not_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "a_mask.png")
    answer = find_slides([tmp_path, tmp_path / "a_mask.png"])
    assert [p.name for p in answer.slides] == ["a.png", "a_mask.png"]
    assert answer.passed_over == []


def test_what_was_not_looked_into_is_said(tmp_path: Path) -> None:
    make(tmp_path, "deep/a.svs")
    with pytest.raises(InputError, match="Its folders were not looked into"):
        list_slides([tmp_path], recursive=False)
