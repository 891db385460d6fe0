"""Pictures and label maps that are damaged anywhere are read, or refused in a line that names the file."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.io import savemat

from histocyte.core.errors import HistocyteError, InputError, SlideError
from histocyte.formats.foreign.open import open_cells
from histocyte.slides.picture import read_picture

RNG = np.random.default_rng(0)
PIXELS = np.kron(RNG.integers(0, 256, (10, 15, 3)), np.ones((4, 4, 1))).astype(np.uint8)
CLEAR = (PIXELS[..., :1] > 99).astype(np.uint8) * 255
LABELS = np.zeros((40, 60), np.int32)
LABELS[2:10, 3:12], LABELS[20:30, 5:15], LABELS[20:30, 40:50] = 1, 2, 3
DEEP = PIXELS.astype(np.uint16) << 4

PICTURES: dict[str, Callable[[Path], object]] = {
    "alpha.png": lambda path: Image.fromarray(np.dstack([PIXELS, CLEAR])).save(path),
    "deep.png": lambda path: cv2.imwrite(str(path), DEEP),
    "x.jpg": lambda path: Image.fromarray(PIXELS).save(path),
    "cmyk.jpg": lambda path: Image.fromarray(PIXELS).convert("CMYK").save(path, progressive=True),
    "x.webp": lambda path: Image.fromarray(PIXELS).save(path, lossless=True),
    "x.bmp": lambda path: Image.fromarray(PIXELS).save(path),
    "tiles.tif": lambda path: tifffile.imwrite(path, PIXELS, photometric="rgb", compression="zlib", tile=(16, 16)),
    "alpha.tif": lambda path: tifffile.imwrite(
        path, np.dstack([PIXELS, CLEAR]), photometric="rgb", extrasamples=["unassalpha"]
    ),
    "deep.tif": lambda path: tifffile.imwrite(path, DEEP, photometric="rgb", rowsperstrip=8, compression="zlib"),
    "x.ome.tif": lambda path: tifffile.imwrite(path, PIXELS, photometric="rgb", metadata={"axes": "YXS"}),
}
LABEL_MAPS: dict[str, Callable[[Path], object]] = {
    "ids.png": lambda path: cv2.imwrite(str(path), LABELS.astype(np.uint16)),
    "ids.tif": lambda path: tifffile.imwrite(path, LABELS, compression="zlib"),
    "ids.npy": lambda path: np.save(path, LABELS),
    "ids.npz": lambda path: np.savez_compressed(path, inst=LABELS, type=np.array([0, 1, 2, 1])),
    "ids.mat": lambda path: savemat(path, {"inst_map": LABELS, "inst_type": [1, 2, 1]}, do_compression=True),
}


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Cut off, with a few bytes changed, a number of its header at its limit, or bytes more or less."""
    changed = bytearray(content)
    place, way = rng.randrange(len(changed)), rng.random()
    if way < 0.15:
        return content[:place]
    if way < 0.6:
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.choice([0, 1, 127, 128, 255])
    elif way < 0.8:
        head = rng.randrange(min(400, len(changed)))
        changed[head : head + 4] = rng.choice([bytes(4), b"\xff" * 4, b"\0\0\0\x80", b"\x7f\xff\xff\xff"])
    elif way < 0.9:
        changed[place:place] = changed[: rng.randint(1, 50)]
    else:
        del changed[place : place + rng.randint(1, 50)]
    return bytes(changed)


@pytest.mark.parametrize("name", [*PICTURES, *LABEL_MAPS])
def test_damage_ends_in_a_line(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path, rng = tmp_path / name, random.Random(name)
    write, read = (PICTURES[name], read_picture) if name in PICTURES else (LABEL_MAPS[name], open_cells)
    write(path)
    content = path.read_bytes()
    read(path)
    said = []
    for _ in range(25):
        path.write_bytes(damaged(content, rng))
        try:
            read(path)
        except HistocyteError as error:
            said.append(str(error))
    assert said
    assert all(str(path) in text and "\n" not in text for text in said)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["alpha.png", "deep.png", "ids.png"])
def test_a_bit_that_is_no_longer_as_it_was_written_is_noticed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write, read = (PICTURES[name], read_picture) if name in PICTURES else (LABEL_MAPS[name], open_cells)
    write(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 8 + len(content) // 4] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken PNG file|bad header checksum"):
        read(path)


@pytest.mark.parametrize("large", [False, True])
def test_pages_that_lead_back_to_a_page_before_are_refused(tmp_path: Path, large: bool) -> None:
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path, bigtiff=large) as writer:
        writer.write(PIXELS[..., 0])
        writer.write(PIXELS[..., 0])
    with tifffile.TiffFile(path) as file:
        first, second = (page.offset for page in file.pages)
        tags = len(file.pages[1].tags)
    content = bytearray(path.read_bytes())
    place, size = (second + 8 + 20 * tags, 8) if large else (second + 2 + 12 * tags, 4)
    assert not any(content[place : place + size])
    content[place : place + size] = first.to_bytes(size, "little")
    path.write_bytes(content)
    with pytest.raises(SlideError, match=r"x\.tif cannot be .*its list of pages does not end"):
        read_picture(path)
    with pytest.raises(InputError, match=r"x\.tif' cannot be read as a TIFF \(its list of pages does not end\)"):
        open_cells(path)


def test_what_a_library_logs_is_not_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.tif").write_bytes(b"II*\0aaaa")
    with pytest.raises(InputError):
        open_cells(tmp_path / "x.tif")
    with pytest.raises(InputError):
        read_picture(tmp_path / "x.tif")
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("tifffile").level == logging.NOTSET
