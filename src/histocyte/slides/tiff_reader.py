"""TIFF beyond OpenSlide: OME-TIFF pyramids with SubIFDs, BigTIFF, stripped and planar files, grey and 16 bits."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from histocyte.core.errors import SlideError, require
from histocyte.core.geometry import Box
from histocyte.files.foreign import foreign_parser, reason_of, size_fault
from histocyte.slides.fingerprint import fingerprint_files
from histocyte.slides.protocol import StoredLevel
from histocyte.slides.stored import depth_note, turn_note, used_bits
from histocyte.slides.tiff_colours import Colours, colours_of, look_at
from histocyte.slides.tiff_header import (
    keyframe_of,
    largest_image,
    note_of_the_rest,
    open_tiff,
    orientation_of,
    stated_bits,
    stated_mpp,
    tile_fault,
)
from histocyte.slides.tiff_pieces import check_packed

__all__ = ["TiffBackend"]

_CACHE_BYTES = 64 << 20
_ROWS_AT_ONCE = 256
_JPEG, _RAW = 7, 1
_RGB = 2


class TiffBackend:
    """The largest brightfield image of a TIFF; only the tiles or strips that a box needs are read and decoded."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with foreign_parser(lambda why: SlideError(f"damaged TIFF: {why}")):
            try:
                with open_tiff(path) as file:
                    series = largest_image(file)
                    levels = _levels(series, file)
                    self.stated_mpp = stated_mpp(file, series)
                    self.notes = note_of_the_rest(file, series)
                    self.notes += turn_note(orientation_of(keyframe_of(series.pages[0])), "TIFF")
                    bits = stated_bits(file, series)
            except tifffile.TiffFileError as error:
                raise SlideError(f"not a TIFF ({reason_of(error)})") from error
            self._levels, depth = _with_depth(path, levels, bits)
        self.notes += depth
        self.levels = tuple(planes[0].stored() for planes in self._levels)
        self.bounds: Box | None = None
        self._cache = _SegmentCache(_CACHE_BYTES)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the file, see `slides.fingerprint`."""
        return fingerprint_files([self._path])

    def read_level(self, level: int, box: Box) -> NDArray[np.uint8]:
        """RGB pixels of a level; tiles that the file declares empty are white."""
        # Opened again each time: nothing to share between threads or forks, and no handles to run out of.
        with self._path.open("rb") as file:
            planes = [self._read_plane(file, (level, i), plane, box) for i, plane in enumerate(self._levels[level])]
        pixels = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
        return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)

    def close(self) -> None:
        """Give up the decoded tiles."""
        self._cache = _SegmentCache(_CACHE_BYTES)

    def _read_plane(self, file: BinaryIO, key: tuple[int, int], plane: _Plane, box: Box) -> NDArray[np.uint8]:
        out = np.full((box.height, box.width, plane.colours.channels), 255, np.uint8)
        across = -(-plane.width // plane.segment_width)
        for row in range(box.y // plane.segment_height, -(-box.bottom // plane.segment_height)):
            for column in range(box.x // plane.segment_width, -(-box.right // plane.segment_width)):
                index = row * across + column
                if plane.counts[index] == 0:
                    continue
                pixels = self._cache.get((*key, index), partial(_segment, file, plane, index))
                x, y = column * plane.segment_width, row * plane.segment_height
                part = Box(x, y, pixels.shape[1], pixels.shape[0]).clip(box)
                out[part.slices((box.x, box.y))] = pixels[part.slices((x, y))]
        return out


class _SegmentCache:
    """The most recently used segments, up to a number of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._items: OrderedDict[tuple[int, int, int], NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[int, int, int], make: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The segment of this key; two threads may make the same one at the same time."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key]
        pixels = make()
        with self._lock:
            if key not in self._items:
                self._items[key] = pixels
                self._bytes += pixels.nbytes
            while self._bytes > self._max_bytes and len(self._items) > 1:
                self._bytes -= self._items.popitem(last=False)[1].nbytes
        return pixels


@dataclass(frozen=True, slots=True)
class _Plane:
    """One page's image (or one colour plane of it) as a grid of tiles or strips.

    Attributes:
        colours: What the samples look like.
        deep: Whether they have 16 bits.
        offsets: Where each segment starts in the file, row-major.
        counts: Bytes of each segment; 0 where the file holds none.
        decode: (bytes, index within the page) → (H, W, S) as stored.
        tiled: Whether segments are tiles, which may fill the image up to whole ones.
    """

    width: int
    height: int
    colours: Colours
    deep: bool
    segment_width: int
    segment_height: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    decode: Callable[[bytes, int], NDArray[np.uint8] | NDArray[np.uint16]]
    tiled: bool = False

    @property
    def filled(self) -> tuple[int, ...]:
        """Segments that the file holds, by number."""
        return tuple(i for i, count in enumerate(self.counts) if count)

    def stored(self) -> StoredLevel:
        """As a level of a pyramid."""
        return StoredLevel((self.width, self.height), (self.segment_width, self.segment_height) if self.tiled else None)


def _stored(file: BinaryIO, plane: _Plane, index: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """One decoded tile or strip; the last row's may be cut off at the image's edge."""
    lacking = plane.offsets[index] + plane.counts[index] - os.fstat(file.fileno()).st_size
    if lacking > 0:  # memory is asked for as the file says, before there is anything to read
        raise EOFError(f"the file ends {lacking} bytes early")
    file.seek(plane.offsets[index])
    data = file.read(plane.counts[index])
    pixels = plane.decode(data, index)
    row, column = divmod(index, -(-plane.width // plane.segment_width))
    rows = min(plane.segment_height, plane.height - row * plane.segment_height)
    columns = min(plane.segment_width, plane.width - column * plane.segment_width)
    if pixels.shape[0] < rows or pixels.shape[1] < columns or pixels.shape[2] < plane.colours.samples:
        raise ValueError(f"a piece of shape {pixels.shape} where {rows} × {columns} px are needed")
    return pixels


def _segment(file: BinaryIO, plane: _Plane, index: int) -> NDArray[np.uint8]:
    """The same as it is shown: (H, W, 1 or 3)."""
    return plane.colours.shown(_stored(file, plane, index))


def _with_depth(
    path: Path, levels: tuple[tuple[_Plane, ...], ...], stated: int | None
) -> tuple[tuple[tuple[_Plane, ...], ...], tuple[str, ...]]:
    """The levels as they are shown where their pixels have 16 bits, and what to say of it.

    Raises:
        RefusedError: All of the image is transparent.
    """
    full = levels[0]
    colours, deep = full[0].colours, full[0].deep
    if not colours.alpha and (not deep or (stated or 16) < 16):
        highest = None
    else:
        with path.open("rb") as file:
            looks = [look_at(partial(_stored, file, plane), plane.filled, plane.colours) for plane in full]
        highest = max(looks)
    if not deep:
        return levels, ()
    bits = stated if stated and stated < 16 else used_bits(highest or 0)
    shown = tuple(
        tuple(replace(plane, colours=replace(plane.colours, bits=bits)) for plane in level) for level in levels
    )
    return shown, depth_note(bits, None if stated and stated < 16 else highest)


def _levels(series: tifffile.TiffPageSeries, file: tifffile.TiffFile) -> tuple[tuple[_Plane, ...], ...]:
    levels = []
    for level in series.levels:
        pages = [page for page in level.pages if page is not None and page.parent is file]
        if len(pages) < len(level.pages):
            raise SlideError("an OME-TIFF with missing planes or spread over several files")
        levels.append(tuple(plane for page in pages for plane in _planes(page)))
    full = levels[0]
    if len(full) not in (1, 3):
        raise SlideError(f"{len(full)} image planes, 1 or 3 are needed")
    reduced = [level for level in levels[1:] if len(level) == len(full)]
    return (full, *sorted(reduced, key=lambda level: -level[0].width))


def _planes(page: tifffile.TiffPage | tifffile.TiffFrame) -> list[_Plane]:
    key = keyframe_of(page)
    if fault := size_fault(key.imagewidth, key.imagelength):
        raise SlideError(fault)
    colours = colours_of(key)
    separate = key.planarconfig == 2 and key.samplesperpixel > 1
    stored = 1 if separate else key.samplesperpixel
    offsets, counts = tuple(page.dataoffsets), tuple(page.databytecounts)
    if key.compression == _RAW and key.is_contiguous and not key.is_tiled and not separate:
        return [_raw_plane(key, colours, offsets[0])]
    height, width = (key.tilelength, key.tilewidth) if key.is_tiled else (key.rowsperstrip, key.imagewidth)
    height = min(height, key.imagelength) if not key.is_tiled else height
    if fault := tile_fault(width, height, stored * (key.bitspersample // 8)):
        raise SlideError(f"{fault}: convert it to a tiled pyramidal TIFF")
    decode = _decoder(key)
    grid = -(-key.imagelength // height) * -(-key.imagewidth // width)
    planes = key.samplesperpixel if separate else 1
    if len(offsets) < grid * planes or len(counts) < grid * planes:
        raise SlideError(f"a damaged TIFF: {len(offsets)} of {grid * planes} tiles or strips are listed")
    return [
        _Plane(
            key.imagewidth,
            key.imagelength,
            colours,
            key.bitspersample == 16,
            width,
            height,
            offsets[i * grid : (i + 1) * grid],
            counts[i * grid : (i + 1) * grid],
            decode,
            key.is_tiled,
        )
        for i in range(min(planes, 3))
    ]


def _raw_plane(page: tifffile.TiffPage, colours: Colours, start: int) -> _Plane:
    """Uncompressed rows, one after the other: any of them can be read alone, whatever the strips are."""
    dtype = np.dtype(f"{page.parent.byteorder}u{page.bitspersample // 8}")
    width, samples = page.imagewidth, page.samplesperpixel
    row_bytes = width * samples * dtype.itemsize
    starts = range(0, page.imagelength, _ROWS_AT_ONCE)

    def decode(data: bytes, index: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
        return np.frombuffer(data, dtype).reshape(-1, width, samples)

    return _Plane(
        width,
        page.imagelength,
        colours,
        dtype.itemsize == 2,
        width,
        _ROWS_AT_ONCE,
        tuple(start + row * row_bytes for row in starts),
        tuple(min(_ROWS_AT_ONCE, page.imagelength - row) * row_bytes for row in starts),
        decode,
    )


def _decoder(page: tifffile.TiffPage) -> Callable[[bytes, int], NDArray[np.uint8] | NDArray[np.uint16]]:
    tables, header, photometric = page.jpegtables, page.jpegheader, page.photometric
    if page.compression == _JPEG and page.bitspersample == 8 and header is None and page.samplesperpixel < 4:
        return lambda data, index: _decode_jpeg(data, tables, is_rgb=photometric == _RGB)
    try:
        if page.compression != _RAW:
            tifffile.TIFF.DECOMPRESSORS[page.compression]
        if page.predictor != 1:
            tifffile.TIFF.UNPREDICTORS[page.predictor]
    except KeyError as error:
        require("imagecodecs", extra="tiff")
        raise SlideError(f"a compression that cannot be read: {error.args[0]}") from error
    decode = page.decode

    def decode_segment(data: bytes, index: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
        check_packed(data, page)
        pixels = decode(data, index, jpegtables=tables, jpegheader=header)[0]
        if pixels is None:
            raise ValueError("a segment without pixels")
        return np.asarray(pixels[0])

    return decode_segment


def _decode_jpeg(data: bytes, tables: bytes | None, *, is_rgb: bool) -> NDArray[np.uint8]:
    """One JPEG tile with the tables that its page keeps once for all.

    Without a marker decoders take three channels for YCbCr; an Adobe marker says which of the two it is.
    """
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise ValueError("a JPEG tile without an end")
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + (b"\x00" if is_rgb else b"\x01")
    head = tables.removesuffix(b"\xff\xd9") if tables else data[:2]
    stream = np.frombuffer(head + adobe + data[2:], np.uint8)
    if fault := tile_fault(*_jpeg_size(data)):
        raise ValueError(fault)
    pixels = cv2.imdecode(stream, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise ValueError("a JPEG tile that cannot be decoded")
    if pixels.ndim == 2:
        return np.asarray(pixels[..., None], np.uint8)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height that a JPEG file states, before anything is made of that size; 0 × 0 where it states none."""
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # tables and an extension among the frames
            return int.from_bytes(data[place + 7 : place + 9]), int.from_bytes(data[place + 5 : place + 7])
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return 0, 0
