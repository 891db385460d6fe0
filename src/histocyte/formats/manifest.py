"""run.json: everything about how a result came to be, typed, so that whoever reads it can rely on what it says."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from histocyte.core.errors import InputError
from histocyte.core.geometry import area_text
from histocyte.core.names import counted
from histocyte.core.notebook import html_table
from histocyte.core.plain_text import plain
from histocyte.files.atomic import write_atomically

__all__ = ["RUN_FILE", "RunRecord", "SlideFacts", "read_manifest", "write_manifest"]

RUN_FILE = "run.json"

_OPTIONS = (
    orjson.OPT_INDENT_2
    | orjson.OPT_SORT_KEYS
    | orjson.OPT_SERIALIZE_NUMPY
    | orjson.OPT_NON_STR_KEYS
    | orjson.OPT_APPEND_NEWLINE
)


class SlideFacts(BaseModel):
    """What a record says of the slide; all that counting its cells needs.

    Attributes:
        name: Name of the result, which is that of its folder.
        mpp: Level-0 resolution, µm/px.
        size_px: Width and height of level 0.
        bounds_px: x, y, width and height of what was scanned of level 0; None where that is all of it.
        searched_beyond_um: How far beyond the outline of the tissue cells were looked for.
        signature: Everything that decided the result, see `inference.plan.Plan.signature`.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    name: str
    mpp: float = Field(gt=0, allow_inf_nan=False)
    size_px: tuple[int, int]
    bounds_px: tuple[int, int, int, int] | None = None
    searched_beyond_um: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    signature: dict[str, Any]

    @property
    def scanned_px(self) -> tuple[int, int]:
        """Width and height of what was scanned."""
        return self.size_px if self.bounds_px is None else self.bounds_px[2:]


class RunRecord(SlideFacts):
    """What run.json holds. Further facts are kept as they are.

    Attributes:
        histocyte: The version that made it.
        slide: Path of the slide, as it was given.
        tissue_mm2: Area searched.
        cells: How many.
        classes: Class name → number of cells.
        median_area_um2: Median area of a nucleus; None where there is none.
        seconds: By stage, summed over the workers, and "total" as the clock has it.
        blocks: How many were done, those of interrupted runs among them.
        outputs: What a file holds → its name in the folder, which it may have moved with.
        output_bytes: The same → its size, as far as it is known.
        notes: What may be wrong with the result, in sentences.
        model: Name of the model.
        known_to_model: "learnt", "held_out" or "left_out" where an image is one that the model was made with; empty
            where it is none, or too large to be.
        resumed_blocks: How many of the blocks an interrupted run had done before.
        peak_memory_mb: Most that the process held; None where the system does not tell.
        already_done: Whether the result was there before and is kept; not in the file.
    """

    histocyte: str
    slide: str
    tissue_mm2: float = Field(ge=0, allow_inf_nan=False)
    cells: int = Field(ge=0)
    classes: dict[str, int]
    median_area_um2: float | None
    seconds: dict[str, float]
    blocks: int = Field(ge=0)
    outputs: dict[str, str]
    output_bytes: dict[str, int] = Field(default_factory=dict)
    notes: list[str]
    model: str = ""
    known_to_model: str = ""
    resumed_blocks: int = Field(default=0, ge=0)
    peak_memory_mb: float | None = None
    already_done: bool = Field(default=False, exclude=True)

    @classmethod
    def of(cls, facts: Mapping[str, object]) -> RunRecord:
        """The record of these facts, which may be such as `write_manifest` takes."""
        return cls.model_validate_json(_json(facts))

    def at(self, folder: Path, *, already_done: bool = False) -> RunRecord:
        """The record as a user gets it: `outputs` as paths of the files in this folder, this one's among them."""
        paths = {what: str(folder / Path(name).name) for what, name in self.outputs.items()}
        changed = {"outputs": paths | {"run": str(folder / RUN_FILE)}, "already_done": already_done}
        return self.model_copy(update=changed)

    def to_json(self) -> dict[str, Any]:
        """In plain values, `already_done` where that is so."""
        return self.model_dump(mode="json") | ({"already_done": True} if self.already_done else {})

    def __repr__(self) -> str:
        """How many cells of which classes, on how much tissue."""
        found = ", ".join(f"{count:,} {name}" for name, count in self.classes.items())
        said = f"{self.name}: {counted(self.cells, 'cell')} ({found}) on {area_text(self.tissue_mm2)}"
        return plain(f"<RunRecord {said}>", one_line=True)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Cells of each class, notes and files, for notebooks."""
        area = self.tissue_mm2
        rows = [(n, f"{count:,}", f"{count / area:,.1f}" if area else "–") for n, count in self.classes.items()]
        caption = f"{self.name}: {counted(self.cells, 'cell')} on {area_text(self.tissue_mm2)}"
        notes = "".join(f"<li>{escape(plain(note))}" for note in self.notes)
        files = "".join(f"<li>{escape(plain(path))}" for path in self.outputs.values())
        return f"{html_table(caption, ('class', 'cells', 'per mm²'), rows)}<ul>{notes}{files}</ul>"


Facts = TypeVar("Facts", bound=SlideFacts)


def read_manifest(path: Path, kind: type[Facts]) -> Facts:
    """Read a record, and see that it says what it should.

    Args:
        path: The run.json.
        kind: How much of it is needed.

    Raises:
        InputError: It cannot be read, or is none.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"'{path}' is not the record of a run by histocyte. Run 'histocyte segment' again.") from error


def write_manifest(path: Path, record: Mapping[str, object] | BaseModel) -> None:
    """Write a record as JSON, keys sorted, whole or not at all.

    Besides what JSON knows, values may be numpy scalars and arrays, paths, sets, dataclasses and datetimes;
    NaN becomes null.

    Raises:
        DiskError: It cannot be written.
    """
    content = _json(record.model_dump(mode="json") if isinstance(record, BaseModel) else record)
    with write_atomically(path) as file:
        file.write(content)


def _json(facts: Mapping[str, object]) -> bytes:
    return orjson.dumps(dict(facts), default=_plain, option=_OPTIONS)


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):  # of a layout or type that orjson leaves to us
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"A {type(value).__name__} does not go into a manifest.")
