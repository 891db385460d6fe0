"""Vectors on disk: one for each row of cells.parquet, also along the borders between blocks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.instances import Labels
from histocyte.core.taxonomies import CONSEP
from histocyte.formats.geoparquet import read_cells
from histocyte.inference.load import Model
from histocyte.inference.plan import Settings
from histocyte.results import Options, segment_to_folder
from histocyte.testing.perfect import paint_truth


def picture(path: Path) -> NDArray[np.int32]:
    y, x = np.mgrid[:400, :400]
    labels = np.zeros((400, 400), np.int32)
    centres = [(r, c) for r in range(20, 400, 36) for c in range(20, 400, 36)]
    for number, (row, column) in enumerate(centres, 1):
        labels[(y - row) ** 2 + (x - column) ** 2 < 90 + number % 7 * 15] = number
    types = np.arange(len(centres) + 1, dtype=np.uint8) % 4 + 1
    cv2.imwrite(str(path), paint_truth(Labels(labels, types), CONSEP)[..., ::-1])
    return labels


def test_every_cell_has_its_vector_whatever_the_blocks(tmp_path: Path, colourful: Model) -> None:
    image = tmp_path / "slide.png"
    labels = picture(image)
    found = []
    for block_px in (400, 128):
        options = Options(mpp=0.25, settings=Settings(block_px=block_px, halo_px=48, embeddings=True))
        record = segment_to_folder(image, tmp_path / str(block_px), colourful, options)
        vectors = np.load(record.outputs["embeddings"], mmap_mode="r")
        cells = read_cells(record.outputs["parquet"])
        assert cells.embeddings is None
        assert vectors.dtype == np.float16
        assert vectors.shape == (len(cells), 3)
        found.append((cells, np.asarray(vectors)))
    assert len(found[0][0]) == labels.max()
    np.testing.assert_array_equal(found[0][0].xy, found[1][0].xy)
    np.testing.assert_array_equal(found[0][1], found[1][1])
    pixels = cv2.imread(str(image))[..., ::-1]
    for xy, vector in zip(found[1][0].xy, found[1][1], strict=True):
        inside = labels == labels[int(xy[1]), int(xy[0])]
        np.testing.assert_allclose(vector, pixels[inside].mean(axis=0), rtol=2e-3)


def test_a_runtime_without_features_is_refused(tmp_path: Path, perfect_model: Model) -> None:
    picture(tmp_path / "slide.png")
    options = Options(mpp=0.25, settings=Settings(embeddings=True))
    with pytest.raises(InputError, match="--runtime torch"):
        segment_to_folder(tmp_path / "slide.png", tmp_path / "out", perfect_model, options)
