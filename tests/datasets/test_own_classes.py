"""Class lists of labelled folders: of the set's card, of classes.json, as typed, and brought into another list."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import CELLS, CONSEP, taxonomy_of
from histocyte.core.taxonomy import NO_CLASSES, CellClass, Taxonomy
from histocyte.datasets.own_classes import (
    classes_to_learn,
    load_for_taxonomy,
    load_to_compare,
    load_to_learn,
    load_with_own_classes,
)
from histocyte.datasets.sample import IGNORED


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
        ("a", "not a list of classes"),
        ([], "not a list of classes"),
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
    into = taxonomy_of(["b", "c", "a"], name="theirs")
    mine = folder(tmp_path / "mine", ["a", "d", "b"], types=(0, 1, 2, 3))
    (sample,) = load_for_taxonomy([mine], into, mpp=0.25)
    assert sample.types is not None
    assert sample.types.tolist() == [0, 3, 0, 1]
    (sample,) = load_for_taxonomy([folder(tmp_path / "consep", types=(0, 2, 4))], taxonomy_of(["spindle"], name="x"))
    assert sample.types is not None
    assert sample.types.tolist() == [0, 0, 1]
    (sample,) = load_for_taxonomy([mine], into, names=["c", "b", "a"], mpp=0.25)
    assert sample.types is not None
    assert sample.types.tolist() == [0, 2, 1, 3]
    with pytest.raises(InputError, match="Name them alike.*--classes"):
        load_for_taxonomy([folder(tmp_path / "third", ["x", "y"])], into, mpp=0.25)
    (sample,) = load_for_taxonomy([folder(tmp_path / "plain")], into, mpp=0.25)
    assert sample.types is None


def test_classes_to_learn_are_those_that_the_folders_share_or_that_are_asked_for(tmp_path: Path) -> None:
    mine, plain = folder(tmp_path / "mine", ["tumour", "rest"]), folder(tmp_path / "tnbc", types=(0, 0, 0))
    found = classes_to_learn([mine, plain], mpp=0.25)
    assert found is not None
    assert found.names == ("tumour", "rest")
    assert classes_to_learn([plain], mpp=0.25) is None
    assert classes_to_learn([mine, plain], classes="cells", mpp=0.25) == CELLS
    typed = classes_to_learn([mine, plain], classes="a, b,c", mpp=0.25)
    assert typed is not None
    assert typed.names == ("a", "b", "c")


def test_folders_with_different_classes_are_refused_with_the_way_out(tmp_path: Path) -> None:
    sets = [folder(tmp_path / "consep"), folder(tmp_path / "monusac")]
    with pytest.raises(InputError, match="--classes cells or .* can be read from all of them"):
        classes_to_learn(sets)
    with pytest.raises(InputError, match=r"'.*mine' has tumour, rest.*name alike in each classes.json"):
        classes_to_learn([sets[0], folder(tmp_path / "mine", ["tumour", "rest"])], mpp=0.25)


def test_a_coarser_label_leaves_open_what_a_cell_is(tmp_path: Path) -> None:
    (sample,) = load_to_learn([folder(tmp_path / "consep", types=(0, 2, 4))], CELLS)
    assert sample.types is not None
    assert sample.types.tolist() == [0, 0, 5]
    assert sample.one_of is not None
    assert sample.one_of.astype(int).tolist() == [[0] * 6, [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0]]
    assert sample.class_counts(6).tolist() == [0, 0, 0, 0, 1, 0]


def test_types_of_a_folder_without_a_list_are_numbers_of_the_list_asked_for_or_refused(tmp_path: Path) -> None:
    mine = folder(tmp_path / "mine", types=(0, 2, 1))
    (sample,) = load_to_learn([mine], taxonomy_of(["a", "b"], name="own"), mpp=0.25)
    assert sample.types is not None
    assert sample.types.tolist() == [0, 2, 1]
    with pytest.raises(InputError, match="--classes tumour,stroma"):
        load_to_learn([mine], NO_CLASSES, mpp=0.25)
    with pytest.raises(InputError, match="has the classes x, y, and none of them can be read as one of a, b"):
        load_to_learn([folder(tmp_path / "third", ["x", "y"])], taxonomy_of(["a", "b"], name="own"), mpp=0.25)


def test_regions_of_which_nobody_could_say_what_they_are_are_ignored(tmp_path: Path) -> None:
    (sample,) = load_to_learn([folder(tmp_path / "monusac", types=(0, 3, 5))], CELLS)
    assert sample.instances.max() == 1
    assert sample.types is not None
    assert sample.types[:2].tolist() == [0, 3]
    assert sample.ignored is not None
    assert np.argwhere(sample.ignored).tolist() == [[4, column] for column in range(2, 8)]
    assert (sample.marked == IGNORED).sum() == 6


def test_dots_teach_classes(tmp_path: Path) -> None:
    dots = tmp_path / "brca_m2c_points"
    dots.mkdir()
    cv2.imwrite(str(dots / "a.png"), np.zeros((64, 64, 3), np.uint8))
    np.savez(dots / "a.npz", points=np.array([[10, 20], [40, 50]], np.float32), type=np.array([2, 3], np.uint8))
    (sample,) = load_to_learn([dots], CELLS)
    assert sample.types is not None
    assert [sample.types[sample.instances[20, 10]], sample.types[sample.instances[50, 40]]] == [1, 5]
    assert not sample.separable
    assert sample.ignored is not None
    assert sample.ignored[25, 15]
    np.savez(dots / "a.npz", points=np.zeros((2, 3)), type=np.zeros(2, np.uint8))
    with pytest.raises(InputError, match=r"Needed: an array 'points' \(N, 2\)"):
        load_to_learn([dots], CELLS)


def test_resolution_follows_from_a_stated_diameter(tmp_path: Path) -> None:
    mixed = folder(tmp_path / "dsb2018_he")
    (mixed / "images.csv").write_text("image,median_diameter_px\na,10.2\n")
    (sample,) = load_to_learn([mixed], NO_CLASSES)
    assert sample.mpp == pytest.approx(0.5)
    (mixed / "images.csv").write_text("image,median_diameter_px\na,0\n")
    with pytest.raises(InputError, match="a number above 0"):
        load_to_learn([mixed], NO_CLASSES)


def test_samples_to_score_have_the_classes_that_both_can_say(tmp_path: Path) -> None:
    sets = [folder(tmp_path / "monusac", types=(0, 1, 2, 4)), folder(tmp_path / "tnbc", types=(0, 0))]
    samples, compared = load_to_compare([*sets, folder(tmp_path / "mine", ["x", "y"])], CONSEP, mpp=0.25)
    assert compared["monusac"].names == ("inflammatory", "epithelial")
    assert [None if s.types is None else s.types.tolist() for s in samples] == [[0, 2, 1, 1], None, None]
    assert (samples[0].centres, samples[1].centres, list(compared)) == ("some centres", "", ["monusac", "mine"])
    samples, compared = load_to_compare([sets[0]], NO_CLASSES)
    assert not compared
    other = folder(tmp_path / "a" / "mine", ["x", "other"])
    with pytest.raises(InputError, match="are called 'mine' and have different classes"):
        load_to_compare([other, tmp_path / "mine"], CONSEP, mpp=0.25)


def test_classes_may_be_asked_for_one_by_one(tmp_path: Path) -> None:
    mine = folder(tmp_path / "mine", types=(0, 1))
    asked = classes_to_learn([mine], classes=["tumour, invasive"], mpp=0.25)
    assert asked is not None
    assert asked.names == ("tumour, invasive",)
    with pytest.raises(InputError, match="No list of classes called 'tumour'"):
        classes_to_learn([mine], classes="tumour", mpp=0.25)
