"""A print of an image's content, by which a copy is known under any name: re-encoded, turned, mirrored or cut out.

The places that stand out most, one in each square of a grid, are kept with 32 signs of the frequencies around them. A
copy shows the same places in the same arrangement: three that agree are a match, or two that agree nearly to the bit.
Other tissue does not show them: how often either goes wrong was measured on real images (`docs/training.md`).
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import ModelError

__all__ = ["ImagePrint", "PrintIndex", "image_print"]

_HALF_PX = 16
"""Half the side of what is described around a place: 33 px, at 0.25 µm/px a nucleus and its surroundings."""
_MARGIN_PX = _HALF_PX + 6
"""No place is nearer to the image's border, where a cut-out would show it otherwise."""
_APART_PX = 12
"""Within this distance the strongest place counts alone."""
_WEAKEST = 2.0
"""Grey levels by which a place must stand out."""
_SQUARE_PX = 128
"""Side of a square of the grid; smaller on small images, larger on those with more than `_MOST_SQUARES` a side."""
_LEAST_SQUARES, _MOST_SQUARES = 3, 16
_BITS_APART = 6
"""How many of the 32 signs may differ: compression turns those of weak frequencies."""
_PX_APART = 3
"""How exactly matched places must lie to one another as they do in the other image."""
_PLACES = 3
"""So many make a match."""
_PAIR_BITS_APART = 4
"""Two do, as a small cut-out has no more, if their signs differ in no more than this many bits together."""
_MANY = 64
"""Pairs of places with one print. There are more where content repeats itself, as in a grid: of these the pairs with
the fewest signs apart are tried."""
_SCALE = 0.03
"""Resolutions that differ by less are one."""
_MOST_SCALE = 4
"""Resolutions that differ by more are not compared: too little would be left of the finer image."""
_HEAD = struct.Struct("<IIf8s")
_PLACE = np.dtype([("x", "u1"), ("y", "u1"), ("signs", "<u4")])
_NONE = 255
"""x of a square without a place."""
_TURNS = 8
_REMEMBERED = 2048
"""Images whose places are remembered, some 30 kB each, as one is looked up in several histories."""
_PLAIN = bytes(8)
"""Digest of an image of a single colour, which is a copy of any other."""


@dataclass(frozen=True, slots=True, eq=False)
class ImagePrint:
    """What is kept of an image.

    Attributes:
        shape: Its height and width, px.
        mpp: µm per px; None where it is an estimate, such as one from the nuclei's size.
        exact: Digest of its colours, the same for every turn and flip.
        xy: (N, 2) places, px.
        signs: (N,) uint32, signs of frequencies around each.
    """

    shape: tuple[int, int]
    mpp: float | None
    exact: bytes
    xy: NDArray[np.int32]
    signs: NDArray[np.uint32]

    @property
    def tells(self) -> bool:
        """Whether the image shows anything to know it by."""
        return self.exact != _PLAIN

    def to_text(self) -> str:
        """The print as a model's file keeps it: about six bytes for every 128 × 128 px, in base64."""
        height, width = self.shape
        down, across, y_side, x_side = _grid(self.shape)
        places = np.zeros(down * across, _PLACE)
        places["x"] = _NONE
        row, column = (self.xy[:, 1] * down) // height, (self.xy[:, 0] * across) // width
        at = row * across + column
        places["x"][at] = _within(self.xy[:, 0], column, width, across) * 254 // max(254, x_side)
        places["y"][at] = _within(self.xy[:, 1], row, height, down) * 254 // max(254, y_side)
        places["signs"][at] = self.signs
        return base64.b64encode(_HEAD.pack(height, width, self.mpp or 0.0, self.exact) + places.tobytes()).decode()

    @classmethod
    def from_text(cls, text: str) -> ImagePrint:
        """Read what `to_text` gave.

        Raises:
            ModelError: It is no print.
        """
        try:
            content = base64.b64decode(text, validate=True)
            height, width, mpp, exact = _HEAD.unpack_from(content)
            down, across, y_side, x_side = _grid((height, width))
            places = np.frombuffer(content[_HEAD.size :], _PLACE)
            if len(places) != down * across or not 0 <= mpp < 100:
                raise ValueError
        except (ValueError, struct.error, ZeroDivisionError) as error:
            raise ModelError("The print of an image that a model has learnt from is damaged.") from error
        at = np.flatnonzero(places["x"] != _NONE)
        row, column = at // across, at % across
        x = _start(column, width, across) + _back(places["x"][at], x_side)
        y = _start(row, height, down) + _back(places["y"][at], y_side)
        xy = np.stack([x, y], 1).astype(np.int32)
        return cls((height, width), float(mpp) or None, exact, xy, places["signs"][at].astype(np.uint32))


def image_print(image: NDArray[np.uint8], mpp: float | None) -> ImagePrint:
    """The print of an image.

    Args:
        image: (H, W, 3) RGB.
        mpp: µm per px; None where it is an estimate: copies are known at the same size alone.
    """
    seen = _look(image)
    down, across, _, _ = _grid(image.shape)
    square = (seen.xy[:, 1] * down) // image.shape[0] * across + (seen.xy[:, 0] * across) // image.shape[1]
    # The strongest place of each square, in the grid's order; places are sorted by their strength.
    best = np.unique(square, return_index=True)[1]
    return ImagePrint((image.shape[0], image.shape[1]), mpp, seen.exact, seen.xy[best], seen.signs[0, best])


class PrintIndex:
    """Prints in which images are looked up.

    Args:
        prints: Prints of the images that are known.
    """

    def __init__(self, prints: Sequence[ImagePrint]) -> None:
        self._exact: dict[bytes, list[int]] = {}
        for number, each in enumerate(prints):
            self._exact.setdefault(each.exact, []).append(number)
        self._scales = _scales([p.mpp for p in prints if p.mpp is not None])
        empty = np.zeros((0, 2), np.int32)
        self._xy = np.concatenate([empty, *(p.xy for p in prints)])
        self._signs = np.concatenate([np.zeros(0, np.uint32), *(p.signs for p in prints)])
        self._image = np.repeat(np.arange(len(prints)), [len(p.xy) for p in prints])
        quarters = [(self._signs >> np.uint32(8 * i)) & np.uint32(255) for i in range(4)]
        self._order = [np.argsort(quarter, kind="stable") for quarter in quarters]
        self._starts = [np.searchsorted(q[o], np.arange(257)) for q, o in zip(quarters, self._order, strict=True)]

    def find(self, image: NDArray[np.uint8], mpp: float | None) -> tuple[int, ...]:
        """Numbers of the prints of which an image is a copy or a part, or that are part of it; the surest first.

        Args:
            image: (H, W, 3) RGB.
            mpp: µm per px; prints of another resolution are compared at theirs. None where it is an estimate: prints
                are compared at the same size alone, as every image of such a set would have a resolution of its own.
        """
        seen = _look(image)
        same = self._exact.get(seen.exact, []) if seen.exact != _PLAIN else []
        found = dict.fromkeys(same, len(seen.xy) + 1)
        scales = (mpp / other for other in self._scales if mpp is not None)
        for scale in {1.0, *(s for s in scales if abs(s - 1) > _SCALE and 1 / _MOST_SCALE <= s <= _MOST_SCALE)}:
            shown = seen if scale == 1 else _look(_resized(image, scale), digest=False)
            for number, places in self._matches(shown).items():
                found[number] = max(places, found.get(number, 0))
        return tuple(sorted(found, key=lambda number: -found[number]))

    def _matches(self, seen: _Seen) -> dict[int, int]:
        """How many places of each print are in an image, in the same arrangement, where that is enough of them."""
        found: dict[int, int] = {}
        if not len(seen.xy) or not len(self._signs):
            return found
        for turn, signs in enumerate(seen.signs):
            mine, theirs = self._alike(signs)
            shift = self._xy[theirs] - _turned(seen.xy[mine], turn)
            apart = np.bitwise_count(signs[mine] ^ self._signs[theirs])
            numbers, start, count = np.unique(self._image[theirs], return_index=True, return_counts=True)
            for group in np.flatnonzero(_may_agree(shift, theirs, start, count)):
                some, number = slice(start[group], start[group] + count[group]), int(numbers[group])
                places = _agreeing(shift[some], theirs[some], apart[some])
                if places > 1:
                    found[number] = max(places, found.get(number, 0))
        return found

    def _alike(self, signs: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Pairs of a place here and one of a print with nearly the same signs, sorted by the latter.

        Only those that agree in one byte at least are compared: all that differ in up to three bits, and most others.
        """
        pairs: list[NDArray[np.int64]] = []
        for i, (order, starts) in enumerate(zip(self._order, self._starts, strict=True)):
            quarter = ((signs >> np.uint32(8 * i)) & np.uint32(255)).astype(np.intp)
            count = starts[quarter + 1] - starts[quarter]
            mine = np.repeat(np.arange(len(signs)), count)
            within = np.arange(len(mine)) - np.repeat(np.cumsum(count) - count, count)
            theirs = order[np.repeat(starts[quarter], count) + within]
            near = np.bitwise_count(signs[mine] ^ self._signs[theirs]) <= _BITS_APART
            pairs.append(theirs[near].astype(np.int64) * len(signs) + mine[near])
        both = np.unique(np.concatenate(pairs))
        return both % len(signs), both // len(signs)


def _may_agree(
    shift: NDArray[np.int32], theirs: NDArray[np.intp], start: NDArray[np.intp], count: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """(G,) whether two places of a print lie to one another as they do in the image, which for most prints is not so.

    Args:
        shift: (N, 2) of each pair of places, px, sorted by print.
        theirs: (N,) place of the print in each.
        start: (G,) first pair of each print.
        count: (G,) its pairs.
    """
    group = np.repeat(np.arange(len(start)), count)
    may = count > _MANY  # these are looked at one by one, as their pairs of pairs would fill the memory
    left = np.where(may[group], 0, (start + count)[group] - np.arange(len(shift)) - 1)
    one = np.repeat(np.arange(len(shift)), left)
    other = one + 1 + np.arange(len(one)) - np.repeat(np.cumsum(left) - left, left)
    agree = (np.abs(shift[one] - shift[other]) <= _PX_APART).all(1) & (theirs[one] != theirs[other])
    may[group[one[agree]]] = True
    return may


def _agreeing(shift: NDArray[np.int32], theirs: NDArray[np.intp], apart: NDArray[np.uint8]) -> int:
    """The largest number of a print's places that lie to one another as they do in the image; 0 if not enough agree."""
    order = np.argsort(theirs, kind="stable")
    shift, theirs, apart = shift[order], theirs[order], apart[order]
    tried = shift if len(shift) <= _MANY else shift[np.argsort(apart, kind="stable")[:_MANY]]
    near = (np.abs(shift - tried[:, None]) <= _PX_APART).all(2)
    first = np.flatnonzero(np.diff(theirs, prepend=-1))
    places = np.logical_or.reduceat(near, first, axis=1).sum(1)
    least = np.sort(np.where(near, apart, 32), axis=1)[:, :2].sum(1)
    enough = (places >= _PLACES) | ((places == 2) & (least <= _PAIR_BITS_APART))
    return int(places[enough].max(initial=0))


def _agreeing_plain(shift: NDArray[np.int32], theirs: NDArray[np.intp], apart: NDArray[np.uint8]) -> int:
    """The same as `_agreeing`, one shift at a time."""
    best = 0
    for one in shift if len(shift) <= _MANY else shift[np.argsort(apart, kind="stable")[:_MANY]]:
        near = (np.abs(shift - one) <= _PX_APART).all(1)
        places = len(np.unique(theirs[near]))
        if places >= _PLACES or (places == 2 and np.sort(apart[near])[:2].sum() <= _PAIR_BITS_APART):
            best = max(best, places)
    return best


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What is looked at in an image.

    Attributes:
        exact: Digest of its colours; empty where it was not wanted.
        xy: (N, 2) places, px, the strongest first.
        signs: (8, N) signs around each, by turn.
    """

    exact: bytes
    xy: NDArray[np.int32]
    signs: NDArray[np.uint32]


_remembered: OrderedDict[bytes, _Seen] = OrderedDict()


def _look(image: NDArray[np.uint8], *, digest: bool = True) -> _Seen:
    how = repr((image.shape, digest)).encode()
    key = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16, key=how).digest()
    seen = _remembered.pop(key, None)
    if seen is None:
        xy, frequencies = _places(image)
        seen = _Seen(
            _exact(image) if digest else b"", xy, np.stack([_signs(frequencies, turn) for turn in range(_TURNS)])
        )
    _remembered[key] = seen
    while len(_remembered) > _REMEMBERED:
        _remembered.popitem(last=False)
    return seen


def _places(image: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(N, 2) x and y of places that stand out, the strongest first, and (N, 8, 8) frequencies around each."""
    import cv2

    height, width = image.shape[:2]
    if min(height, width) <= 2 * _MARGIN_PX:
        return np.zeros((0, 2), np.int32), np.zeros((0, 8, 8), np.float32)
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine, coarse, patch = (cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (3.0, 6.0, 1.5))
    strength = np.abs(coarse - fine).round(2)
    side = 2 * _APART_PX + 1
    highest = cv2.dilate(strength, np.ones((side, side), np.uint8))
    inner = np.s_[_MARGIN_PX : height - _MARGIN_PX, _MARGIN_PX : width - _MARGIN_PX]
    y, x = np.nonzero((strength == highest)[inner] & (strength[inner] >= _WEAKEST))
    y, x = y + _MARGIN_PX, x + _MARGIN_PX
    order = np.argsort(-strength[y, x], kind="stable")
    y, x = y[order], x[order]
    around = np.arange(-_HALF_PX, _HALF_PX + 1)
    squares = patch[y[:, None, None] + around[:, None], x[:, None, None] + around]
    cosines = _cosines()
    return np.stack([x, y], 1).astype(np.int32), np.asarray((cosines @ squares) @ cosines.T, np.float32)


def _signs(frequencies: NDArray[np.float32], turn: int) -> NDArray[np.uint32]:
    """Signs of 32 frequencies as they are after a turn: a flip changes those of odd ones, a transposition swaps."""
    if turn & 4:
        frequencies = frequencies.transpose(0, 2, 1)
    down, across = _kept()
    values = frequencies[:, down, across]
    across_flip, down_flip = (across % 2 == 1) & bool(turn & 1), (down % 2 == 1) & bool(turn & 2)
    positive = (values > 0) ^ across_flip ^ down_flip
    weights = np.uint32(1) << np.arange(32, dtype=np.uint32)
    return np.asarray((positive * weights).sum(1, dtype=np.uint32), np.uint32)


def _turned(xy: NDArray[np.int32], turn: int) -> NDArray[np.int32]:
    """Places after a turn, but for a shift."""
    xy = xy[:, ::-1] if turn & 4 else xy
    return xy * np.array([-1 if turn & 1 else 1, -1 if turn & 2 else 1], np.int32)


@cache
def _cosines() -> NDArray[np.float32]:
    """(8, 33) the lowest frequencies of the discrete cosine transform."""
    side = 2 * _HALF_PX + 1
    return np.cos(np.pi * (np.arange(side) + 0.5) * np.arange(8)[:, None] / side).astype(np.float32)


@cache
def _kept() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The 32 lowest frequencies that are odd down or across: the even ones all say "a dark blob in the middle"."""
    pairs = [(down, across) for down in range(8) for across in range(8) if down % 2 or across % 2]
    pairs.sort(key=lambda pair: (sum(pair), abs(pair[0] - pair[1])))
    down, across = np.array(pairs[:32]).T
    return down, across


def _exact(image: NDArray[np.uint8]) -> bytes:
    """Digest of how often each colour occurs: the same for every turn and flip, another for any other image."""
    red, green, blue = (image[..., i].astype(np.int32).ravel() for i in range(3))
    if all(channel.min() == channel.max() for channel in (red, green, blue)):
        return _PLAIN
    counts = np.concatenate([np.bincount(red * 256 + green, minlength=65_536), np.bincount(blue * 256 + green)])
    return hashlib.blake2b(counts.astype("<u4").tobytes(), digest_size=8).digest()


def _grid(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Squares down and across, and the longest sides they have, px."""
    counts = [min(_MOST_SQUARES, max(_LEAST_SQUARES, round(side / _SQUARE_PX))) for side in shape[:2]]
    return counts[0], counts[1], -(-shape[0] // counts[0]), -(-shape[1] // counts[1])


def _start(number: NDArray[Any], side: int, squares: int) -> NDArray[Any]:
    """First px of a square of the grid: the least p with p · squares // side = number."""
    return -(-number * side // squares)


def _within(position: NDArray[np.int32], number: NDArray[Any], side: int, squares: int) -> NDArray[Any]:
    return position - _start(number, side, squares)


def _back(stored: NDArray[Any], side: int) -> NDArray[Any]:
    """The px of a square that 255 numbers stand for: each its own where there are no more, else the middle of its."""
    return (2 * stored.astype(np.int32) + 1) * max(254, side) // 508


def _scales(resolutions: Sequence[float]) -> list[float]:
    """One of each kind of resolution."""
    kinds: list[float] = []
    for mpp in sorted(set(resolutions)):
        if not kinds or mpp / kinds[-1] - 1 > _SCALE:
            kinds.append(mpp)
    return kinds


def _resized(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """An image enlarged by a factor."""
    if scale == 1.0:
        return image
    import cv2

    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
