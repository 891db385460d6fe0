"""What the tests do where PyTorch is not installed: those that need it are passed over, all others run.

A file needs it if it imports torch, or a module of ours that does, when it is loaded. A test that needs it only when it
runs, as it trains or reads a checkpoint, is marked: `@pytest.mark.torch`.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
NEED_TORCH = (
    "histocyte.runs.distil.result",
    "histocyte.runs.distil.run",
    "histocyte.runs.distil.student",
    "histocyte.runs.distil.teacher",
    "histocyte.runs.studies.encoders.",
    "histocyte.runs.train.batch",
    "histocyte.runs.train.options",
    "histocyte.runs.train.data",
    "histocyte.runs.train.result",
    "histocyte.runs.train.run",
    "histocyte.runs.train.start",
    "histocyte.decoders.",
    "histocyte.encoders.",
    "histocyte.inference.encoder_runtime",
    "histocyte.inference.torch_runtime",
    "histocyte.losses.",
    "histocyte.model.adapters",
    "histocyte.conversion.",
    "histocyte.model.onnx.export",
    "histocyte.model.segmenter",
    "histocyte.runs.threads",
    "histocyte.runs.train.resolved",
    "histocyte.runs.train.defaults",
    "histocyte.representations.distance.loss",
    "histocyte.representations.flow.loss",
    "histocyte.representations.hover.loss",
    "histocyte.representations.star.loss",
    "histocyte.representations.maps.loss",
    "histocyte.training.",
)
"""Modules of ours that import torch when they are loaded; a point at the end stands for the whole package."""
_OTHERS = ("torch", "torchvision", "timm")
_WITH_TORCH = find_spec("torch") is not None


@pytest.fixture
def need_torch() -> tuple[str, ...]:
    """Names, or beginnings of names, of modules that import torch when they are loaded."""
    return NEED_TORCH


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Pass over files that cannot be loaded without torch, where it is missing."""
    if _WITH_TORCH or collection_path.suffix != ".py":
        return None
    return True if _needs_torch(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip marked tests without torch."""
    if not _WITH_TORCH:
        for item in items:
            if item.get_closest_marker("torch") is not None:
                item.add_marker(pytest.mark.skip(reason="torch is not installed"))


@cache
def _needs_torch(path: Path) -> bool:
    source = ROOT / "src"
    if path.is_relative_to(source):
        return _is_named(".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"))
    loaded: list[str] = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:  # what stands in a function is not loaded yet
        if isinstance(node, ast.Import):
            loaded += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            loaded += [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
    return any(map(_is_named, loaded))


def _is_named(module: str) -> bool:
    return module.split(".")[0] in _OTHERS or module.startswith(NEED_TORCH)
