"""What notebooks show: text stays text, outlines are drawn where they lie, and of very many cells not all."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np

from histocyte.core.cells import Cells
from histocyte.core.notebook import html_table, outlines_svg
from histocyte.core.taxonomies import CONSEP

SQUARE = np.array([[0.0, 0], [20, 0], [20, 10], [0, 10]])


def test_cells_of_a_table_are_text() -> None:
    page = html_table("<b>", ("a&b",), [("<script>\x1b[31m",), (1,)])
    assert "<script>" not in page
    assert "\x1b" not in page
    assert page.count("<td>") == 2
    assert "<caption>&lt;b&gt;</caption>" in page


def test_outlines_are_drawn_to_scale_in_the_colours_of_their_classes() -> None:
    contours = np.concatenate([SQUARE, SQUARE + [100, 50]])
    drawing = ET.fromstring(outlines_svg(contours, np.array([0, 4, 8]), np.array([1, -1]), [(0, 0, 0), (255, 0, 16)]))
    paths = list(drawing)
    assert [p.get("stroke") for p in paths] == ["#5a5a5a", "#ff0010"]
    width, height = int(drawing.get("width") or 0), int(drawing.get("height") or 0)
    assert (width, height) == (360, 182)  # 121 × 61 px, the longer side made 360
    corner = [float(v) for v in re.findall(r"[\d.]+", paths[0].get("d") or "")][:2]
    assert np.allclose(corner, np.array([100, 50]) * 360 / 121, atol=0.1)


def test_a_slide_of_cells_is_a_small_picture_and_none_is_no_picture() -> None:
    n = 40_000
    xy = np.random.default_rng(0).uniform(0, 50_000, (n, 2))
    many = replace(
        Cells.empty(CONSEP, 0.25),
        xy=xy,
        contour_xy=(xy[:, None] + SQUARE).reshape(-1, 2),
        contour_offsets=np.arange(n + 1) * 4,
        area_um2=np.full(n, 12.5, np.float32),
        probabilities=np.full((n, 4), 0.25, np.float32),
        scores=np.ones(n, np.float32),
    )
    page = many._repr_html_()
    assert len(page) < 100_000
    assert f"{n:,} cells" in page
    assert "<svg" in page
    assert "<svg" not in Cells.empty(CONSEP, 0.25)._repr_html_()
