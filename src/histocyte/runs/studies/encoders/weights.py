"""The encoder study's weights: whether they can be had, which file they are, and whether they have seen the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from histocyte.core.digest import file_sha256
from histocyte.core.errors import InputError, ModelError
from histocyte.core.names import counted
from histocyte.datasets.sample import Sample
from histocyte.encoders.catalog.card import EncoderCard
from histocyte.encoders.weights.availability import check
from histocyte.model.checkpoint import read_spec
from histocyte.runs.studies.encoders.plan import Choice
from histocyte.training.journal import read_json

__all__ = ["Ready", "check_same_weights", "check_unseen", "lacking_weights", "weights_sha256"]


@dataclass(frozen=True, slots=True)
class Ready:
    """An encoder whose weights cannot be had here now; everything else is ready.

    Attributes:
        label: The encoder.
        missing: What is missing, and how to get it.
        memory_mb: Memory of one 1024² image in float32 (10⁶ bytes).
        gated: Whether its conditions must be accepted first.
        page: Where.
        argument: As it is typed.
    """

    label: str
    missing: str
    memory_mb: int
    gated: bool
    page: str
    argument: str


def lacking_weights(choice: Choice, card: EncoderCard) -> Ready | None:
    """What is missing of an encoder's published weights; None where they can be had."""
    if choice.random or choice.weights is not None:
        return None
    found = check(card)
    if found.available:
        return None
    page = card.page or (f"'{card.hub}' on the Hugging Face hub" if card.hub else "")
    missing = found.way_out or "its weights"
    return Ready(choice.label, missing, card.facts.memory_mb, card.gated, page, choice.argument)


def check_unseen(choice: Choice, held_out: Sequence[Sample]) -> None:
    """Refuse a model of our own that was trained on what is held out here.

    Raises:
        InputError: It was; says on how many images.
    """
    if choice.weights is None or choice.weights.suffix != ".safetensors":
        return
    try:
        spec = read_spec(choice.weights)
    except ModelError:
        return  # published weights, which do not say
    seen = len(held_out) - len(spec.history.unseen(held_out))
    if seen:
        raise InputError(
            f"These weights were trained on {seen} of the {counted(len(held_out), 'held-out image')}, so a score "
            "would say "
            "nothing. Train them on other images, or hold out those that they have not seen."
        )


def weights_sha256(choice: Choice) -> str:
    """SHA-256 of the weights file, empty where it is the card's, a folder, or none."""
    if choice.weights is None or not choice.weights.is_file():
        return ""
    return file_sha256(choice.weights)


def check_same_weights(result: Path, choice: Choice) -> None:
    """Refuse a finished result of another weights file under the same name.

    Raises:
        InputError: It is one.
    """
    if read_json(result).get("weights_sha256") != weights_sha256(choice):
        raise InputError(
            f"'{result.parent}' holds the result of another weights file of this name. Delete that folder, or give "
            "the file another name."
        )
