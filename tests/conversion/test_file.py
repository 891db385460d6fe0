"""What is read of others' checkpoints, and what is not."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from pathlib import Path, PurePath

import numpy as np
import pytest
import torch

from histocyte.conversion.file import read_foreign
from histocyte.core.errors import ModelError

WEIGHTS = OrderedDict(weight=torch.ones(2), bias=torch.zeros(1))


@pytest.mark.parametrize("zipped", [True, False])
def test_what_training_programs_store_beside_weights_is_read(tmp_path: Path, zipped: bool) -> None:
    stored = {
        "arch": "CellViT256",
        "best_metric": np.float64(0.51),
        "counts": np.arange(3),
        "logdir": tmp_path,
        "config": {"data.classes": 6, "data.names": {"Dead": 4}, "model": {"depth": np.int64(12)}, "a": 1, "a.b": 2},
        "optimizer_state_dict": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 3e-4}]},
        "model_state_dict": WEIGHTS,
    }
    torch.save(stored, tmp_path / "file.tar", _use_new_zipfile_serialization=zipped)
    found = read_foreign(tmp_path / "file.tar")
    assert found.arch == "CellViT256"
    assert list(found.weights) == ["weight", "bias"]
    assert torch.equal(found.weights["weight"], torch.ones(2))
    assert found.config == {"data": {"classes": 6, "names": {"Dead": 4}}, "model": {"depth": 12}, "a": 1}
    assert found.setting("data", "names", "Dead") == 4
    assert found.setting("data", "classes", "nothing") is None


def test_weights_may_lie_bare_or_deep_or_come_from_several_gpus(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "bare.pth")
    torch.save({"state_dict": {"desc": {f"module.{k}": v for k, v in WEIGHTS.items()}}}, tmp_path / "deep.pth")
    for name in ("bare", "deep"):
        found = read_foreign(tmp_path / f"{name}.pth")
        assert list(found.weights) == ["weight", "bias"]
        assert found.config == {}
        assert found.arch == ""


class Harmful:
    """Would leave a file behind on loading."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_named_and_not_run(tmp_path: Path, zipped: bool) -> None:
    left = tmp_path / "left behind"
    torch.save(
        {"extra": Harmful(left), "model_state_dict": WEIGHTS},
        tmp_path / "file.pth",
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(ModelError, match=r"asks to run \S*(touch|getattr|Path).*never run") as caught:
        read_foreign(tmp_path / "file.pth")
    assert "\n" not in str(caught.value)
    assert not left.exists()
    torch.save({"args": argparse.Namespace(epochs=3), "model_state_dict": WEIGHTS}, tmp_path / "own.pth")
    with pytest.raises(ModelError, match="asks to run argparse.Namespace"):
        read_foreign(tmp_path / "own.pth")


def test_paths_of_another_system_are_harmless(tmp_path: Path) -> None:
    from pathlib import PureWindowsPath

    paths: list[PurePath] = [PureWindowsPath("C:/runs"), tmp_path]
    torch.save({"paths": paths, "model_state_dict": WEIGHTS}, tmp_path / "file.pth")
    assert list(read_foreign(tmp_path / "file.pth").weights) == ["weight", "bias"]


def test_a_damaged_file_is_said_to_be_one(tmp_path: Path) -> None:
    for name, zipped in (("new", True), ("old", False)):
        whole = tmp_path / f"{name}.pth"
        torch.save({"model_state_dict": WEIGHTS}, whole, _use_new_zipfile_serialization=zipped)
        content = whole.read_bytes()
        for share in (0.1, 0.5, 0.9):
            whole.write_bytes(content[: int(len(content) * share)])
            with pytest.raises(ModelError, match="holds no plain weights") as caught:
                read_foreign(whole)
            assert "\n" not in str(caught.value)
