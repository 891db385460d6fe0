"""OpenVINO: the quickest way to run an ONNX model on a CPU, and no torch needed."""

from __future__ import annotations

import ctypes
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.inference.runtime import Precision, Runtime, as_maps, features_of, running
from histocyte.model.onnx.features import features_in

__all__ = ["OpenVinoRuntime"]


class _SignalStack(ctypes.Structure):
    """`stack_t` of sigaltstack(2)."""

    _fields_ = (
        [("sp", ctypes.c_void_p), ("size", ctypes.c_size_t), ("flags", ctypes.c_int)]
        if sys.platform == "darwin"
        else [("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
    )


def _core() -> openvino.Core:
    """A core for one model, with its CPU plugin: a damaged file leaves behind what makes the core's next network crash.

    The plugin gives the thread that loads it a stack for signals, and puts back the one before when it goes. Of two,
    the first to go would free what the second puts back, and the next signal, such as Ctrl-C, would be a segmentation
    fault. So the thread's own stack is put back here at once, and a plugin that goes puts back nothing else.
    """
    core = openvino.Core()
    if sys.platform == "win32":
        core.get_property("CPU", "FULL_DEVICE_NAME")
        return core
    exchange, before = ctypes.CDLL(None).sigaltstack, _SignalStack()
    known = exchange(None, ctypes.byref(before)) == 0
    core.get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin
    if known:
        exchange(ctypes.byref(before), None)
    return core


class OpenVinoRuntime(Runtime):
    """An ONNX model file on this machine's CPU.

    One stream of one thread for each worker: on CPUs, N single-threaded networks side by side beat one with N threads,
    and a worker that decodes leaves its core to nobody else's network.

    Args:
        path: The .onnx file.
        threads: Number of streams.
        multiple: What image sides must be multiples of.
        precision: "f32"; "bf16", at up to twice the speed on CPUs with units for it (AMX, AVX512-BF16), where
            probabilities differ by up to 0.1 at single pixels and cells hardly; "auto" takes it where it is.

    Raises:
        InputError: The CPU has no units for bfloat16 and it was asked for.
        ModelError: A file that it cannot run; so do predictions.
    """

    name = "openvino"

    def __init__(self, path: Path, *, threads: int, multiple: int = 16, precision: Precision = "f32") -> None:
        core = _core()
        able = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not able:
            raise InputError(
                "This CPU has no units for bfloat16 (AMX, AVX512-BF16): pass --precision f32, or auto, which takes "
                "what there is."
            )
        self.parallel, self.multiple = threads, multiple
        self.precision = "bf16" if able and precision != "f32" else "f32"
        """What it computes in: "f32" or "bf16"; 8-bit layers of a model compute in integers all the same."""
        options = {
            "NUM_STREAMS": str(threads),
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": self.precision,
        }
        self._path = path
        with running("OpenVINO", path):
            self._compiled = core.compile_model(core.read_model(path), "CPU", options)
            shape = self._compiled.output(0).partial_shape
            of_four = shape.rank.is_static and len(shape) == 4 and shape[1].is_static
        self.channels: int | None = shape[1].get_length() if of_four else None
        """Channels of the maps, where the file says it."""
        self.device = f"CPU ({core.get_property('CPU', 'FULL_DEVICE_NAME').strip()}, {self.precision})"
        self._local = threading.local()
        self.features = features_in(path)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps (B, C, H, W) of images (B, H, W, 3)."""
        return as_maps(self._infer(images)[0], images, channels=self.channels, path=self._path)

    def predict_with_features(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        """Maps (B, C, H, W) of images (B, H, W, 3), and features (B, h, w, D) of the same pass.

        Raises:
            InputError: The file gives maps alone: `histocyte models export --features` makes one that gives both.
        """
        features_of(self)
        found = self._infer(images)
        maps = as_maps(found[0], images, channels=self.channels, path=self._path)
        return maps, np.asarray(found[1], np.float16)

    def _infer(self, images: NDArray[np.uint8]) -> Any:
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        with running("OpenVINO", self._path):
            return request.infer({0: images}, share_inputs=True, share_outputs=False)
