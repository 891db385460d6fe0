"""Whatever a parser makes of a file ends in one line of ours, and nothing that a file states fills the memory."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from histocyte.core.errors import ContentError, HistocyteError, InputError, MissingExtraError, SlideError
from histocyte.files.foreign import foreign_parser, reason_of, size_fault, unpacked


class OfAnotherLibrary(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [KeyError("x"), struct.error("short"), MemoryError(), RecursionError(), OfAnotherLibrary(), zlib.error("a")],
)
def test_any_exception_becomes_the_given_error(error: Exception) -> None:
    with (
        pytest.raises(SlideError, match=r"^damaged: \S.*$") as caught,
        foreign_parser(lambda w: SlideError(f"damaged: {w}")),
    ):
        raise error
    assert caught.value.__cause__ is error


def test_errors_of_ours_and_the_users_stop_pass() -> None:
    for error in (InputError("ours"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, foreign_parser(SlideError):
            raise error
        assert caught.value is error


def test_errors_of_ours_that_name_no_file_are_told_with_it() -> None:
    with (
        pytest.raises(SlideError, match=r"^'a.tif': Not a taxonomy$") as caught,
        foreign_parser(lambda why: SlideError(f"'a.tif': {why}")),
    ):
        raise ContentError("Not a taxonomy.")
    assert isinstance(caught.value.__cause__, ContentError)
    for error, says in (
        (InputError("No part."), "'a.tif': No part"),
        (InputError("'a.tif' is bad."), "'a.tif' is bad."),
    ):
        with (
            pytest.raises(InputError) as told,
            foreign_parser(lambda why: SlideError(f"'a.tif': {why}"), place="a.tif"),
        ):
            raise error
        assert str(told.value) == says


def test_a_compression_that_needs_a_package_names_our_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(MissingExtraError, match=r"one more package.*\[tiff\]"), foreign_parser(SlideError):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")


def test_reasons_are_one_short_line() -> None:
    assert reason_of(OSError(2, "No such file", "/x")) == "No such file"
    assert reason_of(ValueError(" a\n  b. ")) == "a b"
    assert len(reason_of(ValueError("x" * 9999))) == 201


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (-1, 4), (1 << 31, 4), (4, 10_000_001), (1000, 1001)])
def test_impossible_sizes_are_named(size: tuple[int, int]) -> None:
    assert size_fault(*size, most_pixels=1_000_000)
    assert size_fault(1000, 1000, most_pixels=1_000_000) is None


def test_what_unpacks_to_more_than_allowed_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(bytes(10 << 20))
    (tmp_path / "a").write_bytes(packed)
    for source in (packed, tmp_path / "a", bytes(10 << 20)):
        assert unpacked(source, most_bytes=10 << 20) == bytes(10 << 20)
        with pytest.raises(ValueError, match="more than 9 MiB"):
            unpacked(source, most_bytes=9 << 20)
    bomb = gzip.compress(bytes(70 << 20))
    with pytest.raises(ValueError, match="more than 64 MiB once it is unpacked"):
        unpacked(bomb, most_bytes=1 << 31)
    with pytest.raises(HistocyteError, match="end-of-stream"), foreign_parser(InputError):
        unpacked(packed[:-9], most_bytes=10 << 20)


def test_tifffile_says_nothing_by_itself() -> None:
    # Not in this process: pytest takes care of all logging by itself.
    code = "import histocyte.files.foreign, logging; logging.getLogger('tifffile').warning('an oddity of a header')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stderr == b""
