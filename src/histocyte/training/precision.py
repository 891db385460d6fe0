"""The numbers a training computes with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["Precision", "autocast", "pick_precision"]

Precision = Literal["auto", "float32", "bfloat16"]


def pick_precision(precision: Precision, device: torch.device) -> Literal["float32", "bfloat16"]:
    """What "auto" means on a device: bfloat16 where it is quick."""
    if precision != "auto":
        return precision
    # On a CPU without bf16 units, bf16 is emulated and several times slower.
    quick = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if quick else "float32"


def autocast(precision: Precision, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """Makes the context in which a network runs forward."""
    if pick_precision(precision, device) == "float32":
        return nullcontext
    if device.type == "cpu":
        return _on_a_cpu
    return lambda: torch.autocast(device.type, torch.bfloat16)


@contextmanager
def _on_a_cpu() -> Iterator[None]:
    with torch.autocast("cpu", torch.bfloat16), _DepthwiseInFloat32():
        yield


class _DepthwiseInFloat32(TorchFunctionMode):
    """Computes in float32 those convolutions of a network whose way back is slow in bfloat16 on a CPU.

    Convolutions of single channels with large kernels or strides, as EfficientNets have them, take 2.5 to 7 times as
    long backward in bfloat16 as in float32 (measured with AVX512-BF16; those of 3 x 3 with stride 1 do not).
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        run = _conv2d if func is F.conv2d else func
        return run(*args, **(kwargs or {}))


def _conv2d(
    input: Tensor,  # noqa: A002 - torch's name
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Any = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    learns = torch.is_grad_enabled() and (input.requires_grad or weight.requires_grad)
    strides = (stride,) if isinstance(stride, int) else stride
    depthwise = groups > 1 and weight.shape[1] == 1
    if not (learns and depthwise and (max(weight.shape[2:]) > 3 or max(strides) > 1)):
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    with torch.autocast("cpu", enabled=False):
        exact = None if bias is None else bias.float()
        found = F.conv2d(input.float(), weight.float(), exact, stride, padding, dilation, groups)
    return found.to(torch.bfloat16)
