"""Pictures of reports hold names as they are, and are whole whatever is in them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

pytest.importorskip("matplotlib")

from histocyte.pages.drawing import draw  # noqa: E402


@pytest.mark.parametrize("name", ["$\\nothing$", "<b>&", "red\x1b[31m\x07", "a--b -->", "\u202egnp"])
def test_a_name_is_no_formula_no_markup_and_no_broken_picture(name: str) -> None:
    def paint(figure: Any) -> None:
        axes = figure.subplots()
        axes.set_title(name)
        axes.barh([name], [1], label=name)
        axes.legend()

    plot = draw(paint, size_in=(2, 2), alt=name, caption=name)
    ET.fromstring(plot.svg)  # noqa: S314 (our own)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", plot.svg.decode())
