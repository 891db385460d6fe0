"""Squares cut out of an image, labels or maps of any resolution, at the resolution of another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Window", "cut", "cut_nearest", "whole"]

Read = Callable[[slice, slice], NDArray[Any]]
"""Rows and columns → (…, h, w) of an array that may lie on the disk."""


@dataclass(frozen=True, slots=True)
class Window:
    """A square; px of the array that it is cut out of, which need not be whole."""

    top: float
    left: float
    side: float

    def at(self, scale: float) -> Window:
        """The same place on an array of `scale` times as many px."""
        return Window(self.top * scale, self.left * scale, self.side * scale)


def whole(array: NDArray[Any]) -> Read:
    """To read an array in memory, (…, H, W)."""
    return lambda rows, columns: array[..., rows, columns]


def cut(read: Read, size: tuple[int, int], window: Window, out_px: int) -> NDArray[np.float32]:
    """(…, out, out) of a window: exactly its pixels where they are as many, else bilinear, antialiased if it shrinks.

    Args:
        read: The array.
        size: Its height and width.
        window: May reach a pixel beyond it, where its border goes on.
        out_px: Side of the result.
    """
    rows, down = _axis(window.top, window.side, out_px, size[0])
    columns, across = _axis(window.left, window.side, out_px, size[1])
    part = np.asarray(read(rows, columns), np.float32)
    if down is not None:
        part = down @ part
    return part if across is None else part @ across.T


def cut_nearest(read: Read, size: tuple[int, int], window: Window, out_px: int) -> NDArray[Any]:
    """The same for labels: each pixel the one that its middle lies in."""
    rows, down = _nearest(window.top, window.side, out_px, size[0])
    columns, across = _nearest(window.left, window.side, out_px, size[1])
    return np.ascontiguousarray(read(rows, columns)[..., down[:, None], across[None, :]])


def _axis(start: float, side: float, out: int, length: int) -> tuple[slice, NDArray[np.float32] | None]:
    """What to read along an axis, and (out, read) weights; None where these would change nothing."""
    first = round(start)
    if abs(side - out) < 1e-9 and abs(start - first) < 1e-9 and first >= 0 and first + out <= length:
        return slice(first, first + out), None
    scale = side / out
    reach = max(1.0, scale)
    centres = start + (np.arange(out) + 0.5) * scale
    low, high = math.floor(centres[0] - reach - 0.5), math.ceil(centres[-1] + reach + 0.5)
    pixels = np.arange(low, high + 1)
    weights = np.maximum(0.0, 1.0 - np.abs(pixels + 0.5 - centres[:, None]) / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    held = np.clip(pixels, 0, length - 1)
    begin = int(held[0])
    folded = np.zeros((int(held[-1]) - begin + 1, out))
    np.add.at(folded, held - begin, weights.T)
    return slice(begin, int(held[-1]) + 1), folded.T.astype(np.float32)


def _nearest(start: float, side: float, out: int, length: int) -> tuple[slice, NDArray[np.int64]]:
    places = np.clip(np.floor(start + (np.arange(out) + 0.5) * (side / out)).astype(np.int64), 0, length - 1)
    return slice(int(places[0]), int(places[-1]) + 1), places - places[0]
