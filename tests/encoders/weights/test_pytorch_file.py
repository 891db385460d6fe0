"""What is read of others' PyTorch files, and that both readers of them refuse code alike."""

from __future__ import annotations

import argparse
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from histocyte.conversion.file import read_foreign
from histocyte.core.errors import ModelError
from histocyte.encoders.weights.files import read_tensors
from histocyte.encoders.weights.pytorch_file import read_pytorch, unwrapped

WEIGHTS = OrderedDict(weight=torch.ones(2), bias=torch.zeros(1))


class Harmful:
    """Would leave a file behind on loading."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("read", [read_tensors, read_foreign, read_pytorch])
def test_every_reader_names_code_and_does_not_run_it(
    tmp_path: Path, read: Callable[[Path], object], zipped: bool
) -> None:
    left, path = tmp_path / "left behind", tmp_path / "file.pth"
    torch.save({"extra": Harmful(left), "state_dict": WEIGHTS}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"asks to run \S+.*never run") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert not left.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_each_kind_of_file_may_hold_its_own_and_no_more(tmp_path: Path, zipped: bool) -> None:
    dino, cellvit = tmp_path / "dino.pth", tmp_path / "cellvit.pth"
    torch.save({"args": argparse.Namespace(epochs=3), "teacher": WEIGHTS}, dino, _use_new_zipfile_serialization=zipped)
    torch.save({"logdir": tmp_path, "counts": np.arange(3), "state_dict": WEIGHTS}, cellvit)
    assert list(read_tensors(dino)) == list(read_foreign(cellvit).weights) == ["weight", "bias"]
    for read, path in ((read_foreign, dino), (read_tensors, cellvit), (read_pytorch, dino), (read_pytorch, cellvit)):
        with pytest.raises(ModelError, match="asks to run"):
            read(path)


def test_a_damaged_file_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    for zipped in (True, False):
        torch.save({"state_dict": WEIGHTS}, path, _use_new_zipfile_serialization=zipped)
        content = path.read_bytes()
        for share in (0.0, 0.1, 0.5, 0.9):
            path.write_bytes(content[: int(len(content) * share)])
            with pytest.raises(ModelError, match="holds no plain weights") as caught:
                read_tensors(path)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_tensors, read_foreign])
def test_what_is_no_pytorch_file_is_called_what_it_is(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "file.pth"
    for content, kind in (
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "it is a pointer of Git LFS"),
        (b"", "it is empty"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 50, "it is an HDF5 file"),
        (b"0\x12garbage\xff" * 9, "it is damaged or cut off, or no PyTorch file"),
    ):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=kind) as caught:
            read(path)
        assert "asks to run" not in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_tensors, read_foreign])
def test_torchscript_is_code_and_nobody_is_told_to_run_it(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "file.pt"
    with zipfile.ZipFile(path, "w") as archive:  # as torch.jit.save writes it
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            archive.writestr(f"file/{name}", b"\x80\x02}.")
    with pytest.raises(ModelError, match="is a TorchScript program.*never run") as caught:
        read(path)
    assert "weights_only" not in str(caught.value)


def test_nests_are_opened_in_their_order() -> None:
    content = {"teacher": {"state_dict": {"a": 1}}, "state_dict": {"b": 2}}
    assert unwrapped(content, ("teacher", "state_dict")) == {"a": 1}
    assert unwrapped(content, ("state_dict", "teacher")) == {"b": 2}
    assert unwrapped({"teacher": 3}, ("teacher",)) == {"teacher": 3}
    assert unwrapped([1], ("teacher",)) == [1]
