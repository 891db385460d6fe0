"""Files that others wrote: whatever a parser makes of them ends in an error of ours, and none fills the memory.

Libraries that read images, arrays, archives and slides raise whatever they stumble over in a broken or hostile file:
`KeyError`, `struct.error`, `MemoryError`, classes of their own. A list of such types is never complete, so every call
of theirs stands within `foreign_parser`, and what a file says of its own size is asked with `size_fault` before
anything is made of that size.
"""

from __future__ import annotations

import gzip
import io
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from histocyte.core.errors import ContentError, HistocyteError, InputError, MissingExtraError, reason_of, require

__all__ = [
    "MOST_PICTURE_PIXELS",
    "MOST_SIDE_PX",
    "broken_link",
    "foreign_parser",
    "reason_of",
    "refuse_broken_link",
    "size_fault",
    "unpacked",
]

MOST_SIDE_PX = 10_000_000
"""No slide is wider or higher: 40 mm are 160,000 px at 0.25 µm per pixel."""

MOST_PICTURE_PIXELS = 178_956_970
"""Most pixels of an image that is held in memory whole: 13,377², the 512 MiB of RGB from which Pillow refuses."""

_UNPACKED_BYTES, _PACKING = 64 << 20, 200

# It tells of every oddity of a header by itself, on standard error; what matters of that is in the errors and notes.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@contextmanager
def foreign_parser(error: Callable[[str], HistocyteError], *, place: str | None = None) -> Iterator[None]:
    """Turn whatever is raised within into an error of ours; one of ours passes, but for those that name no file.

    Args:
        error: Makes the error from the reason, which is a line without a full stop.
        place: Names the file; errors of ours that do not name it are told like those of others.

    Raises:
        HistocyteError: The one that `error` made.
        MissingExtraError: A compression needs a package that is not installed.

    >>> from histocyte.core.errors import InputError
    >>> with foreign_parser(lambda why: InputError(f"'a.npz' cannot be read: {why}.")):
    ...     {}["inst"]
    Traceback (most recent call last):
        ...
    histocyte.core.errors.InputError: 'a.npz' cannot be read: 'inst'.
    """
    try:
        yield
    except MissingExtraError:
        raise
    except HistocyteError as raised:
        if isinstance(raised, ContentError) or (place is not None and place not in str(raised)):
            raise error(reason_of(raised)) from raised
        raise
    except Exception as raised:
        if "'imagecodecs' package" in str(raised):  # in tifffile's words
            _require_codecs(error)
        raise error(reason_of(raised)) from raised


def _require_codecs(error: Callable[[str], HistocyteError]) -> None:
    try:
        require("imagecodecs", extra="tiff")
    except MissingExtraError as missing:
        raise MissingExtraError(f"{error('its compression needs one more package')} {missing}") from missing


def size_fault(width: int, height: int, *, most_pixels: int | None = None) -> str | None:
    """What is wrong with the size that a file states, or None.

    Args:
        width: Width of the image, px.
        height: Height of the image, px.
        most_pixels: How many there may be, where it is to be held as a whole.

    >>> size_fault(0, 5), size_fault(300, 200)
    ('an image of 0 × 5 px', None)
    """
    if width < 1 or height < 1:
        return f"an image of {width:,} × {height:,} px"
    if max(width, height) > MOST_SIDE_PX:
        return f"an image of {width:,} × {height:,} px, which no slide has"
    if most_pixels is not None and width * height > most_pixels:
        return f"{width:,} × {height:,} px, more than {most_pixels // 1_000_000} million, which are not held as a whole"
    return None


def broken_link(path: Path) -> str | None:
    """That a path is a link to something that is not there, in words; None where it is not."""
    if path.is_symlink() and not path.exists():
        return f"'{path}' is a link to '{os.readlink(path)}', which is not there"
    return None


def refuse_broken_link(path: Path) -> None:
    """Name a link that leads nowhere, which looks like a file that is not there.

    Raises:
        InputError: The path is one.
    """
    if why := broken_link(path):
        raise InputError(f"{why}. Mend or remove the link.")


def unpacked(source: Path | bytes | IO[bytes], *, most_bytes: int) -> bytes:
    """The content of a file that may be gzipped, whatever its name.

    No file of cells is packed to less than a two-hundredth: what unpacks to more was made to fill the memory.

    Args:
        source: The file, what it holds, or an open binary file at its start.
        most_bytes: How much it may unpack to.

    Raises:
        ValueError: It is more.
        Exception: It cannot be read, or is not whole. Call it within `foreign_parser`.
    """
    if isinstance(source, Path):
        with source.open("rb") as opened:
            return unpacked(opened, most_bytes=most_bytes)
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if packed:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        most_bytes = min(most_bytes, max(_UNPACKED_BYTES, _PACKING * size))
    content = gzip.GzipFile(fileobj=file).read(most_bytes + 1) if packed else file.read(most_bytes + 1)
    if len(content) > most_bytes:
        stated = f"{most_bytes >> 30} GiB" if most_bytes >= 1 << 30 else f"{most_bytes >> 20} MiB"
        raise ValueError(f"it holds more than {stated}{' once it is unpacked' if packed else ''}")
    return content
