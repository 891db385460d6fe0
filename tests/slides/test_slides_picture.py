"""One rule for every picture: what slides are read with reads labelled images too."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from histocyte.core.errors import SlideError
from histocyte.core.geometry import Box
from histocyte.slides import picture as picture_module
from histocyte.slides.listing import list_slides
from histocyte.slides.open import open_slide
from histocyte.slides.picture import picture_size, pictures_in, read_picture

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
PIXELS[0, 0] = 255
CLEAR = np.where(np.arange(60) < 20, 0, 255).astype(np.uint8)[None].repeat(40, 0)
DEEP = PIXELS.astype(np.uint16)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(path, quality=95, exif=exif)


WRITERS = {
    "turned.jpg": turned,
    "alpha.png": lambda path: Image.fromarray(np.dstack([PIXELS, CLEAR])).save(path),
    "palette.png": lambda path: Image.fromarray(PIXELS).quantize(16).save(path),
    "cmyk.jpg": lambda path: Image.fromarray(PIXELS).convert("CMYK").save(path),
    "grey.bmp": lambda path: Image.fromarray(PIXELS[..., 0]).save(path),
    "deep.png": lambda path: cv2.imwrite(str(path), DEEP[..., ::-1] << 4),
    "deep.tif": lambda path: tifffile.imwrite(path, DEEP << 8 | DEEP, photometric="rgb"),
    "lossy.webp": lambda path: Image.fromarray(PIXELS).save(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_labelled_image_is_what_segment_sees(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    with open_slide(path, mpp=0.25) as slide:
        seen = slide.read(Box(0, 0, *slide.size), mpp=0.25)
        notes = slide.notes
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.pixels, seen)
    assert picture.notes == tuple(f"'{path}': {note}" for note in notes)
    assert picture_size(path) == (40, 60) == picture.pixels.shape[:2]


def test_an_image_that_asks_to_be_turned_is_not_and_that_is_said(tmp_path: Path) -> None:
    turned(tmp_path / "x.jpg")
    picture = read_picture(tmp_path / "x.jpg")
    assert picture.pixels.shape == (40, 60, 3)
    asked = "It asks viewers to turn it (EXIF orientation 6); it is read as it is stored, unturned."
    assert picture.notes == (f"'{tmp_path / 'x.jpg'}': {asked}",)
    Image.fromarray(PIXELS).save(tmp_path / "x.jpg")
    assert read_picture(tmp_path / "x.jpg").notes == ()


def test_transparent_pixels_are_white_and_nothing_but_them_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    for depth in (1, 257):
        stored = np.dstack([PIXELS, CLEAR]).astype(np.uint8 if depth == 1 else np.uint16) * depth
        cv2.imwrite(str(path), stored[..., [2, 1, 0, 3]])
        np.testing.assert_array_equal(read_picture(path).pixels, np.where(CLEAR[..., None] == 0, 255, PIXELS))
        stored[..., 3] = 0
        cv2.imwrite(str(path), stored)
        with pytest.raises(SlideError, match=r"every pixel is fully transparent.*without its alpha channel"):
            read_picture(path)


@pytest.mark.parametrize("shift", [0, 2, 4, 6])
@pytest.mark.parametrize("colour", [True, False])
def test_fewer_bits_than_a_png_has_are_scaled_and_said(tmp_path: Path, shift: int, colour: bool) -> None:
    stored = DEEP[..., ::-1] if colour else DEEP[..., 0]
    cv2.imwrite(str(tmp_path / "x.png"), stored << shift)
    picture = read_picture(tmp_path / "x.png")
    np.testing.assert_array_equal(picture.pixels, PIXELS if colour else PIXELS[..., :1].repeat(3, 2))
    (note,) = picture.notes
    assert f"taken for {8 + shift} bits in 16, as its highest value is {255 << shift:,}." in note


def test_animations_and_other_formats_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(PIXELS)
    image.save(tmp_path / "x.webp", save_all=True, append_images=[Image.fromarray(255 - PIXELS)])
    with pytest.raises(SlideError, match="2 pictures in one file"):
        read_picture(tmp_path / "x.webp")
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program was started"))
    for kind in ("eps", "gif", "tiff", "ppm"):
        image.save(tmp_path / "x.png", kind)
        with pytest.raises(SlideError, match="none of BMP, JPEG, PNG, WEBP, whatever its name"):
            read_picture(tmp_path / "x.png")
    image.save(tmp_path / "x.png", "jpeg", quality=100)
    assert read_picture(tmp_path / "x.png").pixels.shape == (40, 60, 3)


def test_a_picture_too_large_to_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "x.tif", PIXELS)
    monkeypatch.setattr(picture_module, "MOST_PICTURE_PIXELS", 2399)
    assert picture_size(tmp_path / "x.tif") == (40, 60)
    with pytest.raises(SlideError, match=r"x.tif' is 60 × 40 px, more than"):
        read_picture(tmp_path / "x.tif")


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + bytes(30), b"\xff\xd8\xff\xe0", b"BM"]
)
def test_cut_headers_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(SlideError, match=r"x\.png (cannot be opened \(image: |is empty)"):
        read_picture(tmp_path / "x.png")


def test_pictures_of_a_folder_by_name(tmp_path: Path) -> None:
    for name in ("a.PNG", "a.tif", "a.npz", "b.jpeg", "c.txt"):
        (tmp_path / name).touch()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    found = pictures_in(tmp_path)
    assert {name: [path.name for path in paths] for name, paths in found.items()} == {
        "a": ["a.PNG", "a.tif"],
        "b": ["b.jpeg"],
        "gone": ["gone.png"],
    }


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    link = tmp_path / "x.png"
    link.symlink_to(tmp_path / "nowhere.png")
    for paths in ([tmp_path], [link]):
        assert list_slides(paths) == [link]
    with pytest.raises(SlideError, match=r"x.png' is a link to '.*nowhere.png', which is not there"):
        open_slide(link)


TIFFS = {
    "white is zero": (255 - PIXELS[..., 0], {"photometric": "miniswhite"}),
    "palette": (
        PIXELS[..., 0],
        {"photometric": "palette", "colormap": np.arange(256, dtype=np.uint16)[None].repeat(3, 0) * 257},
    ),
    "palette of 8 bits": (
        PIXELS[..., 0],
        {"photometric": "palette", "colormap": np.arange(256, dtype=np.uint16)[None].repeat(3, 0)},
    ),
    "cmyk": (np.asarray(Image.fromarray(PIXELS).convert("CMYK")), {"photometric": "separated"}),
    "alpha": (np.dstack([PIXELS, CLEAR]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "grey and alpha": (
        np.dstack([PIXELS[..., 0], CLEAR]),
        {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]},
    ),
    "12 bits": (DEEP << 4, {"photometric": "rgb"}),
    "10 bits, planes": (np.moveaxis(DEEP << 2, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}),
    "14 bits": (DEEP << 6, {"photometric": "rgb"}),
    "grey": (PIXELS[..., 0], {"photometric": "minisblack"}),
    "16 bits": (DEEP * 257, {"photometric": "rgb"}),
    "12 bits, white is zero": (4095 - (DEEP[..., 0] << 4), {"photometric": "miniswhite"}),
}


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("name", TIFFS)
def test_every_kind_of_tiff_shows_its_picture(tmp_path: Path, name: str, tiled: bool) -> None:
    stored, options = TIFFS[name]
    tile = {"tile": (16, 32)} if tiled else {}
    tifffile.imwrite(tmp_path / "x.tif", stored, **options, **tile)
    picture = read_picture(tmp_path / "x.tif")
    shown = (
        PIXELS
        if name in ("cmyk", "alpha") or (" bits" in name and "zero" not in name and "palette" not in name)
        else PIXELS[..., :1].repeat(3, 2)
    )
    if "alpha" in name:
        shown = np.where(CLEAR[..., None] == 0, 255, shown)
    assert np.abs(picture.pixels.astype(int) - shown).max() <= (1 if name == "cmyk" else 0)
    said = [note.split("': ")[1] for note in picture.notes]
    bits = name.split()[0]
    deep = bits if bits in ("10", "12", "14") else None
    assert said == (
        []
        if deep is None
        else [f"Its pixels are taken for {deep} bits in 16, as its highest value is {stored.max():,}."]
    )


@pytest.mark.parametrize("tiled", [False, True])
def test_a_tiff_of_nothing_but_transparent_pixels_is_refused(tmp_path: Path, tiled: bool) -> None:
    pixels = np.dstack([PIXELS, 0 * CLEAR])
    tile = {"tile": (16, 32)} if tiled else {}
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb", extrasamples=["unassalpha"], **tile)
    with pytest.raises(SlideError, match=r"x\.tif cannot be read: every pixel is fully transparent"):
        read_picture(tmp_path / "x.tif")


def test_stated_bits_count_where_a_picture_is_dark(tmp_path: Path) -> None:
    dark = DEEP << 2  # its highest value is that of 10 bits
    for options in (
        {"metadata": {"axes": "YXS", "SignificantBits": 12}, "ome": True},
        {"extratags": [("MaxSampleValue", "H", 3, (4095,) * 3, True)]},
    ):
        path = tmp_path / ("x.ome.tif" if "ome" in options else "x.tif")
        tifffile.imwrite(path, dark, photometric="rgb", **options)
        picture = read_picture(path)
        np.testing.assert_array_equal(picture.pixels, PIXELS >> 2)
        assert picture.notes[0].endswith("Its pixels are taken for 12 bits in 16, as the file states.")


def test_colours_that_cannot_be_shown_are_named(tmp_path: Path) -> None:
    for stored, options, says in (
        (PIXELS, {"photometric": "cielab"}, "colours stored as CIELAB"),
        (PIXELS.astype(np.float32), {"photometric": "rgb"}, "pixels of type float32"),
        (PIXELS[..., :2].copy(), {"photometric": "minisblack", "planarconfig": "contig"}, "none is said to be alpha"),
    ):
        tifffile.imwrite(tmp_path / "x.tif", stored, **options)
        with pytest.raises(SlideError, match=says):
            read_picture(tmp_path / "x.tif")


@pytest.mark.parametrize("tiled", [False, True])
def test_a_tiff_that_asks_to_be_turned_is_not_and_that_is_said(tmp_path: Path, tiled: bool) -> None:
    """OpenSlide would turn each of its tiles."""
    tile = {"tile": (16, 32)} if tiled else {}
    tifffile.imwrite(
        tmp_path / "x.tif", PIXELS, photometric="rgb", extratags=[("Orientation", "H", 1, 6, True)], **tile
    )
    picture = read_picture(tmp_path / "x.tif")
    np.testing.assert_array_equal(picture.pixels, PIXELS)
    assert "(TIFF orientation 6); it is read as it is stored" in picture.notes[0]
