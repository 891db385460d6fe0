"""Files that are there whole or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from histocyte.core.errors import DiskError
from histocyte.files.writable import hindrance

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["publish", "remove", "write_atomically"]


@contextmanager
def write_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes its place at `path` when the block ends, and vanishes if the block raises.

    The content goes to a hidden file beside it, is flushed to the disk and then renamed; a file of the same
    name stays as it was until then. What an earlier, killed process left is removed.

    Yields:
        The open binary file, seekable.

    Raises:
        DiskError: The disk is full, or the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _saying_where(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(path)
            target = _Target(part, path)
        with io.BufferedWriter(target) as handle:
            yield handle
            handle.flush()
            with _saying_where(path):
                os.fsync(handle.fileno())
        with _saying_where(path):
            publish(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def publish(part: Path, path: Path) -> None:
    """Give a file that is written and flushed its name, for good: also after a power cut.

    Raises:
        OSError: It cannot be renamed, or the folder not flushed.
    """
    os.replace(part, path)
    _flush_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file for good, also after a power cut; one that is not there is none.

    Raises:
        DiskError: It may not be removed.
    """
    try:
        path.unlink()
        _flush_folder(path.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        why = hindrance(path.parent) or error.strerror or error
        raise DiskError(f"Cannot remove {path}: {why}. Make it removable or choose another output folder.") from error


def _flush_folder(path: Path) -> None:
    if os.name == "nt":  # no handle on a folder there; NTFS journals renames itself
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class _Target(io.FileIO):
    """A file whose own failures, and no others of the code that writes it, are told as such."""

    def __init__(self, part: Path, path: Path) -> None:
        super().__init__(part, "wb")
        self._path = path

    def write(self, content: ReadableBuffer, /) -> int:
        with _saying_where(self._path):
            return super().write(content)


@contextmanager
def _saying_where(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = hindrance(path.parent) or error.strerror or error
        raise DiskError(
            f"Cannot write {path}: {why}. Make room or choose another output folder, and run again."
        ) from error


def _remove_leftovers(path: Path) -> None:
    prefix, suffix = f".{path.name}.", ".part"
    for leftover in path.parent.iterdir():
        number = leftover.name.removeprefix(prefix).removesuffix(suffix)
        if leftover.name == f"{prefix}{number}{suffix}" and number.isdecimal() and not _is_running(int(number)):
            leftover.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # asking about a process by its number would end it there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # someone else's
        return True
    return True
