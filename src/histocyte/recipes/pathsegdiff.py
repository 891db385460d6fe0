"""PathSegDiff: tissue from what a diffusion model's denoiser sees in an image with a little noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from histocyte.core.errors import InputError
from histocyte.core.taxonomy import Taxonomy
from histocyte.core.tissues import GLANDS
from histocyte.encoders.catalog.diffusion import DIFFUSION, multiple_of
from histocyte.encoders.catalog.find import find_card
from histocyte.model.spec import ModelSpec, Part

__all__ = ["pathsegdiff"]


def pathsegdiff(
    encoder: str = "ldm-brca",
    *,
    timestep: int | None = None,
    taps: Sequence[int] | None = None,
    samples: int = 1,
    first_stage: Mapping[str, Any] | None = None,
    denoiser: Mapping[str, Any] | None = None,
    condition: Mapping[str, Any] | None = None,
    taxonomy: Taxonomy = GLANDS,
    mpp: float = 0.5,
) -> ModelSpec:
    """Danisetty et al. 2025, PathSegDiff (arXiv 2504.06950): a light fully convolutional head over a frozen denoiser.

    Which step and which blocks the paper takes is not stated in what is public: step 50 and the blocks 4, 7 and 10 of
    the way up, at strides 16, 8 and 4, are defaults, and both are options.

    Args:
        encoder: A latent diffusion model by its card's name.
        timestep: Step of 1,000 whose noise the latent gets; the card's, else 50.
        taps: Blocks of the denoiser's way up, from 0; the card's, else 4, 7 and 10.
        samples: Noises that the features are the mean of.
        first_stage: Options of the autoencoder in place of the card's; its "name" is "autoencoder" or "tiny".
        denoiser: Options of the denoising U-Net in place of the card's.
        condition: Options of the condition in place of the card's; {} for none.
        taxonomy: The tissue classes.
        mpp: Resolution that it works at, µm/px; 256 px are then as large as in the diffusion model's training.

    Raises:
        UnknownNameError: No such encoder.
        InputError: The encoder is not a diffusion model, or there are no classes.
    """
    card = find_card(encoder)
    if not taxonomy:
        raise InputError("PathSegDiff tells kinds of tissue apart and needs at least one class; see --classes.")
    if card.part != "diffusion":
        raise InputError(
            f"'{card.name}' is not a diffusion model, and PathSegDiff reads the features of one. There are: "
            f"{', '.join(c.name for c in DIFFUSION)}."
        )
    chosen: dict[str, Any] = {"timestep": timestep, "taps": None if taps is None else list(taps)}
    chosen |= {"first_stage": first_stage, "denoiser": denoiser, "samples": None if samples == 1 else samples}
    options = {**card.options, **{name: value for name, value in chosen.items() if value is not None}}
    if condition is not None:
        options["condition"] = condition or None
    return ModelSpec(
        name=f"pathsegdiff-{card.name}",
        recipe="pathsegdiff",
        encoder=Part(name=card.part, options=options),
        decoder=Part(name="fcn", options={"widths": [256, 128, 64]}),
        heads=Part(name="pointwise"),
        representation=Part(name="semantic", options={"classes": len(taxonomy)}),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
        mean=card.mean,
        std=card.std,
        tile_px=256,
        margin_px=64,
        multiple=multiple_of(options),
        training={"adapt": "frozen"},
    )
