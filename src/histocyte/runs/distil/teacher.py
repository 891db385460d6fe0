"""Teachers for `histocyte distil`: found, described, and put to work where their answers are not kept yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.digest import file_sha256
from histocyte.core.errors import InputError, ModelError
from histocyte.core.maps import split_maps
from histocyte.core.tiles import Span
from histocyte.inference.embed import FieldFeatures
from histocyte.inference.image import predict_image
from histocyte.inference.load import Model, load, spec_of
from histocyte.inference.runtime import features_of
from histocyte.inference.views import ViewsRuntime
from histocyte.model.zoo import ModelFiles, find_model
from histocyte.representations.maps.logits import activated
from histocyte.training.distil.cache import Answer, Ask, Teacher
from histocyte.training.distil.fields import Field

__all__ = ["Source", "ask_of", "features_grid"]


class Source:
    """A teacher's files.

    Args:
        name: Name of a bundled model, or a path.
        views: Sides it sees each image from.
        features: Whether it is asked for features.
        tile_px: Side of the squares that it is given of an image; its own where None.
        margin_px: Their margin; its own where None.

    Raises:
        UnknownNameError: No such model.
        InputError: Tiles that it cannot be given.
        ModelError: Features are asked for, and only the ONNX file is there.
    """

    def __init__(
        self,
        name: str,
        *,
        views: int = 1,
        features: bool = False,
        tile_px: int | None = None,
        margin_px: int | None = None,
    ) -> None:
        self.files: ModelFiles = find_model(name)
        if features and self.files.safetensors is None:
            raise ModelError(
                f"Features are learnt from a teacher that torch can run, and of '{name}' there is the ONNX file alone. "
                "Leave out --features, or pass the .safetensors file."
            )
        self.name = name
        own = spec_of(self.files)
        spec = own.with_tiles(tile_px=tile_px, margin_px=margin_px)
        self.teacher = Teacher(spec, file_sha256(self.path), views=views, features=features)
        self._tiles = (spec.tile_px, spec.margin_px)
        self._own_tiles = (own.tile_px, own.margin_px)

    def to_json(self) -> dict[str, Any]:
        """Who it is and how it is asked; of tiles, only others than its own."""
        teacher = self.teacher
        named = {"name": teacher.spec.name, "sha256": teacher.sha256, "views": teacher.views}
        return named if self._tiles == self._own_tiles else {**named, "tiles": list(self._tiles)}

    @property
    def path(self) -> Path:
        """The file that is asked: the one for torch where there is one, as that computes in single precision."""
        return self.files.safetensors or self.files.any

    def load(self, device: str) -> Model:
        """Make it ready."""
        torch_runs_it = self.files.safetensors is not None
        model = load(self.name, runtime="torch", device=device) if torch_runs_it else load(self.name, device="cpu")
        return model.with_tiles(tile_px=self._tiles[0], margin_px=self._tiles[1])


def ask_of(model: Model, teacher: Teacher) -> Ask:
    """What asks a loaded teacher about an image.

    Raises:
        InputError: It cannot be seen from several sides, or gives no features that lie on a grid.
    """
    runtime = ViewsRuntime(model.runtime, model.representation, views=teacher.views, logits=True)
    if teacher.features:
        features_of(runtime)

    def ask(field: Field) -> Answer:
        seen = predict_image(
            field.read(), runtime, model.spec, mpp=field.mpp, channels=model.channels, features=teacher.features
        )
        found = model.representation.decode(split_maps(activated(seen.maps, model.maps), model.maps))
        if seen.features is None:
            return Answer(seen.maps, found)
        height, width = seen.pixels.shape[:2]
        return Answer(seen.maps, found, features_grid(seen.features, (height, width), teacher.feature_shape[1]))

    return ask


def features_grid(features: FieldFeatures, size: tuple[int, int], stride: int) -> NDArray[np.float16]:
    """(D, h, w) features of a field put together from its tiles, each from the tile in which it lies most central.

    Args:
        features: Features of the tiles.
        size: Height and width of the field.
        stride: Stride of the features.

    Raises:
        InputError: The features of tiles do not lie on one grid.
    """
    height, width = size
    grid = np.zeros((features.info.width, -(-height // stride), -(-width // stride)), np.float16)
    for tile in features.tiles:
        spans = (tile.row, tile.column)
        steps = zip(spans, tile.values.shape[:2], strict=True)
        if features.info.border_px or any(s.size != n * stride or s.start % stride for s, n in steps):
            raise InputError(
                "The features of this teacher do not lie on a grid of whole steps, so they cannot be compared with a "
                "student's. Leave out --features."
            )
        rows, columns = _central(tile.row, stride, height), _central(tile.column, stride, width)
        part = tile.values[rows][:, columns].transpose(2, 0, 1)
        grid[:, (rows + tile.row.start // stride)[:, None], (columns + tile.column.start // stride)[None]] = part
    return grid


def _central(span: Span, stride: int, length: int) -> NDArray[np.int64]:
    """Steps of a tile whose middle lies in its core; at the field's end, also one whose middle lies beyond it."""
    starts = span.start + stride * np.arange(span.size // stride)
    stop = span.core_stop if span.core_stop < length else np.inf
    middles = starts + stride / 2
    return np.flatnonzero((middles >= span.core_start) & (middles < stop) & (starts < length))
