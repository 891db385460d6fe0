"""The list of classes in a folder of labelled images, classes.json.

It names the type codes from 1, `{"1": "tumour", "2": "stroma"}` or `["tumour", "stroma"]`, or is a whole taxonomy with
colours (`Taxonomy.to_json`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from histocyte.core.errors import InputError
from histocyte.core.taxonomy import CellClass, Taxonomy

__all__ = ["CLASSES_FILE", "read_class_list", "taxonomy_of_names"]

CLASSES_FILE = "classes.json"

COLOURS = (
    (233, 79, 55),
    (46, 196, 92),
    (45, 114, 217),
    (240, 200, 40),
    (160, 90, 200),
    (245, 140, 50),
    (40, 190, 200),
    (230, 100, 170),
    (130, 90, 60),
    (160, 160, 160),
)
"""Of classes whose file names none, in their order and then again."""


def taxonomy_of_names(name: str, classes: Sequence[str]) -> Taxonomy:
    """A taxonomy with colours for classes that have names alone.

    Raises:
        InputError: No name, an empty one, or one twice.
    """
    clean = [c.strip() for c in classes]
    if not clean or not all(clean) or len(set(clean)) < len(clean):
        raise InputError(f"'{', '.join(clean)}' is no list of classes: each needs a name of its own.")
    return Taxonomy(name, tuple(CellClass(c, COLOURS[i % len(COLOURS)]) for i, c in enumerate(clean)))


def read_class_list(path: Path, name: str) -> Taxonomy:
    """The taxonomy that a file describes.

    Args:
        path: Of classes.json.
        name: Of the taxonomy, where the file does not state it.

    Raises:
        InputError: It cannot be read or is no list of classes.
    """
    form = '{"1": "tumour", "2": "stroma"}'
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"'{path}' cannot be read ({error}). Needed: {form}.") from error
    if isinstance(data, dict) and "classes" in data:
        return Taxonomy.from_json(data)
    if isinstance(data, dict):
        data = {code: text for code, text in data.items() if code != "0"}
        if sorted(data) == sorted(str(i) for i in range(1, len(data) + 1)):
            data = [data[str(i)] for i in range(1, len(data) + 1)]
    if not isinstance(data, list) or not all(isinstance(text, str) for text in data):
        raise InputError(f"'{path}' is no list of classes. Needed: {form}, with the codes from 1 without a gap.")
    return taxonomy_of_names(name, data)
