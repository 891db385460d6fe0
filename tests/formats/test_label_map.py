"""Label maps in image files: the ids that a file stores, whatever it says of how they are to be shown."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.io import savemat

from histocyte.core.errors import InputError, MissingExtraError
from histocyte.formats.foreign.open import open_cells

LABELS = np.zeros((40, 50), np.uint8)
LABELS[2:10, 3:12], LABELS[10:20, 3:9], LABELS[30:40, 45:50] = 1, 2, 3


def png(path: Path, rows: np.ndarray, *, bits: int, colour: int, chunks: bytes = b"") -> None:
    """A PNG of (H, bytes a row) as it is, since encoders offer few of its kinds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", LABELS.shape[1], LABELS.shape[0], bits, colour, 0, 0, 0)
    data = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunks + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def read(path: Path) -> np.ndarray:
    return open_cells(path).shapes.draw(LABELS.shape).labels


def test_palette_indices_are_ids(tmp_path: Path) -> None:
    image = Image.fromarray(LABELS, "P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
    image.save(tmp_path / "x.png", transparency=0)
    np.testing.assert_array_equal(read(tmp_path / "x.png"), LABELS)
    image.save(tmp_path / "x.png", bits=2)
    np.testing.assert_array_equal(read(tmp_path / "x.png"), LABELS)


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_with_alpha_is_its_grey(tmp_path: Path, bits: int) -> None:
    kind = np.dtype(f">u{bits // 8}")
    ids = LABELS.astype(kind) * (1 if bits == 8 else 300)
    ids[30:40, 45:50] = ids[2, 3] + 1  # two ids that the upper eight bits do not tell apart
    opaque = np.dstack([ids, np.full_like(ids, np.iinfo(kind).max)])
    png(tmp_path / "x.png", opaque.astype(kind).reshape(40, -1).view(np.uint8), bits=bits, colour=4)
    assert len(np.unique(read(tmp_path / "x.png"))) == (3 if bits == 8 else 4)
    assert open_cells(tmp_path / "x.png").shapes.size == (40, 50)
    clear = np.dstack([ids, np.where(ids > 0, np.iinfo(kind).max, 0).astype(kind)])
    png(tmp_path / "x.png", clear.astype(kind).reshape(40, -1).view(np.uint8), bits=bits, colour=4)
    assert read(tmp_path / "x.png").any()
    png(tmp_path / "x.png", (clear * [1, 0]).astype(kind).reshape(40, -1).view(np.uint8), bits=bits, colour=4)
    with pytest.raises(InputError, match="has ids where it is transparent"):
        read(tmp_path / "x.png")


def test_pictures_and_masks_are_no_label_maps(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([LABELS] * 3)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"a picture in colour \(RGB\)"):
        read(tmp_path / "x.png")
    Image.fromarray(LABELS > 0).save(tmp_path / "x.png")
    with pytest.raises(InputError, match="a mask of true and false"):
        read(tmp_path / "x.png")
    Image.fromarray(LABELS).save(
        tmp_path / "x.png", save_all=True, append_images=[Image.fromarray(LABELS[::-1].copy())]
    )
    with pytest.raises(InputError, match="holds 2 pictures"):
        read(tmp_path / "x.png")


def test_a_png_that_is_cut_off_gives_no_cells(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 60000, (200, 200)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "x.png"), noise)
    content = (tmp_path / "x.png").read_bytes()
    for kept in (0.9, 0.5, 0.001):
        (tmp_path / "x.png").write_bytes(content[: int(kept * len(content))])
        with pytest.raises(InputError, match="cannot be read as an image"):
            open_cells(tmp_path / "x.png")
    assert capfd.readouterr() == ("", "")


def test_tiffs_store_ids_whatever_their_colours(tmp_path: Path) -> None:
    for options in (
        {"photometric": "miniswhite"},
        {"photometric": "palette", "colormap": np.random.default_rng(0).integers(0, 65536, (3, 256), np.uint16)},
    ):
        tifffile.imwrite(tmp_path / "x.tif", LABELS, **options)
        np.testing.assert_array_equal(read(tmp_path / "x.tif"), LABELS)


def test_tiffs_of_several_images_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(LABELS)
        writer.write(LABELS[:20, :20])
    with pytest.raises(InputError, match="holds 2 images"):
        read(tmp_path / "x.tif")
    tifffile.imwrite(tmp_path / "x.tif", np.stack([LABELS, LABELS]), photometric="minisblack")
    with pytest.raises(InputError, match="is 2 × 40 × 50, a picture or several"):
        read(tmp_path / "x.tif")


def test_lzw_labels_name_our_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2.imwrite(str(tmp_path / "x.tif"), LABELS.astype(np.uint16), [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    monkeypatch.setitem(sys.modules, "imagecodecs", None)

    def undecoded(*_: object, **__: object) -> None:
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", undecoded)
    with pytest.raises(MissingExtraError, match=r"x\.tif' cannot be read as a TIFF .*one more package.*\[tiff\]"):
        open_cells(tmp_path / "x.tif")


def test_mat_arrays_are_bounded_and_their_classes_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    savemat(tmp_path / "x.mat", {"inst_map": LABELS, "inst_uid": [3, 9], "inst_type": [5, 4]})
    assert open_cells(tmp_path / "x.mat").types.tolist() == [0, 0, 5]
    savemat(tmp_path / "x.mat", {"inst_map": LABELS, "inst_uid": [1, 2, 1 << 60], "inst_type": [5, 4, 3]})
    assert open_cells(tmp_path / "x.mat").types.tolist() == [5, 4, 0]
    for arrays, says in (
        ({"inst_type": ["a", "b", "c"]}, "no whole numbers"),
        ({"type_map": np.where(LABELS > 0, -4, 0)}, "no class codes"),
    ):
        savemat(tmp_path / "x.mat", {"inst_map": LABELS, **arrays})
        with pytest.raises(InputError, match=says):
            open_cells(tmp_path / "x.mat")
    monkeypatch.setattr("histocyte.datasets.label_arrays.MOST_LABEL_PIXELS", 100)
    monkeypatch.setattr("scipy.io.loadmat", None)
    with pytest.raises(InputError, match="states 40 × 50 numbers"):
        open_cells(tmp_path / "x.mat")
