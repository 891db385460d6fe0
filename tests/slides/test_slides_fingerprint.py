from __future__ import annotations

from pathlib import Path

from histocyte.slides.fingerprint import fingerprint_files


def test_size_and_both_ends_count(tmp_path: Path) -> None:
    path = tmp_path / "x"
    data = bytearray(5 << 20)

    def after(change: slice, value: bytes) -> str:
        changed = data.copy()
        changed[change] = value
        path.write_bytes(changed)
        return fingerprint_files([path])

    same = after(slice(0, 1), b"\0")
    assert after(slice(0, 1), b"\0") == same
    assert after(slice(7, 8), b"!") != same
    assert after(slice(-7, -6), b"!") != same
    assert after(slice(0, 1), b"") != same
    assert fingerprint_files([path, path]) != fingerprint_files([path])
