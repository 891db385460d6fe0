"""Lists of images in text files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.datasets.name_list import named_samples, read_name_list
from histocyte.datasets.sample import Sample


def sample(source: str, name: str) -> Sample:
    return Sample(name, np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.int32), None, 0.25, source, name)


SAMPLES = [sample(s, n) for s, n in (("one", "a"), ("one", "b"), ("two", "b"), ("two", "c.1"))]


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_line_is_a_name_without_its_suffix(tmp_path: Path) -> None:
    path = written(tmp_path / "l.txt", "\ufeff# the test set\n\n a.webp \r\nb # kidney\nc.1\nd.TIF\n".encode())
    assert read_name_list(path) == ("a", "b", "c.1", "d")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"# nothing\n\n", "names no image"),
        (b"a\nb\na.png\n", "names 'a' twice"),
        (b"\xff\xfe\x00a", "no text in UTF-8"),
        (None, "No such file"),
        (b"a\n" * (9 << 20), "18,874,368 bytes"),
    ],
)
def test_what_is_no_list_is_refused(content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "l.txt"
    if content is not None:
        written(path, content)
    with pytest.raises(InputError, match=says):
        read_name_list(path)


def test_a_folder_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_name_list(tmp_path)


def test_samples_are_chosen_by_name_or_by_set_and_name() -> None:
    chosen = named_samples(SAMPLES, ["c.1", "two/b", "a"], where="It")
    assert [(s.source, s.name) for s in chosen] == [("one", "a"), ("two", "b"), ("two", "c.1")]


def test_a_name_of_two_sets_and_one_of_none_are_refused() -> None:
    with pytest.raises(InputError, match="image of one and of two. Write one/b"):
        named_samples(SAMPLES, ["b"], where="It")
    with pytest.raises(InputError, match="It names 'one/c.1', and there is no such image in one, two"):
        named_samples(SAMPLES, ["one/c.1"], where="It")
