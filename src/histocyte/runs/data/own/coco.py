"""COCO: one JSON file with polygons or run lengths, beside a folder of images."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import known_list, taxonomy_of
from histocyte.core.taxonomy import Taxonomy
from histocyte.datasets.labelled_image import Entry, LabelledImage
from histocyte.files.foreign import foreign_parser
from histocyte.runs.data.own.asked import Asked
from histocyte.runs.data.sets.public_set import SetReader, labelled, listed
from histocyte.slides.picture import picture_size

__all__ = ["coco", "run_lengths"]

_LAYOUT = "a .json file with images, annotations and categories; images beside it, or in a folder 'images'"
_MOST_BYTES = 4 << 30
_FAR_PX = 1e6


def coco(source: Path, asked: Asked) -> SetReader:
    """The reader of a COCO file, or of a folder that holds one.

    Raises:
        InputError: No such file, or not COCO.
    """
    path = source
    if source.is_dir():
        found = sorted(p for p in source.rglob("*.json") if p.name not in ("classes.json", "dataset.json"))
        if len(found) != 1:
            there = ", ".join(p.name for p in found[:5]) or "none"
            raise InputError(
                f"'{source}' holds {len(found)} .json files ({there}). Pass the one that is in COCO's form."
            )
        path = found[0]
    fault = f"Expected: {_LAYOUT}."
    with foreign_parser(lambda why: InputError(f"'{path}' is not in COCO's form ({why}). {fault}")):
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is larger than 4 GiB")
        data = json.loads(path.read_text(encoding="utf-8"))
        categories = {int(c["id"]): str(c["name"]) for c in data.get("categories", ())}
        images = [(int(i["id"]), str(i["file_name"])) for i in data["images"]]
        by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for annotation in data["annotations"]:
            by_image[int(annotation["image_id"])].append(annotation)
    names = [categories[i] for i in sorted(categories)]
    taxonomy = asked.taxonomy or (known_list(names) or taxonomy_of(names, name="own") if names else None)
    codes = {i: names.index(name) + 1 for i, name in categories.items()}
    if taxonomy is not None and len(taxonomy) != len(names):
        raise InputError(f"'{path}' has {len(names)} categories, and --classes names {len(taxonomy)}.")
    if taxonomy is not None and asked.classes is None:
        order = {name.casefold(): code for code, name in enumerate(taxonomy.names, 1)}
        codes = {i: order[name.casefold()] for i, name in categories.items()}
    folder = path.parent / "images" if (path.parent / "images").is_dir() else path.parent
    entries = []
    for number, file_name in images:
        picture = (folder / file_name).resolve()
        if not picture.is_relative_to(folder.resolve()):
            raise InputError(f"'{path}' names the image '{file_name}', which lies outside '{folder}'.")
        if not picture.is_file():
            raise InputError(f"'{path}' names the image '{file_name}', which is not in '{folder}'.")
        read = partial(_image, picture, by_image[number], codes, taxonomy, path, folder.resolve())
        entries.append(Entry(Path(file_name).with_suffix("").as_posix().replace("/", "_"), read))
    return SetReader(path.stem, asked.card(path, taxonomy), _LAYOUT, lambda _: listed(entries, path, "COCO", _LAYOUT))


def _image(
    picture: Path,
    annotations: list[dict[str, Any]],
    codes: dict[int, int],
    taxonomy: Taxonomy | None,
    path: Path,
    folder: Path,
) -> LabelledImage:
    shape = picture_size(picture)
    labels = np.zeros(shape, np.int32)
    classes: list[int] = []
    for annotation in annotations:
        where = f"'{path}': annotation {annotation.get('id', '?')} of '{picture.name}'"
        with foreign_parser(lambda why, where=where: InputError(f"{where} cannot be read ({why}).")):  # type: ignore[misc]
            mask = _mask(annotation["segmentation"], shape)
            code = codes.get(int(annotation.get("category_id", 0)), 0)
        classes.append(code)
        labels[mask] = len(classes)
    present = np.unique(labels)
    kept = np.array(classes, np.int64)[present[present > 0] - 1] if classes else np.zeros(0, np.int64)
    return labelled(picture, folder, instances=labels, classes=kept if taxonomy is not None else None)


def _mask(segmentation: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if isinstance(segmentation, dict):
        height, width = segmentation["size"]
        if (height, width) != shape:
            raise ValueError(
                f"its run lengths are of {width} × {height} px, and the image is {shape[1]} × {shape[0]} px"
            )
        return run_lengths(segmentation["counts"], shape)
    mask = np.zeros(shape, np.uint8)
    for ring in segmentation:
        outline = np.asarray(ring, np.float64).reshape(-1, 2)
        if not (np.abs(outline) < _FAR_PX).all():  # also not a number
            raise ValueError("a coordinate is not a number, or far outside")
        if len(outline) > 2:
            cv2.fillPoly(mask, [np.rint((outline - 0.5) * 256).astype(np.int32)], 1, cv2.LINE_8, 8)
    return mask > 0


def run_lengths(counts: list[int] | str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) of COCO's run lengths: column by column, first outside, then inside, and so on.

    Args:
        counts: Numbers, or COCO's text: six bits a character from "0", five of the number and one for whether it goes
            on,
            lowest first; from the third number on each is the difference to the one before the last.
        shape: H, W.

    Raises:
        ValueError: They are not of this many pixels.
    """
    lengths = _unpacked(counts) if isinstance(counts, str) else [int(n) for n in counts]
    if sum(lengths) != shape[0] * shape[1] or min(lengths, default=0) < 0:
        raise ValueError(
            f"its run lengths add up to {sum(lengths):,}, and the image has {shape[0] * shape[1]:,} pixels"
        )
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(shape[::-1]).T


def _unpacked(text: str) -> list[int]:
    numbers: list[int] = []
    value = shift = 0
    for character in text:
        part = ord(character) - 48
        value |= (part & 31) << shift
        shift += 5
        if part & 32:
            continue
        if part & 16:  # the highest bit is the sign
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value = shift = 0
    return numbers
