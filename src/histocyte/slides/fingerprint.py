"""Telling one slide from another, and a slide from itself after a change, without reading gigabytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

__all__ = ["fingerprint_bytes", "fingerprint_files", "are_of_one_slide"]

_SCHEME = "2:"
"""Stands before a fingerprint. Those of earlier results have none and were of the first and last MiB alone."""
_WHOLE_BYTES = 64 << 20
"""A slide of no more, over all of its files, is read whole."""
_ENDS_BYTES = 1 << 20
_PLACES, _PLACE_BYTES = 1024, 4096
"""Places of a larger slide that are looked at, between the ends of its files: 4 MiB, a fraction of a second on a disk
and a few seconds on a disk that has to seek."""


def fingerprint_files(files: Sequence[Path]) -> str:
    """What tells these files, in the order given, from others: their sizes, ends, and places spread between the ends.

    Of 64 MiB or less every byte counts. Of more, places are even steps apart, the same in every run: a change is seen
    where it is longer than a 1024th of the slide, or changes a size, as every new compression does.

    Args:
        files: All files of one slide.
    """
    sizes = [path.stat().st_size for path in files]
    total = sum(sizes)
    digest = hashlib.sha256()
    for path, size in zip(files, sizes, strict=True):
        digest.update(size.to_bytes(8, "little"))
        with path.open("rb", buffering=0) as file:
            if total <= _WHOLE_BYTES:
                digest.update(hashlib.file_digest(file, "sha256").digest())
            else:
                _sample(digest, file, size, places=-(-_PLACES * size // total))
    return _SCHEME + digest.hexdigest()


def fingerprint_bytes(*parts: bytes) -> str:
    """The same of what is in memory."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return _SCHEME + digest.hexdigest()


def are_of_one_slide(one: str, other: str) -> bool | None:
    """Whether two fingerprints are of one slide; None where one looked at less of it, so that nothing tells."""
    if one.startswith(_SCHEME) != other.startswith(_SCHEME):
        return None
    return one == other


def _sample(digest: hashlib._Hash, file: BinaryIO, size: int, places: int) -> None:
    """Both ends, and as many places between them."""
    digest.update(file.read(_ENDS_BYTES))
    between = size - 2 * _ENDS_BYTES
    for place in range(places if between > 0 else 0):
        file.seek(_ENDS_BYTES + (2 * place + 1) * between // (2 * places))
        digest.update(file.read(_PLACE_BYTES))
    file.seek(-min(_ENDS_BYTES, size), os.SEEK_END)
    digest.update(file.read(_ENDS_BYTES))
