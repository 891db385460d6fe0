"""Models by name, and what is said of files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from histocyte.core.errors import InputError, ModelError, UnknownNameError
from histocyte.model.checkpoint import read_spec
from histocyte.model.zoo import DEFAULT_MODEL, find_model


def test_a_bundled_model_is_found_by_name() -> None:
    assert find_model(DEFAULT_MODEL).onnx is not None
    with pytest.raises(UnknownNameError, match=f"Did you mean '{DEFAULT_MODEL}'"):
        find_model(DEFAULT_MODEL[:-1])


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".tar", ".PTH"])
@pytest.mark.parametrize("read", [find_model, read_spec])
def test_a_checkpoint_of_another_program_is_to_be_converted_first(tmp_path: Path, suffix: str, read: object) -> None:
    path = tmp_path / f"my model{suffix}"
    path.write_bytes(b"PK\x03\x04")
    assert callable(read)
    with pytest.raises(ModelError, match=r"histocyte models convert '.*my model\.\w+'$"):
        read(path)


def test_a_file_of_another_kind_is_not_to_be_converted(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(ModelError, match="are not opened") as caught:
        find_model(tmp_path / "notes.txt")
    assert "convert" not in str(caught.value)


def test_a_checkpoint_that_is_not_there_is_no_name_of_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no file '.*gone\.pth'"):
        find_model(tmp_path / "gone.pth")
