"""Models by name, and what is said of files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from histocyte.core.errors import InputError, ModelError, UnknownNameError
from histocyte.datasets.cards import DATASETS
from histocyte.model.checkpoint import load_model, read_spec, save_model
from histocyte.model.onnx.metadata import read_onnx_spec
from histocyte.model.zoo import DEFAULT_MODEL, bundled_models, find_model


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


def test_a_training_runs_folder_is_its_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder and no training run. Pass a .safetensors or .onnx file"):
        find_model(tmp_path)
    (tmp_path / "mine.onnx").touch()
    with pytest.raises(InputError, match=r"Name one of its files: mine\.onnx"):
        find_model(tmp_path)
    (tmp_path / "last.safetensors").touch()
    with pytest.raises(InputError, match="has not ended"):
        find_model(tmp_path)
    (tmp_path / "model.safetensors").touch()
    assert find_model(str(tmp_path)).safetensors == tmp_path / "model.safetensors"


@pytest.mark.parametrize("name", bundled_models())
def test_a_bundled_model_is_small_whole_and_honest_about_its_data(name: str) -> None:
    files = find_model(name)
    assert files.onnx is not None
    assert files.safetensors is not None
    assert files.card is not None
    assert max(files.onnx.stat().st_size, files.safetensors.stat().st_size) < 25e6
    spec, card = read_spec(files.safetensors), files.card.read_text(encoding="utf-8")
    assert spec == read_onnx_spec(files.onnx)
    assert spec.name == name
    sets = {entry.name for entry in spec.history.sets}
    assert sets
    for entry in spec.history.sets:
        assert all(text in card for text in (entry.name, entry.licence, entry.citation))
    assert f"Licence: {spec.licence}" in card
    assert not any(DATASETS[source].external for source in sets)
    assert ("permit commercial use" in spec.licence) == all(DATASETS[source].commercial for source in sets)
    for source, names in spec.history.held_out.items():
        assert source in sets
        assert all(image in card for image in names)


@pytest.mark.torch
def test_a_saved_model_can_be_read_by_whom_any_new_file_can(tmp_path: Path) -> None:
    source = find_model("hover-small-consep").safetensors
    assert source is not None
    spec, network = load_model(source)
    save_model(tmp_path / "model.safetensors", spec, network.state_dict())
    (tmp_path / "other").touch()
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode
