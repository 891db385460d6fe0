"""The two ways of `flow_decode` in numpy and SciPy: slow, short, and what the compiled ones must agree with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histocyte.core.instances import relabel_sequential
from histocyte.core.labels import clean_instances_plain
from histocyte.representations.flow.targets import flow_map_plain

__all__ = ["ends_plain", "separate_as_published_plain", "separate_plain"]


def _steps(
    inside: NDArray[np.bool_], flow: NDArray[np.floating], flow_scale: float, longest: float
) -> NDArray[np.float64]:
    steps = np.where(inside & np.isfinite(flow).all(axis=0), flow, 0.0).astype(np.float64) / flow_scale
    length = np.hypot(*steps)
    return np.asarray(steps * np.divide(longest, length, out=np.ones_like(length), where=length > longest))


def ends_plain(
    inside: NDArray[np.bool_], steps: NDArray[np.float64], count: int, *, compat: bool = False
) -> NDArray[np.int64]:
    """(2, N) the pixel where the walk from each foreground pixel ends, row by row: all steps of all pixels."""
    size = np.array(inside.shape)[:, None]
    place = np.argwhere(inside).T.astype(np.float64)
    visited = []
    for _ in range(count):
        read_at = place * size / np.maximum(1, size - 1) - 0.5 if compat else place
        mode = "grid-constant" if compat else "nearest"
        step = np.stack([ndimage.map_coordinates(plane, read_at, order=1, mode=mode) for plane in steps])
        place = np.clip(place + step, 0, size - 1)
        visited.append(place)
    return place.astype(np.int64) if compat else np.floor(np.mean(visited[-4:], axis=0) + 0.5).astype(np.int64)


def _gathered(inside: NDArray[np.bool_], ends: NDArray[np.int64], seed_points: int, *, ties: bool) -> NDArray[np.int32]:
    """Label each foreground pixel by the seed that its end belongs to."""
    crowds = np.zeros(inside.shape, np.int64)
    np.add.at(crowds, tuple(ends), 1)
    seeds = np.argwhere((crowds == ndimage.maximum_filter(crowds, 5)) & (crowds > seed_points))
    if not ties:
        earlier: list[tuple[int, int]] = []
        for row, column in seeds:
            near = [(r, c) for r, c in earlier if abs(r - row) <= 2 and abs(c - column) <= 2]
            if not near:
                earlier.append((int(row), int(column)))
        seeds = np.array(earlier, np.int64).reshape(-1, 2)
    owner = np.zeros(inside.shape, np.int32)
    for label, seed in enumerate(sorted(map(tuple, seeds), key=lambda s: crowds[s]), start=1):
        start = np.zeros(inside.shape, bool)
        start[seed] = True
        owner[ndimage.binary_dilation(start, np.ones((3, 3)), 5, mask=crowds > 2) | start] = label
    labels = np.zeros(inside.shape, np.int32)
    labels[inside] = owner[tuple(ends)]
    return labels


def _kept(labels: NDArray[np.int32], low: float, high: float) -> NDArray[np.int32]:
    areas = np.bincount(labels.ravel())
    return relabel_sequential(np.where(((areas >= low) & (areas <= high))[labels], labels, 0).astype(np.int32))[0]


def _fitting(
    labels: NDArray[np.int32], steps: NDArray[np.float64], max_flow_error: float, *, compat: bool
) -> NDArray[np.int32]:
    if max_flow_error <= 0 or not labels.any():
        return labels
    off = ((flow_map_plain(labels, compat=compat) - steps) ** 2).sum(axis=0)
    errors = np.array([0.0, *(off[labels == i].mean() for i in range(1, labels.max() + 1))])
    return relabel_sequential(np.where((errors <= max_flow_error)[labels], labels, 0).astype(np.int32))[0]


def separate_plain(
    inside: NDArray[np.bool_],
    flow: NDArray[np.float32],
    *,
    flow_scale: float,
    steps: int,
    seed_points: int,
    max_flow_error: float,
    min_area_px: int,
    max_area_px: int,
) -> NDArray[np.int32]:
    """The same as `flow_decode.separate`, where the arguments are explained."""
    field = _steps(inside, flow, flow_scale, 1.0)
    labels = _gathered(inside, ends_plain(inside, field, steps), seed_points, ties=False)
    labels = _kept(clean_instances_plain(labels), min_area_px, max_area_px)
    return _fitting(labels, field, max_flow_error, compat=False)


def separate_as_published_plain(
    inside: NDArray[np.bool_],
    flow: NDArray[np.float32],
    *,
    flow_scale: float,
    steps: int,
    seed_points: int,
    max_flow_error: float,
    min_area_px: int,
    max_fraction: float,
) -> NDArray[np.int32]:
    """The same as `flow_decode.separate_as_published`, where the arguments are explained."""
    field = _steps(inside, flow, flow_scale, np.inf)
    labels = _gathered(inside, ends_plain(inside, field, steps, compat=True), seed_points, ties=True)
    labels = _fitting(_kept(labels, 1, max_fraction * inside.size), field, max_flow_error, compat=True)
    return _kept(clean_instances_plain(_kept(labels, min_area_px, np.inf)), min_area_px, np.inf)
