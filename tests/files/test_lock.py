"""One process at a time in a folder; the journal's tests cover forks and file systems without locks."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from histocyte.core.errors import BusyError, DiskError, InputError
from histocyte.files.lock import FolderLock

HOLD = """
import sys
from pathlib import Path
from histocyte.files.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_makes_its_folder_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    with FolderLock(folder), pytest.raises(InputError, match=f"run is being worked on by process {os.getpid()} on "):
        FolderLock(folder)
    assert list(folder.iterdir()) == []
    FolderLock(folder).release()


def test_an_error_gives_the_folder_free(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), FolderLock(tmp_path):
        raise RuntimeError
    FolderLock(tmp_path).release()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "held"
        with pytest.raises(InputError, match=f"process {other.pid} on "):
            FolderLock(tmp_path)
        other.kill()
    assert (tmp_path / "lock").exists()
    FolderLock(tmp_path).release()
    assert not (tmp_path / "lock").exists()


def test_a_file_where_the_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(DiskError, match="Choose another output folder"):
        FolderLock(tmp_path / "run")


def test_a_folder_that_goes_while_the_lock_is_taken_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, folder = os.open, tmp_path / "run"

    def open_late(*arguments: Any, **options: Any) -> int:
        monkeypatch.setattr(os, "open", opened)
        folder.rmdir()  # as another process that is done with it
        return opened(*arguments, **options)

    monkeypatch.setattr(os, "open", open_late)
    FolderLock(folder).release()
    assert folder.is_dir()


def test_a_lock_that_cannot_be_signed_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(DiskError, match="No space left"):
            FolderLock(tmp_path)
    FolderLock(tmp_path).release()


def test_the_holder_is_named_apart_from_the_advice(tmp_path: Path) -> None:
    with FolderLock(tmp_path), pytest.raises(BusyError) as caught:
        FolderLock(tmp_path)
    assert caught.value.holder.startswith(f"process {os.getpid()} on ")
