"""Images of a set in the uniform form, a few at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from histocyte.core.errors import InputError
from histocyte.datasets.labelled_image import LabelledImage
from histocyte.datasets.shards.describe import read_description, shard_paths
from histocyte.datasets.shards.form import row_image, schema
from histocyte.files.foreign import foreign_parser

__all__ = ["read_shards", "split_of", "splits_of"]


def split_of(path: Path) -> tuple[Path, tuple[str, ...]]:
    """A folder, and the official parts that are asked for behind an @: `sets/pannuke@fold1,fold2`.

    A folder whose own name has an @ is taken as it is.
    """
    name, at, parts = path.name.rpartition("@")
    if not at or path.exists():
        return path, ()
    return path.with_name(name), tuple(part.strip() for part in parts.split(","))


def splits_of(folder: Path, asked: Collection[str]) -> None:
    """See that a set has the parts that are asked for.

    Raises:
        InputError: It has not; says which there are.
    """
    there = read_description(folder).by_split
    if missing := [part for part in asked if part not in there]:
        has = ", ".join(there) if there else "none"
        raise InputError(f"'{folder}' has no part '{missing[0]}'. Its official parts: {has}.")


def read_shards(folder: Path, *, splits: Collection[str] = ()) -> Iterator[tuple[str, LabelledImage]]:
    """Names and images, in the order in which they were imported; few are held at a time.

    Args:
        folder: With dataset.json and the shards.
        splits: Official parts; all where empty.

    Raises:
        InputError: No shard, or one that is damaged.
    """
    paths = shard_paths(folder)
    if not paths:
        raise InputError(f"'{folder}' describes a set and has no shard of it. Import it again: histocyte data import.")
    for path in paths:
        for row in _rows(path):
            if not splits or row["split"] in splits:
                yield row["name"], row_image(row, where=str(path))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with foreign_parser(lambda why: InputError(f"'{path}' cannot be read ({why}). Import the set again.")):
        file = pq.ParquetFile(path)
        if missing := set(schema().names) - set(file.schema_arrow.names):
            raise ValueError(f"it lacks the column '{min(missing)}'")
        for batch in file.iter_batches(batch_size=16):
            yield from batch.to_pylist()
