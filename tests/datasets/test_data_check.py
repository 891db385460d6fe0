"""What a training is told of its data: counts, what teaches nothing, and what looks like a mistake."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from histocyte.datasets.data_check import check_data
from histocyte.datasets.sample import Sample


def sample(
    name: str = "i",
    *,
    types: Sequence[int] | None = (1, 2),
    source: str = "mine",
    side: int = 64,
    nucleus: int = 20,
    mpp: float = 0.25,
    **more: Any,
) -> Sample:
    """A pale image with two dark squares, labelled 1 and 2."""
    image, labels = np.full((side, side, 3), 220, np.uint8), np.zeros((side, side), np.int32)
    labels[2 : 2 + nucleus, 2 : 2 + nucleus] = 1
    labels[-2 - nucleus : -2, -2 - nucleus : -2] = 2
    image[labels > 0] = 90
    kinds = None if types is None else np.array([0, *types], np.uint8)
    return Sample(name, image, labels, kinds, mpp, source, more.pop("group", name), **more)


def found(*training: Sample, crop_px: int = 64, mpp: float = 0.25, **parts: Sequence[Sample]) -> Any:
    every = {"training": list(training), **{name.replace("_", " "): list(some) for name, some in parts.items()}}
    return check_data(every, ("a", "b", "c"), crop_px=crop_px, mpp=mpp)


def test_images_and_cells_are_counted_by_set_part_and_class() -> None:
    check = found(
        *(sample("i", group="p"), sample("j", group="p", types=(1, 0)), sample("k", source="other")),
        held_out=[sample("l", types=(2, 2))],
    )
    assert check.columns == ("set", "", "training", "held out")
    assert check.rows == [
        ("mine", "images", "2", "1"),
        ("", "patients or slides", "1", "1"),
        ("", "cells", "4", "2"),
        ("", "a", "2", "0"),
        ("", "b", "1", "2"),
        ("", "of none of the classes", "1", "0"),
        ("other", "images", "1", "–"),
        ("", "patients or slides", "1", "–"),
        ("", "cells", "2", "–"),
        ("", "a", "1", "–"),
        ("", "b", "1", "–"),
    ]
    assert str(check).splitlines()[:3] == [
        "set                            training  held out",
        "mine   images                         2         1",
        "       patients or slides             1         1",
    ]
    written = json.loads(json.dumps(check.to_json(), allow_nan=False))
    assert written["parts"][0]["by_class"] == {"a": 2, "b": 1, "c": 0}
    assert written["classes"] == ["a", "b", "c"]


def test_a_cell_that_may_be_several_things_counts_for_none_of_them() -> None:
    may_be = np.array([[0, 0, 0], [1, 1, 0], [0, 0, 1]], bool)
    check = found(sample(types=(0, 3), one_of=may_be))
    (row,) = check.parts
    assert (row.by_class, row.several, row.unknown) == ((0, 0, 1), 1, 0)
    assert "1 cell of mine may be of several classes: learnt is that one of these is right." in check.unlearnt


def test_what_will_not_be_learnt_is_said() -> None:
    half = np.zeros((64, 64), bool)
    half[:, :32] = True
    check = found(
        *(sample("i", types=(1, 0)), sample("j", types=None, source="plain", separable=False)),
        *(sample("k", ignored=half, source="marked"), sample("l", source="small", side=50)),
        not_used=[sample("m", source="copies")],
    )
    assert set(check.unlearnt) == {
        "1 cell of mine is of none of the model's classes: only outlines can be learnt there.",
        "In plain touching nuclei are one: it teaches where nuclei are, and not how to part them.",
        "plain has no classes of cells: it teaches outlines alone.",
        "50.0% of the area of marked is marked as unclear: nothing is learnt there.",
        "Smaller than a crop (16 µm): 1 of 1 image of small. White fills the rest.",
        "Nothing shows what c looks like.",
        "Only 3 cells show what a looks like: it will hardly be learnt.",
        "Only 2 cells show what b looks like: it will hardly be learnt.",
        "Not used of copies: 1 image that shows the same as held-out ones, or that a model before has learnt from and "
        "that held-out patients or slides have.",
    }
    assert check.warnings == ()


def test_a_class_that_held_out_images_alone_show_is_not_learnt() -> None:
    check = found(sample(types=(1, 1)), held_out=[sample("j", types=(2, 3))])
    assert "Nothing shows what b or c looks like." in check.unlearnt


def test_nuclei_of_an_unusual_size_make_the_resolution_doubtful() -> None:
    # A square of 20 px: 22.6 px in diameter, 5.6 µm at 0.25 µm/px.
    assert found(sample()).warnings == ()
    for mpp, wide in ((0.5, "11.3"), (0.1, "2.3")):
        (warning,) = found(sample(mpp=mpp)).warnings
        assert warning == (
            f"The nuclei of mine are {wide} µm wide (median), and 3.3 to 9 µm is usual: is its resolution of {mpp:g} "
            "µm/px right?"
        )
    # There the size says nothing: the resolution follows from it, or there are dots.
    assert found(sample(mpp=0.5, mpp_estimated=True)).warnings == ()
    assert found(sample(mpp=0.5, source="brca_m2c_points")).warnings == ()
    dots = found(sample(source="brca_m2c_points", types=(0, 1)))
    said = "1 cell of brca_m2c_points is of none of the model's classes: only where nuclei are can be learnt there."
    assert said in dots.unlearnt


def test_labels_in_the_wrong_place_are_told() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((96, 96), np.int32)
    for number, (row, column) in enumerate(rng.integers(8, 70, (6, 2)), 1):
        labels[row : row + 14, column : column + 18] = number
    image = np.where(labels[..., None] > 0, 90, 220).astype(np.uint8).repeat(3, 2)

    def warned(wrong: Any) -> str:
        (warning,) = found(Sample("i", image, np.ascontiguousarray(wrong), None, 0.25, "mine", "i")).warnings
        return str(warning)

    assert "better with swapped axes" in warned(labels.T)
    assert "moved by -6 px to the right and 5 px down" in warned(np.roll(labels, (-5, 6), (0, 1)))
    image[:] = 220
    assert "not darker" in warned(labels)
