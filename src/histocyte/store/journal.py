"""Finished blocks on disk, so that whatever stops a run costs at most the blocks in flight.

A journal is a folder: `signature.json` says what run it belongs to, and each finished block is one
`block-<index>.arrow`, written under another name, flushed to the disk and then renamed. A block file is
therefore there whole or not at all; its checksum catches what the disk does to it later. It also holds of which block
of which run it is, so that one that was copied or renamed counts as not done.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from histocyte.core.cells import Cells
from histocyte.core.errors import DiskError
from histocyte.files.atomic import publish
from histocyte.files.lock import FolderLock, HoldsFolder
from histocyte.files.writable import hindrance
from histocyte.store.table import pack, unpack

__all__ = ["Journal", "StoredBlock"]

_BLOCK = re.compile(r"block-(\d+)\.arrow")
_PART = ".part"
_SIGNATURE = "signature.json"


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """What one finished block reported.

    Attributes:
        cells: N cells, level-0 px: those whose centre lies in the block's core, and those just beyond it.
        in_band: (N,) whether the centre lies in the band along the borders between cores.
        stats: Counters and seconds of the block.
    """

    cells: Cells
    in_band: NDArray[np.bool_]
    stats: dict[str, object]


class Journal(HoldsFolder):
    """The finished blocks of one run in a folder that one process at a time works on.

    Attributes:
        folder: Where it is.
        restarted_because: What differed when an older journal in the folder was of another run and was
            thrown away; None if there was none or it is being resumed.
    """

    folder: Path
    restarted_because: str | None

    def __init__(self, folder: Path, signature: Mapping[str, object], lock: FolderLock) -> None:
        self.folder = folder
        self._lock = lock
        wanted = _plain(signature)
        self._run = hashlib.sha256(orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS)).hexdigest()
        self.restarted_because = self._reason_to_restart(wanted)
        if self.restarted_because is not None:
            self._remove_files()
        for leftover in folder.glob(f"*{_PART}"):
            leftover.unlink()
        if not (folder / _SIGNATURE).exists():
            _write(folder / _SIGNATURE, orjson.dumps(wanted, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
        self._done = {index for index, path in self._block_files().items() if self._is_whole(index, path)}

    @classmethod
    def open(cls, folder: Path, *, signature: Mapping[str, object]) -> Journal:
        """Begin a journal in `folder`, or resume the one that is there if it is of the same run.

        Args:
            folder: Made if need be.
            signature: Everything the blocks' content depends on (slide, model, parameters), JSON-like. A
                journal with another signature is thrown away, see `restarted_because`.

        Raises:
            BusyError: Another process works on the folder.
            DiskError: The folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _disk_error(folder, error) from error
        lock = FolderLock(folder)
        try:
            return cls(folder, signature, lock)
        except BaseException as error:
            lock.release()
            if isinstance(error, OSError):
                raise _disk_error(folder, error) from error
            raise

    def done(self) -> set[int]:
        """Indices of the blocks that are finished and whole."""
        return set(self._done)

    def append(self, index: int, cells: Cells, in_band: NDArray[np.bool_], stats: Mapping[str, object]) -> None:
        """Store a finished block; when this returns, it is on the disk.

        Args:
            index: Number of the block in its grid.
            cells: Its N cells, level-0 px.
            in_band: (N,) see `StoredBlock`.
            stats: JSON-like.

        Raises:
            DiskError: It cannot be written, e.g. the disk is full; nothing of it is left behind.
        """
        if len(in_band) != len(cells):
            raise ValueError(f"{len(in_band)} flags for {len(cells)} cells.")
        _write(self._block_path(index), pack(cells, in_band, stats, origin=self._origin(index)))
        self._done.add(index)

    def read(self, index: int) -> StoredBlock:
        """A finished block.

        Raises:
            KeyError: The block is not in `done()`.
            DiskError: Its file has been lost or damaged since the journal was opened.
        """
        if index not in self._done:
            raise KeyError(index)
        path = self._block_path(index)
        try:
            return StoredBlock(*unpack(path.read_bytes(), origin=self._origin(index)))
        except (OSError, ValueError) as error:
            raise DiskError(f"{path} is no longer readable ({error}). Run again: the block is then redone.") from error

    def discard(self) -> None:
        """Remove the journal from the disk as far as may be, and the folder too if nothing else is in it."""
        with suppress(OSError):
            self._remove_files()
        self._done.clear()
        self.close()
        with suppress(OSError):  # someone keeps other files there
            self.folder.rmdir()

    def _origin(self, index: int) -> str:
        return f"block {index} of run {self._run}"

    def _is_whole(self, index: int, path: Path) -> bool:
        """Whether a block file can be read and is what its name says; one that is not is removed."""
        try:
            unpack(path.read_bytes(), origin=self._origin(index))
        except ValueError:
            path.unlink()
            return False
        return True

    def _block_path(self, index: int) -> Path:
        return self.folder / f"block-{index:06d}.arrow"

    def _block_files(self) -> dict[int, Path]:
        named = ((_BLOCK.fullmatch(path.name), path) for path in self.folder.iterdir())
        return {int(match[1]): path for match, path in named if match and path == self._block_path(int(match[1]))}

    def _reason_to_restart(self, wanted: dict[str, object]) -> str | None:
        path = self.folder / _SIGNATURE
        if not path.exists():
            return f"{_SIGNATURE} is missing" if self._block_files() else None
        try:
            there = orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError:
            return f"{_SIGNATURE} is damaged"
        return None if there == wanted else _difference(there, wanted)

    def _remove_files(self) -> None:
        # The signature last: if we are stopped half-way, what is left still says what it is.
        for path in [*self._block_files().values(), self.folder / _SIGNATURE]:
            path.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole, even after a power cut, or not at all."""
    part = path.with_name(path.name + _PART)
    try:
        with open(part, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        publish(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise _disk_error(path, error) from error


def _disk_error(path: Path, error: OSError) -> DiskError:
    why = hindrance(path.parent) or error.strerror or error
    return DiskError(
        f"Cannot write {path}: {why}. Make room or choose another output folder, then run the "
        "same command again: finished blocks are kept."
    )


def _plain(value: Mapping[str, object]) -> dict[str, object]:
    """The signature as it reads back from JSON, so that tuples and numpy numbers compare as what they become."""
    plain = orjson.loads(orjson.dumps(dict(value), option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS))
    assert isinstance(plain, dict)
    return plain


def _difference(there: object, wanted: object, name: str = "") -> str:
    if isinstance(there, dict) and isinstance(wanted, dict):
        keys = [key for key in sorted(there.keys() | wanted.keys()) if there.get(key) != wanted.get(key)]
        return "; ".join(_difference(there.get(k), wanted.get(k), f"{name}.{k}" if name else k) for k in keys)
    return f"{name or _SIGNATURE} was {_short(there)}, now {_short(wanted)}"


def _short(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."
