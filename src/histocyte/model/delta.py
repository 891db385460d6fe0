"""Model files without their encoder's published weights, which are named by their hash and found again when needed.

Weights that their publishers give to people one by one must not be handed on. So a model that leaves its encoder as it
is, or changes a part of it, can be written without what it left: its file holds what differs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from histocyte.core.errors import InputError, ModelError
from histocyte.model.spec import EncoderWeights, ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

    from histocyte.model.segmenter import Segmenter

__all__ = ["FOLDER_VARIABLE", "complete", "delta_of", "find_base"]

FOLDER_VARIABLE = "HISTOCYTE_ENCODERS"
"""Environment variable that names folders of encoders' weights files, or such files."""

_ENCODER = "encoder."


def delta_of(model: Segmenter, published: Mapping[str, str]) -> dict[str, Tensor]:
    """The weights of a model that are not those its encoder began with; adapters as they are, unmerged.

    Args:
        model: Trained, with adapters in place.
        published: `tensor_sha256` of each of the encoder's weights at the beginning, by name within the encoder.
    """
    from histocyte.encoders.weights.fingerprint import tensor_sha256
    from histocyte.model.adapters import DOWN, UP, scaled_adapters

    def is_own(name: str, tensor: Tensor) -> bool:
        inner = name.removeprefix(_ENCODER)
        if inner == name:
            return True
        return inner.rpartition(".")[2] not in (DOWN, UP) and published.get(inner) != tensor_sha256(tensor)

    kept = {name: tensor for name, tensor in model.state_dict().items() if is_own(name, tensor)}
    return kept | {_ENCODER + name: tensor for name, tensor in scaled_adapters(model.encoder).items()}


def complete(
    spec: ModelSpec, model: Segmenter, held: Mapping[str, Tensor], path: Path, encoder_weights: str | Path | None
) -> dict[str, Tensor]:
    """All weights of a model whose file holds a part of them.

    Args:
        spec: Spec of the file.
        model: Freshly built from it; its encoder takes the published weights.
        held: What the file holds.
        path: The file.
        encoder_weights: Where the published weights are; looked for (`find_base`) where None.

    Raises:
        InputError: The published weights are nowhere to be found; says what to do.
        ModelError: They are others than the model was trained with, or the file's adapters fit nothing.
    """
    from histocyte.encoders.weights.fingerprint import encoder_sha256
    from histocyte.encoders.weights.load import load_encoder_weights
    from histocyte.model.adapters import DOWN, UP, apply_low_rank

    named = spec.encoder_weights
    assert named is not None
    where = encoder_weights or find_base(spec, path)
    load_encoder_weights(model.encoder, where)
    found = encoder_sha256(model.encoder.state_dict())
    if found != named.sha256:
        raise ModelError(
            f"'{where}' holds other weights than '{path}' was trained with: their SHA-256 is {found[:16]}…, not "
            f"{named.sha256[:16]}…. Needed: {_described(spec, named)}."
        )
    weights = dict(model.state_dict())
    adapters = {k: v for k, v in held.items() if k.rpartition(".")[2] in (DOWN, UP)}
    weights |= {k: v for k, v in held.items() if k not in adapters}
    weights |= apply_low_rank(weights, adapters, where=str(path))
    missing = [k for k in model.state_dict() if not k.startswith(_ENCODER) and k not in held]
    if missing:
        raise ModelError(f"'{path}' lacks weights of its own: {', '.join(missing[:8])}.")
    return weights


def find_base(spec: ModelSpec, path: Path) -> Path:
    """The published weights that a model file names: beside it, in the folder of encoders, or in the hub's cache.

    Nothing is downloaded.

    Raises:
        InputError: They are in none of these; says what they are and how to get them.
    """
    named = spec.encoder_weights
    assert named is not None
    from histocyte.encoders.weights.hub import is_pipeline

    tried = []
    for candidate in _candidates(named, path):
        if candidate.is_file() or is_pipeline(candidate):
            return candidate
        tried.append(str(candidate))
    cached = _in_cache(named.source)
    if cached is not None:
        return cached
    hub = named.source.removeprefix("hub:").removeprefix("hf-hub:")
    fetch = f"`hf download {hub.replace('@', ' --revision ')}` or " if "/" in hub else ""
    raise InputError(
        f"'{path}' holds what was trained, but not its encoder's published weights, which it needs: "
        f"{_described(spec, named)}. Get them from their publisher ({fetch}a download by hand), and put the file "
        f"beside the model or into the folder that the environment variable {FOLDER_VARIABLE} names. "
        f"Looked for: {', '.join(tried)}."
    )


def _candidates(named: EncoderWeights, path: Path) -> Iterator[Path]:
    folders = [path.parent, *(Path(f) for f in os.environ.get(FOLDER_VARIABLE, "").split(os.pathsep) if f)]
    for folder in folders:
        if folder.is_file():
            yield folder
        if named.source:  # on the hub nearly every file is called model.safetensors
            yield folder / _plain(named.source) / named.file
        yield folder / named.file


def _plain(source: str) -> str:
    """A source's last name: "MahmoodLab/UNI2-h" is kept in "UNI2-h"."""
    return source.partition("@")[0].rpartition("/")[2].rpartition(":")[2]


def _in_cache(source: str) -> Path | None:
    if not source:
        return None
    from histocyte.encoders.catalog.find import CARDS
    from histocyte.encoders.weights.hub import cached, split_revision

    name, revision = split_revision(source.removeprefix("hub:").removeprefix("hf-hub:"))
    for card in CARDS.values():
        if name.lower() in (card.name, card.hub.lower()):
            return cached(card, revision=revision)
    return None


def _described(spec: ModelSpec, named: EncoderWeights) -> str:
    encoder = spec.encoder.options.get("name", spec.encoder.name)
    source = f" of '{named.source}'" if named.source else ""
    return f"'{named.file}'{source}, weights of '{encoder}' with SHA-256 {named.sha256[:16]}… over their tensors"
