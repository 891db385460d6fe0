"""What a map says, whatever it is called and whichever scheme it belongs to: so one scheme's can teach another's.

    foreground   1      logit of lying in any nucleus
    classes      K + 1  logarithms of class probabilities, background first
    hover, flow, rays, distance …  geometry, as its scheme has it; flows are of length 1

Every kind says how it turns with the image. A flip swaps right and left: it is not enough to flip a map of distances
to the right, its sign has to change too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.maps import MapSpec, decoded_maps
from histocyte.representations.distance.scheme import Distance
from histocyte.representations.distance.targets import BACKGROUND
from histocyte.representations.flow.scheme import Flow
from histocyte.representations.hover.scheme import Hover
from histocyte.representations.protocol import Representation
from histocyte.representations.semantic.scheme import Semantic
from histocyte.representations.star.scheme import Star
from histocyte.representations.star.targets import RAYS

__all__ = [
    "CLASSES",
    "FOREGROUND",
    "by_kind",
    "can_turn",
    "kinds",
    "offered",
    "turned",
    "turned_field",
    "with_own_scale",
]

FOREGROUND, CLASSES = "foreground", "classes"
_TINY = 1e-7
_Field = NDArray[np.float32]


def kinds(representation: Representation) -> dict[str, str]:
    """Kind of each map that is decoded, by its name.

    Maps of the same kind may be compared number by number, at the same resolution; maps of classes, where the classes
    are the same too.
    """
    if isinstance(representation, Hover):
        return _named(representation, nucleus=FOREGROUND, hover="hover")
    if isinstance(representation, Flow):
        return _named(representation, nucleus=FOREGROUND, flow="flow")
    if isinstance(representation, Star):
        way = "as published" if representation.compat else ""
        return _named(representation, nucleus="depth", rays=f"rays {way}".strip())
    if isinstance(representation, Distance):
        rule = f"semantic {representation.contour} {representation.contour_px:g}"
        return _named(representation, semantic=rule, distance="distance")
    if isinstance(representation, Semantic):
        return {"types": CLASSES if representation.background else "regions"}
    scheme = f"{type(representation).__module__}.{type(representation).__qualname__}"
    return {spec.name: f"{scheme} {spec.name}" for spec in decoded_maps(representation.maps)}


def _named(representation: Representation, **names: str) -> dict[str, str]:
    return {s.name: names.get(s.name, CLASSES) for s in decoded_maps(representation.maps)}


def offered(representation: Representation) -> frozenset[str]:
    """The kinds that `by_kind` gives of a representation's maps."""
    own = set(kinds(representation).values())
    return frozenset(own | {FOREGROUND}) if CLASSES in own or isinstance(representation, Distance) else frozenset(own)


def by_kind(logits: Mapping[str, NDArray[np.floating]], representation: Representation) -> dict[str, _Field]:
    """A network's maps, as logits (`logits.to_logits`), by kind; the foreground also where no map is of that alone.

    Args:
        logits: Map name → (C, H, W).
        representation: Whose maps they are.
    """
    own = kinds(representation)
    found = {kind: np.asarray(logits[name], np.float32) for name, kind in own.items()}
    if FOREGROUND in found and len(found[FOREGROUND]) == 2:
        found[FOREGROUND] = found[FOREGROUND][1:] - found[FOREGROUND][:1]
    if isinstance(representation, Flow):
        found["flow"] = found["flow"] / np.float32(representation.flow_scale)
    if FOREGROUND not in found:
        if isinstance(representation, Distance):
            found[FOREGROUND] = _not(found[own["semantic"]], BACKGROUND)
        elif CLASSES in found:
            found[FOREGROUND] = _not(found[CLASSES], 0)
    return found


def with_own_scale(field: _Field, name: str, representation: Representation) -> _Field:
    """A map of its kind as the map `name` of a representation has it: flows of that scheme's length."""
    if isinstance(representation, Flow) and name == "flow":
        return field * np.float32(representation.flow_scale)
    return field


def _not(logarithms: _Field, channel: int) -> _Field:
    """(1, H, W) logit of being anything but one channel of a softmax."""
    largest = logarithms.max(axis=0)
    odds = np.exp(logarithms - largest)
    p = np.clip(odds[channel] / odds.sum(axis=0), _TINY, 1 - _TINY)
    return np.asarray(np.log1p(-p) - np.log(p), np.float32)[None]


def can_turn(spec: MapSpec, kind: str) -> bool:
    """Whether it is known how a map turns: probabilities do not point anywhere, other schemes' geometry may."""
    return spec.activation in ("sigmoid", "softmax") or kind.partition(" ")[0] in _TURNS


def turned_field(array: NDArray[Any], turns: int, flip: bool) -> NDArray[Any]:
    """(…, H, W) turned anticlockwise by quarters, then flipped left to right."""
    array = np.rot90(array, turns, axes=(-2, -1))
    return array[..., ::-1] if flip else array


def turned(field: _Field, kind: str, turns: int, flip: bool) -> _Field:
    """A map (C, H, W) of a kind as it is of the turned image (`turned_field`): moved, and pointing the new way."""
    moved = turned_field(field, turns, flip)
    rule = _TURNS.get(kind.partition(" ")[0])
    if rule is not None:
        quarter, mirror = rule
        for _ in range(turns % 4):
            moved = quarter(moved)
        if flip:
            moved = mirror(moved)
    return np.ascontiguousarray(moved)


def _pair(right: int, down: int) -> tuple[Any, Any]:
    """Rules for two channels that point right and down. Anticlockwise, down turns to right, right to up."""

    def quarter(f: _Field) -> _Field:
        new = f.copy()
        new[right], new[down] = f[down], -f[right]
        return new

    def mirror(f: _Field) -> _Field:
        new = f.copy()
        new[right] = -f[right]
        return new

    return quarter, mirror


def _quarter_of_four(f: _Field) -> _Field:
    """Right, down, from the top left, from the bottom left."""
    return np.stack([f[1], -f[0], -f[3], f[2]])


def _mirror_of_four(f: _Field) -> _Field:
    return np.stack([-f[0], f[1], -f[3], -f[2]])


_AHEAD = (np.arange(RAYS) + RAYS // 4) % RAYS
_ACROSS = (RAYS // 2 - np.arange(RAYS)) % RAYS

_TURNS: dict[str, tuple[Any, Any]] = {
    "hover": _pair(right=0, down=1),
    "flow": _pair(right=1, down=0),
    "rays": (lambda f: f[_AHEAD], lambda f: f[_ACROSS]),
    "distance": (_quarter_of_four, _mirror_of_four),
}
"""How channels change with a quarter turn anticlockwise, and with a flip left to right, once the pixels have moved."""
