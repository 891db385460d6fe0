"""What a map says, whatever it is called and whichever scheme it belongs to: so one scheme's can teach another's.

    foreground   1      logit of lying in any nucleus
    classes      K + 1  logarithms of class probabilities, background first
    hover, flow, rays, distance …  geometry, as its scheme has it; flows are of length 1

A representation names the kind of each of its maps (`Representation.kinds`), and a kind knows how it turns with the
image. A flip swaps right and left: it is not enough to flip a map of distances to the right, its sign changes too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.maps import MapSpec

if TYPE_CHECKING:
    from histocyte.representations.protocol import Representation

__all__ = [
    "CLASSES",
    "FOREGROUND",
    "MapKind",
    "Turn",
    "by_kind",
    "can_turn",
    "offered",
    "pair",
    "turned",
    "turned_field",
]

_TINY = 1e-7
_Field = NDArray[np.float32]
Turn = Callable[[_Field], _Field]
"""(C, H, W) whose pixels have moved already → the same with channels that point the new way."""


@dataclass(frozen=True, slots=True)
class MapKind:
    """What a map says.

    Maps of one name may be compared number by number, at the same resolution; those of classes, where the classes are
    the same too.

    Attributes:
        name: "foreground", "classes" or what the scheme calls it, with everything in it that makes two maps differ.
        quarter: How channels change with a quarter turn anticlockwise; None where that is not known.
        mirror: How they change with a flip left to right.
        scale: The map is this many times the field of its kind.
        background: Channel of a softmax that is background, from which the foreground follows; None without one.
        within: Map of the same scheme whose foreground is where this one says anything; None for everywhere.
    """

    name: str
    quarter: Turn | None = None
    mirror: Turn | None = None
    scale: float = 1.0
    background: int | None = None
    within: str | None = None


FOREGROUND = MapKind("foreground")
CLASSES = MapKind("classes", background=0)


def offered(representation: Representation) -> frozenset[str]:
    """Names of the kinds that `by_kind` gives of a representation's maps."""
    own = representation.kinds.values()
    follows = {FOREGROUND.name} if any(kind.background is not None for kind in own) else set()
    return frozenset({kind.name for kind in own} | follows)


def by_kind(logits: Mapping[str, NDArray[np.floating]], representation: Representation) -> dict[str, _Field]:
    """A network's maps, as logits (`logits.to_logits`), by kind; the foreground also where no map is of that alone.

    Args:
        logits: Map name → (C, H, W).
        representation: Whose maps they are.
    """
    own = representation.kinds
    found = {}
    for name, kind in own.items():
        field = np.asarray(logits[name], np.float32)
        found[kind.name] = field if kind.scale == 1 else field / np.float32(kind.scale)
    nucleus = found.get(FOREGROUND.name)
    if nucleus is not None and len(nucleus) == 2:  # a softmax of background and nucleus
        found[FOREGROUND.name] = nucleus[1:] - nucleus[:1]
    for kind in own.values():
        if FOREGROUND.name not in found and kind.background is not None:
            found[FOREGROUND.name] = _not(found[kind.name], kind.background)
    return found


def _not(logarithms: _Field, channel: int) -> _Field:
    """(1, H, W) logit of being anything but one channel of a softmax."""
    largest = logarithms.max(axis=0)
    odds = np.exp(logarithms - largest)
    p = np.clip(odds[channel] / odds.sum(axis=0), _TINY, 1 - _TINY)
    return np.asarray(np.log1p(-p) - np.log(p), np.float32)[None]


def can_turn(spec: MapSpec, kind: MapKind) -> bool:
    """Whether it is known how a map turns: probabilities do not point anywhere, other geometry may."""
    return spec.activation in ("sigmoid", "softmax") or kind.quarter is not None


def turned_field(array: NDArray[Any], turns: int, flip: bool) -> NDArray[Any]:
    """(…, H, W) turned anticlockwise by quarters, then flipped left to right."""
    array = np.rot90(array, turns, axes=(-2, -1))
    return array[..., ::-1] if flip else array


def turned(field: _Field, kind: MapKind, turns: int, flip: bool) -> _Field:
    """A map (C, H, W) of a kind as it is of the turned image (`turned_field`): moved, and pointing the new way."""
    moved = turned_field(field, turns, flip)
    if kind.quarter is not None and kind.mirror is not None:
        for _ in range(turns % 4):
            moved = kind.quarter(moved)
        if flip:
            moved = kind.mirror(moved)
    return np.ascontiguousarray(moved)


def pair(right: int, down: int) -> tuple[Turn, Turn]:
    """How two channels turn and flip that point right and down. Anticlockwise, down turns to right, right to up."""

    def quarter(f: _Field) -> _Field:
        new = f.copy()
        new[right], new[down] = f[down], -f[right]
        return new

    def mirror(f: _Field) -> _Field:
        new = f.copy()
        new[right] = -f[right]
        return new

    return quarter, mirror
