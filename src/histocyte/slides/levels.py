"""Which resolution a stored level has: its downsample, where its size tells it."""

from __future__ import annotations

import math

from histocyte.slides.protocol import StoredLevel

__all__ = ["downsample_of"]

_ROUNDED = 0.02
"""Files round pixel spacings: a stated downsample so near to a whole number, relatively, is that number."""
_FEW_PX = 4
"""What a level may be cut by at its far end: some scanners leave out tiles' overlaps, others the last columns."""
_MANY = 8
"""Whole factors looked at where no power of two explains a size."""


def downsample_of(full: tuple[int, int], level: StoredLevel) -> float | None:
    """Level-0 pixels per pixel of a level; None where nothing explains its size, so that it cannot be used.

    Scanners reduce by whole factors and cut or round the last pixel off; some fill each level up to whole tiles. So the
    true factor is a whole number where one explains both sides, filled up or not: the quotient of the sizes would shift
    the far end of a level, by a pixel or by most of a tile. A level whose sides disagree is another picture, such as a
    thumbnail.

    Args:
        full: Width and height of level 0, px.
        level: As it is stored.
    """
    if level.downsample is not None:
        near = max(1, round(level.downsample))
        stated = float(near) if abs(level.downsample / near - 1) <= _ROUNDED else level.downsample
        return stated if _covers(full, level, stated) else None
    if level.size == full:
        return 1.0
    ratio = (full[0] / level.size[0] + full[1] / level.size[1]) / 2
    near_ratio = range(max(2, int(ratio * 0.9)), min(int(ratio * 1.1), int(ratio) + 64) + 2)
    exact = [f for f in near_ratio if _is_reduced(full, level.size, f)]
    if exact:
        return float(min(exact, key=lambda f: (not _is_power_of_two(f), abs(f - ratio))))
    padded = _padded_factors(full, level)
    if padded:
        return float(padded[0]) if len(padded) == 1 else None
    return ratio if ratio >= 1 and _is_reduced(full, level.size, ratio) else None


def _is_reduced(full: tuple[int, int], size: tuple[int, int], factor: float) -> bool:
    """Whether a level is as large as level 0 reduced so, but for the last pixel, or a few of hundreds."""
    return all(
        abs(whole / factor - side) <= max(1, min(_FEW_PX, side // 100)) for whole, side in zip(full, size, strict=True)
    )


def _padded_factors(full: tuple[int, int], level: StoredLevel) -> list[int]:
    """The whole factors by which level 0 becomes this large when its sides are filled up to whole tiles.

    Powers of two alone, if any explains it: scanners use no others, and small levels have many explanations.
    """
    if level.tile is None:
        return []
    sides = list(zip(full, level.size, level.tile, strict=True))

    def explains(factor: int) -> bool:
        return all(size in _filled_up(whole, factor, tile) for whole, size, tile in sides)

    powers = [1 << k for k in range(1, 32) if explains(1 << k)]
    if powers:
        return powers
    least = max(2, math.floor(max(whole / (size + 1) for whole, size, _ in sides)))
    return [factor for factor in range(least, least + _MANY) if explains(factor)]


def _filled_up(whole: int, factor: int, tile: int) -> set[int]:
    """What a side may be in whole tiles, its last pixel dropped or kept."""
    return {-(-max(1, side) // tile) * tile for side in (whole // factor, -(-whole // factor))}


def _covers(full: tuple[int, int], level: StoredLevel, downsample: float) -> bool:
    """Whether a level of this downsample is as large as the slide, or larger by less than a tile."""
    for whole, size, tile in zip(full, level.size, level.tile or (1, 1), strict=True):
        slack = max(2.0, _ROUNDED * size)
        if not -slack <= size - whole / downsample < max(slack, tile):
            return False
    return True


def _is_power_of_two(factor: int) -> bool:
    return factor & (factor - 1) == 0
