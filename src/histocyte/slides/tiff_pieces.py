"""Compressed tiles and strips of TIFF: how much they unpack to is asked before memory is taken for it."""

from __future__ import annotations

import zlib

import tifffile

from histocyte.core.errors import is_installed

__all__ = ["check_packed"]

_DEFLATE = frozenset({8, 32946, 50013})
"""TIFF's numbers for zlib's compression."""
_HAS_CODECS = is_installed("imagecodecs")


def _piece_size(page: tifffile.TiffPage) -> tuple[int, int]:
    """Width and height of a tile or strip, px."""
    if page.is_tiled:
        return page.tilewidth, page.tilelength
    return page.imagewidth, min(page.rowsperstrip, page.imagelength)


def check_packed(data: bytes, page: tifffile.TiffPage) -> None:
    """See that a tile or strip unpacks to no more than one of its page has.

    The package imagecodecs sees to it by itself; Python's zlib, in its place, would unpack whatever there is.

    Raises:
        ValueError: It does.
    """
    if page.compression not in _DEFLATE or _HAS_CODECS:
        return
    width, height = _piece_size(page)
    most = width * height * page.samplesperpixel * page.bitspersample // 8 + 1
    if len(zlib.decompressobj().decompress(data, most + 1)) > most:
        raise ValueError(f"a piece that unpacks to more than the {width} × {height} px of a tile or strip")
