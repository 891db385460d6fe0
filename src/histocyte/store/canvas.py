"""Probabilities of tissue over a whole slide, on disk: a file for each finished block, read back a strip at a time.

A block's file is written under another name, flushed and renamed, so that it is there whole or not at all; it holds
a checksum and of which block of which run it is. A run that was killed goes on with the blocks that are there.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.blocks import BlockGrid
from histocyte.core.errors import DiskError
from histocyte.files.atomic import remove, write_atomically
from histocyte.files.lock import FolderLock, HoldsFolder

__all__ = ["Canvas"]

_SIGNATURE = "signature.json"
_HEAD_BYTES = 64


class Canvas(HoldsFolder):
    """The canvas of one run in a folder that one process at a time works on.

    Args:
        folder: Made if need be.
        grid: Grid of the blocks, in px of the canvas.
        channels: C.
        signature: Everything that the content depends on; a canvas with another signature is thrown away.

    Raises:
        BusyError: Another process works on the folder.
        DiskError: The folder cannot be written.
    """

    def __init__(self, folder: Path, grid: BlockGrid, channels: int, signature: Mapping[str, Any]) -> None:
        self.folder, self.grid, self.channels = folder, grid, channels
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError(f"Cannot make '{folder}': {error.strerror}. Choose another output folder.") from error
        self._lock = FolderLock(folder)
        try:
            text = json.dumps(signature, sort_keys=True)
            self._run = hashlib.sha256(text.encode()).digest()
            self.restarted = self._begin(text)
            self._done = {index for index in range(len(grid)) if self._is_whole(index)}
        except BaseException:
            self._lock.release()
            raise

    def done(self) -> set[int]:
        """Indices of the blocks that are there and whole."""
        return set(self._done)

    def write(self, index: int, values: NDArray[np.uint8]) -> None:
        """Keep a finished block, (C, h, w) of its core; when this returns, it is on the disk.

        Raises:
            DiskError: It cannot be written; nothing of it is left behind.
        """
        core = self.grid[index].core
        if values.shape != (self.channels, core.height, core.width):
            raise ValueError(f"Block {index} has the shape {values.shape}.")
        packed = zlib.compress(values.tobytes(), 1)
        with write_atomically(self._path(index)) as file:
            file.write(self._head(index, packed) + packed)
        self._done.add(index)

    def strip(self, row: int) -> NDArray[np.uint8]:
        """(C, h, W) of one row of blocks over the canvas' whole width; zeros where no block is.

        Raises:
            DiskError: A file has been lost or damaged since the canvas was opened.
        """
        columns = self.grid.shape[1]
        height = self.grid[row * columns].core.height
        strip = np.zeros((self.channels, height, self.grid.size[0]), np.uint8)
        for index in range(row * columns, (row + 1) * columns):
            if index in self._done:
                core = self.grid[index].core
                values = self._read(index)
                if values is None:
                    raise DiskError(f"{self._path(index)} is no longer readable. Run again: the block is then redone.")
                strip[:, :, core.x : core.right] = values
        return strip

    def discard(self) -> None:
        """Remove the canvas from the disk as far as may be, and the folder too if nothing else is in it."""
        with suppress(OSError):
            for path in [*self.folder.glob("block-*.z"), self.folder / _SIGNATURE]:
                path.unlink(missing_ok=True)
        self._done.clear()
        self.close()
        with suppress(OSError):
            self.folder.rmdir()

    def _begin(self, text: str) -> bool:
        """Keep what is there if it is of the same run, else throw it away; says whether it was."""
        path = self.folder / _SIGNATURE
        with suppress(OSError):
            if path.read_text(encoding="utf-8") == text:
                return False
        before = sorted(self.folder.glob("block-*.z"))
        for each in before:
            remove(each)
        with write_atomically(path) as file:
            file.write(text.encode())
        return bool(before)

    def _is_whole(self, index: int) -> bool:
        if not self._path(index).is_file():
            return False
        if self._read(index) is not None:
            return True
        remove(self._path(index))
        return False

    def _read(self, index: int) -> NDArray[np.uint8] | None:
        """A block; None where its file is not what it should be."""
        core = self.grid[index].core
        shape = (self.channels, core.height, core.width)
        try:
            content = self._path(index).read_bytes()
            head, packed = content[:_HEAD_BYTES], content[_HEAD_BYTES:]
            if head != self._head(index, packed):
                return None
            return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(shape)
        except (OSError, ValueError, zlib.error):
            return None

    def _head(self, index: int, packed: bytes) -> bytes:
        whose = hashlib.sha256(self._run + index.to_bytes(8, "little")).digest()
        return whose + hashlib.sha256(packed).digest()

    def _path(self, index: int) -> Path:
        return self.folder / f"block-{index:06d}.z"
