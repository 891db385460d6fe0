"""dataset.json: what is known of a set in the uniform form, beside its shards."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from histocyte.core.errors import InputError
from histocyte.core.geometry import check_mpp
from histocyte.core.taxonomy import Taxonomy
from histocyte.core.version import __version__
from histocyte.datasets.cards import DatasetCard
from histocyte.datasets.shards.form import FORM
from histocyte.datasets.tissue_masks import Areas
from histocyte.files.atomic import write_atomically
from histocyte.files.foreign import foreign_parser

__all__ = ["DESCRIPTION", "Description", "is_uniform", "read_description", "shard_paths"]

DESCRIPTION = "dataset.json"
_MOST_BYTES = 1 << 24


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    form: str
    name: str
    title: str
    licence: str
    citation: str
    mpp: float | None = None
    taxonomy: Mapping[str, Any] | None = None
    areas: Areas = ""
    ignored: tuple[int, ...] = ()
    dots: Literal["", "all", "some"] = ""
    nucleus_um: float | None = None
    separable: bool = True
    centres: Literal["", "all", "some"] = ""
    external: bool = False
    commercial: bool = False
    images: int = 0
    labels: int = 0
    by_class: Mapping[str, int] = field(default_factory=dict)
    by_split: Mapping[str, int] = field(default_factory=dict)
    histocyte: str = __version__


@dataclass(frozen=True, slots=True)
class Description:
    """What dataset.json says.

    Attributes:
        card: What is known of the set; its name is that under which it was imported.
        title: The set as its authors call it.
        images: Number of images.
        labels: Number of nuclei, glands or dots.
        by_class: Labels of each class, by its name.
        by_split: Images of each official part.
    """

    card: DatasetCard
    title: str = ""
    images: int = 0
    labels: int = 0
    by_class: Mapping[str, int] = field(default_factory=dict)
    by_split: Mapping[str, int] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it into the folder of the shards.

        Raises:
            DiskError: It cannot be written.
        """
        with write_atomically(folder / DESCRIPTION) as file:
            file.write((json.dumps(self.to_json(), ensure_ascii=False, indent=2) + "\n").encode())

    def to_json(self) -> dict[str, Any]:
        """In plain values."""
        card = self.card
        return {
            "form": FORM,
            "name": card.name,
            "title": self.title,
            "licence": card.licence,
            "citation": card.citation,
            "mpp": None if math.isnan(card.mpp) else card.mpp,
            "taxonomy": None if card.taxonomy is None else card.taxonomy.to_json(),
            "areas": card.areas,
            "ignored": list(card.ignored),
            "dots": card.dots,
            "nucleus_um": card.nucleus_um,
            "separable": card.separable,
            "centres": card.centres,
            "external": card.external,
            "commercial": card.commercial,
            "images": self.images,
            "labels": self.labels,
            "by_class": dict(self.by_class),
            "by_split": dict(self.by_split),
            "histocyte": __version__,
        }


def is_uniform(folder: Path) -> bool:
    """Whether a folder holds a set in the uniform form."""
    return (folder / DESCRIPTION).is_file()


def shard_paths(folder: Path) -> list[Path]:
    """The shards of a folder, in order."""
    return sorted(folder.glob("shard-[0-9][0-9][0-9][0-9][0-9].parquet"))


def read_description(folder: Path) -> Description:
    """What dataset.json of a folder says.

    Raises:
        InputError: There is none, it cannot be read, or is of another form.
    """
    path = folder / DESCRIPTION
    if not is_uniform(folder):
        raise InputError(
            f"'{folder}' has no {DESCRIPTION}: it is not an imported set. Make one: histocyte data import."
        )
    again = "Import the set again: histocyte data import."
    with foreign_parser(lambda why: InputError(f"'{path}' cannot be read ({why}). {again}")):
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or data.get("form") != FORM:
        raise InputError(f"'{path}' does not describe a set of labelled images of this form ({FORM}). {again}")
    try:
        stored = _Stored.model_validate(data)
        taxonomy = None if stored.taxonomy is None else Taxonomy.from_json(stored.taxonomy)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"'{path}': {'.'.join(map(str, first['loc']))}: {first['msg']}. {again}") from error
    except InputError as error:
        raise InputError(f"'{path}' cannot be used: {error} {again}") from error
    card = DatasetCard(
        name=stored.name,
        mpp=math.nan if stored.mpp is None else check_mpp(stored.mpp, what=f"the images of '{folder}'"),
        licence=stored.licence,
        citation=stored.citation,
        group=lambda name: name,
        taxonomy=taxonomy,
        areas=stored.areas,
        ignored=stored.ignored,
        dots=stored.dots,
        nucleus_um=stored.nucleus_um,
        separable=stored.separable,
        centres=stored.centres,
        external=stored.external,
        commercial=stored.commercial,
    )
    return Description(card, stored.title, stored.images, stored.labels, dict(stored.by_class), dict(stored.by_split))
