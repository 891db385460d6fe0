"""What a trained model may be used for: what all that it learnt from, began with and was taught by allows."""

from __future__ import annotations

from collections.abc import Sequence

from histocyte.datasets.cards import DATASETS
from histocyte.encoders.catalog.find import CARDS
from histocyte.model.spec import ModelSpec

__all__ = ["bound_by", "licence_of", "not_for_commerce"]

_ENCODER = "encoder "


def bound_by(spec: ModelSpec, before: Sequence[ModelSpec] = ()) -> dict[str, str]:
    """What binds a trained model beside its data, with its licence: encoders' published weights, and models of others.

    A spec keeps it in its history, so that it binds the models that come after too.

    Args:
        spec: With the encoder weights that it began with.
        before: Models that it began with or was taught by.
    """
    found: dict[str, str] = {}
    for model in before:
        found |= model.history.bound_by
        if not model.history.sets:  # what it learnt from is not known: its publishers' licence stands for it
            found[f"model {model.name}"] = model.licence
    sources = [m.encoder_weights.source for m in (spec, *before) if m.encoder_weights is not None]
    return found | {f"{_ENCODER}{s}": CARDS[s].licence for s in sources if s in CARDS}


def licence_of(spec: ModelSpec) -> str:
    """What a trained model may be used for is what all that it learnt from allows; this names each and its licence.

    Args:
        spec: With its history.
    """
    parts = {entry.name: entry.licence for entry in spec.history.sets} | dict(spec.history.bound_by)
    return f"as all that it learnt from allows ({'; '.join(f'{name}: {text}' for name, text in parts.items())})"


def not_for_commerce(spec: ModelSpec) -> list[str]:
    """What a model learnt from or began with whose licence forbids its commercial use, each with its licence.

    As far as it is known: of a set or weights that are no known ones nothing is said.

    Args:
        spec: As for `licence_of`.
    """
    sets = [DATASETS[name] for name in dict.fromkeys(e.name for e in spec.history.sets) if name in DATASETS]
    names = [name.removeprefix(_ENCODER) for name in spec.history.bound_by if name.startswith(_ENCODER)]
    encoders = [CARDS[name] for name in names if name in CARDS]
    return [
        *(f"{card.name} ({card.licence})" for card in sets if not card.commercial),
        *(f"{card.name} ({card.licence})" for card in encoders if card.commercial == "no"),
    ]
