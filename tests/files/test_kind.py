"""What files are said to be that are something else than they are called."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from histocyte.files.kind import but_is, what_is


def zipped(*names: str) -> bytes:
    with zipfile.ZipFile(content := io.BytesIO(), "w") as archive:
        for name in names:
            archive.writestr(name, "x" * 2000)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "empty"),
        (b"\0" * 2000, "nothing but zeros"),
        (b"\n <!DOCTYPE HTML>\n<html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "a pointer of Git LFS"),
        (b'{"message": "Not Found"}', "a JSON document"),
        (b"Access denied.\nPlease log in.", "a text that begins with 'Access denied. Please log in.'"),
        (b"Zugriff verweigert f\xc3\xbcr" + b" alle" * 300, "a text"),
        (b"\x89HDF\r\n\x1a\n\0\0", "an HDF5 file"),
        (zipped("w/data.pkl", "w/data/0"), "a PyTorch file"),
        (zipped("w/data.pkl", "w/constants.pkl", "w/code/x.py"), "a TorchScript program"),
        (zipped("w/data.pkl")[:900], "a cut-off zip archive"),
        (zipped("readme.txt"), "a zip archive"),
        (zipped("a.npy"), "an archive of NumPy arrays"),
        (b"\x80\x02}q\0", "a pickle"),
        ((900).to_bytes(8, "little") + b'{"w":', "a safetensors file, cut off"),
        (b"\xff\xfe\0\x13" * 600, ""),
        (b"abc" * 500 + b"\xff", "a text"),
        (b"abc" * 100 + b"\xff\xff" + b"abc" * 500, ""),
    ],
)
def test_files_are_known_by_their_content(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    found = what_is(path)
    assert found.startswith(kind)
    assert bool(found) == bool(kind)
    assert but_is(path) == (f": it is {found}" if kind else "")


def test_a_file_that_cannot_be_read_is_no_second_error(tmp_path: Path) -> None:
    assert not but_is(tmp_path / "gone")
