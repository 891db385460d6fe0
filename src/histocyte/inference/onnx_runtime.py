"""ONNX Runtime: anywhere that OpenVINO and torch do not reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import require
from histocyte.inference.runtime import Runtime, as_maps, features_of, running
from histocyte.model.onnx.features import features_in

__all__ = ["OnnxRuntime"]


class OnnxRuntime(Runtime):
    """An ONNX model file through onnxruntime's CPU provider.

    Args:
        path: The .onnx file.
        threads: Threads of one prediction; predictions from several threads share them.
        multiple: What image sides must be multiples of.

    Raises:
        ModelError: A file that it cannot run; so do predictions.
    """

    name = "onnxruntime"
    device = "CPU"

    def __init__(self, path: Path, *, threads: int, multiple: int = 16) -> None:
        onnxruntime = require("onnxruntime", extra="export")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.parallel, self.multiple = threads, multiple
        self._path = path
        with running("ONNX Runtime", path):
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            shape = self._session.get_outputs()[0].shape
        self.channels = shape[1] if len(shape) == 4 and isinstance(shape[1], int) else None
        """Shape of the maps, where the file says it."""
        self.features = features_in(path)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps (B, C, H, W) of images (B, H, W, 3)."""
        with running("ONNX Runtime", self._path):
            found = self._session.run(["maps"], {"images": images})[0]
        return as_maps(found, images, channels=self.channels, path=self._path)

    def predict_with_features(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        """Maps (B, C, H, W) of images (B, H, W, 3), and features (B, h, w, D) of the same pass.

        Raises:
            InputError: The file gives maps alone: `histocyte models export --features` makes one that gives both.
        """
        features_of(self)
        with running("ONNX Runtime", self._path):
            maps, features = self._session.run(["maps", "features"], {"images": images})
        found = as_maps(maps, images, channels=self.channels, path=self._path)
        return found, np.asarray(features, np.float16)
