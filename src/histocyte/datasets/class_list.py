"""The list of classes in a folder of labelled images, classes.json.

It names the type codes from 1, `{"1": "tumour", "2": "stroma"}` or `["tumour", "stroma"]`, or is a whole taxonomy with
colours (`Taxonomy.to_json`). Beside them, or alone, it may state the images' resolution: `{"mpp": 0.25}`; and of masks
of tissue (`datasets.tissue_masks`) that they hold objects, `"mask": "objects"`, and which codes teach nothing,
`"ignored": [255]`.
"""

from __future__ import annotations

import json
import math
from contextlib import AbstractContextManager
from pathlib import Path

from histocyte.core.errors import InputError
from histocyte.core.geometry import MPP_MAX, MPP_MIN
from histocyte.core.taxonomies import taxonomy_of
from histocyte.core.taxonomy import Taxonomy
from histocyte.files.foreign import foreign_parser

__all__ = [
    "CLASSES_FILE",
    "fact_of",
    "possible_resolution",
    "read_class_list",
    "stated_resolution",
    "states_classes",
]

CLASSES_FILE = "classes.json"
MPP_KEY = "mpp"
_FACTS = {MPP_KEY, "mask", "ignored"}
"""What is stated of the images and is not a class."""

_FORM = '{"1": "tumour", "2": "stroma"}'


def _plain(path: Path) -> object:
    with _list_of_classes(path):
        return json.loads(path.read_text(encoding="utf-8"))


def _list_of_classes(path: Path) -> AbstractContextManager[None]:
    return foreign_parser(lambda why: InputError(f"'{path}' cannot be read ({why}). Needed: {_FORM}."))


def states_classes(path: Path) -> bool:
    """Whether classes.json says more than a resolution.

    Raises:
        InputError: It cannot be read.
    """
    data = _plain(path)
    return not isinstance(data, dict) or not set(data) <= _FACTS


def fact_of(path: Path, key: str) -> object:
    """What classes.json states of the images under a key; None where it does not.

    Raises:
        InputError: The file cannot be read.
    """
    data = _plain(path)
    return data.get(key) if isinstance(data, dict) else None


def stated_resolution(path: Path) -> float | None:
    """The resolution that classes.json states, µm/px, under "mpp"; None where it does not.

    Raises:
        InputError: The file cannot be read, or this is not a possible resolution.
    """
    data = _plain(path)
    if not isinstance(data, dict) or MPP_KEY not in data:
        return None
    return possible_resolution(data[MPP_KEY], where=f"'{path}'")


def possible_resolution(value: object, *, where: str) -> float:
    """A resolution that a file states, µm/px.

    Raises:
        InputError: It is not a number, or one that cannot be.
    """
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not MPP_MIN <= number <= MPP_MAX:
        raise InputError(f"{where} states {value!r:.40} as mpp; needed is µm/px, from {MPP_MIN} to {MPP_MAX:g}.")
    return number


def read_class_list(path: Path, name: str) -> Taxonomy:
    """The taxonomy that a file describes.

    Args:
        path: Path of classes.json.
        name: Name of the taxonomy, where the file does not state it.

    Raises:
        InputError: It cannot be read or is not a list of classes.
    """
    form, data = _FORM, _plain(path)
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if key not in _FACTS}
    if isinstance(data, dict) and "classes" in data:
        with _list_of_classes(path):
            return Taxonomy.from_json(data)
    if isinstance(data, dict):
        data = {code: text for code, text in data.items() if code != "0"}
        if sorted(data) == sorted(str(i) for i in range(1, len(data) + 1)):
            data = [data[str(i)] for i in range(1, len(data) + 1)]
    if not isinstance(data, list) or not all(isinstance(text, str) for text in data):
        raise InputError(f"'{path}' is not a list of classes. Needed: {form}, with the codes from 1 without a gap.")
    with _list_of_classes(path):
        return taxonomy_of(data, name=name)
