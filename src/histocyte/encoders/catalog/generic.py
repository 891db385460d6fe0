"""Cards of encoders outside the catalog: by what timm knows, or by the config.json of a repository or folder."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from histocyte.core.errors import InputError, ModelError
from histocyte.encoders.catalog.card import IMAGENET, EncoderCard, EncoderFacts
from histocyte.encoders.networks.timm_import import import_timm
from histocyte.encoders.networks.timm_options import PLAIN
from histocyte.encoders.weights.hub import read_json
from histocyte.files.foreign import foreign_parser

__all__ = ["card_of_config", "card_of_timm", "normalisation_of_timm"]

_FREE = ("apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "cc-by-4.0", "cc0-1.0")
_NATIVE_PX = 224
"""Where a config does not say."""


def card_of_timm(name: str) -> EncoderCard | None:
    """The card of a timm model, with or without the tag of its weights; None where timm has none.

    Raises:
        MissingExtraError: timm is not installed.
        InputError: A model that gives neither blocks nor a pyramid.
    """
    timm = import_timm()
    if not timm.is_model(name):
        return None
    architecture = name.split(".")[0]
    known = timm.get_pretrained_cfg(name)
    known = known.to_dict() if known is not None else {}
    part, options = _part_of_timm(architecture)
    return EncoderCard(
        name=name,
        title=f"timm's {name}",
        paper="",
        hub=known.get("hf_hub_id") or "",
        page="" if known.get("hf_hub_id") else "timm knows no weights of it",
        part=part,
        options=options,
        facts=_facts(part, options),
        taps_from="ends of the four quarters" if part != "timm_pyramid" else "all stages",
        **_normalisation(known),
        **_terms(known.get("license")),
    )


def normalisation_of_timm(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
    """Mean and standard deviation of the images that a timm model's weights were trained on; None where timm says none.

    Args:
        name: With or without the tag of its weights.

    Raises:
        MissingExtraError: timm is not installed.
    """
    timm = import_timm()
    known = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if known is None or not known.mean or not known.std:
        return None
    return tuple(known.mean), tuple(known.std)


def card_of_config(where: str, *, revision: str = "main") -> EncoderCard:
    """The card of a repository "owner/name" on the hub, or of a folder in its layout, by its config.json.

    Configs of timm and, among transformers', of ViT and DINOv2 with and without registers are understood. No code of
    the repository is run.

    Raises:
        InputError: There is none, or of a kind that is not known.
        MissingExtraError: timm is not installed.
    """
    config = read_json(where, "config.json", revision=revision)
    if config is None:
        raise InputError(f"'{where}' has no config.json that would say how its encoder is built.")
    with foreign_parser(
        lambda why: InputError(f"The config.json of '{where}' describes no encoder that can be built ({why})."),
        place=where,
    ):
        return _card_of(where, config, revision)


def _card_of(where: str, config: Mapping[str, Any], revision: str) -> EncoderCard:
    if "architecture" in config:
        known = {**config, **config.get("pretrained_cfg", {})}
        part, options = _part_of_timm(config["architecture"], config.get("model_args", {}), known)
        normalisation = _normalisation(known)
    elif config.get("model_type") in ("vit", "dinov2", "dinov2_with_registers"):
        part, options = "timm_vit", _options_of_transformers(config)
        known = {"license": config.get("license")}
        images = read_json(where, "preprocessor_config.json", revision=revision) or {}
        normalisation = {
            "mean": _of_channels(images.get("image_mean", IMAGENET[0])),
            "std": _of_channels(images.get("image_std", IMAGENET[1]), positive=True),
            "native_px": int(config.get("image_size", _NATIVE_PX)),
        }
    else:
        kind = config.get("model_type") or config.get("architectures") or "none that it names"
        raise InputError(
            f"'{where}' is a model of another kind ({kind}); known are timm's, and transformers' ViT and DINOv2. "
            "Code that comes with weights is never run."
        )
    local = os.path.isdir(where)
    return EncoderCard(
        name=where,
        title=Path(where).name,
        paper="",
        hub="" if local else where,
        page=where if local else "",
        part=part,
        options=options,
        facts=_facts(part, options),
        taps_from="ends of the four quarters" if part != "timm_pyramid" else "all stages",
        revision=revision,
        **normalisation,
        **_terms(known.get("license")),
    )


def _part_of_timm(
    architecture: str, arguments: Mapping[str, Any] | None = None, known: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    """The part that carries a timm model, and its options."""
    given = {k: v for k, v in (arguments or {}).items() if k in PLAIN and k not in ("global_pool", "drop_path_rate")}
    size = given.pop("img_size", None) or ((known or {}).get("input_size") or (None, None))[1]
    more: dict[str, Any] = {"arch_options": given} if given else {}
    if architecture.startswith("samvit_"):
        return "sam", {"name": architecture}
    options = {"name": architecture, **({"image_size": size} if known and size else {}), **more}
    try:
        encoder = _built("timm_vit", options)
    except InputError as error:
        if isinstance(error, ModelError):
            raise
        if architecture.startswith("swin"):
            more = {"arch_options": {**given, "strict_img_size": False}}
        return "timm_pyramid", {"name": architecture, "depths": _levels(architecture), **more}
    return "timm_vit", {**options, **({"fit": True} if encoder.patch != 16 else {})}


def _levels(architecture: str) -> list[int]:
    """The levels of a pyramid that each have twice the stride of the last, counted from the coarsest."""
    import torch

    from histocyte.encoders.networks.timm import create_timm

    with torch.device("meta"):
        try:
            body: Any = create_timm(architecture, features_only=True)
        except (RuntimeError, AttributeError, TypeError) as error:
            raise InputError(f"timm gives neither blocks nor a pyramid of '{architecture}': {error}.") from error
    strides = list(body.feature_info.reduction())
    kept = [len(strides) - 1]
    for level in range(len(strides) - 2, -1, -1):
        if 2 * strides[level] == strides[kept[0]]:
            kept.insert(0, level)
    return kept


def _options_of_transformers(config: Mapping[str, Any]) -> dict[str, Any]:
    """A transformers config as options of `TimmViT`."""
    width, dinov2 = int(config["hidden_size"]), config["model_type"] != "vit"
    if config.get("hidden_act", "gelu") != "gelu":
        raise InputError(f"The activation '{config['hidden_act']}' of this config is not known; 'gelu' is.")
    inner = int(config.get("intermediate_size") or width * config.get("mlp_ratio", 4))
    architecture: dict[str, Any] = {
        "embed_dim": width,
        "depth": int(config["num_hidden_layers"]),
        "num_heads": int(config["num_attention_heads"]),
        "patch_size": int(config["patch_size"]),
        "qkv_bias": bool(config.get("qkv_bias", True)),
    }
    if dinov2:
        inner = int(width * config.get("mlp_ratio", 4))
        architecture["init_values"] = 1e-5
        if config.get("num_register_tokens"):
            architecture |= {"reg_tokens": int(config["num_register_tokens"]), "no_embed_class": True}
        if config.get("use_swiglu_ffn"):
            # Both halves before the gate, each two thirds of the plain layer's width, rounded up to a multiple of 8.
            inner = 2 * ((int(inner * 2 / 3) + 7) // 8 * 8)
            architecture |= {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"}
    # timm rounds down, and a ratio is seldom a whole number.
    architecture["mlp_ratio"] = (inner + 0.5) / width
    options = {"name": "vit_base_patch16_224", "image_size": int(config.get("image_size", _NATIVE_PX))}
    fit = {"fit": True} if architecture["patch_size"] != 16 else {}
    return {**options, **fit, "arch_options": architecture}


def _normalisation(known: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "mean": _of_channels(known.get("mean") or IMAGENET[0]),
        "std": _of_channels(known.get("std") or IMAGENET[1], positive=True),
        "native_px": int((known.get("input_size") or (3, _NATIVE_PX))[1]),
    }


def _of_channels(values: Any, *, positive: bool = False) -> tuple[float, float, float]:
    """Three numbers.

    Raises:
        ValueError: They are not.
    """
    red, green, blue = (float(value) for value in values)
    if not all(math.isfinite(v) and (v > 0 or not positive) for v in (red, green, blue)):
        raise ValueError(f"a mean or standard deviation of {values!r:.60}")
    return red, green, blue


def _terms(licence: object) -> dict[str, Any]:
    text = str(licence) if licence else "not stated"
    commercial: Literal["yes", "no", "unclear"] = "unclear"
    if text.lower() in _FREE:
        commercial = "yes"
    elif "-nc" in text.lower():
        commercial = "no"
    return {"licence": text, "commercial": commercial}


def _facts(part: str, options: Mapping[str, Any]) -> EncoderFacts:
    encoder = _built(part, options)
    from histocyte.encoders.catalog.measure import facts_of

    return facts_of(encoder)


def _built(part: str, options: Mapping[str, Any]) -> Any:
    """The encoder without memory, or the error that names the extra it takes."""
    import_timm()
    from histocyte.encoders.catalog.measure import build_empty

    return build_empty(part, options)
