from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely

from histocyte.slides.array_reader import open_array
from histocyte.slides.open import open_slide
from histocyte.slides.tissue import Tissue, find_tissue

SLIDES = Path(__file__).parents[2].parent / "shared" / "data" / "wsi"
needs_slides = pytest.mark.skipif(not SLIDES.is_dir(), reason="no real slides here")

HEIGHT, WIDTH, MPP = 500, 700, 8.0
TISSUE = shapely.Point(250, 230).buffer(120)
INKS = {
    "blue": (30, 60, 160),
    "light blue": (60, 80, 200),
    "cyan": (40, 150, 190),
    "green": (20, 120, 70),
    "black": (30, 30, 35),
    "grey": (70, 70, 85),
    "red": (200, 30, 40),
}


def _slide(
    glass: tuple[int, int, int] = (243, 240, 242), *, stain: float = 1.0, noise: float = 1.5, shade: float = 0.0
) -> np.ndarray:
    """Glass with a disk of mottled pink-purple tissue of the given strength, as a JPEG-compressed scan shows it."""
    rng = np.random.default_rng(0)
    mottle = cv2.resize(rng.random((60, 80)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    disk = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.circle(disk, (250, 230), 120, 1.0, -1)
    density = (disk * (0.5 + mottle.clip(0, 1)) * stain)[..., None]
    image = np.array(glass, np.float32) * 10 ** (-density * np.array([0.12, 0.32, 0.14], np.float32))
    image = image - np.linspace(0, shade, WIDTH)[None, :, None] + rng.normal(0, noise, image.shape)
    coded = cv2.imencode(".jpg", image.clip(0, 255).astype(np.uint8)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])


def _with_pen(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    marked = image.copy()
    line = np.array([[420, 40], [640, 90], [650, 300], [560, 450], [300, 470], [250, 330]], np.int32)
    cv2.polylines(marked, [line], False, colour, 12, cv2.LINE_AA)
    return cv2.GaussianBlur(marked, (0, 0), 1.2)


def _find(image: np.ndarray) -> Tissue:
    return find_tissue(open_array(image, mpp=MPP))


def _assert_disk(found: Tissue, *, lost: float = 0.01, more: float = 0.03) -> None:
    assert found.kind == "brightfield"
    outline, searched = found.region.geometry, found.searched.geometry
    assert TISSUE.difference(searched).area <= lost * TISSUE.area
    assert TISSUE.difference(outline).area <= (lost + 0.02) * TISSUE.area
    assert outline.difference(TISSUE).area <= more * TISSUE.area


def test_tissue_is_found_whole_and_little_more() -> None:
    found = _find(_slide())
    _assert_disk(found)
    assert len(found.region.parts) == 1
    assert found.note == ""


@pytest.mark.parametrize("ink", INKS)
def test_ink_is_no_tissue(ink: str) -> None:
    # The pen runs into the tissue; what it covers there may go.
    _assert_disk(_find(_with_pen(_slide(), INKS[ink])), lost=0.03)


def test_a_small_biopsy_beside_much_blue_ink() -> None:
    image = np.full((HEIGHT, WIDTH, 3), 243, np.uint8)
    image[100:130, 60:110] = _slide()[200:230, 200:250]
    found = _find(_with_pen(image, INKS["blue"]))
    assert found.region.contains(np.array([[85.0, 115.0]])).all()
    assert found.region.geometry.area < 2.5 * 30 * 50


@pytest.mark.parametrize("glass", [(252, 252, 252), (238, 236, 218), (205, 203, 204), (180, 182, 184)])
def test_white_tinted_and_grey_glass(glass: tuple[int, int, int]) -> None:
    _assert_disk(_find(_slide(glass)))


@pytest.mark.parametrize("stain", [0.5, 0.25, 0.12])
def test_faint_tissue_is_found(stain: float) -> None:
    _assert_disk(_find(_slide(stain=stain)), lost=0.05)


def test_black_borders_white_gaps_and_shading_change_nothing() -> None:
    framed = _slide()
    framed[:60] = framed[-40:] = framed[:, :70] = framed[:, -150:] = 0
    _assert_disk(_find(framed))
    gaps = _slide((238, 236, 218))
    gaps[:, 390:] = gaps[370:] = gaps[:, :120] = 255
    _assert_disk(_find(gaps))
    _assert_disk(_find(_slide(shade=30)))


@pytest.mark.parametrize(
    "glass", [{}, {"glass": (195, 196, 198), "shade": 25.0}, {"noise": 5.0}, {"glass": (255, 255, 255), "noise": 0.0}]
)
def test_empty_glass_is_empty(glass: dict[str, object]) -> None:
    found = _find(_slide(stain=0.0, **glass))  # type: ignore[arg-type]
    assert found.region.is_empty
    assert found.kind == "brightfield"
    assert "No tissue" in found.note


def test_small_holes_are_filled_and_large_ones_kept() -> None:
    image = _slide()
    cv2.circle(image, (200, 230), 20, (243, 240, 242), -1)
    cv2.circle(image, (300, 230), 50, (243, 240, 242), -1)
    region = _find(image).region
    assert region.contains(np.array([[200.0, 230.0], [300.0, 230.0]])).tolist() == [True, False]


def test_specks_are_dropped() -> None:
    image = _slide(stain=0.0)
    image[100:106, 100:106] = (150, 60, 130)
    assert _find(image).region.is_empty


def test_tissue_from_edge_to_edge_is_the_whole_image() -> None:
    crop = _slide()[170:290, 190:310]
    found = find_tissue(open_array(crop, mpp=MPP))
    assert found.kind == "whole"
    assert found.region.bounds == (0, 0, 120, 120)
    field = find_tissue(open_array(_slide(stain=0.0)[:400, :400], mpp=0.25))
    assert (field.kind, field.region.is_empty) == ("whole", False)


def test_light_on_dark_is_fluorescence() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 12, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    for x, y in rng.integers(0, 500, (300, 2)):
        cv2.circle(image, (int(x), int(y)), 4, (20, 30, 240), -1)
    found = _find(image)
    assert found.kind == "fluorescence"
    assert found.region.is_empty
    assert "H&E" in found.note


def test_outlines_are_in_level_0_pixels() -> None:
    large = cv2.resize(_slide(), None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    found = find_tissue(open_array(large, mpp=MPP / 4))
    outline = shapely.transform(TISSUE, lambda xy: xy * 4)
    assert outline.difference(found.region.geometry).area < 0.01 * outline.area
    # Pixel (250, 230) is the disk's middle: its centre, four times as large.
    assert found.region.geometry.centroid.distance(shapely.Point(250.5 * 4, 230.5 * 4)) < 5
    assert found.region.area_mm2(MPP / 4) == pytest.approx(np.pi * 0.964**2, rel=0.01)


def test_the_outline_runs_along_the_tissue_and_what_is_searched_beyond_it() -> None:
    found = _find(_slide())
    from_middle_px = shapely.get_coordinates(found.region.geometry.exterior) - (250.5, 230.5)
    offset_um = MPP * (np.hypot(*from_middle_px.T) - 120.5)
    assert abs(np.median(offset_um)) < 0.75 * MPP
    assert np.percentile(np.abs(offset_um), 95) < 1.5 * MPP
    further_um = MPP * shapely.distance(found.region.geometry, shapely.points(found.searched.geometry.exterior.coords))
    assert 16 <= further_um.min() <= further_um.max() <= 40
    assert found.beyond_um == 24.0


def test_what_is_searched_ends_at_the_edge_of_the_slide() -> None:
    found = _find(_slide()[120:, 140:])
    assert found.region.bounds[:2] == found.searched.bounds[:2] == (0, 0)
    assert found.region.area_mm2(MPP) < found.searched.area_mm2(MPP)


DRAWN = json.loads((Path(__file__).parents[2] / "benchmarks" / "tissue_outlines.json").read_text())


@needs_slides
@pytest.mark.parametrize("drawn", DRAWN, ids=lambda drawn: drawn["slide"])
def test_the_outline_is_the_one_drawn_by_hand(drawn: dict[str, object]) -> None:
    slide = open_slide(SLIDES / str(drawn["slide"]), mpp=drawn["mpp"])  # type: ignore[arg-type]
    found = find_tissue(slide).region.geometry
    hand = shapely.union_all([shapely.make_valid(shapely.Polygon(ring)) for ring in drawn["rings"]])  # type: ignore[attr-defined]
    assert found.area == pytest.approx(hand.area, rel=0.06)
    assert hand.difference(found).area < 0.01 * hand.area
    inner = shapely.box(0, 0, *slide.size).buffer(-10 / slide.mpp)
    along = shapely.get_parts(found.intersection(inner).boundary.intersection(inner.buffer(-1)))
    points = shapely.points(np.concatenate([shapely.get_coordinates(shapely.segmentize(line, 10)) for line in along]))
    assert np.median(shapely.distance(hand, points)) * slide.mpp < 8


@needs_slides
@pytest.mark.parametrize(
    ("name", "mpp", "kind", "fraction"),
    [
        ("CMU-1-Small-Region.svs", None, "brightfield", (0.38, 0.52)),
        ("tcga-cr-7395-01a-01-ts1.svs", 1.0, "brightfield", (0.62, 0.68)),
        ("instanseg_HE_example.ome.tif", None, "brightfield", (0.70, 0.73)),
        ("dicom_camelyon_overview", 10.0, "brightfield", (0.20, 0.36)),
        ("dicom_bonemarrow_jpeg", 0.5, "whole", (1.0, 1.0)),
        ("test3-DAPI-2-387.ndpi", None, "fluorescence", (0.0, 0.0)),
        ("test3-TRITC-2-560.ndpi", None, "fluorescence", (0.0, 0.0)),
    ],
)
def test_real_slides_as_they_look_to_the_eye(
    name: str, mpp: float | None, kind: str, fraction: tuple[float, float]
) -> None:
    slide = open_slide(SLIDES / name, mpp=mpp)
    found = find_tissue(slide)
    assert found.kind == kind
    share = found.region.geometry.area / (slide.size[0] * slide.size[1])
    assert fraction[0] <= share <= fraction[1]
