"""Known lists of classes, and how one is read as another."""

from __future__ import annotations

from itertools import product

import pytest

from histocyte.core.taxonomies import _READINGS, CELLS, TAXONOMIES, readings
from histocyte.core.taxonomy import CONSEP, CellClass, Taxonomy


@pytest.mark.parametrize(("own", "wanted"), list(_READINGS))
def test_what_is_written_of_lists_names_classes_that_they_have(own: str, wanted: str) -> None:
    named = _READINGS[own, wanted]
    assert set(named) <= set(TAXONOMIES[own].names)
    assert {name for classes in named.values() for name in classes} <= set(TAXONOMIES[wanted].names)


@pytest.mark.parametrize("name", sorted(set(TAXONOMIES) - {"cells"}))
def test_every_class_of_a_known_set_is_read_as_cells_but_for_dead_ones(name: str) -> None:
    assert set(TAXONOMIES[name].names) - set(readings(TAXONOMIES[name], CELLS)) <= {"dead"}


def test_a_list_is_read_as_itself_and_strangers_by_their_names() -> None:
    for one in TAXONOMIES.values():
        assert readings(one, one) == {name: (name,) for name in one.names}
    own = Taxonomy("mine", (CellClass("other", (1, 2, 3)), CellClass("alien", (1, 2, 3))))
    assert readings(own, CONSEP) == {"other": ("other",)}


def test_reading_there_and_back_keeps_a_class_among_what_it_may_be() -> None:
    for one, other in product(TAXONOMIES.values(), repeat=2):
        for name, classes in readings(one, other).items():
            back = {there for c in classes for there in readings(other, one).get(c, ())}
            assert not back or name in back, (one.name, other.name, name)
