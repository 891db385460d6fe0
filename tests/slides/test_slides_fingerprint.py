from __future__ import annotations

from pathlib import Path

import pytest

from histocyte.slides import fingerprint as module
from histocyte.slides.fingerprint import are_of_one_slide, fingerprint_files
from histocyte.slides.openslide_reader import companions_of


def _changed(path: Path, data: bytes, place: slice, value: bytes) -> str:
    altered = bytearray(data)
    altered[place] = value
    path.write_bytes(altered)
    return fingerprint_files([path])


def test_of_a_slide_that_is_read_whole_every_byte_counts(tmp_path: Path) -> None:
    path, data = tmp_path / "x", bytes(16 << 20)
    same = _changed(path, data, slice(0, 1), b"\0")
    assert fingerprint_files([path]) == same
    for place in (7, *range((2 << 20) + 12345, 15 << 20, (1 << 20) + 1771), len(data) - 7):
        assert _changed(path, data, slice(place, place + 1), b"!") != same
    assert _changed(path, data, slice(0, 1), b"") != same
    assert fingerprint_files([path, path]) != fingerprint_files([path])


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large slide in 400 kB: ends of 4 kB, and 64 places of 16 bytes."""
    monkeypatch.setattr(module, "_WHOLE_BYTES", 100_000)
    monkeypatch.setattr(module, "_ENDS_BYTES", 4096)
    monkeypatch.setattr(module, "_PLACES", 64)
    monkeypatch.setattr(module, "_PLACE_BYTES", 16)


def test_a_large_slide_is_looked_at_between_its_ends(tmp_path: Path, small_limits: None) -> None:
    path, data = tmp_path / "x", bytes(400_000)
    same = _changed(path, data, slice(0, 1), b"\0")
    step = 400_000 // 64
    for start in range(4096, len(data) - 4096 - step, 4999):
        assert _changed(path, data, slice(start, start + step), b"!" * step) != same, start


def test_places_are_shared_among_the_files_of_a_slide(tmp_path: Path, small_limits: None) -> None:
    paths = [tmp_path / str(i) for i in range(4)]
    sizes = (300, 40_000, 160_000, 200_000)
    for path, size in zip(paths, sizes, strict=True):
        path.write_bytes(bytes(size))
    same = fingerprint_files(paths)
    assert fingerprint_files(paths[::-1]) != same
    for path, size in zip(paths, sizes, strict=True):
        middle = size // 2
        step = min(middle, sum(sizes) // 64)
        path.write_bytes(bytes(middle) + b"!" * step + bytes(size - middle - step))
        assert fingerprint_files(paths) != same, path
        path.write_bytes(bytes(size))
    assert fingerprint_files(paths) == same


def test_how_much_is_read_does_not_grow_with_the_slide(tmp_path: Path) -> None:
    path = tmp_path / "x"
    read = []
    for size in (1 << 27, 1 << 36):
        with path.open("wb") as file:
            file.truncate(size)  # a file with a hole: it takes no room

        class Counting:
            def __init__(self) -> None:
                self.bytes = 0

            def update(self, data: bytes) -> None:
                self.bytes += len(data)

        counting = Counting()
        with path.open("rb") as file:
            module._sample(counting, file, size, places=module._PLACES)  # type: ignore[arg-type]
        read.append(counting.bytes)
    assert read[0] == read[1] == (2 << 20) + 1024 * 4096


def test_fingerprints_of_earlier_versions_tell_nothing_of_later_ones() -> None:
    assert are_of_one_slide("2:ab", "2:ab")
    assert are_of_one_slide("2:ab", "2:cd") is False
    assert are_of_one_slide("ab", "cd") is False
    assert are_of_one_slide("ab", "2:ab") is None


def test_all_files_of_a_slide_of_several_are_known(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a.mrxs", "a/Data0001.dat", "a/Data0000.dat", "b.svs", "c_0.jpg", "c_1.jpg", "other.jpg"):
        (tmp_path / name).write_bytes(b"x")
    lines = ("[Specimen]", "NoLayers=1", "ImageFile(0,0)=c_1.jpg", "ImageFile=c_0.jpg", "MacroImage=gone.jpg")
    (tmp_path / "c.vms").write_text("\r\n".join(lines))
    assert [p.name for p in companions_of(tmp_path / "a.mrxs")] == ["Data0000.dat", "Data0001.dat"]
    assert [p.name for p in companions_of(tmp_path / "c.vms")] == ["c_0.jpg", "c_1.jpg"]
    assert companions_of(tmp_path / "b.svs") == []
