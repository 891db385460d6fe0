"""Write pictures in vendors' formats, as small as OpenSlide takes them, with what such files state of themselves."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

__all__ = ["write_dicom", "write_leica"]

_NM_PER_UM = 1000
_SLIDE_IMAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"


def write_leica(
    path: str | Path, image: NDArray[np.uint8], *, corner: tuple[int, int] = (0, 0), mpp: tuple[float, float]
) -> None:
    """Write a picture as Leica SCN: a scanned area somewhere on a slide, which OpenSlide states as bounds.

    Args:
        path: The file, replaced if it is there.
        image: (H, W, 3) uint8 RGB.
        corner: (x, y) of the picture on the slide, level-0 px.
        mpp: Size of a pixel across and down, µm.
    """
    height, width = image.shape[:2]
    nm = [round(side * _NM_PER_UM) for side in mpp]
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="c" sizeX="{(corner[0] * 2 + width) * nm[0]}" sizeY="{(corner[1] * 2 + height) * nm[1]}">'
        '<image name="main"><device model="m" version="1"/><creationDate>2020-01-01</creationDate>'
        f'<pixels sizeX="{width}" sizeY="{height}"><dimension sizeX="{width}" sizeY="{height}" r="0" ifd="0"/></pixels>'
        f'<view sizeX="{width * nm[0]}" sizeY="{height * nm[1]}" '
        f'offsetX="{corner[0] * nm[0]}" offsetY="{corner[1] * nm[1]}"/>'
        "<scanSettings><objectiveSettings><objective>40</objective></objectiveSettings><illuminationSettings>"
        "<illuminationSource>brightfield</illuminationSource><numericalAperture>0.6</numericalAperture>"
        "</illuminationSettings></scanSettings></image></collection></scn>"
    )
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            image,
            tile=(256, 256),
            photometric="rgb",
            description=text,
            metadata=None,
            resolution=(1e4 / mpp[0], 1e4 / mpp[1]),
            resolutionunit="CENTIMETER",
        )


def write_dicom(
    path: str | Path, image: NDArray[np.uint8], *, series: str, mpp: float, kind: str = "VOLUME", tile_px: int = 256
) -> None:
    """Write a picture as one level of a DICOM slide, uncompressed; files of one series in a folder are a slide.

    Args:
        path: The file, replaced if it is there.
        image: (H, W, 3) uint8 RGB.
        series: The slide's UID: digits and full stops.
        mpp: Size of a pixel, µm.
        kind: What DICOM calls the image's flavour: VOLUME, LABEL, OVERVIEW or THUMBNAIL.
        tile_px: Side of a tile.
    """
    height, width = image.shape[:2]
    rows, columns = -(-height // tile_px), -(-width // tile_px)
    tiles = np.full((rows * tile_px, columns * tile_px, 3), 255, np.uint8)
    tiles[:height, :width] = image
    frames = tiles.reshape(rows, tile_px, columns, tile_px, 3).swapaxes(1, 2)
    instance = f"{series}.{width}.{height}"
    spacing = _element(0x00280030, "DS", f"{mpp / 1000:.6g}\\{mpp / 1000:.6g}".encode())
    measures = _element(0x00289110, "SQ", _item(spacing))
    head = _elements(
        (0x00020001, "OB", b"\0\1"),
        (0x00020002, "UI", _SLIDE_IMAGE),
        (0x00020003, "UI", instance),
        (0x00020010, "UI", "1.2.840.10008.1.2.1"),
        (0x00020012, "UI", "1.2.3"),
    )
    body = _elements(
        (0x00080008, "CS", f"ORIGINAL\\PRIMARY\\{kind}\\NONE"),
        (0x00080016, "UI", _SLIDE_IMAGE),
        (0x00080018, "UI", instance),
        (0x00080060, "CS", "SM"),
        (0x0020000D, "UI", "1.2.3.4"),
        (0x0020000E, "UI", series),
        (0x00209311, "CS", "TILED_FULL"),
        (0x00280002, "US", 3),
        (0x00280004, "CS", "RGB"),
        (0x00280006, "US", 0),
        (0x00280008, "IS", str(rows * columns)),
        (0x00280010, "US", tile_px),
        (0x00280011, "US", tile_px),
        (0x00280100, "US", 8),
        (0x00280101, "US", 8),
        (0x00280102, "US", 7),
        (0x00280103, "US", 0),
        (0x00480006, "UL", width),
        (0x00480007, "UL", height),
        (0x52009229, "SQ", _item(measures)),
        (0x7FE00010, "OW", frames.tobytes()),
    )
    Path(path).write_bytes(bytes(128) + b"DICM" + _elements((0x00020000, "UL", len(head))) + head + body)


def _elements(*parts: tuple[int, str, bytes | str | int]) -> bytes:
    """DICOM elements, explicit and little-endian, one after the other."""
    encoded = []
    for tag, kind, value in parts:
        if isinstance(value, int):
            value = struct.pack("<H" if kind == "US" else "<I", value)
        encoded.append(_element(tag, kind, value.encode() if isinstance(value, str) else value))
    return b"".join(encoded)


def _element(tag: int, kind: str, value: bytes) -> bytes:
    value += (b"\0" if kind in ("UI", "OB") else b" ") * (len(value) % 2)
    size = struct.pack("<HI", 0, len(value)) if kind in ("OB", "OW", "SQ") else struct.pack("<H", len(value))
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + kind.encode() + size + value


def _item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content
