"""The fast and the plain way to the table of pairs agree."""

import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.metrics import overlap
from histocyte.metrics.overlap import overlap_of

FIELDS = ("truth_ids", "found_ids", "truth_area", "found_area", "truth_row", "found_row", "shared")


def maps(seed, *, high=9, shape=(40, 37), dtype=np.int32):
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, high, (2, *shape))
    # Gaps in the ids, and much background.
    return [np.where(rng.random(shape) < 0.5, 0, 2 * m * (m != 3)).astype(dtype) for m in drawn]


def check(one, other):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64])
def test_table_and_rows_agree(dtype):
    for seed in range(4):
        truth, found = maps(seed, dtype=dtype)
        check(overlap._overlap_by_table(truth, found), overlap._overlap_by_rows(truth, found))
        check(overlap_of(truth[::2, ::-1].T, found[::2, ::-1].T), overlap._overlap_by_rows(truth[::2].T, found[::2].T))


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (6, 7)])
def test_empty_maps_agree(shape):
    nothing = np.zeros(shape, np.int32)
    some = np.full(shape, 4, np.int32)
    for pair in ((nothing, nothing), (nothing, some), (some, nothing)):
        check(overlap._overlap_by_table(*pair), overlap._overlap_by_rows(*pair))
        check(overlap_of(*pair), overlap._overlap_by_rows(*pair))


def test_compiled_and_plain_counting_agree():
    truth, found = maps(5)
    tables = [count(truth, found, np.zeros((20, 20), np.int64)) for count in (
        overlap._count_pairs, overlap._count_pairs_plainly
    )]  # fmt: skip
    np.testing.assert_array_equal(*tables)
    assert tables[0].sum() == truth.size


def test_large_ids_are_counted_by_rows():
    truth, found = maps(6)
    far = overlap_of(truth.astype(np.int64) * 10**9, found)
    near = overlap_of(truth, found)
    np.testing.assert_array_equal(far.truth_ids, near.truth_ids * 10**9)
    np.testing.assert_array_equal(far.shared, near.shared)


@pytest.mark.parametrize("bad", [np.zeros((3, 3)), np.full((3, 3), -1), np.zeros((3, 3), bool)])
def test_what_is_no_label_map_is_refused(bad):
    for pair in ((bad, np.zeros((3, 3), int)), (np.zeros((3, 3), int), bad)):
        with pytest.raises(InputError, match="label map must"):
            overlap_of(*pair)
