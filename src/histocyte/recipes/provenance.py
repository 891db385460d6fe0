"""What a model has seen: sets that it learnt from, by itself or through models before it, and what they held out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from histocyte.datasets.cards import DATASETS
from histocyte.datasets.sample import Sample
from histocyte.encoders.catalog import CARDS
from histocyte.model.spec import ModelSpec

__all__ = [
    "bound_by",
    "data_facts",
    "facts_through",
    "held_out_through",
    "licence_of",
    "names_by_set",
    "not_for_commerce",
]

_ENCODER = "encoder "


def names_by_set(samples: Sequence[Sample]) -> dict[str, list[str]]:
    """Names of images by data set, as a model's spec keeps those held out."""
    sources = sorted({s.source for s in samples})
    return {source: [s.name for s in samples if s.source == source] for source in sources}


def data_facts(samples: Sequence[Sample]) -> tuple[dict[str, object], ...]:
    """Name, licence, citation and size of each training set, for the spec."""
    facts = []
    for source in sorted({s.source for s in samples}):
        mine = [s for s in samples if s.source == source]
        card = DATASETS.get(source)
        facts.append(
            {
                "name": source,
                "licence": card.licence if card else "not stated",
                "citation": card.citation if card else "own data",
                "images": len(mine),
                "nuclei": int(sum(int(s.instances.max()) for s in mine)),
            }
        )
    return tuple(facts)


def facts_through(facts: Sequence[Mapping[str, object]], before: Sequence[ModelSpec]) -> tuple[dict[str, object], ...]:
    """Facts of training sets, and of those that a model learnt from only through models before it.

    Their licences bind it too.

    Args:
        facts: Of its own sets, as `data_facts` gives them.
        before: Models that it began with or was taught by.
    """
    merged = [dict(entry) for entry in facts]
    for model in before:
        known = {str(entry["name"]) for entry in merged}
        merged += [{"through": model.name, **entry} for entry in model.data if str(entry["name"]) not in known]
    return tuple(merged)


def held_out_through(
    mine: Mapping[str, Sequence[str]], own: Collection[str], before: Sequence[ModelSpec]
) -> dict[str, list[str]]:
    """Held-out images by set: a model's own, and of other sets those that every model before it held out.

    All other images of such sets are known to it, though it never saw them itself.

    Args:
        mine: Of the model's own sets, as `names_by_set` gives them.
        own: Names of these sets.
        before: Models that it began with or was taught by.
    """
    merged = {source: list(names) for source, names in mine.items()}
    for model in before:
        past: Mapping[str, Sequence[str]] = model.training.get("held_out", {})
        for source, names in past.items():
            if source not in own:
                merged[source] = [n for n in names if n in merged.get(source, names)]
    return merged


def bound_by(spec: ModelSpec, before: Sequence[ModelSpec] = ()) -> dict[str, str]:
    """What binds a trained model beside its data, with its licence: encoders' published weights, and models of others.

    A spec keeps it under `training`, so that it binds the models that come after too.

    Args:
        spec: With the encoder weights that it began with.
        before: Models that it began with or was taught by.
    """
    found: dict[str, str] = {}
    for model in before:
        found |= model.training.get("bound_by", {})
        if not model.data:  # what it learnt from is not known: its publishers' licence stands for it
            found[f"model {model.name}"] = model.licence
    sources = [m.encoder_weights.source for m in (spec, *before) if m.encoder_weights is not None]
    return found | {f"{_ENCODER}{s}": CARDS[s].licence for s in sources if s in CARDS}


def licence_of(spec: ModelSpec) -> str:
    """What a trained model may be used for is what all that it learnt from allows; this names each and its licence.

    Args:
        spec: With its training data (`facts_through`) and what binds it beside them (`bound_by`).
    """
    parts = {str(entry["name"]): entry["licence"] for entry in spec.data} | spec.training.get("bound_by", {})
    return f"as all that it learnt from allows ({'; '.join(f'{name}: {text}' for name, text in parts.items())})"


def not_for_commerce(spec: ModelSpec) -> list[str]:
    """What a model learnt from or began with whose licence forbids its commercial use, each with its licence.

    As far as it is known: of a set or weights that are no known ones nothing is said.

    Args:
        spec: As for `licence_of`.
    """
    sets = [DATASETS[name] for entry in spec.data if (name := str(entry["name"])) in DATASETS]
    names = [name.removeprefix(_ENCODER) for name in spec.training.get("bound_by", {}) if name.startswith(_ENCODER)]
    encoders = [CARDS[name] for name in names if name in CARDS]
    return [
        *(f"{card.name} ({card.licence})" for card in sets if not card.commercial),
        *(f"{card.name} ({card.licence})" for card in encoders if card.commercial == "no"),
    ]
