"""Antialiased bicubic resampling in ONNX as two matrix products, the same in every runtime.

ONNX has it as a mode of `Resize`, but OpenVINO weighs the pixels at the border otherwise than PyTorch does: positions
of a vision transformer, resampled so, come out off by a fortieth, and its maps by a hundredth of their range.
"""

from __future__ import annotations

from typing import Any

__all__ = ["bicubic_translations"]


def bicubic_translations() -> dict[Any, Any]:
    """What `torch.onnx.export` takes as `custom_translation_table`."""
    import torch
    from onnxscript import opset18

    op: Any = opset18  # numbers and lists of numbers become constants, which its annotations do not know

    def part(sizes: Any, place: int) -> Any:
        return op.Slice(sizes, [place], [place + 1])

    def weights(inputs: Any, outputs: Any) -> Any:
        """(outputs, inputs) shares of inputs in outputs: Keys' cubic with a = -0.5, as PyTorch; each row sums to 1."""
        zero, one, half = (op.Constant(value_float=value) for value in (0.0, 1.0, 0.5))
        inputs, outputs = op.Cast(inputs, to=1), op.Cast(outputs, to=1)
        ratio = op.Div(inputs, outputs)
        centres = op.Mul(op.Add(op.Range(zero, op.Squeeze(outputs), one), half), ratio)
        places = op.Add(op.Range(zero, op.Squeeze(inputs), one), half)
        apart = op.Sub(op.Unsqueeze(places, [0]), op.Unsqueeze(centres, [1]))
        t = op.Abs(op.Div(apart, op.Max(ratio, one)))
        near = op.Add(op.Mul(op.Sub(op.Mul(t, 1.5), 2.5), op.Mul(t, t)), one)
        far = op.Add(op.Mul(op.Sub(op.Mul(op.Sub(2.5, op.Mul(t, half)), t), 4.0), t), 2.0)
        cubic = op.Where(op.LessOrEqual(t, one), near, op.Where(op.Less(t, 2.0), far, zero))
        return op.Div(cubic, op.ReduceSum(cubic, [1], keepdims=1))

    def upsample_bicubic2d_aa(
        self: Any, output_size: Any, align_corners: bool, scales_h: float | None = None, scales_w: float | None = None
    ) -> Any:
        del align_corners, scales_h, scales_w  # sizes are given and corners never aligned where we resample
        size = op.Shape(self)
        rows = weights(part(size, 2), part(output_size, 0))
        columns = weights(part(size, 3), part(output_size, 1))
        return op.MatMul(op.MatMul(rows, self), op.Transpose(columns, perm=[1, 0]))

    return {torch.ops.aten._upsample_bicubic2d_aa.default: upsample_bicubic2d_aa}
