"""What a study trains: an encoder, tapped and kept as it is, before one decoder that is the same for all."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from histocyte.core.taxonomies import taxonomy_of
from histocyte.core.taxonomy import NO_CLASSES
from histocyte.datasets.sample import Sample
from histocyte.encoders.catalog.card import EncoderCard
from histocyte.evaluation.protocol import Predictor
from histocyte.inference.load import Model
from histocyte.inference.torch_runtime import TorchRuntime
from histocyte.model.build import build_representation
from histocyte.model.segmenter import Segmenter
from histocyte.model.spec import ModelSpec
from histocyte.pipeline import instances_on
from histocyte.recipes.frozen_encoder import frozen_encoder
from histocyte.runs.studies.encoders.plan import DECODERS, Budget, Choice, pyramid_levels
from histocyte.runs.train.defaults import SHARES, augmentation, start
from histocyte.training.crops import CropSampler

__all__ = ["crops_per_second", "predictor", "starting_network", "study_sampler", "study_spec"]

_CONTROL_SEED = 0
"""Seed of a control's random weights: the same for every decoder's seed, so that its features are made once."""


def study_spec(card: EncoderCard, taps: str, budget: Budget) -> ModelSpec:
    """The `frozen_encoder` recipe with the study's taps and decoder.

    Args:
        card: Card of the encoder.
        taps: Blocks of a vision transformer (`recipes.frozen_encoder.tapped_blocks`); levels of a pyramid
            (`runs.studies.encoders.plan.pyramid_levels`).
        budget: Resolution, classes and decoder.
    """
    sizes = DECODERS[budget.decoder]
    taxonomy = taxonomy_of(budget.classes) if budget.classes else NO_CLASSES
    if card.facts.depth is None:
        spec = frozen_encoder(card.name, taxonomy=taxonomy, mpp=budget.mpp)
        levels = pyramid_levels(card, taps)
        all_levels = list(card.options.get("depths", range(4)))
        coarsest = card.facts.strides[all_levels.index(levels[-1])]
        options = {**spec.encoder.options, "depths": list(levels)}
    else:
        spec = frozen_encoder(card.name, taps=taps, taxonomy=taxonomy, mpp=budget.mpp)  # type: ignore[arg-type]
        coarsest, options = card.facts.strides[-1], dict(spec.encoder.options)
    doublings = round(coarsest).bit_length() - 1 if coarsest & (coarsest - 1) == 0 else 4  # 14 px are worked up as 16
    widths = list(sizes.widths[-doublings:])
    return spec.with_changes(
        encoder={"name": spec.encoder.name, "options": options},
        decoder={"name": "unet", "options": {"widths": widths, "depths": [sizes.convolutions] * doublings}},
        heads={"name": "residual", "options": {"features": sizes.features, "widths": dict(sizes.head_widths)}},
        tile_px=budget.tile_px,
        margin_px=budget.margin_px,
        multiple=max(16, 2**doublings),
    )


def starting_network(spec: ModelSpec, choice: Choice, *, seed: int) -> Segmenter:
    """The network with its encoder's published weights, or random ones that are the same whatever the seed.

    Args:
        spec: As `study_spec` makes it.
        choice: Says which weights.
        seed: Seed of the decoder's start.

    Raises:
        ModelError: Weights that do not fit.
    """
    weights = None if choice.random else choice.weights or choice.name
    model = start(spec, weights, seed=seed)
    if choice.random:
        model.encoder.load_state_dict(start(spec, None, seed=_CONTROL_SEED).encoder.state_dict())
    return model


def study_sampler(spec: ModelSpec, samples: Sequence[Sample], budget: Budget) -> CropSampler:
    """What draws the crops, the same for every encoder."""
    return CropSampler(
        samples,
        build_representation(spec.representation),
        augmentation(),
        crop_px=budget.crop_px,
        mpp=budget.mpp,
        weights=SHARES,
        seed=budget.split_seed,
    )


def predictor(spec: ModelSpec, trained: Segmenter, *, device: str) -> Predictor:
    """What finds the instances of an image, for scoring."""
    runtime = TorchRuntime(trained, device=device, threads=1, keep_threads=True)
    model = Model(spec, runtime, build_representation(spec.representation), "")
    return lambda image, mpp: instances_on(image, model, mpp=mpp)


@torch.inference_mode()
def crops_per_second(model: Segmenter, crop_px: int, device: str, repeats: int = 20) -> float:
    """Crops a second of the encoder alone, one at a time: the fastest of a few, which other work slows least."""
    crop = torch.full((1, 3, crop_px, crop_px), 128.0, device=device)
    encoder, seconds = model.eval().to(device).encoder, []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        features = encoder(model.normalise(crop))
        float(features.pyramid[-1].sum())  # waits for a GPU
        seconds.append(time.perf_counter() - began)
    return 1 / min(seconds[1:])
