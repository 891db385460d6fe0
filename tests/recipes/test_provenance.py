"""What a model has seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from histocyte.datasets.sample import Sample
from histocyte.model.spec import EncoderWeights, ModelSpec
from histocyte.recipes.hover_unet import hover_unet
from histocyte.recipes.provenance import (
    bound_by,
    data_facts,
    facts_through,
    held_out_through,
    licence_of,
    names_by_set,
    not_for_commerce,
)


def sample(source: str, name: str) -> Sample:
    labels = np.zeros((4, 4), np.int32)
    labels[0, :2] = 1, 2
    return Sample(name, np.zeros((4, 4, 3), np.uint8), labels, None, 0.25, source, name)


def test_sets_are_described_with_their_licence() -> None:
    facts = data_facts([sample("mine", "a"), sample("tnbc", "b"), sample("mine", "c")])
    assert [(f["name"], f["licence"], f["images"], f["nuclei"]) for f in facts] == [
        ("mine", "not stated", 2, 4),
        ("tnbc", "CC BY 4.0", 1, 2),
    ]


def test_what_models_before_have_seen_is_kept() -> None:
    past = {"name": "monuseg", "licence": "CC BY-NC-SA 4.0", "citation": "", "images": 3, "nuclei": 9}
    known = {"name": "tnbc", "licence": "CC BY 4.0", "citation": "", "images": 5, "nuclei": 9}
    trained = {"held_out": {"monuseg": ["x", "y"], "tnbc": ["z"]}}
    one = hover_unet().with_changes(name="one", data=(past, known), training=trained)
    two = one.with_changes(name="two", training={"held_out": {"monuseg": ["y", "w"]}})
    facts = facts_through(data_facts([sample("tnbc", "b")]), [one, two])
    assert [(f["name"], f.get("through")) for f in facts] == [("tnbc", None), ("monuseg", "one")]
    # What all models before held out is new to the one that follows them.
    held = held_out_through(names_by_set([sample("tnbc", "b")]), {"tnbc"}, [one, two])
    assert held == {"tnbc": ["b"], "monuseg": ["y"]}


def made_of(*sets: str, encoder: str = "", before: Sequence[ModelSpec] = (), **changes: object) -> ModelSpec:
    weights = EncoderWeights(sha256="0" * 64, file="w", source=encoder) if encoder else None
    data = data_facts([sample(s, "a") for s in sets])
    spec = hover_unet().with_changes(data=data, encoder_weights=weights, **changes)
    return spec.with_changes(training={"bound_by": bound_by(spec, before)})


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
