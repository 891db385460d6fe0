"""Sides of images that an encoder takes: multiples of its coarsest step."""

from __future__ import annotations

import torch
from torch import Tensor

from histocyte.core.errors import InputError

__all__ = ["check_sides", "in_whole_steps"]


def check_sides(image: Tensor, multiple: int) -> None:
    """Refuse an image (B, C, H, W) whose sides are no multiples.

    Raises:
        InputError: They are none; says the next that are.
    """
    height, width = image.shape[-2:]
    # While a graph is exported sides are symbols, and asking would tie the graph to the example's.
    if torch.compiler.is_exporting() or (height % multiple == 0 and width % multiple == 0):
        return
    raise InputError(
        f"An image of {height} × {width} px does not fit an encoder with steps of {multiple} px; make both sides a "
        f"multiple of {multiple}, e.g. {-(-height // multiple) * multiple} × {-(-width // multiple) * multiple}."
    )


def in_whole_steps(image: Tensor, multiple: int) -> Tensor:
    """The same image (B, C, H, W), whose sides are multiples; torch is told so while it exports.

    There sides are symbols, and a network that halves and doubles its maps needs to know what divides them.

    Raises:
        InputError: They are none; says the next that are.
    """
    if not torch.compiler.is_exporting():
        check_sides(image, multiple)
        return image
    batch, channels, height, width = image.shape
    rows, columns = height // multiple, width // multiple
    stepped = image.reshape(batch, channels, rows, multiple, columns, multiple)
    return stepped.reshape(batch, channels, multiple * rows, multiple * columns)
