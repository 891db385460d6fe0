from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from histocyte.core.errors import DiskError, InputError
from histocyte.files.atomic import remove, write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_at_the_end(tmp_path):
    with write_atomically(tmp_path / "new" / "a.txt") as file:
        file.write(b"x")
        assert not (tmp_path / "new" / "a.txt").exists()
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"x"
    assert names(tmp_path / "new") == ["a.txt"]


@pytest.mark.parametrize("error", [InputError("bad"), KeyboardInterrupt(), FileNotFoundError(2, "a slide went away")])
def test_an_error_leaves_the_old_file_and_passes_unchanged(tmp_path, error):
    (tmp_path / "a.txt").write_bytes(b"old")

    def fail() -> None:
        with write_atomically(tmp_path / "a.txt") as file:
            file.write(b"new")
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"old"


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_is_named(tmp_path, monkeypatch, failing):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(DiskError, match=r"a\.txt: No space left on device"), write_atomically(tmp_path / "a.txt") as f:
        f.write(b"x")
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(DiskError, match="'.*/file' is a file and no folder"),
        write_atomically(tmp_path / "file" / "a.txt"),
    ):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="cannot ask for a process there")
def test_what_a_killed_process_left_is_removed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / f".a.txt.{gone.pid}.part").touch()
    (tmp_path / f".a.txt.{os.getppid()}.part").touch()
    (tmp_path / f".b.txt.{gone.pid}.part").touch()
    with write_atomically(tmp_path / "a.txt"):
        pass
    assert names(tmp_path) == sorted([f".a.txt.{os.getppid()}.part", f".b.txt.{gone.pid}.part", "a.txt"])


def test_a_file_is_removed_for_good_or_it_is_said(tmp_path, monkeypatch):
    (tmp_path / "a.txt").touch()
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda _: flushed.append(names(tmp_path)))
    remove(tmp_path / "a.txt")
    assert flushed == [[]]  # the folder, once the name is gone
    remove(tmp_path / "a.txt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DiskError, match="Cannot remove .*folder"):
        remove(tmp_path / "folder")
