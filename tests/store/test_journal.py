from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histocyte.core.cells import Cells
from histocyte.core.errors import DiskError, InputError
from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import Taxonomy
from histocyte.store.journal import Journal
from histocyte.store.table import pack, unpack

SIGNATURE = {"slide": "abc", "model": {"hash": "123", "mpp": 0.5}, "core_px": 2048, "size": (10, 20)}


def some_cells(n: int = 5, *, seed: int = 0, taxonomy: Taxonomy = CONSEP, embeddings: int | None = None) -> Cells:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 30, n)
    return Cells(
        rng.uniform(0, 1e5, (n, 2)),
        rng.uniform(0, 1e5, (sizes.sum(), 2)),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        rng.random(n, np.float32),
        rng.random((n, len(taxonomy)), np.float32),
        rng.random(n, np.float32),
        taxonomy,
        0.2527,
        None if embeddings is None else rng.random((n, embeddings), np.float32),
    )


def assert_same(left: Cells, right: Cells) -> None:
    for name in ("xy", "contour_xy", "contour_offsets", "area_um2", "probabilities", "scores"):
        a, b = getattr(left, name), getattr(right, name)
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)
    assert (left.taxonomy, left.mpp) == (right.taxonomy, right.mpp)
    assert (left.embeddings is None) == (right.embeddings is None)
    if left.embeddings is not None:
        np.testing.assert_array_equal(left.embeddings, right.embeddings)


def flags(cells: Cells) -> np.ndarray:
    return np.arange(len(cells)) % 2 == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 40), st.sampled_from([CONSEP, Taxonomy("none", ())]), st.sampled_from([None, 3]))
def test_packing_loses_nothing(n, taxonomy, embeddings):
    cells = some_cells(n, taxonomy=taxonomy, embeddings=embeddings)
    back, in_band, stats = unpack(pack(cells, flags(cells), {"seconds": np.float32(0.5), "tiles": 7}))
    assert_same(back, cells)
    assert in_band.tolist() == flags(cells).tolist()
    assert stats == {"seconds": 0.5, "tiles": 7}


def test_a_block_file_is_an_arrow_stream():
    with pa.ipc.open_stream(pack(some_cells(5), np.ones(5, bool), {})) as reader:
        assert reader.read_all().num_rows == 5


def test_finished_blocks_are_there_after_reopening(tmp_path):
    with Journal.open(tmp_path / "a" / "journal", signature=SIGNATURE) as journal:
        assert journal.done() == set()
        for index in (3, 0):
            journal.append(index, some_cells(seed=index), np.zeros(5, bool), {"block": index})
    with Journal.open(tmp_path / "a" / "journal", signature=dict(SIGNATURE)) as journal:
        assert journal.restarted_because is None
        assert journal.done() == {0, 3}
        assert_same(journal.read(3).cells, some_cells(seed=3))
        assert journal.read(3).stats == {"block": 3}
        with pytest.raises(KeyError):
            journal.read(1)


def test_another_signature_starts_anew_and_says_what_differs(tmp_path):
    with Journal.open(tmp_path, signature=SIGNATURE) as journal:
        journal.append(0, some_cells(), np.zeros(5, bool), {})
    other = SIGNATURE | {"model": {"hash": "123", "mpp": 0.25}, "extra": True}
    with Journal.open(tmp_path, signature=other) as journal:
        assert journal.restarted_because == "extra was null, now true; model.mpp was 0.5, now 0.25"
        assert journal.done() == set()
    with Journal.open(tmp_path, signature=other) as journal:
        assert journal.restarted_because is None


@pytest.mark.parametrize("content", [None, b"{"])
def test_blocks_without_a_readable_signature_are_not_trusted(tmp_path, content):
    with Journal.open(tmp_path, signature=SIGNATURE) as journal:
        journal.append(0, some_cells(), np.zeros(5, bool), {})
    (tmp_path / "signature.json").unlink()
    if content is not None:
        (tmp_path / "signature.json").write_bytes(content)
    with Journal.open(tmp_path, signature=SIGNATURE) as journal:
        assert journal.done() == set()
        assert "signature.json" in (journal.restarted_because or "")


def test_damaged_and_half_written_files_count_as_not_done(tmp_path):
    with Journal.open(tmp_path, signature=SIGNATURE) as journal:
        for index in range(4):
            journal.append(index, some_cells(100), np.zeros(100, bool), {})
    files = sorted(tmp_path.glob("block-*"))
    files[0].write_bytes(files[0].read_bytes()[:-100])
    damaged = bytearray(files[1].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    files[1].write_bytes(damaged)
    files[2].write_bytes(b"")
    (tmp_path / "block-000009.arrow.part").write_bytes(b"half")
    with Journal.open(tmp_path, signature=SIGNATURE) as journal:
        assert journal.done() == {3}
    assert not list(tmp_path.glob("*.part"))
    assert len(list(tmp_path.glob("block-*"))) == 1


def test_damage_that_the_checksum_does_not_show_counts_as_not_done(tmp_path):
    with Journal.open(tmp_path, signature=SIGNATURE) as journal:
        journal.append(0, some_cells(), np.zeros(5, bool), {})
    path = tmp_path / "block-000000.arrow"
    stream = path.read_bytes()[:-32].replace(b"contour", b"Contour")
    path.write_bytes(stream + hashlib.sha256(stream).digest())
    with Journal.open(tmp_path, signature=SIGNATURE) as journal:
        assert journal.done() == set()
    assert not path.exists()


def test_a_copied_or_renamed_block_counts_as_not_done(tmp_path):
    with Journal.open(tmp_path / "a", signature=SIGNATURE) as journal:
        for index in (0, 1):
            journal.append(index, some_cells(seed=index), np.zeros(5, bool), {})
    block, other = tmp_path / "a" / "block-000000.arrow", tmp_path / "a" / "block-000001.arrow"
    for name in ("block-000099.arrow", "block-0.arrow"):
        (tmp_path / "a" / name).write_bytes(block.read_bytes())
    other.write_bytes(block.read_bytes())
    with Journal.open(tmp_path / "a", signature=SIGNATURE) as journal:
        assert journal.done() == {0}
    with Journal.open(tmp_path / "b", signature=SIGNATURE | {"slide": "other"}) as journal:
        journal.append(0, some_cells(), np.zeros(5, bool), {})
        block.write_bytes((tmp_path / "b" / block.name).read_bytes())
    with Journal.open(tmp_path / "a", signature=SIGNATURE) as journal:
        assert journal.done() == set()


def test_a_folder_that_may_no_longer_be_changed_is_one_error(tmp_path, monkeypatch):
    """As root may do anything, the system's answer is put in its place."""

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def append_without_permission() -> None:
        with monkeypatch.context() as patch, Journal.open(tmp_path, signature=SIGNATURE) as journal:
            for name in ("replace", "unlink"):
                patch.setattr(os, name, forbidden)
            journal.append(0, some_cells(), np.zeros(5, bool), {})

    with pytest.raises(DiskError, match=r"block-000000\.arrow: Permission denied") as caught:
        append_without_permission()
    assert isinstance(caught.value.__cause__, PermissionError)
    assert caught.value.__cause__.__context__ is None
    with Journal.open(tmp_path, signature=SIGNATURE) as journal, monkeypatch.context() as patch:
        journal.append(0, some_cells(), np.zeros(5, bool), {})
        patch.setattr(os, "unlink", forbidden)
        journal.discard()


def test_a_block_that_is_lost_later_is_an_error_that_says_so(tmp_path):
    with Journal.open(tmp_path, signature=SIGNATURE) as journal:
        journal.append(0, some_cells(), np.zeros(5, bool), {})
        (tmp_path / "block-000000.arrow").write_bytes(b"x" * 100)
        with pytest.raises(DiskError, match="block-000000.*Run again"):
            journal.read(0)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch, failing):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Journal.open(tmp_path, signature=SIGNATURE) as journal:
        journal.append(0, some_cells(), np.zeros(5, bool), {})
        with monkeypatch.context() as patch:
            patch.setattr(os, failing, full)
            with pytest.raises(DiskError, match=r"block-000001\.arrow: No space left"):
                journal.append(1, some_cells(), np.zeros(5, bool), {})
        assert journal.done() == {0}
        assert sorted(p.name for p in tmp_path.iterdir()) == ["block-000000.arrow", "lock", "signature.json"]


def test_a_folder_that_cannot_be_made_is_a_disk_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="file"):
        Journal.open(tmp_path / "file" / "journal", signature=SIGNATURE)


def test_flags_must_fit():
    with pytest.raises(ValueError, match="4 flags for 5 cells"):
        Journal.append(None, 0, some_cells(5), np.zeros(4, bool), {})  # type: ignore[arg-type]


def test_discard_leaves_other_peoples_files(tmp_path):
    (tmp_path / "notes.txt").touch()
    journal = Journal.open(tmp_path, signature=SIGNATURE)
    journal.append(0, some_cells(), np.zeros(5, bool), {})
    journal.discard()
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    Journal.open(tmp_path / "mine", signature=SIGNATURE).discard()
    assert not (tmp_path / "mine").exists()


HOLD = """
import sys, numpy as np
from pathlib import Path
from histocyte.store.journal import Journal
from histocyte.core.cells import Cells
from histocyte.core.taxonomies import CONSEP
journal = Journal.open(Path(sys.argv[1]), signature={"a": 1})
journal.append(0, Cells.empty(CONSEP, 0.25), np.zeros(0, bool), {})
print("held", flush=True)
sys.stdin.read()
"""


def test_two_processes_do_not_share_a_folder_and_a_killed_one_lets_go(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdin is not None
    try:
        assert other.stdout.readline().strip() == "held"
        with pytest.raises(InputError, match=f"being worked on by process {other.pid} on "):
            Journal.open(tmp_path, signature={"a": 1})
    finally:
        other.kill()
        other.wait()
        other.stdin.close()
        other.stdout.close()
    with Journal.open(tmp_path, signature={"a": 1}) as journal:
        assert journal.done() == {0}
        with pytest.raises(InputError, match=f"process {os.getpid()} "):
            Journal.open(tmp_path, signature={"a": 1})
    assert not (tmp_path / "lock").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_worker_neither_keeps_nor_breaks_the_lock(tmp_path):
    journal = Journal.open(tmp_path, signature={})
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        journal.close()  # as an interpreter that winds down would
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    try:
        with pytest.raises(InputError):
            Journal.open(tmp_path, signature={})
        journal.close()
        Journal.open(tmp_path, signature={}).close()
    finally:
        os.write(go[1], b"x")
        os.waitpid(child, 0)
        for end in (*ready, *go):
            os.close(end)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")
def test_where_the_file_system_has_no_locks_the_process_number_decides(tmp_path, monkeypatch):
    import fcntl
    import socket

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for holder, free in (
        (f"process {gone.pid} on {socket.gethostname()}", True),
        (f"process {os.getppid()} on {socket.gethostname()}", False),
        ("process 1 on elsewhere", False),
    ):
        (tmp_path / "lock").write_text(holder)
        if free:
            Journal.open(tmp_path, signature={}).close()
        else:
            with pytest.raises(InputError, match=holder):
                Journal.open(tmp_path, signature={})


def test_a_journal_moved_elsewhere_still_reads(tmp_path):
    with Journal.open(tmp_path / "a", signature=SIGNATURE) as journal:
        journal.append(0, replace(some_cells(), mpp=1.0), np.zeros(5, bool), {})
    (tmp_path / "a").rename(tmp_path / "b")
    with Journal.open(tmp_path / "b", signature=SIGNATURE) as journal:
        assert journal.read(0).cells.mpp == 1.0
