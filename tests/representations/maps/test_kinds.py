"""Maps of one scheme read by another, and turned with the image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from histocyte.core.instances import Labels
from histocyte.core.maps import decoded_maps, split_maps
from histocyte.representations.distance.scheme import Distance
from histocyte.representations.flow.scheme import Flow
from histocyte.representations.hover.scheme import Hover
from histocyte.representations.maps.kinds import (
    CLASSES,
    FOREGROUND,
    MapKind,
    by_kind,
    can_turn,
    turned,
    turned_field,
)
from histocyte.representations.maps.logits import activated, to_logits
from histocyte.representations.protocol import Representation
from histocyte.representations.semantic.scheme import Semantic
from histocyte.representations.star.scheme import Star

SCHEMES = [Hover(2), Hover(2, nucleus_channels=2), Flow(2), Flow(2, foreground="types", flow_scale=1.0), Star(2)]
SCHEMES += [Distance(2), Semantic(2)]
ORIENTATIONS = [(turns, flip) for turns in range(4) for flip in (False, True)]


def labels() -> Labels:
    """Ellipses and an L, off centre in a field that is not square; odd sides, so that centres are pixels."""
    rows, columns = np.mgrid[:61, :75]
    instances = np.zeros((61, 75), np.int32)
    instances[((rows - 18) / 11) ** 2 + ((columns - 20) / 15) ** 2 <= 1] = 1
    instances[((rows - 40) / 9) ** 2 + ((columns - 53) / 7) ** 2 <= 1] = 2
    instances[31:50, 6:11] = 3
    instances[45:50, 6:23] = 3
    instances[instances == 0] = np.where(((rows - 18) ** 2 + (columns - 44) ** 2 <= 81)[instances == 0], 4, 0)
    return Labels(instances, np.array([0, 1, 2, 1, 2], np.uint8))


def encoded(representation: Representation, truth: Labels) -> dict[str, NDArray[np.floating]]:
    """By kind, as of a network that is sure."""
    specs = decoded_maps(representation.maps)
    maps = representation.encode(truth)
    stacked = to_logits(np.concatenate([maps[s.name] for s in specs]), specs)
    return by_kind(split_maps(stacked, specs), representation)


@pytest.mark.parametrize("representation", SCHEMES, ids=lambda r: type(r).__name__)
@pytest.mark.parametrize(("turns", "flip"), ORIENTATIONS)
def test_turning_the_maps_is_writing_the_turned_labels(representation: Representation, turns: int, flip: bool) -> None:
    truth = labels()
    moved = Labels(np.ascontiguousarray(turned_field(truth.instances, turns, flip)), truth.types)
    expected = encoded(representation, moved)
    own = {kind.name: kind for kind in representation.kinds.values()}
    for kind, field in encoded(representation, truth).items():
        found = turned(field, own.get(kind, FOREGROUND), turns, flip)
        assert found.shape == expected[kind].shape
        away = np.abs(found - expected[kind]).max(axis=0) > 1e-3
        # The centre of heat of an L lies off it and goes to the nearest of its pixels, of equals the first: a choice
        # that turns with nothing.
        assert not away[moved.instances != 3].any(), kind
        assert kind == "flow" or not away.any(), kind


def test_a_turn_moves_more_than_pixels() -> None:
    field = encoded(Hover(), labels())["hover"]
    assert np.abs(turned(field, Hover().kinds["hover"], 0, True) - turned_field(field, 0, True)).max() > 1
    star = encoded(Star(), labels())["rays"]
    assert np.abs(turned(star, Star().kinds["rays"], 1, False) - turned_field(star, 1, False)).max() > 1


def test_four_quarters_and_two_flips_are_none() -> None:
    rng = np.random.default_rng(0)
    cases = [(Hover(), "hover", 2), (Flow(), "flow", 2), (Star(), "rays", 32), (Distance(), "distance", 4)]
    for kind, channels in [(scheme.kinds[name], channels) for scheme, name, channels in cases] + [(CLASSES, 3)]:
        field = rng.normal(size=(channels, 5, 7)).astype(np.float32)
        assert np.array_equal(turned(field, kind, 4, False), field)
        assert np.array_equal(turned(turned(field, kind, 0, True), kind, 0, True), field)
        there = turned(field, kind, 1, True)
        assert np.array_equal(turned(there, kind, 1, True), field), "a turn and a flip undo themselves"


@pytest.mark.parametrize("representation", SCHEMES, ids=lambda r: type(r).__name__)
def test_the_foreground_is_read_off_any_scheme(representation: Representation) -> None:
    truth = labels()
    found = encoded(representation, truth)
    assert np.array_equal(found[FOREGROUND.name][0] > 0, truth.instances > 0)
    assert found[FOREGROUND.name].shape == (1, 61, 75)
    assert np.array_equal(found[CLASSES.name].argmax(0) > 0, truth.instances > 0)


def test_flows_are_of_one_length_between_schemes() -> None:
    truth = labels()
    five, one = Flow(flow_scale=5.0), Flow(flow_scale=1.0)
    a, b = encoded(five, truth)["flow"], encoded(one, truth)["flow"]
    assert np.allclose(a, b, atol=1e-6)
    assert np.allclose(a * five.kinds["flow"].scale, five.encode(truth)["flow"], atol=1e-5)


def test_what_is_written_by_another_rule_is_another_kind() -> None:
    assert Star().kinds["nucleus"].name != Hover().kinds["nucleus"].name, "a depth is not a probability of a nucleus"
    assert Star().kinds["rays"].name != Star(compat=True).kinds["rays"].name
    assert Distance().kinds["semantic"].name != Distance(contour_px=1.5).kinds["semantic"].name
    assert Semantic(2, background=False).kinds["types"].name != CLASSES.name


def test_geometry_that_does_not_say_how_it_turns_is_not_turned() -> None:
    nucleus, hover, types = Hover(1).maps
    own = MapKind("mine")
    assert [can_turn(spec, own) for spec in (nucleus, hover, types)] == [True, False, True]


def test_logits_keep_what_half_precision_would_lose() -> None:
    specs = Hover(2).maps
    rng = np.random.default_rng(1)
    stacked = np.concatenate([rng.uniform(0, 1, (1, 4, 4)), rng.normal(size=(2, 4, 4)), rng.uniform(0, 1, (3, 4, 4))])
    stacked[3:] /= stacked[3:].sum(0)
    stacked[0, 0, :3] = 1 - 1e-4, 1.0, 0.0
    halves = to_logits(stacked.astype(np.float32), specs).astype(np.float16)
    back = activated(halves, specs)
    assert np.isfinite(halves).all()
    assert np.abs(back - stacked).max() < 2e-3
    assert 1 - back[0, 0, 0] == pytest.approx(1e-4, rel=0.01)
