"""Label maps hold an id for each cell, or are refused before anything is made of them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.datasets.label_arrays import label_array, read_array, read_label_arrays

FILE = Path("x.png")


def grid(n: int, side: int = 6) -> np.ndarray:
    """(H, W) int32 of n square cells of 6 × 6 px, two apart, side by side in rows of 20."""
    rows = -(-n // 20)
    labels = np.zeros((rows * (side + 2), 20 * (side + 2)), np.int32)
    for i in range(n):
        y, x = i // 20 * (side + 2), i % 20 * (side + 2)
        labels[y : y + side, x : x + side] = i + 1
    return labels


def test_ids_are_numbered_anew_and_kept() -> None:
    found = label_array(grid(40) * 1000, FILE)
    np.testing.assert_array_equal(found.labels, grid(40))
    assert found.ids.tolist() == list(range(1000, 41000, 1000))
    assert found.notes == ()
    far = np.where(grid(2) == 2, np.int64(1 << 40), grid(2))
    assert label_array(far, FILE).ids.tolist() == [1, 1 << 40]


@pytest.mark.parametrize("n", [256 + 1, 441])
def test_ids_that_began_anew_at_8_bits_are_refused(n: int) -> None:
    with pytest.raises(InputError, match=r"'x.png': \d+ of 255 ids lie in pieces far apart.*8 bits.*32 bits"):
        label_array(grid(n).astype(np.uint8), FILE)


def test_a_crop_of_such_a_map_and_a_map_of_classes_are_refused() -> None:
    for labels in ((grid(200) % 16), (grid(100) % 3 + 1) * (grid(100) > 0)):
        with pytest.raises(InputError, match="several cells share an id"):
            label_array(labels, FILE)


@pytest.mark.parametrize("value", [1, 7, 255])
@pytest.mark.parametrize("n", [2, 300])
def test_a_mask_of_any_value_is_refused(value: int, n: int) -> None:
    with pytest.raises(InputError, match=rf"is a mask: one id \({value}\) for {n} pieces.*label map"):
        label_array((grid(n) > 0).astype(np.uint8) * value, FILE)
    with pytest.raises(InputError, match="is a mask of true and false"):
        label_array(grid(n) > 0, FILE)


def test_a_slip_of_the_hand_is_noted() -> None:
    labels = grid(100)
    labels[labels == 60] = 3
    assert label_array(labels, FILE).notes == (
        "'x.png': 1 of 99 ids lie in pieces far apart, such as id 3; each counts as one cell.",
    )


def test_a_cell_that_others_cross_or_that_has_specks_is_one() -> None:
    labels = np.zeros((60, 60), np.int32)
    labels[10:40, 20:26] = 1  # a spindle, cut in two by another cell
    labels[22:26, 10:40] = 2
    labels[50:52, 50:52] = 1  # a speck of 4 px
    labels[50:56, 5:11] = 3
    assert label_array(labels, FILE).notes == ()
    assert label_array(np.where(labels == 3, 3, 0), FILE).ids.tolist() == [3]


def test_floats_that_cannot_tell_ids_apart_are_refused() -> None:
    for kind, exact in ((np.float32, 1 << 24), (np.float16, 1 << 11)):
        assert label_array(np.full((9, 9), exact - 1, kind), FILE).ids.tolist() == [exact - 1]
        with pytest.raises(InputError, match=rf"ids up to {exact} as {np.dtype(kind)}.*below {exact:,}.*int32"):
            label_array(np.full((9, 9), exact, kind), FILE)


def written(array: np.ndarray, header: dict[str, object]) -> bytes:
    """An .npy file that says other things of its array than are so."""
    file = io.BytesIO()
    stated = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(file, {**stated, **header})
    return file.getvalue() + array.tobytes()


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"shape": (1 << 40, 1 << 40)}, "numbers; a label map has 268,435,456 at most"),
        ({"shape": (16384, 16384)}, "is cut off: 2,147,483,648 bytes"),
        ({"descr": "<U100000000"}, "whole numbers"),
    ],
)
def test_what_a_header_states_is_asked_before_memory_is_taken(
    tmp_path: Path, header: dict[str, object], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take(*_: object, **__: object) -> None:
        raise AssertionError("the array was read")

    monkeypatch.setattr(np.lib.format, "read_array", take)
    content = written(np.zeros((4, 4), np.int64), header)
    (tmp_path / "x.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inst.npy", content)
    for read, name in ((read_array, "x.npy"), (read_label_arrays, "x.npz")):
        with pytest.raises(InputError, match=rf"{name}' .*{says}"):
            read(tmp_path / name)


def test_cellpose_files_say_what_to_save_instead(tmp_path: Path) -> None:
    np.save(tmp_path / "x_seg.npy", {"masks": np.ones((4, 4))}, allow_pickle=True)
    with pytest.raises(InputError, match=r"never read.*cellpose --save_tif.*\['masks'\]"):
        read_array(tmp_path / "x_seg.npy")


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{", b"\x93NUMPY\x01\x00\x02\x00((", b"PK"]
)
def test_broken_headers_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as an array"):
        read_array(tmp_path / "x")
    with pytest.raises(InputError, match="is no label file"):
        read_label_arrays(tmp_path / "x")
