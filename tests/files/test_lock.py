"""One process at a time in a folder; the journal's tests cover forks and file systems without locks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from histocyte.core.errors import DiskError, InputError
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
