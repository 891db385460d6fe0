"""ONNX Runtime: anywhere that OpenVINO and torch do not reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import require
from histocyte.inference.embed import FeatureInfo
from histocyte.inference.onnx_features import features_in

__all__ = ["OnnxRuntime"]


class OnnxRuntime:
    """An ONNX model file through onnxruntime's CPU provider.

    Args:
        path: The .onnx file.
        threads: Threads of one prediction; predictions from several threads share them.
        multiple: What image sides must be multiples of.
    """

    name = "onnxruntime"
    device = "CPU"
    features: FeatureInfo
    """What the second output is, where the file has one."""

    def __init__(self, path: Path, *, threads: int, multiple: int = 16) -> None:
        onnxruntime = require("onnxruntime", extra="export")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.parallel, self.multiple = threads, multiple
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        if (features := features_in(path)) is not None:
            self.features = features

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps (B, C, H, W) of images (B, H, W, 3)."""
        return np.asarray(self._session.run(["maps"], {"images": images})[0], np.float32)

    def predict_with_features(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        """Maps (B, C, H, W) of images (B, H, W, 3), and features (B, h, w, D) of the same pass.

        Only of files that give features (`histocyte models export --features`): of others, `features` is missing.
        """
        maps, features = self._session.run(["maps", "features"], {"images": images})
        return np.asarray(maps, np.float32), np.asarray(features, np.float16)
