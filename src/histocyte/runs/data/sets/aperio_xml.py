"""MoNuSeg and MoNuSAC: outlines in the XML of Aperio's viewer.

Kumar et al. 2017 (doi 10.1109/TMI.2017.2677499); Verma et al. 2021 (doi 10.1109/TMI.2021.3085712).
"""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import MONUSAC as CLASSES
from histocyte.datasets.cards import DATASETS
from histocyte.datasets.labelled_image import Entry, LabelledImage
from histocyte.files.foreign import foreign_parser
from histocyte.runs.data.sets.public_set import SetReader, files_in, is_in, labelled, listed, paired, tcga_patient
from histocyte.slides.picture import picture_size

__all__ = ["MONUSAC", "MONUSEG", "drawn"]

_MOST_BYTES = 256 << 20
_FAR_PX = 1e6
_MONUSEG_LAYOUT = "NAME.tif and NAME.xml, in 'Tissue Images' and 'Annotations', or side by side"
_MONUSAC_LAYOUT = "a folder for each patient with NAME.svs or NAME.tif beside NAME.xml"
_UNCLEAR = len(CLASSES) + 1
"""Code of regions of which nobody could say what they are."""


def _regions(path: Path) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Class (empty where there is none) and outline (N, 2) x, y of each region, in the order of the file.

    A class may come in several annotations.

    Raises:
        InputError: It cannot be read.
    """
    with foreign_parser(lambda why: InputError(f"'{path}' cannot be read as annotations of Aperio ({why}).")):
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"larger than {_MOST_BYTES >> 20} MiB")
        content = path.read_bytes()
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            raise ValueError("it declares entities, which annotations have none of")
        # Without entities nothing in it can grow or lead outside.
        for annotation in ElementTree.fromstring(content).iter("Annotation"):  # noqa: S314
            attribute = annotation.find("./Attributes/Attribute")
            name = "" if attribute is None else attribute.get("Name", "")
            for region in annotation.iter("Region"):
                points = [(float(v.attrib["X"]), float(v.attrib["Y"])) for v in region.iter("Vertex")]
                if not all(abs(v) < _FAR_PX for point in points for v in point):  # also not a number
                    raise ValueError("a coordinate is not a number, or far outside")
                if len(points) > 2:
                    yield name, np.array(points, np.float64)


def drawn(outlines: list[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.int32]:
    """(H, W) a number from 1 for each outline in order; a later one covers an earlier one, as in published figures."""
    labels = np.zeros(shape, np.int32)
    for number, outline in enumerate(outlines, 1):
        # Vertices are in px from the corner of the first, and OpenCV's are from its centre.
        cv2.fillPoly(labels, [np.rint((outline - 0.5) * 256).astype(np.int32)], number, cv2.LINE_8, 8)
    return labels


def _monuseg(source: Path) -> list[Entry]:
    pairs = paired(files_in(source, (".tif", ".tiff")), files_in(source, (".xml",)))
    return listed((Entry(p.stem, partial(_nuclei, p, x, source)) for p, x in pairs), source, "MoNuSeg", _MONUSEG_LAYOUT)


def _nuclei(picture: Path, xml: Path, source: Path) -> LabelledImage:
    labels = drawn([outline for _, outline in _regions(xml)], picture_size(picture))
    split = "test" if is_in(picture, source, "test") else "train"
    return labelled(picture, source, instances=labels, group=tcga_patient(picture.stem), split=split)


def _monusac(source: Path) -> list[Entry]:
    # The same image comes as a slide and as a TIFF.
    by_name = {p.with_suffix(""): p for p in files_in(source, (".svs", ".tif", ".tiff"))}
    pairs = ((p, p.with_suffix(".xml")) for p in by_name.values() if p.with_suffix(".xml").is_file())
    return listed((Entry(p.stem, partial(_cells, p, x, source)) for p, x in pairs), source, "MoNuSAC", _MONUSAC_LAYOUT)


def _cells(picture: Path, xml: Path, source: Path) -> LabelledImage:
    codes = {name: code for code, name in enumerate(CLASSES.names, 1)} | {"ambiguous": _UNCLEAR}
    classes, outlines = [], []
    for name, outline in _regions(xml):
        code = codes.get(name.strip().casefold())
        if code is None:
            raise InputError(f"'{xml}' has the class '{name}'; those of MoNuSAC are {', '.join(codes)}.")
        classes.append(code)
        outlines.append(outline)
    labels = drawn(outlines, picture_size(picture))
    present = np.unique(labels)
    kept = np.array(classes, np.int64)[present[present > 0] - 1] if classes else np.zeros(0, np.int64)
    split = "test" if is_in(picture, source, "test") else "train"
    return labelled(
        picture, source, instances=labels, classes=kept, group=tcga_patient(picture.parent.name), split=split
    )


MONUSEG = SetReader("MoNuSeg", DATASETS["monuseg"], _MONUSEG_LAYOUT, _monuseg)
MONUSAC = SetReader(
    "MoNuSAC",
    # As distributed, with outlines drawn by hand: touching nuclei are apart.
    dataclasses.replace(DATASETS["monusac"], separable=True, ignored=(_UNCLEAR,)),
    _MONUSAC_LAYOUT,
    _monusac,
)
