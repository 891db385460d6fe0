"""Import a set of labelled images into the uniform form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.listener import SILENT, Listener
from histocyte.datasets.cards import DatasetCard
from histocyte.datasets.shards.describe import Description
from histocyte.datasets.shards.write import write_shards
from histocyte.files.lock import FolderLock
from histocyte.runs.data.own.asked import Asked
from histocyte.runs.data.sets.public_set import SetReader
from histocyte.runs.data.sets.registry import OWN, SETS

__all__ = ["import_data"]


def import_data(
    name: str,
    source: str | Path,
    out: str | Path,
    *,
    set_name: str = "",
    mpp: float | None = None,
    classes: str | None = None,
    licence: str | None = None,
    stop: Callable[[], bool] = lambda: False,
    listener: Listener = SILENT,
) -> Description:
    """Read a public set as it is distributed, or data of your own, and write it as Parquet shards.

    An interrupted import goes on where it was by the same call.

    Args:
        name: A public set ("pannuke", "consep", …) or a form of your own data ("folder", "labels", "coco", "parquet").
        source: Folder or file as it was downloaded and unpacked.
        out: Folder of the shards.
        set_name: What the set is to be called; its own name where empty.
        mpp: Resolution, µm/px, of own data that does not state it.
        classes: Class names of own data with commas between them, or a known list.
        licence: Licence of own data.
        stop: Asked between two images.
        listener: Told how far it is.

    Returns:
        What was imported, with its counts.

    Raises:
        Stopped: `stop` said so; the same call goes on.
        UnknownNameError: No such set or form.
        InputError: The source is not what was expected; says what was found.
        DiskError: The shards cannot be written.
    """
    source, out = Path(source), Path(out)
    if not source.exists():
        raise InputError(
            f"There is no file or folder '{source}'. Download and unpack the set first, and pass its folder."
        )
    reader = _reader(name, source, Asked(mpp, classes, licence or ""))
    card = reader.card
    if set_name:
        card = replace(card, name=set_name)
    entries = reader.entries(source)
    with FolderLock(out):
        return write_shards(entries, Description(_plain(card), reader.title), out, stop=stop, listener=listener)


def _reader(name: str, source: Path, asked: Asked) -> SetReader:
    wanted = name.strip().casefold()
    if wanted in OWN:
        reader: SetReader = OWN[wanted](source, asked)
        return reader
    if wanted not in SETS:
        raise UnknownNameError("data set or form of data", name, [*SETS, *OWN])
    if asked != Asked():
        raise InputError(
            f"'{wanted}' has classes, a resolution and a licence of its own; leave out --classes, --mpp and --licence."
        )
    public: SetReader = SETS[wanted]  # type: ignore[assignment]
    return public


def _plain(card: DatasetCard) -> DatasetCard:
    """The card without what is written for each image."""
    return replace(card, group=lambda name: name, mpp_by_image={})
