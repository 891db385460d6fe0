"""What every representation must keep, as a function: call it in a test of yours (for plug-ins too).

A representation writes labels as maps and reads maps back as instances. `check_representation` draws small scenes with
known nuclei and holds both directions to their contract and to each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from histocyte.core.instances import Instances, Labels
from histocyte.core.labels import clean_instances
from histocyte.core.maps import Maps, MapSpec, decoded_maps
from histocyte.metrics.panoptic import panoptic_counts
from histocyte.representations.maps.kinds import MapKind, can_turn, turned, turned_field

__all__ = ["RepresentationContract", "check_representation", "contract_scenes"]

_SIZE = 96
_TYPES = 2
_APART, _SHARE_APART = 0.25, 0.02
"""A turned map may differ by so much, of its largest value, at so many of the pixels: centres fall on one pixel or its
neighbour."""


class RepresentationContract(Protocol):
    """What `check_representation` calls."""

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """The maps, in channel order."""

    @property
    def kinds(self) -> Mapping[str, MapKind]:
        """What each decoded map says."""

    def encode(self, labels: Labels) -> Maps:
        """Labels as target maps."""

    def decode(self, maps: Maps) -> Instances:
        """Maps as instances."""


def _paint(ellipses: Sequence[tuple[float, float, float, float, float]]) -> NDArray[np.int32]:
    """Ellipses (x, y, half-axes along and across, angle in degrees), later ones over earlier."""
    rows, columns = np.mgrid[0:_SIZE, 0:_SIZE] + 0.5
    labels = np.zeros((_SIZE, _SIZE), np.int32)
    for i, (x, y, along, across, angle) in enumerate(ellipses, start=1):
        cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        u, v = (columns - x) * cos + (rows - y) * sin, (rows - y) * cos - (columns - x) * sin
        labels[(u / along) ** 2 + (v / across) ** 2 <= 1] = i
    return clean_instances(labels)


def _crescent() -> NDArray[np.int32]:
    """A bent nucleus whose centre of mass lies outside it, and a round one in its arms."""
    rows, columns = np.mgrid[0:_SIZE, 0:_SIZE] + 0.5
    radius = np.hypot(columns - 48, rows - 48)
    labels = ((radius > 14) & (radius < 26) & (columns < 52)).astype(np.int32)
    labels[np.hypot(columns - 56, rows - 48) < 9] = 2
    return labels


def contract_scenes() -> dict[str, NDArray[np.int32]]:
    """The scenes by name, (96, 96) label maps; `crescent` is the one that star-shaped schemes cannot carry."""
    rng = np.random.default_rng(20)
    grid = [(x, y) for y in range(14, 96, 20) for x in range(14, 96, 20)]
    many = [
        (x + rng.uniform(-2, 2), y + rng.uniform(-2, 2), *rng.uniform(5, 8, 2), rng.uniform(0, 180)) for x, y in grid
    ]
    touching = [(30, 30, 13, 10, 0), (52, 30, 11, 9, 90), (40, 50, 12, 10, 30), (30, 76, 12, 6, 0), (53, 76, 12, 6, 0)]
    border = [(0, 20, 10, 8, 0), (48, 0, 12, 9, 20), (95, 95, 11, 9, 45), (60, 94, 9, 8, 0), (94, 50, 8, 12, 0)]
    return {
        "empty": np.zeros((_SIZE, _SIZE), np.int32),
        "one": _paint([(41, 52, 14, 9, 35)]),
        "many": _paint(many),
        "touching": _paint(touching),
        "border": _paint(border),
        "thin": _paint([(30, 30, 22, 3, 45), (70, 60, 20, 2.5, 100), (30, 75, 4, 3, 0)]),
        "crescent": _crescent(),
    }


def _check_maps(representation: RepresentationContract, maps: Mapping[str, NDArray[np.float32]], scene: str) -> None:
    specs = {spec.name: spec for spec in decoded_maps(representation.maps)}
    assert list(maps) == list(specs), f"{scene}: encode wrote {list(maps)}, maps promises {list(specs)}"
    for name, values in maps.items():
        expected = (specs[name].channels, _SIZE, _SIZE)
        assert values.shape == expected, f"{scene}: map {name} is {values.shape}, not {expected}"
        assert values.dtype == np.float32, f"{scene}: map {name} is {values.dtype}, not float32"
        assert np.isfinite(values).all(), f"{scene}: map {name} holds values that are not numbers"
        if specs[name].activation == "relu":
            assert values.min() >= 0, f"{scene}: map {name} is below 0"
        elif specs[name].activation != "linear":
            assert 0 <= values.min() <= values.max() <= 1, f"{scene}: map {name} is not a probability"


def _check_instances(found: Instances, scene: str) -> None:
    labels, count = found.labels, len(found)
    assert labels.shape == (_SIZE, _SIZE), f"{scene}: labels are {labels.shape}"
    assert labels.dtype == np.int32, f"{scene}: labels are {labels.dtype}, not int32"
    assert np.array_equal(np.unique(labels[labels > 0]), np.arange(1, count + 1)), f"{scene}: ids are not 1..N"
    assert np.array_equal(clean_instances(labels), labels), f"{scene}: an instance has holes or several pieces"
    for name, values in (("scores", found.scores), ("class_probabilities", found.class_probabilities)):
        assert values.dtype == np.float32, f"{scene}: {name} are {values.dtype}, not float32"
        assert len(values) == count, f"{scene}: {len(values)} {name} for {count} instances"
        assert np.all((values >= 0) & (values <= 1)), f"{scene}: {name} outside 0..1"
    if count and found.class_probabilities.shape[1]:
        assert np.allclose(found.class_probabilities.sum(axis=1), 1, atol=1e-5), f"{scene}: classes do not sum to 1"


def _check_types(labels: Labels, found: Instances, scene: str) -> None:
    assert labels.types is not None
    assert found.class_probabilities.shape[1] == _TYPES, f"{scene}: {found.class_probabilities.shape[1]} classes"
    overlap = [np.bincount(labels.instances[found.labels == i], minlength=2).argmax() for i in range(1, len(found) + 1)]
    expected = labels.types[np.array(overlap, np.int64)]
    assert np.array_equal(found.class_probabilities.argmax(axis=1) + 1, expected), f"{scene}: classes changed"


def _check_kinds(representation: RepresentationContract) -> None:
    """A kind for each decoded map; maps of turned labels are turned maps where a kind says how it turns."""
    specs = {spec.name: spec for spec in decoded_maps(representation.maps)}
    kinds = representation.kinds
    assert set(kinds) == set(specs), f"kinds names {sorted(kinds)}, maps promises {sorted(specs)}"
    for name, kind in kinds.items():
        assert kind.within is None or kind.within in specs, f"map {name} is within '{kind.within}', which is no map"
        none = kind.background is None or kind.background < specs[name].channels
        assert none, f"map {name} has no channel {kind.background} that could be background"
    instances = contract_scenes()["touching"]
    types = _types(instances)
    maps = representation.encode(Labels(instances, types))
    for turns, flip in ((1, False), (2, False), (0, True), (3, True)):
        moved = Labels(np.ascontiguousarray(turned_field(instances, turns, flip)), types)
        for name, expected in representation.encode(moved).items():
            if can_turn(specs[name], kinds[name]):
                apart = np.abs(turned(maps[name], kinds[name], turns, flip) - expected).max(axis=0)
                wrong = float((apart > _APART * max(1.0, float(np.abs(expected).max()))).mean())
                assert wrong <= _SHARE_APART, f"map {name} does not turn as its kind says ({turns} quarters, {flip=})"


def _types(instances: NDArray[np.int32]) -> NDArray[np.uint8]:
    numbers = np.arange(int(instances.max()) + 1)
    return (numbers % _TYPES + (numbers > 0)).astype(np.uint8)


def check_representation(
    representation: RepresentationContract, *, min_quality: float = 0.97, skip: Sequence[str] = ()
) -> None:
    """Hold a representation to its contract: its `maps`, its `kinds`, and decode(encode(labels)) = labels.

    Args:
        representation: What to check. With classes it must have two.
        min_quality: Panoptic quality with which each scene must come back, in the right number of nuclei.
        skip: Scenes (see `contract_scenes`) whose nuclei the scheme cannot carry; dtypes and shapes are checked.

    Raises:
        AssertionError: The first promise that is broken, and by which scene.
    """
    for scene, instances in contract_scenes().items():
        count = int(instances.max())
        labels = Labels(instances, _types(instances))
        maps = representation.encode(labels)
        _check_maps(representation, maps, scene)
        found = representation.decode(maps)
        _check_instances(found, scene)
        half = representation.decode({name: values.astype(np.float16) for name, values in maps.items()})
        _check_instances(half, f"{scene} in half precision")
        if scene in skip:
            continue
        counts = panoptic_counts(instances, found.labels)
        assert len(found) == count, f"{scene}: {count} nuclei came back as {len(found)}"
        quality = float(counts.quality().pq) if count else 1.0
        assert quality >= min_quality, f"{scene}: panoptic quality {quality:.3f} after decode(encode(labels))"
        if "types" in maps:
            _check_types(labels, found, scene)
    _check_kinds(representation)
