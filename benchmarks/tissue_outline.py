"""The tissue outline against outlines drawn by hand on three real slides.

    python benchmarks/tissue_outline.py ../shared/data/wsi

`tissue_outlines.json` beside this script holds, for each slide, rings of (x, y) in level-0 px, drawn along the tissue's
edge at full resolution; holes below 0.1 mm² count as tissue. Distances are from points every 5 µm along the outline
that was found to the drawn one, above 0 outside of it, leaving out what runs along the picture's edge.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from histocyte.slides.open import open_slide
from histocyte.slides.protocol import SlideReader
from histocyte.slides.tissue import find_tissue

DRAWN = Path(__file__).with_name("tissue_outlines.json")
HOLE_MM2 = 0.1
STEP_UM = 5.0
AT_EDGE_UM = 10.0


class Fit(NamedTuple):
    """Quantiles of the distance from the drawn outline, IoU, ratio of areas, share of the drawn that was missed."""

    low_um: float
    median_um: float
    high_um: float
    iou: float
    area: float
    missed: float


def main() -> None:
    """Compare, a row a slide."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", type=Path)
    arguments = parser.parse_args()
    print(
        "| slide | distance, median (5–95 %) | IoU | area, found ÷ drawn | drawn, but missed |\n|---|--:|--:|--:|--:|"
    )
    for entry in json.loads(DRAWN.read_text()):
        with open_slide(arguments.slides / entry["slide"], mpp=entry["mpp"]) as slide:
            fit = fit_of(find_tissue(slide).region.geometry, drawn(entry["rings"]), slide)
        print(
            f"| {entry['slide']} | {fit.median_um:.1f} ({fit.low_um:.1f} to {fit.high_um:.1f}) µm | {fit.iou:.3f} "
            f"| {fit.area:.3f} | {100 * fit.missed:.2f} % |"
        )


def drawn(rings: list[list[list[float]]]) -> BaseGeometry:
    """The tissue within rings of x, y."""
    return shapely.union_all([shapely.make_valid(shapely.Polygon(ring)) for ring in rings])


def fit_of(found: BaseGeometry, truth: BaseGeometry, slide: SlideReader) -> Fit:
    """Fit of two outlines on a slide, level-0 px."""
    found = _without_holes(found, HOLE_MM2 * 1e6 / slide.mpp**2)
    away = shapely.box(0, 0, *slide.size).buffer(-AT_EDGE_UM / slide.mpp)
    points = np.concatenate(
        [
            shapely.line_interpolate_point(line, np.arange(0, line.length, STEP_UM / slide.mpp))
            for line in shapely.get_parts(found.boundary.intersection(away))
        ]
    )
    distance = shapely.distance(truth.boundary, points) * slide.mpp
    distance = np.where(shapely.contains(truth, points), -distance, distance)
    return Fit(
        *(float(q) for q in np.quantile(distance, [0.05, 0.5, 0.95])),
        found.intersection(truth).area / found.union(truth).area,
        found.area / truth.area,
        truth.difference(found).area / truth.area,
    )


def _without_holes(geometry: BaseGeometry, below_px2: float) -> BaseGeometry:
    return shapely.union_all(
        [
            shapely.Polygon(p.exterior, [h for h in p.interiors if shapely.Polygon(h).area >= below_px2])
            for p in shapely.get_parts(geometry)
        ]
    )


if __name__ == "__main__":
    main()
