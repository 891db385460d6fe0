"""Pictures in files: read as they are, or refused where a part is missing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError

__all__ = ["decode_picture", "picture_content"]


def picture_content(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror or error}).") from error


def decode_picture(content: bytes, path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of the bytes of a file.

    Args:
        content: PNG, JPEG, WebP or TIFF.
        path: Of the file, for messages.

    Raises:
        InputError: They are no picture, or a part of it is missing.
    """
    if _is_cut(content):
        raise InputError(f"'{path}' cannot be read as an image: its end is missing. Copy or export it anew.")
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if pixels is None:
        raise InputError(f"'{path}' cannot be read as an image.")
    return np.ascontiguousarray(pixels[..., ::-1])


def _is_cut(content: bytes) -> bool:
    """Whether a PNG or JPEG ends too early, which OpenCV fills with grey, or tells on standard error by itself."""
    if content.startswith(b"\x89PNG"):
        return b"IEND" not in content
    if content.startswith(b"\xff\xd8"):
        # Within coded pixels neither marker can stand; a thumbnail in the header has both before the last start.
        return content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")
    return False
