"""Training in bfloat16: what of a network is computed in it on a CPU, and that gradients agree with float32."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from histocyte.training.precision import autocast, pick_precision

CPU = torch.device("cpu")


def _learnt(layer: nn.Module, image: Tensor, *, precision: str) -> tuple[Tensor, Tensor, Tensor]:
    """Output, and gradients of image and weights, of half the sum of squares of what a layer gives."""
    image = image.clone().requires_grad_()
    layer.zero_grad()
    with autocast(precision, CPU)():  # type: ignore[arg-type]
        found = layer(image)
    (found.float() ** 2).sum().mul(0.5).backward()
    assert image.grad is not None
    assert isinstance(layer, nn.Conv2d)
    assert layer.weight.grad is not None
    return found.detach(), image.grad, layer.weight.grad.clone()


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one.float() - other.float()).norm() / other.float().norm())


def _depthwise(kernel: int, stride: int, *, bias: bool = False) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(6, 6, kernel, stride, padding=kernel // 2, groups=6, bias=bias)


@pytest.mark.parametrize(
    ("kernel", "stride", "bias"), [(5, 1, False), (3, 2, True), (5, 2, True), (3, 1, False), (1, 1, True)]
)
def test_gradients_of_bfloat16_are_those_of_float32_but_for_its_rounding(kernel: int, stride: int, bias: bool) -> None:
    layer = _depthwise(kernel, stride, bias=bias)
    image = torch.randn(2, 6, 17, 18, generator=torch.Generator().manual_seed(1))
    exact, rounded = (_learnt(layer, image, precision=p) for p in ("float32", "bfloat16"))
    assert exact[0].dtype == torch.float32
    assert rounded[0].dtype == torch.bfloat16
    assert rounded[2].dtype == torch.float32
    for one, other in zip(rounded, exact, strict=True):
        assert _apart(one, other) < 0.01


def test_convolutions_whose_way_back_bfloat16_slows_down_are_computed_in_float32() -> None:
    image = torch.randn(2, 6, 17, 18, generator=torch.Generator().manual_seed(1))
    slow, quick = _depthwise(5, 1), _depthwise(3, 1)
    for layer, in_float32 in ((slow, True), (quick, False)):
        with torch.autocast("cpu", enabled=False):
            once_rounded = layer(image).to(torch.bfloat16)
        assert torch.equal(_learnt(layer, image, precision="bfloat16")[0], once_rounded) == in_float32


def test_where_nothing_is_learnt_all_is_computed_in_bfloat16() -> None:
    layer, image = _depthwise(5, 1), torch.randn(2, 6, 17, 18, generator=torch.Generator().manual_seed(1))
    with autocast("bfloat16", CPU)(), torch.no_grad():
        idle = layer(image)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(idle, layer(image))


def test_the_quickest_precision_is_bfloat16_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, picked in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda there=there: there)
        assert pick_precision("auto", CPU) == picked
    assert pick_precision("bfloat16", CPU) == "bfloat16"
