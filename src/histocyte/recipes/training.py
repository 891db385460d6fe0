"""How the recipes' models are trained: augmentation, shares of the data sets, first layers kept."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from histocyte.core.errors import InputError
from histocyte.core.taxonomy import CONSEP
from histocyte.datasets.augment import Augmentation, blur, brightness_contrast, dihedral, downscale, noise, stain_jitter
from histocyte.datasets.cards import DATASETS
from histocyte.datasets.sample import Sample
from histocyte.encoders.fingerprint import encoder_sha256
from histocyte.encoders.hub import find_weights
from histocyte.encoders.weights import load_encoder_weights
from histocyte.model.build import build_representation, build_segmenter
from histocyte.model.segmenter import Segmenter
from histocyte.model.spec import EncoderWeights, ModelSpec
from histocyte.recipes.registry import RECIPES
from histocyte.training.crops import CropSampler

__all__ = ["SHARES", "augmentation", "crop_sampler", "first_spec", "held_out", "origin", "start"]

SHARES: Mapping[str, float] = {"consep": 0.40, "monuseg": 0.38, "tnbc": 0.12, "nuinsseg": 0.10}
"""Share of the crops by data set. CoNSeP has the classes and the hardest outlines; NuInsSeg teaches foreground only."""


def first_spec(recipe: str, encoder: str | None = None) -> ModelSpec:
    """The spec a recipe makes, for the classes that `datasets.folder` maps labels into.

    Args:
        recipe: By name.
        encoder: In place of the recipe's own.

    Raises:
        UnknownNameError: No such recipe or encoder.
        InputError: A recipe whose encoder is part of the method.
    """
    make = RECIPES[recipe]
    if encoder is not None and "encoder" not in inspect.signature(make).parameters:
        raise InputError(f"The recipe '{recipe}' has an encoder of its own and takes no other.")
    spec = make(taxonomy=CONSEP) if encoder is None else make(taxonomy=CONSEP, encoder=encoder)
    return spec.with_changes(tissues=())  # our data states no tissues, so nothing would teach that head


def augmentation() -> Augmentation:
    """All eight orientations, strong stain and lamp variation, some loss of sharpness."""
    steps = [
        (1.0, dihedral),
        (0.8, stain_jitter),
        (0.5, brightness_contrast),
        (0.15, blur),
        (0.1, downscale),
        (0.15, noise),
    ]
    return Augmentation(steps)


def crop_sampler(spec: ModelSpec, samples: Sequence[Sample], *, seed: int) -> CropSampler:
    """Crops of 256 px at the model's resolution, zoomed by 0.8–1.25."""
    representation = build_representation(spec.representation)
    return CropSampler(samples, representation, augmentation(), mpp=spec.mpp, weights=SHARES, seed=seed)


def start(spec: ModelSpec, encoder_weights: str | Path | None, *, seed: int) -> Segmenter:
    """The network with its starting weights; the encoder's from where `load_encoder_weights` can have them."""
    torch.manual_seed(seed)
    model = build_segmenter(spec)
    if encoder_weights is not None:
        load_encoder_weights(model.encoder, encoder_weights)
    return model


def origin(model: Segmenter, encoder_weights: str | Path, *, included: bool) -> EncoderWeights:
    """How a spec names the weights that `start` has given the encoder."""
    path = find_weights(encoder_weights)
    return EncoderWeights(
        sha256=encoder_sha256(model.encoder.state_dict()),
        file=path.name,
        source="" if Path(encoder_weights).exists() else str(encoder_weights),
        included=included,
    )


def held_out(validation: Sequence[Sample]) -> dict[str, list[str]]:
    """Names of held-out images by data set, as a model's spec keeps them."""
    sources = sorted({s.source for s in validation})
    return {source: [s.name for s in validation if s.source == source] for source in sources}


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
