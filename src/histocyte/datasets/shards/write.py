"""Write images into shards, each whole or not at all, and go on where an interrupted import ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from histocyte.core.errors import InputError
from histocyte.core.listener import SILENT, Listener, Stopped
from histocyte.datasets.labelled_image import Entry
from histocyte.datasets.shards.describe import DESCRIPTION, Description, shard_paths
from histocyte.datasets.shards.form import row_of, schema
from histocyte.files.atomic import remove, write_atomically
from histocyte.files.foreign import foreign_parser

__all__ = ["write_shards"]

_SHARD_BYTES, _SHARD_IMAGES = 64 << 20, 1000
"""A shard is full at so many bytes or images, whatever comes first."""


def write_shards(
    entries: Sequence[Entry],
    description: Description,
    folder: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    listener: Listener = SILENT,
    shard_bytes: int = _SHARD_BYTES,
    shard_images: int = _SHARD_IMAGES,
) -> Description:
    """Write a set in the uniform form.

    What an earlier, interrupted call finished stays, if it was of the same images. Only a shard's images are held.

    Args:
        entries: All images of the set, in order.
        description: What is known of it; counts are filled in.
        folder: Where the shards go.
        stop: Asked between two images; the images of finished shards stay.
        listener: Told how far it is.
        shard_bytes: Size at which a shard is finished.
        shard_images: Images at which a shard is finished.

    Returns:
        The description with its counts, also written.

    Raises:
        Stopped: `stop` said so; finished shards stay.
        InputError: An image that cannot be read, two of one name, or a folder that holds another set.
        DiskError: It cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if twice := [name for name, count in Counter(entry.name for entry in entries).items() if count > 1]:
        raise InputError(f"Two images of the set are called '{twice[0]}'.")
    remove(folder / DESCRIPTION)  # until all of it is there, nothing takes it for whole
    done = _finished(folder, [entry.name for entry in entries])
    number = len(shard_paths(folder))
    if done:
        listener.say(f"Going on behind {done:,} of {len(entries):,} images, which are in '{folder}' already.")
    rows: list[dict[str, Any]] = []

    def finish() -> None:
        nonlocal number, rows
        with write_atomically(folder / f"shard-{number:05d}.parquet") as file:
            pq.write_table(pa.Table.from_pylist(rows, schema()), file, compression="zstd", row_group_size=64)
        number, rows = number + 1, []

    size = 0
    with listener.task(f"importing {description.card.name}", len(entries), unit="images") as task:
        task.advance(done)
        for task_done, entry in enumerate(entries[done:]):
            if stop():
                raise Stopped(f"{done + task_done:,} of {len(entries):,} images have been read; finished shards stay")
            row = row_of(entry.name, entry.read())
            rows.append(row)
            size += sum(
                len(row[key]["bytes"]) for key in ("image", "instances", "ignored", "tissue_map") if row.get(key)
            )
            if size >= shard_bytes or len(rows) >= shard_images:
                finish()
                size = 0
            task.advance()
        if rows:
            finish()
    whole = _counted(folder, description)
    whole.write(folder)
    return whole


def _finished(folder: Path, names: Sequence[str]) -> int:
    """How many images finished shards hold.

    Raises:
        InputError: Other images than the first ones of this set.
    """
    import pyarrow.parquet as pq

    found: list[str] = []
    for path in shard_paths(folder):
        with foreign_parser(lambda why, path=path: InputError(f"'{path}' cannot be read ({why}). Delete it.")):  # type: ignore[misc]
            found += pq.read_table(path, columns=["name"])["name"].to_pylist()
    if found != list(names[: len(found)]):
        raise InputError(
            f"'{folder}' holds shards of other images ('{found[0]}', …). Choose another folder, or delete them first."
        )
    return len(found)


def _counted(folder: Path, description: Description) -> Description:
    """The description with the counts of what was written."""
    import pyarrow.parquet as pq

    images = labels = 0
    by_code: Counter[int] = Counter()
    by_split: Counter[str] = Counter()
    for path in shard_paths(folder):
        for batch in pq.ParquetFile(path).iter_batches(columns=["count", "classes", "split"]):
            for row in batch.to_pylist():
                images, labels = images + 1, labels + row["count"]
                by_code.update(row["classes"] or ())
                by_split.update([row["split"]] if row["split"] else ())
    card = description.card
    named = {name: by_code[code] for code, name in enumerate(card.classes, 1)}
    if unknown := sum(by_code.values()) - sum(named.values()):
        named["class not known"] = unknown
    # Masks of tissue have a class in each pixel, and none of a region.
    return Description(card, description.title, images, labels, {} if card.areas else named, dict(by_split))
