"""Cards of latent diffusion models of tissue, whose denoiser is an encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from histocyte.encoders.catalog.card import EncoderCard, stored_facts

__all__ = ["DIFFUSION", "multiple_of"]

_TAPS = "PathSegDiff does not state its blocks; these are of the middle to late part of the way up"
_HIPT: dict[str, Any] = {"name": "timm_vit", "options": {"name": "vit_small_patch16_224", "taps": [12]}}
"""ViT-256 of HIPT, whose embedding of a patch is the condition."""


def _card(name: str, title: str, **facts: Any) -> EncoderCard:
    half = (0.5, 0.5, 0.5)
    facts = {"part": "diffusion", "native_px": 256, "taps_from": _TAPS, "mean": half, "std": half, "hub": "", **facts}
    return EncoderCard(name=name, title=title, facts=stored_facts(name), **facts)


DIFFUSION = (
    _card(
        "ldm-brca",
        "Latent diffusion of TCGA-BRCA at 20×, conditioned on HIPT (VQ-f4)",
        paper="arXiv 2312.07330",
        file="last.ckpt",
        page="the repository cvlab-stonybrook/Large-Image-Diffusion on GitHub; put HIPT's vit256_small_dino.pth beside "
        "it as condition.pth",
        licence="none stated",
        commercial="unclear",
        mpp=(0.5,),
        options={"condition": {"encoder": _HIPT}},
    ),
    _card(
        "pathldm",
        "PathLDM: latent diffusion of TCGA-BRCA at 10×, conditioned on text (VQ-f4), told nothing here",
        paper="arXiv 2309.00748",
        file="last.ckpt",
        page="the repository cvlab-stonybrook/PathLDM on GitHub",
        licence="none stated",
        commercial="unclear",
        mpp=(1.0,),
        options={"condition": {"width": 512, "region_width": None, "projected": False}},
    ),
)


def multiple_of(options: Mapping[str, Any]) -> int:
    """What height and width of an image must be a multiple of, from the options of a `DiffusionEncoder`."""
    first = options.get("first_stage", {})
    stride = 8 if first.get("name") == "tiny" else 2 ** (len(first.get("multiples", (1, 2, 4))) - 1)
    return int(stride * 2 ** (len(options.get("denoiser", {}).get("multiples", (1, 2, 3, 5))) - 1))
