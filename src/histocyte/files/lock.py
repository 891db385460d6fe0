"""One process at a time in a folder."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from histocyte.core.errors import BusyError, DiskError
from histocyte.files.writable import hindrance

__all__ = ["FolderLock", "HoldsFolder"]

_TEXT_BYTES = 200
_TRIES = 100
"""To get hold of a lock file that others remove under our hands."""
_held: set[int] = set()
"""Open descriptors of this process's locks."""


def _let_go_in_child() -> None:
    # A forked worker that outlives its parent would otherwise keep the parent's lock.
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


class FolderLock:
    """A lock on a folder that ends with the process that holds it, however that ends.

    Held from its making until `release`, or through a `with` block.

    Args:
        folder: Made if need be.

    Raises:
        BusyError: Another process (or another place in this one) holds it; the message names it.
        DiskError: The folder cannot be made, or the lock file not be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._descriptor = -1
        try:
            self._descriptor = self._acquire(folder)
            _sign(self._descriptor)
        except OSError as error:
            self.release()
            why = hindrance(folder) or error.strerror
            raise DiskError(f"Cannot write {self._path}: {why}. Choose another output folder.") from error

    def release(self) -> None:
        """Give the folder free; the lock file goes too, where it may be removed: left behind, it holds nobody up."""
        if self._descriptor not in _held:
            return
        _held.discard(self._descriptor)
        if sys.platform != "win32":  # Windows removes no open file; the lock file does no harm there
            with suppress(OSError):
                self._path.unlink()
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        """The lock, which is held already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the folder free."""
        self.release()

    def _acquire(self, folder: Path) -> int:
        for tries_left in reversed(range(_TRIES)):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:  # its holder removed the folder between our making it and our opening
                if not tries_left:
                    raise
                continue
            if not _try_lock(descriptor):
                holder = _holder(descriptor) or "another process"
                os.close(descriptor)
                raise BusyError(folder, holder)
            if self._is_current(descriptor):
                _held.add(descriptor)
                return descriptor
            os.close(descriptor)  # its holder removed the file between our opening and our locking it
        raise BusyError(folder, "one process after the other")

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False


class HoldsFolder:
    """What works in a folder that one process at a time has: closed, or at the end of its `with` block, it lets go."""

    _lock: FolderLock

    def close(self) -> None:
        """Let other processes have the folder; what is in it stays on the disk."""
        self._lock.release()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let other processes have the folder."""
        self.close()


def _sign(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())


def _holder(descriptor: int) -> str:
    """What the holder wrote about itself: 'process <number> on <host>'."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, _TEXT_BYTES).decode(errors="replace").strip()


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, _TEXT_BYTES, os.SEEK_SET)  # beyond the text, which others may still read
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import errno
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
                return not _may_be_alive(_holder(descriptor))
            return False
        return True

    def _may_be_alive(holder: str) -> bool:
        """For file systems without locks (some clusters' scratch): go by the process number in the file."""
        words = holder.split()
        if len(words) != 4 or not words[1].isdecimal():
            return False
        if words[3] != socket.gethostname():
            return True
        try:
            os.kill(int(words[1]), 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
