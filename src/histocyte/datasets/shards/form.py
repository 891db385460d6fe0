"""Columns of a shard, and how an image with its labels is written into a row and read back.

A row holds an image as its own file's bytes (`image.bytes`, `image.path`: the layout that Hugging Face's datasets show
as an image), its label map as a PNG of 16 bits (ids above 65,535: of RGB, red lowest), and the class of each id in
rising order. Everything reads it that reads Parquet and PNG.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.instances import relabel_sequential
from histocyte.datasets.labelled_image import LabelledImage
from histocyte.files.foreign import foreign_parser

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FORM", "KEPT_AS_THEY_ARE", "row_image", "row_of", "schema"]

FORM = "histocyte-labelled-images-1"
KEPT_AS_THEY_ARE = (".png", ".jpg", ".jpeg", ".webp")
"""Endings of image files whose bytes go into a row."""

_TEXTS = ("name", "group", "tissue", "split", "source")
_MOST_IN_16_BITS = (1 << 16) - 1
_MOST_IDS = (1 << 24) - 1
_MOST_CODE = 65535


def schema() -> pa.Schema:
    """The columns."""
    import pyarrow as pa

    file = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    point = pa.struct([("x", pa.float64()), ("y", pa.float64())])
    return pa.schema(
        [
            pa.field("name", pa.string(), nullable=False),
            pa.field("image", file, nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("instances", file),
            pa.field("count", pa.int32(), nullable=False),
            pa.field("classes", pa.list_(pa.int32())),
            pa.field("points", pa.list_(point)),
            pa.field("ignored", file),
            pa.field("tissue_map", file),
            pa.field("mpp", pa.float64()),
            pa.field("group", pa.string(), nullable=False),
            pa.field("tissue", pa.string(), nullable=False),
            pa.field("split", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
        ],
        metadata={"form": FORM},
    )


def row_of(name: str, image: LabelledImage) -> dict[str, Any]:
    """An image as a row; ids become 1 to N in their order.

    Raises:
        InputError: Labels that do not fit the image, or each other; says how.
    """
    height, width = image.pixels.shape[:2]
    row: dict[str, Any] = {"name": name, "width": width, "height": height, "count": 0}
    if image.encoded and image.suffix in KEPT_AS_THEY_ARE:
        row["image"] = {"bytes": image.encoded, "path": f"{name}{image.suffix}"}
    else:
        row["image"] = _png(f"{name}.png", cv2.cvtColor(image.pixels, cv2.COLOR_RGB2BGR))
    classes = image.classes
    if image.instances is not None:
        _check_shape(name, "label map", image.instances, (height, width))
        small, row["count"] = _numbered(image.instances, name)
        row["instances"] = _png(f"{name}_instances.png", _packed(small, row["count"], name))
    elif image.points is not None:
        row["count"] = len(image.points)
        row["points"] = [{"x": float(x), "y": float(y)} for x, y in image.points]
    if classes is not None:
        if len(classes) != row["count"]:
            raise InputError(f"'{name}': there are {row['count']:,} labels and {len(classes):,} classes of them.")
        if len(classes) and not 0 <= classes.min() <= classes.max() <= _MOST_CODE:
            raise InputError(
                f"'{name}' has class codes from {classes.min()} to {classes.max()}; they are 0 to {_MOST_CODE}."
            )
        row["classes"] = [int(code) for code in classes]
    for key, part in (("ignored", image.ignored), ("tissue_map", image.tissue_map)):
        if part is not None:
            _check_shape(name, key.replace("_", " "), part, (height, width))
            row[key] = _png(f"{name}_{key}.png", part.astype(np.uint8))
    stated = {"mpp": image.mpp, "group": image.group, "tissue": image.tissue}
    return row | stated | {"split": image.split, "source": image.source}


def row_image(row: dict[str, Any], *, where: str) -> LabelledImage:
    """The image of a row.

    Raises:
        InputError: It is damaged; `where` names the file.
    """
    name = row["name"]
    if wrong := [key for key in _TEXTS if not isinstance(row[key], str)]:
        raise InputError(f"'{where}' has a row whose '{wrong[0]}' is not a text. Import the set again.")
    with foreign_parser(lambda why: InputError(f"'{where}': the row of '{name}' cannot be read ({why}).")):
        picture = _decoded(row["image"], cv2.IMREAD_COLOR)
        pixels = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        shape = pixels.shape[:2]
        if shape != (row["height"], row["width"]):
            raise ValueError(
                f"its image is {shape[1]} × {shape[0]} px, and {row['width']} × {row['height']} are stated"
            )
        points = row.get("points")
        return LabelledImage(
            pixels=pixels,
            instances=None if row["instances"] is None else _unpacked(_map(row["instances"], shape)),
            classes=None if row["classes"] is None else np.array(row["classes"], np.int64),
            points=None if points is None else np.array([(p["x"], p["y"]) for p in points], np.float64).reshape(-1, 2),
            ignored=None if row["ignored"] is None else _map(row["ignored"], shape) > 0,
            tissue_map=None if row["tissue_map"] is None else _map(row["tissue_map"], shape),
            mpp=row["mpp"],
            group=row["group"],
            tissue=row["tissue"],
            split=row["split"],
            source=row["source"],
        )


def _numbered(instances: NDArray[np.int32], name: str) -> tuple[NDArray[np.int32], int]:
    """The same labels with ids from 1 in their order, and how many they are."""
    if instances.min(initial=0) < 0:
        raise InputError(f"'{name}' has the label {instances.min()}; ids are 0 for the background, and from 1.")
    if instances.max(initial=0) <= _MOST_IDS:
        small, ids = relabel_sequential(np.ascontiguousarray(instances, np.int32))
        return small, len(ids) - 1
    present, numbers = np.unique(instances, return_inverse=True)  # a table by id would fill the memory
    first = int(present[0] == 0)
    return (numbers.reshape(instances.shape) + 1 - first).astype(np.int32), len(present) - first


def _packed(labels: NDArray[np.int32], highest: int, name: str) -> NDArray[Any]:
    if highest <= _MOST_IN_16_BITS:
        return labels.astype(np.uint16)
    if highest > _MOST_IDS:
        raise InputError(f"'{name}' has {highest:,} cells in one image; at most {_MOST_IDS:,} can be kept.")
    return np.stack([(labels >> shift) & 255 for shift in (16, 8, 0)], axis=-1).astype(np.uint8)  # blue, green, red


def _unpacked(stored: NDArray[Any]) -> NDArray[np.int32]:
    if stored.ndim == 2:
        return stored.astype(np.int32)
    blue, green, red = (stored[..., i].astype(np.int32) for i in range(3))
    return (blue << 16) | (green << 8) | red


def _map(file: dict[str, Any], shape: tuple[int, ...]) -> NDArray[Any]:
    found = _decoded(file, cv2.IMREAD_UNCHANGED)
    if found.shape[:2] != shape:
        raise ValueError(f"'{file['path']}' does not have the size of its image")
    return found


def _decoded(file: dict[str, Any], how: int) -> NDArray[Any]:
    found = cv2.imdecode(np.frombuffer(file["bytes"], np.uint8), how | cv2.IMREAD_IGNORE_ORIENTATION)
    if found is None:
        raise ValueError(f"'{file['path']}' is not an image")
    return found


def _png(path: str, pixels: NDArray[Any]) -> dict[str, Any]:
    done, packed = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    assert done
    return {"bytes": packed.tobytes(), "path": path}


def _check_shape(name: str, what: str, part: NDArray[Any], shape: tuple[int, int]) -> None:
    if part.shape != shape:
        there = " × ".join(str(side) for side in part.shape[::-1])
        raise InputError(f"'{name}': its {what} is {there} px, and its image {shape[1]} × {shape[0]} px.")
