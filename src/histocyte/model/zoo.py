"""Models by name: those that come with the package, and files of the user's own."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from histocyte.core.errors import InputError, ModelError, UnknownNameError

__all__ = ["DEFAULT_MODEL", "ModelFiles", "bundled_models", "convert_first", "find_model"]

DEFAULT_MODEL = "hover-unet-consep"
_CHECKPOINTS = (".pth", ".pt", ".ckpt", ".tar")
"""What training programs call the files that `histocyte models convert` reads."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of one model: at least one of the two, and a card if it is ours."""

    name: str
    onnx: Path | None
    safetensors: Path | None
    card: Path | None = None

    @property
    def any(self) -> Path:
        """One of the files."""
        path = self.onnx or self.safetensors
        assert path is not None
        return path


def bundled_models() -> dict[str, ModelFiles]:
    """The models in the package, by name."""
    folder = Path(str(files("histocyte.model") / "zoo_files"))
    names = sorted({p.stem for p in folder.glob("*") if p.suffix in (".onnx", ".safetensors")})
    return {name: _at(folder / name) for name in names}


def find_model(name: str | Path) -> ModelFiles:
    """A bundled model by name, or a model file by path.

    Beside an .onnx file the .safetensors file of the same name belongs to it, and the other way round. The folder of a
    training run stands for the model that it ended in.

    Raises:
        UnknownNameError: Neither a bundled model nor a path.
        InputError: A path without a file.
        ModelError: A file of another kind.
    """
    text = str(name)
    bundled = bundled_models()
    if text in bundled:
        return bundled[text]
    path = Path(text)
    if path.is_dir():
        path = _model_of_run(path)
    if path.suffix not in (".onnx", ".safetensors"):
        if path.is_file():
            way_out = convert_first(path) or "Pickled checkpoints (.pth, .pt) are not opened."
            raise ModelError(f"'{path}' is not a model file: these end in .safetensors or .onnx. {way_out}")
        if path.suffix.lower() in _CHECKPOINTS:
            raise InputError(f"There is no file '{path}'. Bundled models: {', '.join(bundled) or 'none'}.")
        raise UnknownNameError("model", text, bundled, hint="Or pass a .safetensors or .onnx file.")
    if not path.is_file():
        raise InputError(f"There is no model file '{path}'. Bundled models: {', '.join(bundled) or 'none'}.")
    return _at(path.with_suffix(""))


def _model_of_run(folder: Path) -> Path:
    path = folder / "model.safetensors"
    if path.is_file():
        return path
    if (folder / "last.safetensors").is_file():
        raise InputError(f"The training run in '{folder}' has not ended: it holds no {path.name} yet.")
    there = sorted(p.name for p in folder.iterdir() if p.suffix in (".onnx", ".safetensors"))
    hint = f" Name one of its files: {', '.join(there[:5])}." if there else " Pass a .safetensors or .onnx file."
    raise InputError(f"'{folder}' is a folder and no training run.{hint}")


def convert_first(path: Path) -> str:
    """What to do with a checkpoint of another program where a model file is wanted; empty where it is none by its name.

    >>> convert_first(Path("CellViT-256-x40.pth"))
    'A published checkpoint is made into one first: histocyte models convert CellViT-256-x40.pth'
    """
    if path.suffix.lower() not in _CHECKPOINTS:
        return ""
    return f"A published checkpoint is made into one first: histocyte models convert {shlex.quote(str(path))}"


def _at(stem: Path) -> ModelFiles:
    def there(suffix: str) -> Path | None:
        path = stem.with_name(stem.name + suffix)
        return path if path.is_file() else None

    return ModelFiles(stem.name, there(".onnx"), there(".safetensors"), there(".md"))
