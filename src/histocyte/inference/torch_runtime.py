"""Torch: CUDA, Apple's MPS, or a CPU; any model that histocyte can build."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histocyte.core.errors import InputError
from histocyte.inference.runtime import Runtime
from histocyte.model.checkpoint import load_model
from histocyte.model.features import FeatureInfo
from histocyte.model.segmenter import Segmenter, activate

__all__ = ["TorchRuntime", "free_gpu_memory", "pick_device"]


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
        raise InputError(
            f"'{device}' is not a device. There is: auto, {', '.join(k for k in has if has[k])}."
        ) from error
    if not has.get(chosen.type, False):
        raise InputError(
            f"There is no {chosen.type} device here. There is: auto, {', '.join(k for k in has if has[k])}."
        )
    return chosen


def free_gpu_memory(device: str) -> int | None:
    """Bytes that are free on a GPU; None where torch cannot tell."""
    return int(torch.cuda.mem_get_info(device)[0]) if torch.device(device).type == "cuda" else None


class TorchRuntime(Runtime):
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
        self.features: FeatureInfo = _feature_info(network)
        self.tells_tissues = network.tissue is not None
        on_cpu = chosen.type == "cpu"
        # A GPU takes one batch at a time; two callers keep it fed while the other one decodes.
        self.parallel = threads if on_cpu else 2
        self._one_at_a_time = nullcontext() if on_cpu else threading.Lock()
        if on_cpu and not keep_threads:
            torch.set_num_threads(1)
        self.device = f"{chosen} ({torch.cuda.get_device_name(chosen)})" if chosen.type == "cuda" else str(chosen)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps (B, C, H, W) of images (B, H, W, 3)."""
        return self._run(images, features=False)[0]

    def predict_with_features(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        """Maps (B, C, H, W) of images (B, H, W, 3), and features (B, h, w, D) of the same pass."""
        maps, values = self._run(images, features=True)
        assert values is not None
        return maps, values

    def tissue_probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, T) probabilities of the tissues that the model tells apart, of images (B, H, W, 3).

        Raises:
            ModelError: It tells none apart.
        """
        with self._one_at_a_time, torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(images)).to(self._device).permute(0, 3, 1, 2).float()
            told: NDArray[np.float32] = self._network.tissue_logits(batch).softmax(1).cpu().numpy()
            return told

    def _run(
        self, images: NDArray[np.uint8], *, features: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float16] | None]:
        with self._one_at_a_time, torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(images)).to(self._device)
            batch = batch.permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
            half = torch.bfloat16 if self._device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float16
            with torch.autocast("cuda", half) if self._device.type == "cuda" else nullcontext():
                raw, deepest = self._network.forward_with_features(batch) if features else (self._network(batch), None)
            maps = activate(raw.float(), self._network.specs).cpu().numpy()
            return maps, None if deepest is None else _grid(deepest)


def _grid(deepest: Tensor) -> NDArray[np.float16]:
    """(B, D, h, w) → (B, h, w, D) in half precision; what is beyond its range is brought to its ends."""
    most = torch.finfo(torch.float16).max
    return deepest.float().clamp(-most, most).half().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _feature_info(network: Segmenter) -> FeatureInfo:
    """What the deepest features of a network are."""
    encoder: Any = network.encoder
    width, stride = int(encoder.info.widths[-1]), int(encoder.info.strides[-1])
    # HoVer-Net's encoder looks at a mirrored border, of which an unpadded first convolution takes 3 px off again.
    border = int(getattr(encoder, "mirror_px", 0))
    border -= 0 if not border or encoder.stem.padding[0] else 3
    return FeatureInfo(
        f"{type(encoder).__name__}, last of {len(encoder.info.widths)} depths, {width} at {stride} px", width, border
    )
