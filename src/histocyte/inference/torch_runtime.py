"""Torch: CUDA, Apple's MPS, or a CPU; any model that histocyte can build."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.model.checkpoint import load_model
from histocyte.model.segmenter import Segmenter, activate

__all__ = ["TorchRuntime", "pick_device"]


def pick_device(device: str = "auto") -> torch.device:
    """The best device there is, or the one asked for.

    Raises:
        InputError: Asked for a device that this machine does not have.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if has[kind]))
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"'{device}' is no device. There is: auto, {', '.join(k for k in has if has[k])}.") from error
    if not has.get(chosen.type, False):
        raise InputError(
            f"There is no {chosen.type} device here. There is: auto, {', '.join(k for k in has if has[k])}."
        )
    return chosen


class TorchRuntime:
    """A segmenter on a device.

    On CUDA it computes in bfloat16 (float16 where the card has none), elsewhere in float32.

    Args:
        segmenter: The network, or the path of a .safetensors model file.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        threads: Workers that may predict at the same time on a CPU.
        keep_threads: Leave torch's own number of threads as it is; otherwise each worker's prediction runs on one.
    """

    name = "torch"

    def __init__(
        self, segmenter: Segmenter | Path, *, device: str = "auto", threads: int = 1, keep_threads: bool = False
    ) -> None:
        chosen = pick_device(device)
        network = load_model(segmenter)[1] if isinstance(segmenter, Path) else segmenter
        self._network = network.eval().to(chosen, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = chosen
        self.multiple = int(network.encoder.info.multiple)  # type: ignore[union-attr, arg-type]
        on_cpu = chosen.type == "cpu"
        # A GPU takes one batch at a time; two callers keep it fed while the other one decodes.
        self.parallel = threads if on_cpu else 2
        self._one_at_a_time = nullcontext() if on_cpu else threading.Lock()
        if on_cpu and not keep_threads:
            torch.set_num_threads(1)
        self.device = f"{chosen} ({torch.cuda.get_device_name(chosen)})" if chosen.type == "cuda" else str(chosen)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps (B, C, H, W) of images (B, H, W, 3)."""
        with self._one_at_a_time, torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(images)).to(self._device)
            batch = batch.permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
            if self._device.type == "cuda":
                half = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
                with torch.autocast("cuda", half):
                    raw = self._network(batch)
            else:
                raw = self._network(batch)
            return activate(raw.float(), self._network.specs).cpu().numpy()
