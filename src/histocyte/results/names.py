"""What the folders of several results are called: each by its slide, no two alike, whatever the slides are called."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from histocyte.files.names import safe_name
from histocyte.slides.open import slide_name

__all__ = ["result_names"]

_MOST_BYTES = 200
"""Longest name of a folder; file systems take 255."""


def result_names(slides: Sequence[Path]) -> list[str]:
    """A name for each slide's folder: the slide's, with those of its folders before it where several share it.

    Slides of one folder that differ in their ending keep it; where nothing tells them apart, the later ones are
    numbered. Names that differ in case alone, or in how Unicode spells them, are alike: some file systems take them so.

    Args:
        slides: Files and DICOM folders.

    >>> result_names([Path("P1/slides/a.tif"), Path("P2/slides/a.tif"), Path("b.svs"), Path("d.tif"), Path("d.tiff")])
    ['P1-slides-a', 'P2-slides-a', 'b', 'd.tif', 'd.tiff']
    """
    own, before = [slide_name(path) for path in slides], [""] * len(slides)
    for alike in _alike(own):
        folders = [slides[i].absolute().parent for i in alike]
        depth = _telling_depth(folders)
        for i, folder in zip(alike, folders, strict=True):
            before[i] = _joined(folder, depth)
    for alike in _alike([b + name for b, name in zip(before, own, strict=True)]):
        for i in alike:
            own[i] = safe_name(slides[i].name)
    return _numbered([_short(b + name) for b, name in zip(before, own, strict=True)])


def _alike(names: Sequence[str]) -> list[list[int]]:
    """Places of the names that others are like, together."""
    groups = defaultdict(list)
    for i, name in enumerate(names):
        groups[_folded(name)].append(i)
    return [group for group in groups.values() if len(group) > 1]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _joined(folder: Path, depth: int) -> str:
    """'P1-slides-', of the last folders."""
    names = folder.parts[1:]
    return "".join(f"{safe_name(name)}-" for name in names[max(0, len(names) - depth) :])


def _telling_depth(folders: Sequence[Path]) -> int:
    """How many of the last folders tell as many apart as all of them do."""
    apart = [
        len({_folded(_joined(folder, depth)) for folder in folders})
        for depth in range(max(len(folder.parts) for folder in folders))
    ]
    return apart.index(max(apart))


def _short(name: str) -> str:
    """The name itself, or one that a file system takes, which its end tells from others that begin like it."""
    if len(os.fsencode(name)) <= _MOST_BYTES:
        return name
    kept = name.encode()[: _MOST_BYTES - 9].decode(errors="ignore")
    return f"{kept}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _numbered(names: Sequence[str]) -> list[str]:
    taken: set[str] = set()
    distinct = []
    for name in names:
        unique, number = name, 1
        while _folded(unique) in taken:
            number += 1
            unique = f"{name}-{number}"
        taken.add(_folded(unique))
        distinct.append(unique)
    return distinct
