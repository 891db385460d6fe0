from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from histocyte.core.cells import Cells
from histocyte.core.geometry import Box
from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import Taxonomy
from histocyte.results.overview.cells import draw_cells, style_for
from histocyte.results.overview.lettering import Page, round_length_um, width_of, wrapped
from histocyte.results.overview.picture import draw_overview

EPITHELIAL = np.array(CONSEP.classes[2].colour)


def _squares(
    centres: list[tuple[float, float]], kinds: list[int], side: float = 24, taxonomy: Taxonomy = CONSEP
) -> Cells:
    xy = np.array(centres, np.float64).reshape(-1, 2)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * side / 2
    n = len(xy)
    return Cells(
        xy,
        (xy[:, None] + corners).reshape(-1, 2),
        np.arange(n + 1) * 4,
        np.full(n, side**2 / 16, np.float32),
        np.eye(len(taxonomy), dtype=np.float32)[kinds] if len(taxonomy) else np.empty((n, 0), np.float32),
        np.ones(n, np.float32),
        taxonomy,
        0.25,
    )


def _grey(width: int, height: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 200, np.uint8)


def _like(picture: NDArray[np.uint8], colour: NDArray[np.integer], tolerance: int = 30) -> NDArray[np.bool_]:
    return (np.abs(picture.astype(int) - colour) <= tolerance).all(axis=2)


@pytest.mark.parametrize(
    ("longest", "length", "label"),
    [(499, 200, "200 µm"), (500, 500, "500 µm"), (1999, 1000, "1 mm"), (0.3, 0.2, "0.2 µm"), (70_000, 50_000, "50 mm")],
)
def test_scale_bar_is_a_round_number(longest: float, length: float, label: str) -> None:
    assert round_length_um(longest) == (pytest.approx(length), label)


def test_large_cells_are_outlined_at_their_place() -> None:
    picture, style = draw_cells(_grey(200, 100), [_squares([(120, 40)], [2], 60)], CONSEP, 1.0)
    assert style == "outlines"
    rows, columns = np.nonzero(_like(picture, EPITHELIAL))
    assert (columns.min(), columns.max()) == (pytest.approx(89, abs=2), pytest.approx(150, abs=2))
    assert (rows.min(), rows.max()) == (pytest.approx(9, abs=2), pytest.approx(70, abs=2))
    assert not _like(picture, EPITHELIAL)[40, 120]
    assert (picture[5] == 200).all()


def test_outline_edges_never_turn_darker_than_ink_and_ground() -> None:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.column_stack([50 + 30 * np.cos(angle), 50 + 30 * np.sin(angle)])
    disc = Cells(
        np.array([[50.0, 50.0]]), ring, np.array([0, 40]), np.array([170], np.float32),
        np.eye(4, dtype=np.float32)[[2]], np.ones(1, np.float32), CONSEP, 0.25,
    )  # fmt: skip
    picture, _ = draw_cells(_grey(100, 100), [disc], CONSEP, 1.0)
    assert (picture >= np.minimum(EPITHELIAL, 200) - 1).all()


@pytest.mark.parametrize(("scale", "style"), [(0.12, "dots"), (0.02, "density")])
def test_small_cells_become_dots_or_density_in_their_colour(scale: float, style: str) -> None:
    size = round(4000 * scale)
    rng = np.random.default_rng(0)
    left = _squares([tuple(p) for p in rng.uniform((200, 200), (1700, 3800), (600, 2))], [2] * 600)
    right = _squares([tuple(p) for p in rng.uniform((2300, 200), (3800, 3800), (600, 2))], [3] * 600)
    picture, drawn = draw_cells(_grey(size, size), [left, right], CONSEP, scale)
    assert drawn == style
    excess = picture[..., 0].astype(int) - picture[..., 2]
    assert excess[:, : size // 2 - 4].mean() > 5
    assert excess[:, size // 2 + 4 :].mean() < -5


def test_style_follows_the_size_in_the_picture() -> None:
    assert [style_for(d) for d in (30, 4, 3.9, 1.4, 1.3)] == ["outlines", "outlines", "dots", "dots", "density"]


def test_tables_are_taken_one_at_a_time() -> None:
    alive: list[int] = []

    def tables() -> Iterator[Cells]:
        for i in range(5):
            alive.append(i)
            yield Cells.empty(CONSEP, 0.25) if i == 0 else _squares([(40 + 30 * i, 50)], [i % 4])

    assert alive == []
    picture, _ = draw_cells(_grey(220, 100), tables(), CONSEP, 1.0)
    whole = Cells.concatenate([_squares([(40 + 30 * i, 50)], [i % 4]) for i in range(1, 5)])
    assert alive == [0, 1, 2, 3, 4]
    assert np.array_equal(picture, draw_cells(_grey(220, 100), [whole], CONSEP, 1.0)[0])


def test_tissue_of_several_parts_with_holes_is_outlined() -> None:
    ring = shapely.Point(300, 300).buffer(200).difference(shapely.Point(300, 300).buffer(60))
    tissue = shapely.union_all([ring, shapely.box(700, 200, 900, 400)])
    image = draw_overview(_grey(500, 300), 2.0, tissue, [], CONSEP, 0.25, "two parts", {})
    dark = _like(image, np.array([64, 68, 92]), 40)
    zoom = 1440 / 1000
    for x, y in ((500, 300), (360, 300), (700, 300), (800, 400)):
        row, column = round(y * zoom), round(x * zoom)
        assert dark[row - 3 : row + 4, column - 3 : column + 4].any(), (x, y)


@pytest.mark.parametrize("shape", [(600, 600), (900, 500), (300, 1500), (40, 60), (2500, 3000)])
@pytest.mark.parametrize("with_detail", [False, True])
def test_any_format_gives_a_picture_of_presentable_size(shape: tuple[int, int], with_detail: bool) -> None:
    cells = _squares([(100, 100)], [2])
    detail = (_grey(128, 128), Box(50, 50, 128, 128), cells) if with_detail else None
    image = draw_overview(
        _grey(shape[1], shape[0]), 1.0, None, [cells], CONSEP, 0.25, "a", {"epithelial": 1}, detail=detail
    )
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert max(image.shape) <= 2000


def test_zero_cells_and_a_model_without_classes() -> None:
    none = Taxonomy("none", ())
    empty = draw_overview(
        _grey(400, 400), 1.0, shapely.box(10, 10, 300, 300), [Cells.empty(none, 0.25)], none, 0.25, "e", {}
    )
    some = draw_overview(
        _grey(400, 400), 1.0, None, [_squares([(200, 200)], [0], taxonomy=none)], none, 0.25, "e", {"cell": 1}
    )
    assert empty.shape == some.shape
    assert not np.array_equal(empty, some)


def test_empty_tissue_is_no_division_by_zero() -> None:
    draw_overview(
        _grey(100, 100), 1.0, shapely.Polygon(), [_squares([(50, 50)], [1])], CONSEP, 0.25, "t", {"inflammatory": 1}
    )


def test_legend_names_classes_beyond_the_taxonomy() -> None:
    known = draw_overview(_grey(200, 200), 1.0, None, [], CONSEP, 0.25, "t", {"epithelial": 5})
    more = draw_overview(_grey(200, 200), 1.0, None, [], CONSEP, 0.25, "t", {"epithelial": 5, "unknown": 3})
    assert not np.array_equal(known, more)


def test_long_and_foreign_titles_stay_within_their_width() -> None:
    for title in ("x" * 300, "Änderung ß µ² — 漢字.svs", ""):
        page = Page(400, 60)
        page.fitted(10, 10, title, 30, (0, 0, 0), 300, smallest=20)
        inked = np.flatnonzero((page.pixels() < 200).any(axis=(0, 2)))
        assert len(inked) == 0 or inked.max() <= 312
    assert width_of("10 µm", 20) == pytest.approx(width_of("10 um", 20), rel=0.05)


def test_every_part_of_a_long_title_is_shown_and_the_model_below_it() -> None:
    def drawn(title: str, model: str = "") -> np.ndarray:
        return draw_overview(_grey(600, 600), 1.0, None, [], CONSEP, 0.25, title, {}, model=model)

    barcode = "TCGA-AA-3811-01Z-00-DX1.5f9c2f1e-5d1a-4c6b-8d8d-1234567890ab"
    whole = drawn(barcode, "hover-unet-consep")
    for other in (barcode.replace("DX1", "DX2"), barcode.replace("5d1a", "5d1b"), barcode.replace("0ab", "0ac")):
        assert not np.array_equal(whole, drawn(other, "hover-unet-consep"))
    assert not np.array_equal(whole, drawn(barcode, "hover-small-consep"))


@pytest.mark.parametrize(
    "text", ["TCGA-AA-3811-01Z-00-DX1.5f9c2f1e-5d1a-4c6b", "two words and some more of them", "x" * 90, ""]
)
def test_broken_lines_fit_and_lose_nothing(text: str) -> None:
    lines = wrapped(text, 28, 300, most=9)
    assert all(width_of(line, 28) <= 300 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(lines) or not text
    assert len(wrapped(text, 28, 100, most=2)) <= 2


@pytest.mark.parametrize("scale", [0.02, 0.1])
def test_drawing_holds_little_more_than_pictures(scale: float) -> None:
    rng = np.random.default_rng(0)
    cells = _squares(rng.uniform(0, 1400 / scale, (300, 2)).tolist(), rng.integers(0, 4, 300).tolist())
    picture = _grey(1440, 1440)
    tracemalloc.start()
    draw_cells(picture, [cells], CONSEP, scale)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * picture.nbytes
