"""Class lists of labelled folders: of the set's card, of classes.json, as typed, and brought into another list."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.core.taxonomy import CONSEP, CellClass, Taxonomy
from histocyte.datasets.own_classes import load_for_taxonomy, load_with_own_classes, taxonomy_of_names


def folder(path: Path, classes: object = None, types: tuple[int, ...] = (0, 1, 2)) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    labels = np.zeros((32, 32), np.int32)
    for number in range(1, len(types)):
        labels[2 * number, 2:8] = number
    cv2.imwrite(str(path / "a.png"), np.zeros((32, 32, 3), np.uint8))
    np.savez(path / "a.npz", inst=labels, type=np.array(types, np.uint8))
    if classes is not None:
        (path / "classes.json").write_text(json.dumps(classes))
    return path


@pytest.mark.parametrize(
    "classes", [{"1": "tumour", "2": "rest"}, ["tumour", "rest"], {"0": "-", "2": "rest", "1": "tumour"}]
)
def test_names_of_classes_json_are_used(tmp_path: Path, classes: object) -> None:
    samples, taxonomy = load_with_own_classes([folder(tmp_path / "mine", classes)], mpp=0.25)
    assert taxonomy.names == ("tumour", "rest")
    assert taxonomy.name == "mine"
    assert len({c.colour for c in taxonomy.classes}) == 2
    assert samples[0].types is not None
    assert samples[0].types.tolist() == [0, 1, 2]


def test_a_taxonomy_with_colours_stays_as_it_is(tmp_path: Path) -> None:
    own = Taxonomy("tumour or not", (CellClass("tumour", (1, 2, 3)), CellClass("rest", (4, 5, 6))))
    _, taxonomy = load_with_own_classes([folder(tmp_path / "mine", own.to_json())], mpp=0.25)
    assert taxonomy == own


def test_a_known_set_has_the_classes_of_its_card_and_names_may_be_typed(tmp_path: Path) -> None:
    known = folder(tmp_path / "consep", {"1": "something else"})
    assert load_with_own_classes([known])[1] == CONSEP
    samples, taxonomy = load_with_own_classes([known, folder(tmp_path / "mine")], names=["a", " b"], mpp=0.25)
    assert taxonomy.names == ("a", "b")
    assert [s.types.tolist() for s in samples if s.types is not None] == [[0, 1, 2]] * 2


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (None, "--classes"),
        ({"1": "a", "3": "b"}, "without a gap"),
        ("a", "no list of classes"),
        ([], "no list of classes"),
        (["a", "a"], "a name of its own"),
        ({"classes": [{"name": "a"}]}, "Not a taxonomy"),
        (["a"], "in 0–1"),
    ],
)
def test_a_folder_without_a_good_list_is_refused(tmp_path: Path, classes: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_with_own_classes([folder(tmp_path / "mine", classes)], mpp=0.25)


def test_lists_that_differ_and_external_sets_are_refused(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "one", ["a", "b"]), folder(tmp_path / "other", ["b", "a"])
    with pytest.raises(InputError, match="One classifier needs one list"):
        load_with_own_classes([one, other], mpp=0.25)
    with pytest.raises(InputError, match="external test set"):
        load_with_own_classes([folder(tmp_path / "cpm15", ["a", "b"])])
    with pytest.raises(InputError, match="no folder"):
        load_with_own_classes([tmp_path / "nowhere"], mpp=0.25)


def test_classes_go_into_another_list_by_name(tmp_path: Path) -> None:
    into = taxonomy_of_names("theirs", ["b", "c", "a"])
    mine = folder(tmp_path / "mine", ["a", "d", "b"], types=(0, 1, 2, 3))
    (sample,) = load_for_taxonomy([mine], into, mpp=0.25)
    assert sample.types is not None
    assert sample.types.tolist() == [0, 3, 0, 1]
    (sample,) = load_for_taxonomy([folder(tmp_path / "consep", types=(0, 2, 4))], taxonomy_of_names("x", ["spindle"]))
    assert sample.types is not None
    assert sample.types.tolist() == [0, 0, 1]
    (sample,) = load_for_taxonomy([mine], into, names=["c", "b", "a"], mpp=0.25)
    assert sample.types is not None
    assert sample.types.tolist() == [0, 2, 1, 3]
    with pytest.raises(InputError, match="Name them alike.*--classes"):
        load_for_taxonomy([folder(tmp_path / "third", ["x", "y"])], into, mpp=0.25)
    (sample,) = load_for_taxonomy([folder(tmp_path / "plain")], into, mpp=0.25)
    assert sample.types is None
