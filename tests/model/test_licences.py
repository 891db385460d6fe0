"""What a trained model may be used for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from histocyte.datasets.sample import Sample
from histocyte.model.history import History
from histocyte.model.licences import bound_by, licence_of, not_for_commerce
from histocyte.model.spec import EncoderWeights, ModelSpec
from histocyte.recipes.hover_unet import hover_unet


def sample(source: str, name: str) -> Sample:
    labels = np.zeros((4, 4), np.int32)
    labels[0, :2] = 1, 2
    return Sample(name, np.zeros((4, 4, 3), np.uint8), labels, None, 0.25, source, name)


def made_of(*sets: str, encoder: str = "", before: Sequence[ModelSpec] = (), **changes: object) -> ModelSpec:
    weights = EncoderWeights(sha256="0" * 64, file="w", source=encoder) if encoder else None
    history = History.of([sample(s, "a") for s in sets])
    spec = hover_unet().with_changes(history=history, encoder_weights=weights, **changes)
    return spec.with_changes(history=history.model_copy(update={"bound_by": bound_by(spec, before)}))


def test_what_forbids_commercial_use_is_named() -> None:
    assert not_for_commerce(made_of("consep", "mine", "monuseg", "tnbc")) == ["monuseg (CC BY-NC-SA 4.0)"]
    assert not_for_commerce(made_of("consep", "mine")) == []
    (uni,) = not_for_commerce(made_of("tnbc", encoder="uni"))
    assert uni.startswith("uni (")
    student = made_of("tnbc", before=[made_of("tnbc", encoder="uni")])
    assert not_for_commerce(student) == [uni]
    assert not_for_commerce(made_of("tnbc", before=[student])) == [uni]


def test_a_licence_names_all_that_a_model_is_made_of() -> None:
    open_one = made_of("tnbc", name="open", licence="all may use it")
    converted = made_of(name="theirs", licence="as its publishers state")
    first = made_of("monuseg", "tnbc", encoder="uni", before=[open_one, converted])
    for model in (first, made_of("monuseg", "tnbc", before=[first])):
        text = licence_of(model)
        for part in ("monuseg: CC BY-NC-SA 4.0", "tnbc: CC BY 4.0", "encoder uni: ", "theirs: as its publishers state"):
            assert part in text
        assert "all may use it" not in text
