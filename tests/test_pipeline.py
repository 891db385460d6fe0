"""The spine: the same image gives the same cells however it is cut, and nothing is lost at a seam."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from histocyte.core.cells import Cells
from histocyte.core.errors import ResolutionError
from histocyte.core.listener import Stopped
from histocyte.core.taxonomies import CONSEP
from histocyte.inference.load import Model
from histocyte.pipeline import Settings, instances_on, segment, segment_image, segment_slide
from histocyte.slides.array_reader import open_array
from histocyte.store.journal import Journal
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses, touching_grid


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def say(self, text: str) -> None:
        self.told.append(text)

    @contextmanager
    def task(self, name: str, total: int | None, *, unit: str = "steps", done: int = 0) -> Iterator[Heard]:
        self.told.append((name, total, unit, done))
        yield self

    def advance(self, steps: int = 1, *, note: str | None = None) -> None:
        self.told.append(note)


def same(a: Cells, b: Cells) -> None:
    assert len(a) == len(b)
    for column in ("xy", "contour_offsets", "contour_xy", "area_um2", "probabilities", "scores"):
        np.testing.assert_array_equal(getattr(a, column), getattr(b, column), err_msg=column)


@pytest.fixture(scope="module")
def scene_labels():  # type: ignore[no-untyped-def]
    return packed_ellipses((500, 420), 260, seed=3)


@pytest.fixture(scope="module")
def scene_image(scene_labels):  # type: ignore[no-untyped-def]
    return paint_truth(scene_labels, CONSEP)


@pytest.fixture(scope="module")
def uncut(scene_image, perfect_model: Model) -> Cells:  # type: ignore[no-untyped-def]
    return segment_image(scene_image, perfect_model, mpp=0.25)


def test_every_nucleus_is_found_once_with_its_class_and_area(scene_labels, uncut: Cells) -> None:  # type: ignore[no-untyped-def]
    assert len(uncut) == scene_labels.instances.max()
    column, row = np.floor(uncut.xy).astype(int).T
    types = scene_labels.types[scene_labels.instances[row, column]]
    assert (uncut.class_index + 1 == types).mean() > 0.99  # the centre of a bent one may lie outside it
    assert uncut.area_um2.sum() == pytest.approx((scene_labels.instances > 0).sum() * 0.25**2, rel=0.01)


@pytest.mark.parametrize("block_px", [97, 160, 256, 333])
def test_block_size_changes_nothing(block_px: int, scene_image, uncut: Cells, perfect_model: Model) -> None:  # type: ignore[no-untyped-def]
    same(uncut, segment_image(scene_image, perfect_model, mpp=0.25, settings=Settings(block_px=block_px)))


@pytest.mark.parametrize(("tile_px", "margin_px", "batch"), [(64, 0, 1), (96, 16, 5), (512, 32, 2)])
def test_tiles_and_batches_change_nothing(
    tile_px: int,
    margin_px: int,
    batch: int,
    scene_image,
    uncut: Cells,
    perfect_model: Model,  # type: ignore[no-untyped-def]
) -> None:
    settings = Settings(block_px=200, batch=batch)
    perfect_model = perfect_model.with_tiles(tile_px=tile_px, margin_px=margin_px)
    same(uncut, segment_image(scene_image, perfect_model, mpp=0.25, settings=settings))


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_change_nothing(workers: int, scene_image, uncut: Cells, perfect_model: Model, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with open_array(scene_image, mpp=0.25) as slide, Journal.open(tmp_path, signature={}) as journal:
        cells = segment_slide(slide, perfect_model, journal, settings=Settings(block_px=128), workers=workers)
        same(uncut, Cells.concatenate(list(cells)))


@pytest.mark.parametrize("spacing", [13, 14, 15, 16, 17, 19.5, 23])
def test_touching_nuclei_survive_at_every_border(spacing: float, perfect_model: Model) -> None:
    # Radius 7: up to 14 px they touch. Blocks of 100 px put borders through, beside and between nuclei.
    labels = touching_grid((420, 300), 7, spacing)
    cells = segment_image(paint_truth(labels, CONSEP), perfect_model, mpp=0.25, settings=Settings(block_px=100))
    assert len(cells) == labels.instances.max()


def test_cells_are_in_level_0_pixels_whatever_the_resolution(perfect_model: Model) -> None:
    labels = touching_grid((300, 300), 9, 40)
    image = paint_truth(labels, CONSEP)
    coarse_model = replace(perfect_model, spec=perfect_model.spec.with_changes(mpp=0.5))
    at_quarter = segment_image(image, perfect_model, mpp=0.25)
    at_half = segment_image(image, coarse_model, mpp=0.5)
    np.testing.assert_allclose(at_half.xy, at_quarter.xy)
    np.testing.assert_allclose(at_half.area_um2, 4 * at_quarter.area_um2)


def test_a_journal_goes_on_where_it_stopped(scene_image, uncut: Cells, perfect_model: Model, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    settings = Settings(block_px=128)
    heard = Heard()
    with open_array(scene_image, mpp=0.25) as slide:
        with Journal.open(tmp_path, signature={"a": 1}) as journal:
            cells = segment_slide(
                *(slide, perfect_model, journal),
                settings=settings,
                workers=1,
                stop=lambda: len(journal.done()) == 3,
            )
            with pytest.raises(Stopped, match="4 of "):  # one was under way
                next(cells)
        with Journal.open(tmp_path, signature={"a": 1}) as journal:
            assert len(journal.done()) == 4
            cells = segment_slide(slide, perfect_model, journal, settings=settings, listener=heard)
            same(uncut, Cells.concatenate(list(cells)))
    (name, total, unit, done), *notes = heard.told
    assert (unit, done, len(notes)) == ("blocks", 4, total - 4 + 1)
    assert notes[-1] == f"{len(uncut):,} cells"


def test_nothing_on_an_empty_slide(perfect_model: Model) -> None:
    cells = segment_image(np.full((300, 200, 3), 255, np.uint8), perfect_model, mpp=0.25)
    assert len(cells) == 0
    assert cells.probabilities.shape == (0, len(CONSEP))


def test_evaluation_sees_the_same_instances(scene_labels, scene_image, perfect_model: Model) -> None:  # type: ignore[no-untyped-def]
    found = instances_on(scene_image, perfect_model, mpp=0.25)
    assert ((found.labels > 0) == (scene_labels.instances > 0)).mean() > 0.999
    assert len(found) == scene_labels.instances.max()


def test_a_slide_too_coarse_is_refused(perfect_model: Model) -> None:
    with pytest.raises(ResolutionError, match="too few pixels"):
        segment_image(np.zeros((64, 64, 3), np.uint8), perfect_model, mpp=2.0)


def test_an_array_needs_its_resolution(perfect_model: Model) -> None:
    with pytest.raises(ResolutionError, match="mpp=0.25"):
        segment(np.zeros((64, 64, 3), np.uint8), model=perfect_model)


def test_one_line_tells_a_listener_and_stops_where_it_is_told(perfect_model: Model) -> None:
    image = paint_truth(packed_ellipses((96, 96), 8, seed=0), CONSEP)
    heard = Heard()
    cells = segment(image, model=perfect_model, mpp=perfect_model.spec.mpp, listener=heard)
    assert heard.told[0] == ("image", 1, "blocks", 0)
    assert len(cells)
    with pytest.raises(Stopped, match=r"^0 of 1 block of 'image' done"):
        segment(image, model=perfect_model, mpp=perfect_model.spec.mpp, stop=lambda: True)
