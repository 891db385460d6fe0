"""Arrays of labelled images held in files: the same values, no file left, and memory where the disk is full."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from histocyte.core.taxonomies import CONSEP
from histocyte.datasets import arrays as arrays_module
from histocyte.datasets import own_classes
from histocyte.datasets.arrays import ArrayStore
from histocyte.datasets.folder import load_folder
from histocyte.datasets.sample import IGNORED, Sample
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses


def in_a_file(array: NDArray[Any]) -> bool:
    """Whether its values lie in a mapped file."""
    base: Any = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return not isinstance(base, np.ndarray)


def some(shape: tuple[int, ...], dtype: str, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 2, shape).astype(dtype)


def test_arrays_are_held_in_memory_as_long_as_they_are_few() -> None:
    store = ArrayStore(in_memory=1000, piece=4096)
    first, second = some((30, 30), "u1"), some((30, 30), "u1")
    assert store.keep(first) is first
    kept = store.keep(second)
    assert in_a_file(kept)
    assert np.array_equal(kept, second)
    # From there on small ones are too.
    assert in_a_file(store.keep(some((3,), "u1")))


@pytest.mark.parametrize("dtype", ["u1", "i4", "bool", "f8"])
def test_what_is_held_in_a_file_is_the_same_array(dtype: str) -> None:
    store = ArrayStore(in_memory=0, piece=5000)
    # Of odd sizes, as a view, larger than a file, without values.
    given = [some((7, 11, 3), dtype, n) for n in range(30)]
    given += [some((9, 8), dtype).T[::2], some((100, 120), dtype), some((0, 4), dtype)]
    kept = [store.keep(array) for array in given]
    for one, other in zip(kept, given, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert np.array_equal(one, other)
    assert all(in_a_file(array) for array in kept[:-1])
    assert kept[0].flags.writeable


def test_no_file_is_seen_or_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = ArrayStore(in_memory=0).keep(some((64, 64), "u1"))
    assert list(tmp_path.iterdir()) == []
    assert in_a_file(kept)
    del kept
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_where_the_disk_has_no_room_arrays_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(arrays_module, "_mapped", full)
    array = some((64, 64), "u1")
    assert ArrayStore(in_memory=0).keep(array) is array


def test_a_folder_read_through_files_is_the_same_folder(tmp_path: Path) -> None:
    for number in range(3):
        labels = packed_ellipses((96, 80), 12, seed=number)
        cv2.imwrite(str(tmp_path / f"i{number}.png"), paint_truth(labels, CONSEP)[..., ::-1])
        np.savez(tmp_path / f"i{number}.npz", inst=labels.instances)
    plain = load_folder(tmp_path, mpp=0.25)
    stored = load_folder(tmp_path, mpp=0.25, store=ArrayStore(in_memory=0))
    for one, other in zip(stored, plain, strict=True):
        assert in_a_file(one.image)
        assert in_a_file(one.instances)
        assert not in_a_file(other.image)
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.instances, other.instances)


def test_several_folders_share_the_room_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = []
    for name in ("consep", "tnbc"):
        labels = packed_ellipses((64, 64), 6, seed=1)
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "i.png"), paint_truth(labels, CONSEP)[..., ::-1])
        np.savez(tmp_path / name / "i.npz", inst=labels.instances)
        folders.append(tmp_path / name)
    # Room for one image with its labels.
    monkeypatch.setattr(own_classes, "ArrayStore", lambda: ArrayStore(in_memory=64 * 64 * 7))
    first, second = own_classes.load_to_learn(folders, CONSEP)
    assert not in_a_file(first.instances)
    assert in_a_file(second.image)


def test_a_part_of_the_marked_labels_is_that_part_of_all_of_them() -> None:
    labels = packed_ellipses((50, 40), 8, seed=3).instances
    ignored = np.zeros((40, 50), bool)
    ignored[10:20, 5:45] = True
    sample = Sample("i", np.zeros((40, 50, 3), np.uint8), labels, None, 0.25, "mine", "i", ignored=ignored)
    part = slice(8, 30), slice(0, 25)
    assert np.array_equal(sample.marked_in(part), sample.marked[part])
    assert (sample.marked[ignored] == IGNORED).all()
    assert np.array_equal(sample.marked[~ignored], labels[~ignored])
