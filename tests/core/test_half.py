import numpy as np
import pytest

from histocyte.core.half import write_half, write_half_plain

EDGES = (0.0, 1.0, 1 / 3, 65504, 65519.9, 65520, 1e6, np.inf, 2**-14, 6.1e-5, 6e-8, 2.98e-8, 2.99e-8, 1e-8, 1e-40, 0.1)


def both(source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found, plain = np.empty(source.shape, np.float16), np.empty(source.shape, np.float16)
    write_half(source, found)
    write_half_plain(source, plain)
    return found.view(np.uint16), plain.view(np.uint16)


@pytest.mark.parametrize("sign", [1, -1])
def test_edges_of_the_format_are_rounded_as_numpy_does(sign: int) -> None:
    found, plain = both(np.array([[EDGES]], np.float32) * np.float32(sign))
    assert found.tolist() == plain.tolist()


def test_every_number_of_half_precision_and_those_between_are_rounded_as_numpy_does() -> None:
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    between = (halves[1:] + halves[:-1]) / 2  # to the even one
    near = np.concatenate([halves, between, np.nextafter(between, 0), np.nextafter(between, 1e9, dtype=np.float32)])
    found, plain = both(near.astype(np.float32)[None, None])
    assert np.array_equal(found, plain)


def test_what_is_no_number_stays_none() -> None:
    target = np.zeros((1, 1, 2), np.float16)
    write_half(np.array([[[np.nan, -np.nan]]], np.float32), target)
    assert np.isnan(target).all()


def test_parts_of_arrays_are_read_and_written_in_place() -> None:
    source = np.random.default_rng(0).normal(size=(3, 20, 30)).astype(np.float32)
    target = np.zeros((3, 40, 40), np.float16)
    write_half(source[:, 2:12, 5:25], target[:, 10:20, 15:35])
    assert np.array_equal(target[:, 10:20, 15:35], source[:, 2:12, 5:25].astype(np.float16))
    assert np.count_nonzero(target) == 3 * 10 * 20
