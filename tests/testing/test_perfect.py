from __future__ import annotations

import numpy as np
import pytest

from histocyte.core.instances import Labels
from histocyte.core.maps import split_maps
from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import Taxonomy
from histocyte.representations.hover.scheme import Hover
from histocyte.testing.perfect import PerfectModel, paint_truth
from histocyte.testing.scenes import SCENES, scene

NO_CLASSES = Taxonomy("none", ())


@pytest.mark.parametrize("taxonomy", [CONSEP, NO_CLASSES], ids=["classes", "no classes"])
@pytest.mark.parametrize("kind", SCENES)
def test_predict_gives_back_the_encoded_truth(kind: str, taxonomy: Taxonomy) -> None:
    labels = scene(kind, 5)
    model = PerfectModel(taxonomy)
    stacked = model.predict(paint_truth(labels, taxonomy)[None])[0]
    assert stacked.dtype == np.float32
    found, true = split_maps(stacked, model.maps), Hover(len(taxonomy)).encode(labels)
    assert list(found) == [spec.name for spec in Hover(len(taxonomy)).maps]
    for name in found:
        assert np.abs(found[name] - true[name]).max() <= (1 / 254 + 1e-6 if name == "hover" else 0)


def test_white_is_background() -> None:
    maps = split_maps(PerfectModel(CONSEP).predict(np.full((2, 4, 5, 3), 255, np.uint8))[1], PerfectModel(CONSEP).maps)
    assert not maps["nucleus"].any()
    assert not maps["hover"].any()
    assert (maps["types"][0] == 1).all()
    assert not maps["types"][1:].any()


def test_every_class_of_a_long_taxonomy_survives() -> None:
    taxonomy = Taxonomy("long", CONSEP.classes * 10)
    instances = np.arange(41, dtype=np.int32).reshape(1, 41).repeat(3, axis=0)
    labels = Labels(instances, np.arange(41, dtype=np.uint8))
    types = split_maps(PerfectModel(taxonomy).predict(paint_truth(labels, taxonomy)[None])[0], Hover(40).maps)["types"]
    assert np.array_equal(types.argmax(axis=0), instances)


def test_unknown_class_is_a_nucleus_of_no_class() -> None:
    labels = Labels(scene("one").instances, None)
    maps = split_maps(PerfectModel(CONSEP).predict(paint_truth(labels, CONSEP)[None])[0], PerfectModel(CONSEP).maps)
    assert maps["nucleus"].sum() == (labels.instances > 0).sum()
    assert not maps["types"][1:].any()


def test_a_pixel_depends_on_itself_alone() -> None:
    image = paint_truth(scene("packed_ellipses", 1), CONSEP)
    model = PerfectModel(CONSEP)
    whole = model.predict(image[None])[0]
    assert np.array_equal(model.predict(image[None, 17:61, 30:99])[0], whole[:, 17:61, 30:99])
