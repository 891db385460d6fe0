"""A folder of images may state its resolution itself, for all of them or for each."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.datasets.folder import card_for, image_resolution, load_folder
from histocyte.datasets.own_classes import load_with_own_classes
from histocyte.datasets.unlabelled import list_unlabelled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((20, 20, 3), np.uint8))
        instances = np.zeros((20, 20), np.int32)
        instances[4:9, 4:9] = 1
        np.savez(tmp_path / f"{name}.npz", inst=instances, type=np.array([0, 1]))
    return tmp_path


def test_classes_json_states_it_beside_the_classes_or_alone(folder: Path) -> None:
    with pytest.raises(InputError, match=r"Pass it: --mpp 0.25. Or state it in the folder: a column 'mpp'"):
        load_folder(folder)
    (folder / "classes.json").write_text(json.dumps({"mpp": 0.5, "1": "tumour", "2": "stroma"}))
    samples, taxonomy = load_with_own_classes([folder])
    assert {sample.mpp for sample in samples} == {0.5}
    assert taxonomy.names == ("tumour", "stroma")
    assert {s.mpp for s in load_folder(folder, mpp=0.25)} == {0.5}, "--mpp is for folders that do not say"
    (folder / "classes.json").write_text('{"mpp": 0.4}')
    assert {s.mpp for s in load_folder(folder)} == {0.4}
    with pytest.raises(InputError, match="no list of classes"):
        load_with_own_classes([folder])
    assert {image.mpp for image in list_unlabelled(folder)} == {0.4}
    assert image_resolution(folder / "a.png") == 0.4


def test_images_csv_states_it_of_each_image(folder: Path) -> None:
    table = folder / "images.csv"
    table.write_text("name,mpp\na.png,0.25\nb,0.5\n")
    assert {s.name: s.mpp for s in load_folder(folder)} == {"a": 0.25, "b": 0.5}
    assert {s.name: s.mpp for s in load_folder(folder, mpp=1.0)} == {"a": 0.25, "b": 0.5}
    table.write_text("name,mpp\na,0.25\nb,\n")
    assert {s.name: s.mpp for s in load_folder(folder, mpp=1.0)} == {"a": 0.25, "b": 1.0}
    with pytest.raises(InputError, match="so its resolution is not known"):
        load_folder(folder)
    (folder / "classes.json").write_text('{"mpp": 0.4}')
    assert {s.name: s.mpp for s in load_folder(folder)} == {"a": 0.25, "b": 0.4}
    assert image_resolution(folder / "b.png") == 0.4


@pytest.mark.parametrize("value", [0, -1, 20, "x", None, [0.25], True])
def test_what_is_no_resolution_is_refused(folder: Path, value: object) -> None:
    (folder / "classes.json").write_text(json.dumps({"mpp": value}))
    with pytest.raises(InputError, match="as mpp; needed is µm/px, from 0.05 to 10"):
        card_for(folder)
    (folder / "classes.json").unlink()
    (folder / "images.csv").write_text(f"name,mpp\na,{value}\n")
    with pytest.raises(InputError, match="of 'a' states .* as mpp"):
        card_for(folder)
