"""What of two lists of classes can be compared, and how the finer one is merged."""

from itertools import product

import numpy as np
import pytest

from histocyte.core.compared import compared_classes
from histocyte.core.taxonomies import BRCA_M2C, CELLS, CONSEP, MONUSAC, NUCLS_SUPER, PANNUKE, TAXONOMIES, taxonomy_of


def pairs(truth, found):
    return {each.name: (each.truth, each.found) for each in compared_classes(truth, found).classes}


def test_the_finer_list_is_merged_upwards():
    leukocytes = ("lymphocyte", "macrophage", "neutrophil")
    assert pairs(CONSEP, CELLS)["inflammatory"] == (("inflammatory",), leukocytes)
    assert pairs(MONUSAC, CONSEP) == {
        "inflammatory": (leukocytes, ("inflammatory",)),
        "epithelial": (("epithelial",), ("epithelial",)),
    }
    assert set(pairs(BRCA_M2C, CONSEP)) == {"lymphocyte", "tumour or epithelial", "stromal"}


def test_classes_that_overlap_on_both_sides_are_one():
    assert pairs(NUCLS_SUPER, PANNUKE)["nonTIL_stromal or sTIL or other_nucleus"] == (
        ("nonTIL_stromal", "sTIL", "other_nucleus"),
        ("inflammatory", "connective", "epithelial"),
    )


def test_what_the_other_side_does_not_have_is_left_out_and_said():
    both = compared_classes(CONSEP, PANNUKE)
    assert both.names == ("epithelial", "inflammatory", "spindle")
    assert (both.truth_alone, both.found_alone) == (("other",), ("dead",))
    assert both.true_types().tolist() == [0, 0, 2, 1, 3]
    said = " ".join(both.sentences("consep"))
    assert "epithelial as neoplastic or epithelial" in said
    assert "that are other count as of unknown class" in said
    assert "found as dead" in said
    nothing = compared_classes(taxonomy_of(["a", "b"]), CONSEP)
    assert nothing.classes == ()
    assert "none can be compared" in nothing.sentences("mine")[0]
    assert compared_classes(CONSEP, CONSEP).sentences("consep") == []


def test_probabilities_add_up_and_the_sum_decides():
    both = compared_classes(MONUSAC, CONSEP)
    p = np.array([[0.3, 0.0, 0.4, 0.3], [0.1, 0.6, 0.2, 0.1]], np.float32)  # other, inflammatory, epithelial, spindle
    assert both.merged(p) == pytest.approx(np.array([[0.0, 0.4, 0.6], [0.6, 0.2, 0.2]]))
    upwards = compared_classes(CONSEP, CELLS)  # epithelial .4 was the most probable; of a leukocyte it is .6
    p = np.array([[0.4, 0.3, 0.2, 0.1, 0.0, 0.0]], np.float32)
    assert dict(zip(upwards.names, upwards.merged(p)[0].tolist(), strict=True)) == pytest.approx(
        {"epithelial": 0.4, "inflammatory": 0.6, "spindle": 0.0, "other": 0.0}
    )


@pytest.mark.parametrize(("truth", "found"), list(product(TAXONOMIES.values(), repeat=2)), ids=lambda t: t.name)
def test_each_class_is_in_one_group_at_most_and_no_probability_is_lost(truth, found):
    both = compared_classes(truth, found)
    assert len(set(both.names)) == len(both.names)
    for side in ("truth", "found"):
        listed = [name for each in both.classes for name in getattr(each, side)]
        assert len(set(listed)) == len(listed)
        assert all(getattr(each, side) for each in both.classes)
    p = np.random.default_rng(0).dirichlet(np.ones(len(found)), 4).astype(np.float32)
    assert both.merged(p).sum(1) == pytest.approx(np.ones(4))
    assert both.merged(p).shape[1] == len(both.names) + bool(both.found_alone)
