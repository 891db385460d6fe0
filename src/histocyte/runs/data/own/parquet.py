"""Parquet as sets are published on Hugging Face: images, and masks of instances with categories, or label maps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import plain_tissue
from histocyte.datasets.labelled_image import Entry, LabelledImage
from histocyte.files.foreign import foreign_parser
from histocyte.runs.data.own.asked import Asked
from histocyte.runs.data.sets.public_set import SetReader, files_in, listed

__all__ = ["parquet"]

_LAYOUT = (
    ".parquet files with a column 'image' (bytes of an image file) and either 'instances' (a list of masks, with "
    "'categories') or 'label' or 'mask' (a label map)"
)
_MAPS = ("label", "labels", "mask", "instance_map", "inst_map")
_SPLITS = ("train", "test", "validation", "fold1", "fold2", "fold3")


def parquet(source: Path, asked: Asked) -> SetReader:
    """The reader of one or several Parquet files.

    Categories count from 0, as published; --classes names them in their order.

    Raises:
        InputError: No such file, or columns that are not there.
    """
    paths = [source] if source.is_file() else files_in(source, (".parquet",))
    taxonomy = asked.taxonomy
    return SetReader(
        source.name,
        asked.card(source, taxonomy),
        _LAYOUT,
        lambda _: listed((e for path in paths for e in _file(path, source, taxonomy is not None)), source, "", _LAYOUT),
    )


def _file(path: Path, source: Path, classed: bool) -> Iterator[Entry]:
    import pyarrow.parquet as pq

    with foreign_parser(lambda why: InputError(f"'{path}' cannot be read ({why}). Expected: {_LAYOUT}.")):
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    label = "instances" if "instances" in names else next((name for name in _MAPS if name in names), None)
    if "image" not in names or label is None:
        raise InputError(f"'{path}' has the columns {', '.join(names)}. Expected: {_LAYOUT}.")
    if classed and label == "instances" and "categories" not in names:
        raise InputError(f"'{path}' has no column 'categories', and --classes names some.")
    place = path.relative_to(source).as_posix() if source.is_dir() else path.name
    split = next((part for part in _SPLITS if part in path.stem.lower()), "")
    number = 0
    reader = _Rows(path)
    for group, rows in enumerate(groups):
        for row in range(rows):
            yield Entry(
                f"{path.stem}_{number:06d}",
                partial(reader.image, group, row, label, classed, split, f"{place}[{number}]"),
            )
            number += 1


class _Rows:
    """Rows of a file, a group of them at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._group, self._rows = -1, list[dict[str, Any]]()

    def image(self, group: int, row: int, label: str, classed: bool, split: str, place: str) -> LabelledImage:
        import pyarrow.parquet as pq

        with foreign_parser(lambda why: InputError(f"'{place}' of '{self.path}' cannot be read ({why}).")):
            if group != self._group:
                self._rows = pq.ParquetFile(self.path).read_row_group(group).to_pylist()
                self._group = group
            found = self._rows[row]
            encoded = _bytes(found["image"])
            pixels = cv2.cvtColor(_decoded(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            labels, classes = _labels(found, label, pixels.shape[:2], classed)
            tissue = found.get("tissue")
        return LabelledImage(
            pixels,
            labels,
            classes,
            encoded=encoded if encoded.startswith(b"\x89PNG") else b"",
            suffix=".png",
            tissue=plain_tissue(tissue) if isinstance(tissue, str) else "",
            group=str(found.get("group") or found.get("patient") or ""),
            split=str(found.get("split") or split),
            source=place,
        )


def _labels(
    row: dict[str, Any], label: str, shape: tuple[int, ...], classed: bool
) -> tuple[NDArray[np.int32], NDArray[np.int64] | None]:
    if label != "instances":
        labels = _decoded(_bytes(row[label]), cv2.IMREAD_UNCHANGED)
        if labels.ndim != 2 or labels.shape != shape:
            raise ValueError(f"its label map is {labels.shape}, and its image {shape}")
        return labels.astype(np.int32), None
    labels = np.zeros(shape, np.int32)
    codes = [int(code) + 1 for code in row.get("categories") or ()] or [0] * len(row["instances"])
    for number, file in enumerate(row["instances"], 1):
        labels[_decoded(_bytes(file), cv2.IMREAD_GRAYSCALE) > 0] = number
    present = np.unique(labels)
    return labels, np.array(codes, np.int64)[present[present > 0] - 1] if classed else None


def _bytes(file: Any) -> bytes:
    return bytes(file["bytes"] if isinstance(file, dict) else file)


def _decoded(content: bytes, how: int) -> NDArray[Any]:
    found = cv2.imdecode(np.frombuffer(content, np.uint8), how | cv2.IMREAD_IGNORE_ORIENTATION)
    if found is None:
        raise ValueError("it is not an image")
    return found
