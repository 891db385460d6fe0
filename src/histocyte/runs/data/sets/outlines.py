"""Sets with outlines in GeoJSON or tables: PUMA and NuCLS.

Schuiveling et al. 2025 (doi 10.1093/gigascience/giaf011); Amgad et al. 2022 (doi 10.1093/gigascience/giac037).
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import numpy as np

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import NUCLS_MAIN
from histocyte.core.taxonomies import PUMA as PUMA_CLASSES
from histocyte.datasets.cards import DATASETS, DatasetCard
from histocyte.datasets.labelled_image import Entry, LabelledImage
from histocyte.files.foreign import foreign_parser
from histocyte.runs.data.sets.aperio_xml import drawn
from histocyte.runs.data.sets.public_set import SetReader, cells_of, files_in, labelled, listed, paired, tcga_patient
from histocyte.slides.picture import picture_size

__all__ = ["NUCLS", "PUMA"]

_PUMA_LAYOUT = "NAME.tif and NAME_nuclei.geojson, in any folders"
_NUCLS_LAYOUT = "rgb/NAME.png and csv/NAME.csv"


def _puma(source: Path) -> list[Entry]:
    labels = [p for p in files_in(source, (".geojson",)) if p.stem.endswith("_nuclei")]
    pairs = paired(files_in(source, (".tif", ".tiff", ".png")), labels, drop="_nuclei")
    return listed((Entry(p.stem, partial(_melanoma, p, x, source)) for p, x in pairs), source, "PUMA", _PUMA_LAYOUT)


def _melanoma(picture: Path, outlines: Path, source: Path) -> LabelledImage:
    instances, classes = cells_of(outlines, picture_size(picture), PUMA_CLASSES)
    return labelled(picture, source, instances=instances, classes=classes, tissue="skin")


def _nucls(source: Path) -> list[Entry]:
    pairs = paired([p for p in files_in(source, (".png",)) if p.parent.name == "rgb"], files_in(source, (".csv",)))
    return listed((Entry(p.stem, partial(_breast, p, t, source)) for p, t in pairs), source, "NuCLS", _NUCLS_LAYOUT)


def _breast(picture: Path, table: Path, source: Path) -> LabelledImage:
    """Outlines as they are; of nuclei that have a box alone nothing is learnt, as a box is not an outline."""
    codes = {name.casefold(): code for code, name in enumerate(NUCLS_MAIN.names, 1)}
    shape = picture_size(picture)
    outlines, classes = [], []
    unclear = np.zeros(shape, bool)
    with (
        foreign_parser(lambda why: InputError(f"'{table}' cannot be read as a table of NuCLS ({why}).")),
        table.open(newline="", encoding="utf-8-sig") as file,
    ):
        for row in csv.DictReader(file):
            x0, y0, x1, y1 = (round(float(row[key])) for key in ("xmin", "ymin", "xmax", "ymax"))
            code = codes.get(row["main_classification"].casefold(), 0)
            if row["type"] != "polyline" or not row.get("coords_x"):
                unclear[max(0, y0) : max(0, y1) + 1, max(0, x0) : max(0, x1) + 1] = True
                continue
            outlines.append(
                np.array([[float(v) for v in row[key].split(",")] for key in ("coords_x", "coords_y")], np.float64).T
            )
            classes.append(code)
    labels = drawn(outlines, shape)
    present = np.unique(labels)
    kept = np.array(classes, np.int64)[present[present > 0] - 1] if classes else np.zeros(0, np.int64)
    unclear &= labels == 0
    return labelled(
        picture,
        source,
        instances=labels,
        classes=kept,
        ignored=unclear if unclear.any() else None,
        group=tcga_patient(picture.stem),
        tissue="breast",
    )


def _itself(name: str) -> str:
    return name


PUMA = SetReader(
    "PUMA, nuclei",
    DatasetCard(
        "puma", 0.23, "CC0 1.0", "Schuiveling et al., GigaScience 14, 2025", _itself, PUMA_CLASSES, commercial=True
    ),
    _PUMA_LAYOUT,
    _puma,
)
NUCLS = SetReader(
    "NuCLS",
    DatasetCard("nucls", 0.2, "CC0 1.0", DATASETS["nucls_sample"].citation, _itself, NUCLS_MAIN, commercial=True),
    _NUCLS_LAYOUT,
    _nucls,
)
