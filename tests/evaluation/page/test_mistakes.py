import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.core.instances import Instances, Labels
from histocyte.evaluation.page.mistakes import Mistake, find_mistakes


def boxes(*places):
    """Label map with box i + 1 at rows a:b, columns c:d; ids may be given as a fifth number."""
    labels = np.zeros((40, 60), np.int32)
    for i, (a, b, c, d, *number) in enumerate(places):
        labels[a:b, c:d] = number[0] if number else i + 1
    return labels


def found(labels, *classes):
    n = int(labels.max())
    p = np.eye(3, dtype=np.float32)[[c - 1 for c in classes]] if classes else np.zeros((n, 0), np.float32)
    return Instances(labels, p, np.ones(n, np.float32))


def mistakes_of(true, predicted):
    mistakes = find_mistakes(Labels(true, None), found(predicted))
    return mistakes.truth.tolist(), mistakes.found.tolist()


def test_the_same_map_has_no_mistakes():
    labels = boxes((2, 10, 2, 10), (2, 10, 10, 18))
    assert mistakes_of(labels, labels) == ([0, 0, 0], [0, 0, 0])


def test_missed_and_false():
    true, predicted = boxes((2, 10, 2, 10), (2, 10, 20, 28)), boxes((2, 10, 2, 10), (20, 28, 40, 48))
    assert mistakes_of(true, predicted) == ([0, 0, Mistake.MISSED], [0, 0, Mistake.FALSE])


def test_one_outline_over_two_nuclei_is_one_merge_and_nothing_missed():
    true, predicted = boxes((2, 10, 2, 10), (2, 10, 10, 18)), boxes((2, 10, 2, 18))
    assert mistakes_of(true, predicted) == ([0, 0, 0], [0, Mistake.MERGED])


def test_a_merge_is_one_also_where_the_larger_nucleus_pairs():
    true, predicted = boxes((2, 10, 2, 16), (2, 10, 16, 20)), boxes((2, 10, 2, 20))
    assert mistakes_of(true, predicted) == ([0, 0, 0], [0, Mistake.MERGED])


def test_two_pieces_of_one_nucleus_are_one_split_and_nothing_false():
    true, predicted = boxes((2, 10, 2, 18)), boxes((2, 10, 2, 10), (2, 10, 10, 18))
    assert mistakes_of(true, predicted) == ([0, Mistake.SPLIT], [0, 0, 0])


def test_a_split_stands_also_where_one_piece_pairs():
    true, predicted = boxes((2, 10, 2, 18)), boxes((2, 10, 2, 14), (2, 10, 14, 18))
    assert mistakes_of(true, predicted) == ([0, Mistake.SPLIT], [0, 0, 0])


@pytest.mark.parametrize("predicted", [boxes((4, 8, 4, 8)), boxes((0, 20, 0, 20))])
def test_an_outline_much_too_small_or_too_large_is_poor_and_nothing_else(predicted):
    assert mistakes_of(boxes((2, 10, 2, 10)), predicted) == ([0, 0], [0, Mistake.POOR_OUTLINE])


def test_a_pair_of_another_class_is_wrong_unless_the_true_class_is_unknown():
    labels = boxes((2, 10, 2, 10), (2, 10, 20, 28), (20, 28, 2, 10))
    truth = Labels(labels, np.array([0, 1, 2, 0], np.uint8))
    assert find_mistakes(truth, found(labels, 1, 3, 3)).found.tolist() == [0, 0, Mistake.WRONG_CLASS, 0]
    assert not find_mistakes(Labels(labels, None), found(labels, 1, 3, 3)).found.any()
    assert not find_mistakes(truth, found(labels)).found.any()


def test_ids_of_the_truth_may_have_gaps():
    true = boxes((2, 10, 2, 10, 3), (2, 10, 20, 28, 7))
    truth, predicted = mistakes_of(true, boxes((2, 10, 2, 10)))
    assert truth == [0] * 7 + [Mistake.MISSED]
    assert predicted == [0, 0]


def test_an_empty_side_is_all_missed_or_all_false():
    labels, empty = boxes((2, 10, 2, 10)), boxes()
    assert mistakes_of(labels, empty) == ([0, Mistake.MISSED], [0])
    assert mistakes_of(empty, labels) == ([0], [0, Mistake.FALSE])
    assert mistakes_of(empty, empty) == ([0], [0])


def test_maps_of_different_shape_are_refused():
    with pytest.raises(InputError, match="differ in shape"):
        mistakes_of(boxes(), boxes()[:10])
