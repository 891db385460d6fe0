"""Pre-trained weights into an encoder: from a local file, all of it accounted for."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from histocyte.core.errors import InputError, ModelError

__all__ = ["load_encoder_weights"]


def load_encoder_weights(encoder: nn.Module, path: str | Path) -> None:
    """Load a timm checkpoint in safetensors into the body of an encoder.

    A pyramid cut off early has no use for the file's deeper stages and classifier: whole modules that the
    encoder does not have, and what it names as `unused`, are left out. Anything else missing or left over is an error.

    Args:
        encoder: With the timm model as `body`.
        path: A .safetensors file with timm's names.

    Raises:
        InputError: No such file.
        ModelError: Not safetensors, or keys that do not fit; lists them.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no weights file '{path}'.")
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise ModelError(
            f"'{path}' is no safetensors file ({error}). Convert it first; pickles are not read."
        ) from error
    body = encoder.body
    assert isinstance(body, nn.Module)
    wanted = {k: v for k, v in body.state_dict().items() if not k.endswith("num_batches_tracked")}
    top_level = {k.split(".")[0] for k in wanted}
    unused: tuple[str, ...] = getattr(encoder, "unused", ())
    left_over = [
        k for k in found if k not in body.state_dict() and k.split(".")[0] in top_level and not k.startswith(unused)
    ]
    missing = [k for k in wanted if k not in found]
    shapes = [
        f"{k} {tuple(found[k].shape)} for {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in found and found[k].shape != v.shape
    ]
    problems = [
        f"{what}: {', '.join(keys[:8])}{' …' if len(keys) > 8 else ''}"
        for what, keys in (("missing", missing), ("left over", left_over), ("of another shape", shapes))
        if keys
    ]
    if problems:
        raise ModelError(f"'{path}' does not fit the encoder. {'; '.join(problems)}.")
    body.load_state_dict({k: v for k, v in found.items() if k in body.state_dict()}, strict=False)
