"""Known lists of classes, and how one is read as another."""

from __future__ import annotations

import inspect
import re
from itertools import combinations, product
from pathlib import Path

import pytest

from histocyte.apps.cli.train.train import train
from histocyte.core.errors import ContentError, UnknownNameError
from histocyte.core.taxonomies import (
    _KINDS,
    _SELDOM,
    CELLS,
    CONIC,
    CONSEP,
    CONSEP_7,
    LISTS,
    MONUSAC,
    NUCLS_SUPER,
    PANNUKE,
    PUMA,
    REFINED,
    TAXONOMIES,
    asked_list,
    find_list,
    readings,
    taxonomy_of,
)
from histocyte.core.taxonomy import CellClass, Taxonomy

BRIDGE = {
    "neoplastic": (1, 1, 3, 1, 2),
    "benign epithelium": (5, 5, 3, 1, 2),
    "lymphocyte": (2, 2, 2, 2, 3),
    "plasma cell": (2, 2, 2, 0, 4),
    "neutrophil": (2, 7, 2, 4, 1),
    "eosinophil": (2, 0, 2, 0, 5),
    "macrophage": (2, 6, 2, 3, 0),
    "connective": (3, 3, 4, 0, 6),
    "dead": (4, 4, 1, 0, 0),
    "other": (0, 0, 1, 0, 0),
}
"""Kind of cell → code in PanNuke, the refined list, CoNSeP (4), MoNuSAC and CoNIC, told by hand; 0 for none."""
BRIDGED = (PANNUKE, REFINED, CONSEP, MONUSAC, CONIC)


@pytest.mark.parametrize(("i", "j"), list(product(range(5), repeat=2)))
def test_lists_are_read_as_the_bridge_between_them_says(i: int, j: int) -> None:
    expected = {}
    for code, name in enumerate(BRIDGED[i].names, 1):
        there = [row[j] for row in BRIDGE.values() if row[i] == code]
        classes = {BRIDGED[j].names[c - 1] for c in there if c}
        if len(classes) > 1 or (classes and all(there)):
            expected[name] = classes
    assert {name: set(classes) for name, classes in readings(BRIDGED[i], BRIDGED[j]).items()} == expected


@pytest.mark.parametrize("name", TAXONOMIES)
def test_a_kind_of_cell_has_one_class_in_a_list(name: str) -> None:
    kinds = _KINDS[name]
    assert tuple(kinds) == TAXONOMIES[name].names
    assert all(kinds.values())
    for one, other in combinations(kinds, 2):
        assert not kinds[one] & kinds[other], (one, other)


@pytest.mark.parametrize(("own", "wanted"), list(product(TAXONOMIES.values(), repeat=2)), ids=lambda t: t.name)
def test_readings_are_exact_or_a_sum_or_unknown_and_never_contradict(own: Taxonomy, wanted: Taxonomy) -> None:
    read = readings(own, wanted)
    for name, classes in read.items():
        kinds, theirs = _KINDS[own.name][name], [_KINDS[wanted.name][c] for c in classes]
        assert list(classes) == [c for c in wanted.names if c in classes], "in the order of the list"
        assert all(kinds & each for each in theirs)
        if len(classes) == 1:
            assert kinds - _SELDOM <= theirs[0], "a single class holds all that the label may be"
        back = [readings(wanted, own).get(c, ()) for c in classes]
        assert not any(back) or any(name in classes for classes in back)
        for third in TAXONOMIES.values():
            direct = set(readings(own, third).get(name, ()))
            onward = {c for middle in classes for c in readings(wanted, third).get(middle, ())}
            assert not direct or not onward or direct & onward, (third.name, direct, onward)


@pytest.mark.parametrize("name", sorted(set(TAXONOMIES) - {"cytodark0"}))
def test_every_list_is_read_as_cells_but_for_what_no_organ_shares(name: str) -> None:
    unread = set(TAXONOMIES[name].names) - set(readings(TAXONOMIES[name], CELLS))
    assert unread <= {"eosinophil", "nuclei_tumor"}


def test_coarser_labels_leave_open_what_a_cell_is() -> None:
    assert readings(PANNUKE, PUMA)["inflammatory"] == (
        *("nuclei_plasma_cell", "nuclei_histiocyte", "nuclei_melanophage", "nuclei_neutrophil", "nuclei_lymphocyte"),
    )
    assert readings(CONSEP, CONSEP_7)["spindle"] == ("fibroblast", "muscle", "endothelial")
    assert readings(CELLS, NUCLS_SUPER)["macrophage"] == ("nonTIL_stromal",)
    assert readings(NUCLS_SUPER, PANNUKE)["nonTIL_stromal"] == ("inflammatory", "connective")


def test_a_list_is_read_as_itself_and_strangers_by_their_names() -> None:
    for one in TAXONOMIES.values():
        assert readings(one, one) == {name: (name,) for name in one.names}
    own = Taxonomy("mine", (CellClass("Other", (1, 2, 3)), CellClass("alien", (1, 2, 3))))
    assert readings(own, CONSEP) == {"Other": ("other",)}
    both = taxonomy_of(["tumour", "Tumour"])
    assert readings(both, both) == {"tumour": ("tumour",), "Tumour": ("Tumour",)}
    assert readings(taxonomy_of(["TUMOUR", "x"]), both) == {}


def test_a_list_is_known_by_its_classes_whatever_it_is_called() -> None:
    mine = taxonomy_of(["Epithelial", "Dead", "Connective", "Inflammatory", "Neoplastic"], name="my folder")
    assert readings(mine, CELLS)["Inflammatory"] == ("lymphocyte", "macrophage", "neutrophil")
    assert readings(CELLS, mine)["epithelial"] == ("Epithelial", "Neoplastic")
    false = Taxonomy("consep", tuple(CellClass(name, (1, 2, 3)) for name in ("inflammatory", "none of these")))
    assert readings(false, CELLS) == {}


def test_what_is_asked_for_is_a_list_by_its_name_or_names() -> None:
    assert asked_list(" Lizard ") is CONIC
    assert asked_list("cells") is CELLS
    assert asked_list("other,inflammatory,epithelial,spindle") is CONSEP
    assert asked_list("a, b").names == ("a", "b")
    assert asked_list("nucleus,").names == ("nucleus",)
    with pytest.raises(UnknownNameError, match=r"Did you mean 'monusac'\? There is: .*pannuke.*comma behind it"):
        find_list("monusacc")
    for wrong in ("a,a", "a,,b", ","):
        with pytest.raises(ContentError, match="a name of its own"):
            asked_list(wrong)


def test_classes_by_name_have_the_colours_of_a_known_list_or_of_their_order() -> None:
    assert taxonomy_of(list(PANNUKE.names), name="mine") is PANNUKE
    assert len({c.colour for c in taxonomy_of([f"class {i}" for i in range(10)]).classes}) == 10


def test_users_can_see_the_lists() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "training.md").read_text(encoding="utf-8")
    rows = [f"| `{name}` | {', '.join(taxonomy.names)} | {of} |" for name, (taxonomy, of) in LISTS.items()]
    assert "| list | classes | of |\n|---|---|---|\n" + "\n".join(rows) + "\n\n" in page
    described = str(inspect.signature(train).parameters["classes"].annotation)
    assert not [name for name in TAXONOMIES if name not in re.findall(r"\w+", described)]
