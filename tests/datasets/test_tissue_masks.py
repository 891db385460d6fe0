"""Labels of tissue beside images: masks of classes and of glands, ignored codes, groups, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.datasets.folder import is_labelled, labelled_card, load_folder, unpaired
from histocyte.datasets.sample import IGNORED, Sample

SHARED = Path(__file__).parents[3] / "shared" / "data"


def folder(tmp_path: Path, mask: np.ndarray, facts: object) -> Path:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((*mask.shape[:2], 3), 200, np.uint8))
    cv2.imwrite(str(tmp_path / "a_mask.png"), mask)
    (tmp_path / "classes.json").write_text(json.dumps(facts))
    return tmp_path


def only(path: Path) -> Sample:
    (sample,) = load_folder(path, mpp=1.0)
    return sample


def test_a_mask_of_classes_with_an_ignored_code(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [2, 255]], np.uint8)
    place = folder(tmp_path, mask, {"1": "tumour", "2": "stroma", "ignored": [255], "mpp": 0.5})
    sample = only(place)
    assert sample.class_map.tolist() == [[0, 1], [2, IGNORED]]
    assert (sample.areas, sample.separable, sample.mpp) == (True, False, 0.5)
    assert is_labelled(place)
    assert unpaired(place) == []


def test_background_may_be_what_is_ignored(tmp_path: Path) -> None:
    place = folder(tmp_path, np.array([[0, 1]], np.uint8), {"1": "tumour", "ignored": [0]})
    assert only(place).class_map.tolist() == [[IGNORED, 1]]


def test_a_mask_of_objects_keeps_them_apart(tmp_path: Path) -> None:
    place = folder(tmp_path, np.array([[0, 3, 7]], np.uint16), {"1": "gland", "mask": "objects"})
    sample = only(place)
    assert sample.class_map.tolist() == [[0, 1, 1]]
    assert sample.instances.tolist() == [[0, 3, 7]]
    assert sample.separable


@pytest.mark.parametrize(
    ("mask", "facts", "said"),
    [
        (np.array([[3]], np.uint8), {"1": "tumour"}, 'holds the code 3.*"ignored"'),
        (np.zeros((1, 1, 3), np.uint8), {"1": "tumour"}, "picture in colours"),
        (np.array([[1]], np.uint8), {"1": "tumour", "ignored": "255"}, "list of codes"),
    ],
)
def test_what_is_refused(tmp_path: Path, mask: np.ndarray, facts: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        only(folder(tmp_path, mask, facts))


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    place = folder(tmp_path, np.ones((2, 2), np.uint8), {"1": "tumour"})
    cv2.imwrite(str(place / "a_mask.png"), np.ones((2, 3), np.uint8))
    with pytest.raises(InputError, match="must agree"):
        only(place)


def test_a_known_set_of_unknown_resolution_has_to_be_told(tmp_path: Path) -> None:
    (tmp_path / "ebhi_seg").mkdir()
    with pytest.raises(InputError, match="Nobody states the resolution of 'ebhi_seg'"):
        labelled_card(tmp_path / "ebhi_seg")
    assert labelled_card(tmp_path / "ebhi_seg", mpp=0.5).mpp == 0.5


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data")
def test_glas_as_it_lies_there(tmp_path: Path) -> None:
    few = tmp_path / "glas"
    few.mkdir()
    for name in ("train_1.webp", "train_1_mask.png", "images.csv", "classes.json"):
        (few / name).symlink_to(SHARED / "glas" / name)
    (sample,) = load_folder(few)
    assert (sample.group, sample.source, sample.mpp) == ("2", "glas", 0.62005)
    assert sample.class_counts(1).tolist() == [7]
