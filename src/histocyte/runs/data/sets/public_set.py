"""What a reader of a set gives, and what readers share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.taxonomy import Taxonomy
from histocyte.datasets.cards import DatasetCard
from histocyte.datasets.labelled_image import Entry, LabelledImage
from histocyte.datasets.shards.form import KEPT_AS_THEY_ARE
from histocyte.formats.foreign.open import open_cells
from histocyte.slides.picture import read_picture

__all__ = [
    "SetReader",
    "as_ids",
    "cells_of",
    "files_in",
    "found_instead",
    "is_in",
    "labelled",
    "listed",
    "paired",
    "raw_picture",
    "tcga_patient",
]

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class SetReader:
    """A set, and how its files are read.

    Attributes:
        title: The set as its authors call it.
        card: What is known of it.
        layout: Files and folders that its distribution has, in a line.
        entries: Source folder or file → its images, listed but not read.
    """

    title: str
    card: DatasetCard
    layout: str
    entries: Callable[[Path], Sequence[Entry]]


def listed(entries: Iterable[_Item], source: Path, reader: str, layout: str) -> list[_Item]:
    """Entries, or what they are made of, if there are any.

    Raises:
        InputError: None: says what was expected and what is there.
    """
    found = list(entries)
    if not found:
        raise InputError(
            f"'{source}' is not {reader} as it is distributed. Expected: {layout}. {found_instead(source)}"
        )
    return found


def found_instead(source: Path) -> str:
    """A sentence on what a folder holds."""
    if not source.is_dir():
        return "Found: a file." if source.is_file() else "It is not there."
    names = sorted(f"{p.name}/" if p.is_dir() else p.name for p in source.iterdir() if not p.name.startswith("."))
    return f"Found: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}." if names else "Found: an empty folder."


def files_in(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files below a folder that end so, in order; hidden ones, as macOS leaves them in archives, are passed over."""
    if not folder.is_dir():
        return []
    found = (p for p in folder.rglob("*") if p.suffix.lower() in suffixes and not p.name.startswith("."))
    return sorted(p for p in found if "__MACOSX" not in p.parts and p.is_file())


def is_in(path: Path, source: Path, word: str) -> bool:
    """Whether a folder between a source and a file, or the source itself, has a word in its name, in any case."""
    folders = path.relative_to(source).parts[:-1]
    return any(word in part.lower() for part in (source.name, *folders))


def paired(pictures: Iterable[Path], labels: Iterable[Path], *, drop: str = "") -> list[tuple[Path, Path]]:
    """Images with the label file of the same name, in order.

    Args:
        pictures: Image files.
        labels: Label files.
        drop: What label files have at the end of their names and images do not.

    Raises:
        InputError: An image has several label files.
    """
    by_name: dict[str, list[Path]] = {}
    for path in labels:
        by_name.setdefault(path.stem.removesuffix(drop), []).append(path)
    pairs = []
    for picture in pictures:
        own = by_name.get(picture.stem, [])
        near = [p for p in own if len(own) == 1 or p.parent.parent == picture.parent.parent]
        if len(near) > 1:
            raise InputError(f"'{picture}' has several label files: {', '.join(str(p) for p in near[:3])}.")
        if near:
            pairs.append((picture, near[0]))
    return pairs


def raw_picture(path: Path) -> tuple[NDArray[np.uint8], bytes, str]:
    """Pixels of an image file, and its bytes and ending where they can be kept as they are.

    Raises:
        SlideError: It cannot be read.
    """
    pixels = read_picture(path).pixels
    if path.suffix.lower() not in KEPT_AS_THEY_ARE or not _shows_the_same(path, pixels):
        return pixels, b"", ""
    return pixels, path.read_bytes(), path.suffix.lower()


def _shows_the_same(path: Path, pixels: NDArray[np.uint8]) -> bool:
    """Whether the plain decoder of shards sees the pixels of our reader: not in 16 bits, palettes or with alpha."""
    import cv2

    stored = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return stored is not None and np.array_equal(stored[..., ::-1], pixels)


def labelled(
    picture: Path,
    source: Path,
    *,
    instances: NDArray[np.int32] | None = None,
    classes: NDArray[np.int64] | None = None,
    points: NDArray[np.float64] | None = None,
    ignored: NDArray[np.bool_] | None = None,
    tissue_map: NDArray[np.uint8] | None = None,
    mpp: float | None = None,
    group: str = "",
    tissue: str = "",
    split: str = "",
) -> LabelledImage:
    """The image of a file with what its labels say."""
    pixels, encoded, suffix = raw_picture(picture)
    return LabelledImage(
        pixels,
        instances,
        classes,
        points,
        ignored,
        tissue_map,
        encoded=encoded,
        suffix=suffix,
        mpp=mpp,
        group=group,
        tissue=tissue,
        split=split,
        source=picture.relative_to(source).as_posix() if picture.is_relative_to(source) else picture.name,
    )


def cells_of(
    labels: Path, shape: tuple[int, int], taxonomy: Taxonomy | None = None, *, drop: str = ""
) -> tuple[NDArray[np.int32], NDArray[np.int64] | None]:
    """Instances (H, W) and the class code of each id that a file of cells has, whatever its format.

    Args:
        labels: A label map, GeoJSON, .mat or another file of cells.
        shape: H, W of the image.
        taxonomy: Classes in the order of their codes, which the file's own names are looked up in; None for no classes.
        drop: What the file's names of classes have in front and the taxonomy's do not.

    Raises:
        InputError: A broken file, another size than the image, or a class that the taxonomy lacks.
    """
    cells = open_cells(labels, names={} if taxonomy is None else dict(enumerate(taxonomy.names, 1)))
    if cells.shapes.size is not None and cells.shapes.size != shape:
        height, width = cells.shapes.size
        raise InputError(f"'{labels}' is {width} × {height} px, and its image is {shape[1]} × {shape[0]} px.")
    drawn = cells.shapes.draw(shape)
    present = np.unique(drawn.labels)
    present = present[present > 0]
    if taxonomy is None:
        return drawn.labels, None
    codes = {name.casefold(): code for code, name in enumerate(taxonomy.names, 1)}
    own = {code: codes.get(name.removeprefix(drop).casefold()) for code, name in cells.class_names.items()}
    if unknown := [cells.class_names[code] for code, known in own.items() if known is None]:
        raise InputError(
            f"'{labels}' has the class '{unknown[0]}', which is not one of {', '.join(taxonomy.names)}. Name "
            f"the classes "
            "with --classes."
        )
    types = np.array([own.get(int(code), int(code)) or 0 for code in cells.types], np.int64)
    return drawn.labels, types[present - 1]


def as_ids(labels: NDArray[Any], where: object) -> NDArray[np.int32]:
    """A label map of whole numbers as it is needed.

    Raises:
        InputError: It holds numbers that are no ids: negative, too large, or not whole.
    """
    if labels.dtype.kind not in "iuf" or not labels.size:
        raise InputError(f"'{where}' holds no label map of whole numbers.")
    low, high = labels.min(), labels.max()
    if not 0 <= low <= high < 1 << 31 or (labels.dtype.kind == "f" and (labels != np.rint(labels)).any()):
        raise InputError(f"'{where}' holds numbers from {low} to {high}; ids are whole numbers from 0.")
    return labels.astype(np.int32)


def tcga_patient(name: str) -> str:
    """TCGA-18-5592-01Z-00-DX1 → TCGA-18-5592, the patient; another name is its own group."""
    return name[name.index("TCGA") :][:12] if "TCGA" in name else name
