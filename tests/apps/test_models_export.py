"""`histocyte models export` and what it says of wrong input."""

from __future__ import annotations

from pathlib import Path

import pytest

from histocyte.apps.cli.models import export as models_export
from histocyte.apps.cli.models.export import export
from histocyte.core.errors import DiskError, InputError
from histocyte.model.spec import ModelSpec, Part, Quantised
from histocyte.model.zoo import DEFAULT_MODEL, ModelFiles
from histocyte.runs.quantise import export as quantise


def test_wrong_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--calibrate SLIDES"):
        export(DEFAULT_MODEL, int8=True)
    with pytest.raises(InputError, match="pass --int8"):
        export(DEFAULT_MODEL, calibrate=[tmp_path])
    with pytest.raises(InputError, match="--full-precision contradict"):
        export(DEFAULT_MODEL, int8=True, full_precision=True, calibrate=[tmp_path])
    for option in ({"tiles": 9}, {"mpp": 0.5}, {"seed": 0}):
        with pytest.raises(InputError, match=f"--{next(iter(option))} is for models in 8-bit"):
            export(DEFAULT_MODEL, **option)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"must end in \.onnx"):
        export(DEFAULT_MODEL, tmp_path / "model.safetensors")
    (tmp_path / "own-int8.onnx").touch()
    (tmp_path / "own.onnx").touch()
    with pytest.raises(InputError, match="is the model itself"):
        export(str(tmp_path / "own.onnx"), tmp_path / "own.onnx", int8=True, calibrate=[tmp_path])
    with pytest.raises(InputError, match=r"no \.safetensors file"):
        export(str(tmp_path / "own.onnx"))


@pytest.mark.parametrize("int8", [False, True])
def test_where_nothing_can_be_written_is_said_before_the_work(
    int8: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models_export, "_export", None)
    monkeypatch.setattr(models_export, "_export_int8", None)
    (tmp_path / "file").touch()
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(DiskError, match="is a file and no folder"):
        export(DEFAULT_MODEL, tmp_path / "file" / "a.onnx", int8=int8, calibrate=[tmp_path] * int8)
    with pytest.raises(InputError, match=r"is a folder; name the file"):
        export(DEFAULT_MODEL, tmp_path / "folder.onnx", int8=int8, calibrate=[tmp_path] * int8)


@pytest.mark.parametrize("model", [DEFAULT_MODEL, "own.onnx"])
def test_the_file_is_named_after_the_model(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path(tmp_path / "own.onnx").touch()
    monkeypatch.chdir(tmp_path)
    part = Part(name="none")
    facts = Quantised(made_of="", calibrated_on=("a",), slides=2, tiles=9, tile_px=256, sha256="")
    spec = ModelSpec(
        name="a",
        encoder=part,
        decoder=part,
        heads=part,
        representation=part,
        taxonomy={"name": "none", "classes": []},
        quantised=facts,
    )

    def write(files: ModelFiles, out: Path, paths: list[Path], **_: object) -> ModelSpec:
        out.write_bytes(b"onnx")
        return spec

    monkeypatch.setattr(quantise, "export_int8", write)
    export(model, int8=True, calibrate=[tmp_path])
    # Never into the package; beside a model of one's own.
    assert (tmp_path / f"{Path(model).stem}-int8.onnx").exists()
    assert "Calibrated on 9 tiles of 2 slides" in capfd.readouterr().err
