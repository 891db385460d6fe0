"""What a file is by its first bytes, for messages about files that are something else than they are called."""

from __future__ import annotations

import zipfile
from pathlib import Path

__all__ = ["PICKLE", "PYTORCH", "TORCHSCRIPT", "but_is", "what_is"]

PYTORCH, TORCHSCRIPT, PICKLE = "a PyTorch file", "a TorchScript program", "a pickle"
"""Among what `what_is` says."""

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself: fetch that with `git lfs pull`"),
    (b"/annex/objects/", "a pointer of git-annex, not the file itself: fetch that with `git annex get`"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras and TensorFlow write them"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"II+\x00", "a TIFF image"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a file packed with gzip: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"PAR1", "a Parquet table"),
)
_LOOKED_AT = 1024


def what_is(path: Path) -> str:
    """What a file seems to be, as "…" in "the file is …"; empty where nothing is known of it.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        begin = file.read(_LOOKED_AT)
    if not begin:
        return "empty"
    if not begin.strip(b"\0"):
        return "nothing but zeros at its beginning, as after a download or copy that failed"
    for bytes_, kind in _BEGINNINGS:
        if begin.startswith(bytes_):
            return kind
    text = begin.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page, as a download link gives it to those who are not logged in: download the file itself"
    if text.startswith((b"<?xml", b"<svg")):
        return "an XML document"
    if text.startswith((b"{", b"[")) and _is_text(begin):
        return "a JSON document"
    if begin.startswith(b"PK\x03\x04"):
        return _what_zip(path)
    if begin[8:10] == b'{"' and int.from_bytes(begin[:8], "little") < 2**32:
        header = int.from_bytes(begin[:8], "little")
        return "a safetensors file" + (", cut off" if path.stat().st_size < 8 + header else "")
    if begin[:1] == b"\x80" and begin[1:2] in b"\x02\x03\x04\x05":
        return PICKLE
    if begin[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    if _is_text(begin):
        return f"a text that begins with '{' '.join(begin.decode('utf-8', 'replace').split())[:40]}'"
    return ""


def but_is(path: Path) -> str:
    """What a file is, for the end of a sentence that says what it is not; empty where nothing is known of it."""
    try:
        kind = what_is(path)
    except OSError:
        return ""
    return f": it is {kind}" if kind else ""


def _what_zip(path: Path) -> str:
    try:
        if not zipfile.is_zipfile(path):
            return "a cut-off zip archive, as PyTorch writes them: copy or download it again"
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a damaged zip archive: copy or download it again"
    inner = {name.partition("/")[2] or name for name in names}
    if "constants.pkl" in inner:
        return TORCHSCRIPT
    if "data.pkl" in inner:
        return PYTORCH
    if "config.json" in inner and "model.weights.h5" in inner:
        return "a Keras model"
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays"
    return "a zip archive: unpack it first"


def _is_text(begin: bytes) -> bool:
    try:
        text = begin.decode()
    except UnicodeDecodeError as error:
        if len(begin) < _LOOKED_AT or error.start < len(begin) - 3:
            return False
        text = begin[: error.start].decode()  # a character cut at the end
    return all(c.isprintable() or c in "\t\r\n" for c in text)
