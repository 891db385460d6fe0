"""One model, one file: weights and spec in safetensors. Nothing in it is ever executed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from histocyte.core.errors import DiskError, InputError, ModelError
from histocyte.decoders.registry import DECODERS, HEADS
from histocyte.encoders.registry import ENCODERS
from histocyte.files.foreign import foreign_parser
from histocyte.files.kind import but_is
from histocyte.files.safetensors_header import safetensors_metadata
from histocyte.model.build import build_segmenter, check_spec
from histocyte.model.spec import ModelSpec
from histocyte.model.zoo import convert_first

if TYPE_CHECKING:
    from torch import Tensor

    from histocyte.model.segmenter import Segmenter

__all__ = ["SPEC_KEY", "load_model", "read_spec", "save_model"]

SPEC_KEY = "histocyte"
"""Key of the spec's JSON in the metadata of a safetensors file and of an ONNX file."""

_ALWAYS_BUILT, _MOST_WEIGHTS = 5 * 10**8, 10**10
"""So many weights fit into any memory; and of a model whose file does not hold its encoder's there are no more (the
largest encoder that is published has 1.2e9)."""


def save_model(path: str | Path, spec: ModelSpec, weights: Mapping[str, Tensor]) -> None:
    """Write a model file, all or nothing.

    Raises:
        DiskError: The file cannot be written.
    """
    from safetensors.torch import save_file

    path = Path(path)
    temporary = path.with_suffix(".part")
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # of any new file; safetensors makes one that only its owner may read
        save_file(tensors, temporary, metadata={SPEC_KEY: spec.model_dump_json()})
        temporary.chmod(mode)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise DiskError(f"The model '{path}' could not be written: {error}.") from error


def read_spec(path: str | Path) -> ModelSpec:
    """The spec of a safetensors model file; reads the header only and needs no torch.

    Raises:
        InputError: No such file.
        ModelError: Not a model file of histocyte, or one whose spec holds what cannot be.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no model file '{path}'.")
    try:
        metadata = safetensors_metadata(path)
    except (ValueError, OSError) as error:
        way_out = convert_first(path) or "Other formats, pickles above all, are not opened."
        raise ModelError(
            f"'{path}' is not a safetensors file{but_is(path)}. Models are .safetensors (or .onnx) files made by "
            f"histocyte. {way_out}"
        ) from error
    if SPEC_KEY not in metadata:
        raise ModelError(
            f"'{path}' holds weights but no histocyte model spec. Make model files with `histocyte train`."
        )
    return check_spec(ModelSpec.parse(metadata[SPEC_KEY], where=str(path)), where=str(path))


def load_model(path: str | Path, encoder_weights: str | Path | None = None) -> tuple[ModelSpec, Segmenter]:
    """Build the network of a model file and load its weights, every one accounted for.

    A file without its encoder's published weights (`model.delta`) is completed from them: low-rank adapters are merged,
    and the spec says of the network given, as of any other, that it includes them.

    Args:
        path: The model file.
        encoder_weights: Where the encoder's published weights are, for a file that lacks them; looked for beside the
            model, in the folder that HISTOCYTE_ENCODERS names and in the hub's cache where None.

    Raises:
        InputError: No such file, or the published weights that it lacks are not to be found; says which and how to get
            them.
        ModelError: Not a model file, weights missing or left over, or other published weights than it was trained with.
    """
    from safetensors.torch import load_file

    from histocyte.encoders.weights.finite import check_finite

    path = Path(path)
    spec = read_spec(path)
    with foreign_parser(lambda why: ModelError(f"'{path}' cannot be used: {why}."), place=str(path)):
        _refuse_giant(spec, path)
        model = build_segmenter(spec)
    with foreign_parser(
        lambda why: ModelError(f"'{path}' is damaged or cut off ({why}). Copy it again, or make it again.")
    ):
        weights = load_file(path)
    check_finite(weights, where=str(path))
    try:
        if spec.encoder_weights is not None and not spec.encoder_weights.included:
            from histocyte.model.delta import complete

            weights = complete(spec, model, weights, path, encoder_weights)
            spec = spec.with_changes(encoder_weights=spec.encoder_weights.model_copy(update={"included": True}))
        missing, left_over = model.load_state_dict(weights, strict=False)
    except (RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"The weights in '{path}' do not fit its spec: {str(error).splitlines()[-1].strip()}"
        ) from error
    if missing or left_over:
        raise ModelError(
            f"The weights in '{path}' do not fit its spec. Missing: {missing[:8]}; left over: {left_over[:8]}."
        )
    return spec, model.eval()


def _refuse_giant(spec: ModelSpec, path: Path) -> None:
    """Refuse a spec that asks for far more weights than there are, before room is made for them.

    Raises:
        ModelError: That is so.
    """
    from histocyte.model.build import count_parameters

    parts = ((ENCODERS, spec.encoder), (DECODERS, spec.decoder), (HEADS, spec.heads))
    if any(registry.origin(part.name) != "histocyte" for registry, part in parts):
        return  # others' parts need not know how to be built without memory
    needed = count_parameters(spec)["all"]
    whole = spec.encoder_weights is None or spec.encoder_weights.included
    most = path.stat().st_size if whole else _MOST_WEIGHTS
    if needed > max(most, _ALWAYS_BUILT):
        raise ModelError(
            f"The weights in '{path}' do not fit its spec: that asks for {needed:,}, and there can be {most:,} at most."
        )
