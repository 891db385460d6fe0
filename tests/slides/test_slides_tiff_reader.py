from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from histocyte.core.errors import ResolutionError, SlideError
from histocyte.core.geometry import Box
from histocyte.slides.open import open_slide
from histocyte.slides.openslide_reader import OpenSlideBackend
from histocyte.slides.reader import PyramidReader
from histocyte.slides.tiff_reader import TiffBackend
from histocyte.testing.pyramid import write_pyramid
from histocyte.testing.vendor_files import write_leica

RNG = np.random.default_rng(0)
SMOOTH = cv2.resize(RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8), (417, 290), interpolation=cv2.INTER_CUBIC)
BOXES = [Box(0, 0, 417, 290), Box(5, 9, 100, 70), Box(127, 127, 2, 2), Box(400, 280, 17, 10), Box(0, 250, 417, 1)]


def _write_pyramid(path: Path, *, mpp: float = 0.25, **options: Any) -> list[np.ndarray]:
    """An OME-TIFF with its lower levels in SubIFDs."""
    levels = [SMOOTH, SMOOTH[:288:2, :416:2], SMOOTH[:288:4, :416:4]]
    with tifffile.TiffWriter(path, ome=True, **options) as writer:
        size = {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp, "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
        shared: dict[str, Any] = {"tile": (128, 128), "photometric": "rgb", "compression": "zlib"}
        writer.write(levels[0], subifds=2, metadata={"axes": "YXS", **size}, **shared)
        for level in levels[1:]:
            writer.write(level, subfiletype=1, **shared)
    return levels


def _check_level(backend: TiffBackend, level: int, expected: np.ndarray, tolerance: int = 0) -> None:
    plane = Box(0, 0, expected.shape[1], expected.shape[0])
    for box in BOXES:
        box = box.clip(plane)
        if box.area:
            found = backend.read_level(level, box).astype(int)
            assert np.abs(found - expected[box.slices()]).max() <= tolerance


@pytest.mark.parametrize("bigtiff", [False, True])
def test_ome_pyramid_with_subifds(tmp_path: Path, bigtiff: bool) -> None:
    levels = _write_pyramid(tmp_path / "slide.ome.tif", bigtiff=bigtiff)
    slide = open_slide(tmp_path / "slide.ome.tif")
    assert slide.name == "slide"
    assert slide.mpp == pytest.approx(0.25)
    assert [level.downsample for level in slide.levels] == [1, 2, 4]
    np.testing.assert_array_equal(
        slide.read(Box(3, 5, 90, 60), mpp=1.0), np.pad(levels[2], _pad(60, 90), **WHITE)[5:65, 3:93]
    )
    np.testing.assert_array_equal(slide.read(Box(0, 0, 417, 290), mpp=0.25), SMOOTH)
    backend = TiffBackend(tmp_path / "slide.ome.tif")
    for i, level in enumerate(levels):
        _check_level(backend, i, level)


WHITE: dict[str, Any] = {"mode": "constant", "constant_values": 255}


def _pad(height: int, width: int) -> tuple[tuple[int, int], ...]:
    return ((0, height), (0, width), (0, 0))


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (128, 144)},
        {"tile": (128, 128), "compression": "lzw", "predictor": True},
        {"rowsperstrip": 7},
        {"rowsperstrip": 7, "compression": "zlib"},
        {"compression": "zlib", "rowsperstrip": 290},
        {"tile": (64, 64), "planarconfig": "separate", "compression": "zlib"},
        {"planarconfig": "separate", "rowsperstrip": 50},
        {"byteorder": ">", "rowsperstrip": 290},
        {"bigtiff": True, "tile": (256, 256)},
    ],
)
def test_every_layout_gives_the_same_pixels(tmp_path: Path, options: dict[str, Any]) -> None:
    data = SMOOTH.transpose(2, 0, 1) if "planarconfig" in options else SMOOTH
    tifffile.imwrite(
        tmp_path / "x.tif", data, photometric="rgb", resolution=(40000, 40000), resolutionunit=3, **options
    )
    backend = TiffBackend(tmp_path / "x.tif")
    assert backend.stated_mpp == pytest.approx((0.25, 0.25))
    _check_level(backend, 0, SMOOTH)


def test_grey_16_bits_alpha_and_channel_pages(tmp_path: Path) -> None:
    grey = SMOOTH[..., 0]
    tifffile.imwrite(tmp_path / "grey.tif", grey, photometric="minisblack")
    _check_level(TiffBackend(tmp_path / "grey.tif"), 0, np.repeat(grey[..., None], 3, axis=2))
    tifffile.imwrite(tmp_path / "deep.tif", SMOOTH.astype(np.uint16) * 257, photometric="rgb", compression="zlib")
    _check_level(TiffBackend(tmp_path / "deep.tif"), 0, SMOOTH)
    rgba = np.dstack([SMOOTH, np.where(np.arange(417) < 200, 0, 255).astype(np.uint8)[None].repeat(290, 0)])
    tifffile.imwrite(tmp_path / "alpha.tif", rgba, photometric="rgb", extrasamples=["unassalpha"], tile=(64, 64))
    _check_level(TiffBackend(tmp_path / "alpha.tif"), 0, np.where(rgba[..., 3:] == 0, 255, SMOOTH))
    tifffile.imwrite(
        tmp_path / "pages.ome.tif", SMOOTH.transpose(2, 0, 1), photometric="minisblack", metadata={"axes": "CYX"}
    )
    _check_level(TiffBackend(tmp_path / "pages.ome.tif"), 0, SMOOTH)


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_jpeg_tiles_are_those_of_the_reference_decoder(tmp_path: Path, photometric: str) -> None:
    pytest.importorskip("imagecodecs")
    path = tmp_path / "jpeg.tif"
    tifffile.imwrite(path, SMOOTH, photometric="rgb", tile=(128, 128), compression="jpeg",
                     compressionargs={"level": 90, "outcolorspace": photometric})  # fmt: skip
    reference = tifffile.imread(path)
    assert np.abs(reference.astype(int) - SMOOTH).mean() < 3
    _check_level(TiffBackend(path), 0, reference)


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs"])
def test_real_slides_look_as_openslide_shows_them(name: str) -> None:
    """Aperio's JPEG tiles are RGB without a marker that says so, with shared tables; the other is JPEG 2000."""
    path = Path(__file__).parents[2].parent / "shared" / "data" / "wsi" / name
    if not path.exists():
        pytest.skip("no real slides here")
    pytest.importorskip("imagecodecs")
    box = Box(700, 900, 500, 300)
    found, reference = (kind(path).read_level(0, box).astype(int) for kind in (TiffBackend, OpenSlideBackend))
    assert np.abs(found - reference).max() <= 3


def test_jpeg2000_is_read_with_the_extra(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    tifffile.imwrite(tmp_path / "x.tif", SMOOTH, photometric="rgb", tile=(128, 128), compression="jpeg2000")
    _check_level(TiffBackend(tmp_path / "x.tif"), 0, tifffile.imread(tmp_path / "x.tif"))


def test_without_the_extra_jpeg_works_and_jpeg2000_names_it(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    for name in ("jpeg", "jpeg2000"):
        tifffile.imwrite(tmp_path / f"{name}.tif", SMOOTH, photometric="rgb", tile=(128, 128), compression=name)
    code = f"""
import sys
sys.modules["imagecodecs"] = None
from pathlib import Path
from histocyte.core.errors import MissingExtraError
from histocyte.core.geometry import Box
from histocyte.slides.openslide_reader import OpenSlideBackend
from histocyte.slides.reader import PyramidReader
from histocyte.slides.tiff_reader import TiffBackend
folder = Path({str(tmp_path)!r})
assert abs(TiffBackend(folder / "jpeg.tif").read_level(0, Box(0, 0, 417, 290)).mean() - {SMOOTH.mean()}) < 1
try:
    TiffBackend(folder / "jpeg2000.tif")
except MissingExtraError as error:
    assert "[tiff]" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_tiles_that_the_file_leaves_out_are_white(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    tiles = iter([np.zeros((64, 64, 3), np.uint8), None, None, np.zeros((64, 64, 3), np.uint8)])
    tifffile.imwrite(
        path, tiles, shape=(128, 128, 3), dtype=np.uint8, tile=(64, 64), photometric="rgb", compression="zlib"
    )
    pixels = TiffBackend(path).read_level(0, Box(0, 0, 128, 128))
    assert (pixels[:64, :64] == 0).all()
    assert (pixels[:64, 64:] == 255).all()


def _open(path: Path) -> PyramidReader:
    return PyramidReader(partial(TiffBackend, path), name=path.stem, path=path, mpp=0.25)


@pytest.mark.parametrize("compression", [None, "zlib", "jpeg"])
def test_damage_is_named_and_never_white(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "x.tif"
    noise = RNG.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    tifffile.imwrite(path, noise, photometric="rgb", tile=(64, 64), compression=compression)
    slide = _open(path)
    intact = slide.read(Box(0, 0, 64, 64), mpp=0.25)
    slide.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 5000])
    slide = _open(path)
    np.testing.assert_array_equal(slide.read(Box(0, 0, 64, 64), mpp=0.25), intact)
    for _ in range(2):
        with pytest.raises(
            SlideError, match=r"x\.tif is damaged: level 0, x 192–256, y 192–256 .*ends \d+ bytes early"
        ):
            slide.read(Box(192, 192, 64, 64), mpp=0.25)
    np.testing.assert_array_equal(slide.read(Box(0, 0, 64, 64), mpp=0.25), intact)
    if compression:
        with tifffile.TiffFile(path) as file:
            start, count = file.pages[0].dataoffsets[5], file.pages[0].databytecounts[5]
        for kept in (0, count // 2):
            path.write_bytes(whole[: start + kept] + bytes(count - kept) + whole[start + count :])
            with pytest.raises(SlideError, match=r"x 64–128, y 64–128"):
                _open(path).read(Box(64, 64, 64, 64), mpp=0.25)


def test_what_is_no_brightfield_image_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.ome.tif", np.zeros((5, 64, 64), np.uint8), metadata={"axes": "ZYX"})
    with pytest.raises(SlideError, match="without a grey or RGB image.*ZYX 5×64×64"):
        TiffBackend(tmp_path / "stack.ome.tif")
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((64, 64), np.float32))
    with pytest.raises(SlideError, match="8 or 16"):
        TiffBackend(tmp_path / "float.tif")
    (tmp_path / "text.tif").write_text("hello")
    with pytest.raises(SlideError, match="not a TIFF"):
        TiffBackend(tmp_path / "text.tif")


def test_resolution_is_taken_where_it_is_stated(tmp_path: Path) -> None:
    def stated(**options: Any) -> float | tuple[float, float] | None:
        tifffile.imwrite(tmp_path / "x.tif", SMOOTH, photometric="rgb", **options)
        return TiffBackend(tmp_path / "x.tif").stated_mpp

    assert stated(metadata=None) is None
    assert stated(resolution=(50800, 25400), resolutionunit=2) == pytest.approx((0.5, 1.0))
    assert stated(resolution=(4, 4), resolutionunit=1) is None
    assert stated(imagej=True, resolution=(4, 4), metadata={"unit": "um"}) == pytest.approx((0.25, 0.25))
    assert stated(description="Aperio |AppMag = 40|MPP = 0.2526", metadata=None) == pytest.approx(0.2526)
    stated(resolution=(72, 72), resolutionunit=2)
    with pytest.raises(ResolutionError, match="352.778"):
        open_slide(tmp_path / "x.tif")
    _write_pyramid(tmp_path / "nm.ome.tif", mpp=0.5)
    assert TiffBackend(tmp_path / "nm.ome.tif").stated_mpp == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("kind", ["plain", "tiled", "imagej", "ome", "leica"])
def test_pixels_that_are_not_square_are_refused_whatever_the_format(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("x.scn" if kind == "leica" else "x.ome.tif" if kind == "ome" else "x.tif")
    resolution: dict[str, Any] = {"resolution": (40_000, 20_000), "resolutionunit": "CENTIMETER"}
    if kind == "leica":
        write_leica(path, SMOOTH, corner=(100, 70), mpp=(0.25, 0.5))
    elif kind == "ome":
        size = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 500.0, "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "nm"}
        tifffile.imwrite(path, SMOOTH, photometric="rgb", metadata={"axes": "YXS", **size})
    elif kind == "imagej":
        tifffile.imwrite(path, SMOOTH, photometric="rgb", imagej=True, resolution=(4, 2), metadata={"unit": "um"})
    else:
        tile = {"tile": (128, 128)} if kind == "tiled" else {}
        tifffile.imwrite(path, SMOOTH, photometric="rgb", **tile, **resolution)
    with pytest.raises(ResolutionError, match=r"pixels of 0\.25 × 0\.\d+ µm; square ones are needed"):
        open_slide(path)
    assert open_slide(path, mpp=0.25).mpp == 0.25


def _scenes(path: Path, *names: str) -> None:
    """An OME-TIFF of images that grow smaller by 40 px."""
    with tifffile.TiffWriter(path, ome=True) as writer:
        for i, name in enumerate(names):
            size = {"PhysicalSizeX": 0.25 * (i + 1), "PhysicalSizeY": 0.25 * (i + 1)}
            image = np.ascontiguousarray(SMOOTH[: 290 - 40 * i])
            writer.write(image, photometric="rgb", metadata={"axes": "YXS", "Name": name, **size})


def test_other_scenes_of_a_file_are_named(tmp_path: Path) -> None:
    _scenes(tmp_path / "x.ome.tif", "left", "right", "label image", "Macro")
    slide = open_slide(tmp_path / "x.ome.tif")
    assert slide.size == (417, 290)
    (note,) = slide.notes
    assert "'right' of 417 × 250 px" in note
    assert "label" not in note
    assert "Macro" not in note
    _scenes(tmp_path / "y.ome.tif", "only")
    assert open_slide(tmp_path / "y.ome.tif").notes == ()


@pytest.mark.parametrize("tiled", [False, True])
def test_pages_and_planes_that_are_left_out_are_named(tmp_path: Path, tiled: bool) -> None:
    tile: dict[str, Any] = {"tile": (128, 128)} if tiled else {}
    with tifffile.TiffWriter(tmp_path / "pages.tif") as writer:
        for i in range(3):
            writer.write(np.ascontiguousarray(SMOOTH[: 290 - 60 * i]), photometric="rgb", metadata=None, **tile)
    notes = open_slide(tmp_path / "pages.tif", mpp=0.25).notes
    assert "417 × 230 px" in notes[0]
    assert "417 × 170 px" in notes[0]
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([SMOOTH] * 4), photometric="rgb", **tile)
    if tiled:  # OpenSlide reads the first plane
        assert "4 planes" in open_slide(tmp_path / "stack.tif", mpp=0.25).notes[0]
    else:
        with pytest.raises(SlideError, match="without a grey or RGB image"):
            open_slide(tmp_path / "stack.tif", mpp=0.25)


def test_a_file_that_is_no_brightfield_image_is_not_read_by_another_reader(tmp_path: Path) -> None:
    planes = np.zeros((5, 256, 256, 3), np.uint8)
    path = tmp_path / "x.ome.tif"
    tifffile.imwrite(path, planes, tile=(128, 128), photometric="rgb", metadata={"axes": "ZYXS"})
    assert OpenSlideBackend(path).levels[0].size == (256, 256)  # of the first plane alone
    with pytest.raises(SlideError, match="x.ome.tif cannot be read.*ZYXS 5×256×256×3"):
        open_slide(path, mpp=0.25)


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        ("ImageWidth", 0, "an image of 0 × 290 px"),
        ("ImageLength", 0, "an image of 417 × 0 px"),
        ("ImageWidth", 2**31, "which no slide has"),
        ("TileWidth", 0, "tiles of 417 × 0 px"),
        ("TileLength", 2**31 - 1, "more than 1 GiB each"),  # OpenSlide would end the program
        ("SamplesPerPixel", 0, "damaged|without a grey or RGB"),
    ],
)
def test_impossible_numbers_are_one_line_that_names_the_file(
    tmp_path: Path, tag: str, value: int, message: str
) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, SMOOTH, photometric="rgb", tile=(128, 128))
    with tifffile.TiffFile(path, mode="r+") as file:
        changed = file.pages[0].tags[tag]
        changed.overwrite(value, dtype="I" if value > 2**16 else None)
    with pytest.raises(SlideError, match=rf"^\S*x\.tif cannot be (opened|read).*({message})[^\n]*$"):
        open_slide(path, mpp=0.25)


def test_an_image_of_more_tiles_than_there_are_is_not_filled_with_white(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, SMOOTH[:, :256], photometric="rgb", tile=(128, 128))
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["ImageLength"].overwrite(40_000)
    with pytest.raises(SlideError, match="page 0 states an image of 626 tiles and lists 6"):
        open_slide(path, mpp=0.25)


def test_a_tile_larger_than_the_file_is_damage_there(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, SMOOTH, photometric="rgb", tile=(128, 128))
    with tifffile.TiffFile(path, mode="r+") as file:
        counts = file.pages[0].tags["TileByteCounts"]
        counts.overwrite((*counts.value[:-1], 2**32 - 1), dtype="I")
    with pytest.raises(SlideError, match="a piece of 4,294,967,295 bytes, more than the file has"):
        OpenSlideBackend(path)  # which would end the program
    with pytest.raises(SlideError, match=r"x 384–417, y 256–290 px cannot be read"):
        open_slide(path, mpp=0.25).read(Box(384, 256, 40, 40), mpp=0.25)
    tifffile.imwrite(path, SMOOTH, photometric="rgb", bigtiff=True, tile=(128, 128))
    with tifffile.TiffFile(path, mode="r+") as file:
        counts = file.pages[0].tags["TileByteCounts"]
        counts.overwrite((*counts.value[:-1], 2**60), dtype="Q")
    with pytest.raises(SlideError, match=r"x 384–417, y 256–290 px cannot be read \(the file ends \d+ bytes early\)"):
        open_slide(path, mpp=0.25).read(Box(384, 256, 40, 40), mpp=0.25)


def test_words_of_the_file_break_no_message(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, SMOOTH, photometric="rgb", rowsperstrip=8, compression="zlib", predictor=True)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["Predictor"].overwrite("two\nlines", dtype="s")
    with pytest.raises(SlideError, match=r"^[^\n]*two lines[^\n]*$"):
        open_slide(path, mpp=0.25)


def test_a_resolution_in_words_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, SMOOTH, photometric="rgb", resolution=(4, 4), resolutionunit=3)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["XResolution"].overwrite("fine", dtype="s")
    assert TiffBackend(path).stated_mpp is None
    with pytest.raises(ResolutionError, match="does not state its resolution"):
        open_slide(path)


def test_entities_in_ome_xml_are_not_expanded(tmp_path: Path) -> None:
    path = tmp_path / "x.ome.tif"
    tens = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))
    text = f'<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY e0 "lol">{tens}]><OME>&e9;</OME>'
    tifffile.imwrite(path, SMOOTH, photometric="rgb", description=text, metadata=None)
    assert _one_line(path) in ("", "image")


def _one_line(path: Path) -> str:
    """What comes of opening and reading: "image", or nothing more than an error of one line."""
    try:
        with open_slide(path, mpp=0.25) as slide:
            slide.read(Box(0, 0, 64, 64), mpp=0.25)
    except (SlideError, ResolutionError) as error:
        return "" if "\n" not in str(error) else str(error)
    return "image"


def test_a_jpeg_tile_that_states_another_size_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    write_pyramid(path, SMOOTH, 0.25)
    data = bytearray(path.read_bytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="tiles of 65,535 × 65,535 px, more than 1 GiB each"):
        TiffBackend(path).read_level(0, Box(0, 0, 9, 9))


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".svs", ".scn"])
def test_altered_heads_end_in_one_line_or_an_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".scn":
        write_leica(path, SMOOTH, corner=(100, 70), mpp=(0.25, 0.25))
    elif suffix == ".ome.tif":
        _write_pyramid(path)
    else:
        text = "Aperio Image Library v1\r\n417x290 (128x128) RGB|AppMag = 40|MPP = 0.25" if suffix == ".svs" else None
        tifffile.imwrite(path, SMOOTH, photometric="rgb", tile=(128, 128), description=text, metadata=None)
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        tags = [(tag.offset, tag.valueoffset) for page in file.pages for tag in page.tags.values()]
    chance = np.random.default_rng(len(suffix))
    extremes = np.array([0, 1, 255, 2**16, 2**31 - 1, 2**32 - 1], "<u4")
    for _ in range(60):
        altered = bytearray(whole)
        entry, value = tags[chance.integers(len(tags))]
        place = [value, entry + 4, entry + 2, entry][chance.integers(4)]
        altered[place : place + 4] = chance.choice(extremes).tobytes()[: 4 if place != entry + 2 else 2]
        path.write_bytes(altered if chance.random() < 0.8 else altered[: chance.integers(len(altered))])
        assert _one_line(path) in ("", "image")
