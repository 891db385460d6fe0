"""A vector for each true nucleus of labelled images, computed once for each set of weights and kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.labels import instance_statistics
from histocyte.core.stain import HED_FROM_RGB, to_density
from histocyte.core.tiles import tile_spans
from histocyte.datasets.arrays import read_arrays, sample_sha256, write_arrays
from histocyte.datasets.sample import Sample
from histocyte.inference.image import predict_image
from histocyte.inference.runtime import Runtime
from histocyte.runs.studies.tokens.source import TokenSource

__all__ = ["TokenTable", "colour_of", "embed", "tokens_key"]

_FORMAT = 1
_ARRAYS = ("tokens", "types", "place", "tile_place", "colour")


@dataclass(frozen=True)
class TokenTable:
    """Nuclei of all images, row by row.

    Attributes:
        tokens: (N, D) vectors.
        types: (N,) class from 1; 0 where it is not known.
        place: (N, 2) centre as x, y in the image, as shares of its sides.
        tile_place: (N, 2) centre as x, y in the tile whose features it was given, as shares of a full tile.
        colour: (N, 6) mean red, green, blue (0–1) and mean amounts of haematoxylin, eosin and residual.
        image: (N,) number of its image.
        names: Names of the images.
        groups: Groups of the images: patient or slide.
        size_um: (I, 2) width and height of each image.
    """

    tokens: NDArray[np.float32]
    types: NDArray[np.uint8]
    place: NDArray[np.float64]
    tile_place: NDArray[np.float64]
    colour: NDArray[np.float64]
    image: NDArray[np.int64]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    size_um: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of nuclei."""
        return len(self.types)

    def take(self, chosen: NDArray[np.bool_]) -> TokenTable:
        """Some of the nuclei; the images stay numbered as they are."""
        arrays = {name: getattr(self, name)[chosen] for name in (*_ARRAYS, "image")}
        return replace(self, **arrays)

    def with_tokens(self, tokens: NDArray[np.floating]) -> TokenTable:
        """The same nuclei with other vectors."""
        return replace(self, tokens=np.asarray(tokens, np.float32))


def tokens_key(source: TokenSource) -> str:
    """Names what decides the vectors of an image: weights, resolution, tiles, normalisation."""
    from histocyte.encoders.weights.fingerprint import weights_sha256

    weights = weights_sha256(source.encoder.state_dict())
    facts = [_FORMAT, weights, source.part.model_dump(), source.mpp, source.tile_px, source.margin_px]
    text = json.dumps([*facts, list(source.mean), list(source.std)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def embed(
    source: TokenSource,
    samples: Sequence[Sample],
    folder: Path,
    *,
    device: str = "auto",
    on_image: Callable[[Sample], None] | None = None,
) -> TokenTable:
    """Vectors of all true nuclei; those of images that lie in the folder are read from there.

    Args:
        source: The encoder.
        samples: Labelled images.
        folder: For the vectors, a file an image, below a folder of their own for each set of weights.
        device: "auto", "cpu", "cuda", …
        on_image: Called after each image.

    Raises:
        InputError: A device that is not here.
        DiskError: The folder cannot be written.
    """
    from histocyte.inference.encoder_runtime import encoder_runtime

    runtime, key = None, tokens_key(source)
    parts: list[dict[str, NDArray[Any]]] = []
    for sample in samples:
        path = folder / key / f"{sample_sha256(sample)[:24]}.npz"
        part = read_arrays(path, _ARRAYS)
        if part is None:
            runtime = runtime or encoder_runtime(source.encoder, mean=source.mean, std=source.std, device=device)
            part = _embed_one(source, runtime, sample)
            write_arrays(path, part)
        parts.append(part)
        if on_image is not None:
            on_image(sample)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in _ARRAYS}
    return TokenTable(
        **joined,
        image=np.repeat(np.arange(len(parts)), [len(part["types"]) for part in parts]),
        names=tuple(f"{s.source}/{s.name}" for s in samples),
        groups=tuple(f"{s.source}/{s.group or s.name}" for s in samples),
        size_um=np.array([[s.image.shape[1] * s.mpp, s.image.shape[0] * s.mpp] for s in samples], np.float64),
    )


def _embed_one(source: TokenSource, runtime: Runtime, sample: Sample) -> dict[str, NDArray[Any]]:
    from histocyte.inference.encoder_runtime import CHANNELS

    seen = predict_image(sample.image, runtime, source, mpp=sample.mpp, channels=CHANNELS, features=True)
    assert seen.features is not None
    size, labels = (seen.pixels.shape[1], seen.pixels.shape[0]), sample.instances
    if labels.shape != (size[1], size[0]):
        labels = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT), np.int32)
    tokens = seen.features.pool(labels)
    present = np.bincount(labels.ravel(), minlength=len(tokens) + 1)[1:] > 0
    _, centre = instance_statistics(labels)
    layout = {"tile_px": source.tile_px, "margin_px": source.margin_px, "multiple": runtime.multiple}
    padded = [-(-side // runtime.multiple) * runtime.multiple for side in size]
    tile_place = np.stack([_in_tile(centre[:, axis], padded[axis], **layout) for axis in (0, 1)], axis=1)
    types = np.zeros(len(tokens), np.uint8) if sample.types is None else sample.types[1 : len(tokens) + 1]
    return {
        "tokens": tokens[present],
        "types": types[present],
        "place": (centre / size)[present],
        "tile_place": tile_place[present],
        "colour": colour_of(seen.pixels, labels)[present],
    }


def _in_tile(
    xs: NDArray[np.floating], length: int, *, tile_px: int, margin_px: int, multiple: int
) -> NDArray[np.float64]:
    """Where centres lie along one axis of the tile whose core holds them, as a share of a full tile."""
    spans = tile_spans(length, tile_px=tile_px, margin_px=margin_px, multiple=multiple)
    stops = np.array([span.core_stop for span in spans])
    chosen = np.minimum(np.searchsorted(stops, xs, side="right"), len(spans) - 1)
    starts = np.array([span.start for span in spans])[chosen]
    return np.asarray((xs - starts) / tile_px, np.float64)


def colour_of(image: NDArray[np.uint8], labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """(N, 6) mean colour of each nucleus (red, green, blue, 0–1) and its mean stains; zeros where it has no pixel."""
    inside = labels > 0
    which = labels[inside] - 1
    count = int(labels.max(initial=0))
    pixels = image[inside]
    values = np.concatenate([pixels / 255.0, to_density(pixels) @ HED_FROM_RGB], axis=1)
    area = np.maximum(np.bincount(which, minlength=count), 1)
    return np.stack([np.bincount(which, column, count) / area for column in values.T], axis=1)
