"""Options of timm's models as plain values, so that a model file can hold them: layers are named, never evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from histocyte.core.errors import ModelError, UnknownNameError

__all__ = ["LAYERS", "PLAIN", "timm_options"]

PLAIN = frozenset(
    {
        *("img_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio", "init_values", "qkv_bias"),
        *("reg_tokens", "class_token", "no_embed_class", "pre_norm", "final_norm", "global_pool", "window_size"),
        *(
            "strict_img_size",
            "depths",
            "dims",
            "drop_path_rate",
            "attn_drop_rate",
            "act_layer",
            "norm_layer",
            "mlp_layer",
        ),
    }
)
"""What may be set. Others of timm's would fetch or unpickle files, or change what a tap is."""

LAYERS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "mlp_layer": {
        "Mlp": ("timm.layers", "Mlp"),
        "GluMlp": ("timm.layers", "GluMlp"),
        "SwiGLU": ("timm.layers", "SwiGLU"),
        "SwiGLUPacked": ("timm.layers", "SwiGLUPacked"),
    },
    "act_layer": {
        "GELU": ("torch.nn", "GELU"),
        "ReLU": ("torch.nn", "ReLU"),
        "SiLU": ("torch.nn", "SiLU"),
    },
    "norm_layer": {
        "LayerNorm": ("timm.layers", "LayerNorm"),
        "RmsNorm": ("timm.layers", "RmsNorm"),
    },
}
"""Option → its layers by name → (module, attribute)."""


def timm_options(name: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """What timm's constructor is given, from what a model file holds.

    Args:
        name: Name of the timm model, for errors.
        options: Numbers, strings and truth values; layers by the names in `LAYERS`.

    Raises:
        ModelError: An option that may not be set.
        UnknownNameError: A layer that is not on the list.
    """
    import importlib

    given = dict(options or {})
    refused = sorted(given.keys() - PLAIN)
    if refused:
        raise ModelError(
            f"Options that cannot be set for '{name}': {', '.join(refused)}. There is: {', '.join(sorted(PLAIN))}."
        )
    for option in LAYERS.keys() & given.keys():
        known = LAYERS[option]
        if given[option] not in known:
            raise UnknownNameError(option, str(given[option]), known)
        module, attribute = known[given[option]]
        given[option] = getattr(importlib.import_module(module), attribute)
    return given
