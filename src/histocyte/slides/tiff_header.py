"""What a TIFF says of itself: which images it holds, which of them is the slide, and its resolution."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import tifffile

from histocyte.core.errors import HistocyteError, SlideError
from histocyte.core.names import counted
from histocyte.files.foreign import foreign_parser, size_fault
from histocyte.slides.protocol import RefusedError
from histocyte.slides.stored import used_bits

__all__ = [
    "check_sizes",
    "keyframe_of",
    "largest_image",
    "note_of_others",
    "note_of_the_rest",
    "orientation_of",
    "open_tiff",
    "stated_bits",
    "stated_mpp",
    "tile_fault",
]

_UM_PER_UNIT = {
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "in": 25400.0,
}
_PLAIN = frozenset({("YX", 1), ("YXS", 2), ("YXS", 3), ("YXS", 4), ("SYX", 3), ("CYX", 3)})
"""Axes of grey and RGB images, and their channels."""
_MAGIC = frozenset({b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"})
_MOST_CHECKED_PAGES = 1000
_MOST_PIECE_BYTES = 1 << 30
"""Most bytes of a tile or compressed strip: it is decoded as a whole."""
_BIG_TIFF = 43
_MOST_PAGES = 1 << 16
_NO_SLIDE = re.compile(r"label|macro|thumb|overview|barcode|\bmap\b", re.IGNORECASE)
"""Names of pictures that scanners put beside the slide."""


def check_sizes(path: Path) -> None:
    """See that no page of a TIFF states a size that is impossible; do nothing with a file that is not a TIFF.

    OpenSlide asks for memory as a file tells it to, and ends the whole program where there is none.

    Raises:
        SlideError: One does, or its head cannot be read.
    """
    with path.open("rb") as start:
        if start.read(4) not in _MAGIC:
            return
    with foreign_parser(lambda why: SlideError(f"damaged: {why}")), open_tiff(path) as file:
        for number, page in enumerate(islice(file.pages, _MOST_CHECKED_PAGES)):
            if isinstance(page, tifffile.TiffPage) and (fault := _fault(page, file.filehandle.size)):
                raise SlideError(f"damaged: page {number} states {fault}")


def tile_fault(width: int, height: int, bytes_a_pixel: int = 4) -> str | None:
    """What is wrong with the size of the pieces that an image is cut into, or None."""
    if width < 1 or height < 1:
        return f"tiles of {width:,} × {height:,} px"
    if width * height * bytes_a_pixel > _MOST_PIECE_BYTES:
        return f"tiles of {width:,} × {height:,} px, more than 1 GiB each"
    return None


def _fault(page: tifffile.TiffPage, file_bytes: int) -> str | None:
    if fault := size_fault(page.imagewidth, page.imagelength):
        return fault
    if page.is_tiled:
        if fault := tile_fault(page.tilewidth, page.tilelength):
            return fault
        grid = -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
        if len(page.dataoffsets) < grid:
            return f"an image of {counted(grid, 'tile')} and lists {len(page.dataoffsets):,}"
    most = max(page.databytecounts, default=0)
    return f"a piece of {most:,} bytes, more than the file has" if most > file_bytes else None


@contextmanager
def open_tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    """A TIFF whose list of pages comes to an end.

    Raises:
        Exception: It does not, or the file is none. Call it within `files.foreign.foreign_parser`.
    """
    _check_pages(path)
    with tifffile.TiffFile(path) as file:
        yield file


def _check_pages(path: Path) -> None:
    """Follow the list of pages, which in a damaged file may lead back to a page before; tifffile follows it forever.

    Raises:
        ValueError: It does, or has more than any image. What else is wrong with it is for tifffile to say.
    """
    with path.open("rb") as file, suppress(struct.error, OSError):
        head = file.read(8)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None:
            return
        large = struct.unpack(f"{order}H", head[2:4])[0] == _BIG_TIFF
        count_form, offset_form, tag_bytes = ("Q", "Q", 20) if large else ("H", "I", 12)
        count_bytes, offset_bytes = struct.calcsize(f"<{count_form}"), struct.calcsize(f"<{offset_form}")
        (offset,) = struct.unpack(f"{order}{offset_form}", file.read(8) if large else head[4:])
        seen: set[int] = set()
        while offset:
            if offset in seen or len(seen) == _MOST_PAGES:
                raise ValueError("its list of pages does not end")
            seen.add(offset)
            file.seek(offset)
            (tags,) = struct.unpack(f"{order}{count_form}", file.read(count_bytes))
            file.seek(offset + count_bytes + tags * tag_bytes)
            (offset,) = struct.unpack(f"{order}{offset_form}", file.read(offset_bytes))


def largest_image(file: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """The largest grey or RGB image.

    Raises:
        RefusedError: The images are of other kinds.
        SlideError: There is no image, as in a file that was cut off.
    """
    if not file.series:
        raise SlideError("a TIFF whose images are not there: it was cut off")
    images = [series for series in file.series if _axes(series) in _PLAIN]
    if not images:
        there = "; ".join(f"{s.axes} {'×'.join(map(str, s.shape))}" for s in file.series[:3])
        raise RefusedError(f"a TIFF without a grey or RGB image (it holds {there})")
    return max(images, key=lambda s: math.prod(_size(s)))


def _axes(series: tifffile.TiffPageSeries) -> tuple[str, int]:
    """Axes longer than one (Y and X always), and the number of channels."""
    kept = [(a, n) for a, n in zip(series.axes, series.shape, strict=True) if n > 1 or a in "YX"]
    return "".join(a for a, _ in kept), next((n for a, n in kept if a in "SC"), 1)


def note_of_the_rest(file: tifffile.TiffFile, read: tifffile.TiffPageSeries) -> tuple[str, ...]:
    """A note of the images that are left out when one is read, label, macro and thumbnail aside."""
    return _note(read, [series for series in file.series if series is not read])


def note_of_others(path: Path, sizes: Collection[tuple[int, int]]) -> tuple[str, ...]:
    """The same for a reader that takes what has one of these widths and heights; nothing of a file that is too odd."""
    with suppress(HistocyteError), foreign_parser(SlideError), open_tiff(path) as file:
        known = [series for series in file.series if _size(series) in sizes]
        whole = [series for series in known if _axes(series) in _PLAIN]
        return _note((whole or known or file.series)[0], [s for s in file.series if s not in whole])
    return ()


def _note(read: tifffile.TiffPageSeries, others: list[tifffile.TiffPageSeries]) -> tuple[str, ...]:
    left_out = [series for series in others if not _is_aside(series)]
    if not left_out:
        return ()
    named = ", ".join(_named(series) for series in left_out[:5]) + (", …" if len(left_out) > 5 else "")
    if read in left_out:
        return (f"Of {named} the first plane alone is read: planes of a stack or channels are not looked at.",)
    many = f"{len(left_out)} other images" if len(left_out) > 1 else "another image"
    return (f"The file holds {many}, left out: {named}. Read is {_named(read)}. Export each as a file to have it too.",)


def _is_aside(series: tifffile.TiffPageSeries) -> bool:
    """Whether it is a smaller copy, a mask, or a picture that scanners put beside the slide."""
    page = series.keyframe
    return bool(page.is_reduced or page.is_mask or _NO_SLIDE.search(series.name or ""))


def _named(series: tifffile.TiffPageSeries) -> str:
    axes, shape = series.axes, series.shape
    kept = [(axis, length) for axis, length in zip(axes, shape, strict=True) if axis not in "YXS" and length > 1]
    width, height = _size(series)
    planes = "".join(f", {length} planes along {axis}" for axis, length in kept)
    return f"{series.name!r} of {width} × {height} px{planes}" if series.name else f"{width} × {height} px{planes}"


def _size(series: tifffile.TiffPageSeries) -> tuple[int, int]:
    """Width and height, px."""
    # By the axes' letters: what the keys of `series.sizes` are depends on tifffile's version.
    lengths = dict(zip(series.axes, series.shape, strict=True))
    return int(lengths.get("X", 0)), int(lengths.get("Y", 0))


def keyframe_of(page: tifffile.TiffPage | tifffile.TiffFrame | None) -> tifffile.TiffPage:
    """The page that holds what a page shares with others.

    Raises:
        SlideError: A file of several lacks the page.
    """
    key = page.keyframe if page is not None else None
    if key is None:
        raise SlideError("a TIFF with a missing page")
    return key


def stated_mpp(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> float | tuple[float, float] | None:
    """µm per pixel, across and down where both are stated; None where nothing is, or nothing that is a number."""
    page = keyframe_of(series.pages[0])
    for source in (_ome_mpp(file, series), _aperio_mpp(page.description)):
        if source is not None:
            return source
    unit = {2: 25400.0, 3: 10000.0}.get(int(page.resolutionunit))
    imagej = file.imagej_metadata or {}
    if imagej.get("unit"):
        unit = _UM_PER_UNIT.get(str(imagej["unit"]).replace("\\u00B5", "µ"))
    across, down = (_rational(page, name) for name in ("XResolution", "YResolution"))
    if unit is None or across is None:
        return None
    return (unit / across, unit / down) if down is not None else unit / across


def stated_bits(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> int | None:
    """How many of 16 bits are used, by SignificantBits of OME or MaxSampleValue; None where neither says fewer."""
    for pixels in _ome_pixels(file):
        if (pixels.get("SizeX"), pixels.get("SizeY")) == _size(series):
            match pixels.get("SignificantBits"):
                case int(bits) if 8 <= bits < 16:
                    return used_bits((1 << bits) - 1)
    tag = keyframe_of(series.pages[0]).tags.get("MaxSampleValue")
    match tag and tag.value:
        case int(highest) | (int(highest), *_) if 0 < highest < 1 << 14:
            return used_bits(highest)
    return None


def orientation_of(page: tifffile.TiffPage) -> int:
    """How viewers are to turn a page, 1 not at all."""
    tag = page.tags.get("Orientation")
    return int(tag.value) if tag is not None and tag.value in range(1, 9) else 1


def _rational(page: tifffile.TiffPage, name: str) -> float | None:
    """The value of a tag that is a positive fraction, as resolutions are; None of any other."""
    tag = page.tags.get(name)
    match tag and tag.value:
        case (int(over), int(under)) if over > 0 and under > 0:
            return over / under
    return None


def _ome_mpp(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> float | tuple[float, float] | None:
    """PhysicalSize of the first image of the same width and height, as the first of the largest is read."""
    for pixels in _ome_pixels(file):
        if (pixels.get("SizeX"), pixels.get("SizeY")) == _size(series):
            across, down = (_ome_size(pixels, axis) for axis in "XY")
            if across is not None:
                return across if down is None else (across, down)
    return None


def _ome_pixels(file: tifffile.TiffFile) -> list[dict[str, Any]]:
    """What the OME-XML says of the pixels of each image."""
    if not file.ome_metadata:
        return []
    images = tifffile.xml2dict(file.ome_metadata).get("OME", {}).get("Image", [])
    return [image.get("Pixels", {}) for image in (images if isinstance(images, list) else [images])]


def _ome_size(pixels: Mapping[str, Any], axis: str) -> float | None:
    """PhysicalSizeX or Y, µm."""
    unit = _UM_PER_UNIT.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")))
    value = pixels.get(f"PhysicalSize{axis}")
    return float(value) * unit if unit is not None and isinstance(value, int | float) else None


def _aperio_mpp(description: str) -> float | None:
    found = re.search(r"\bMPP\s*=\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)", description)
    return float(found[1]) if found else None
