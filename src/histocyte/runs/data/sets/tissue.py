"""Sets of tissue regions: BCSS, GlaS and WSSS4LUAD.

Amgad et al. 2019 (doi 10.1093/bioinformatics/btz083); Sirinukunwattana et al. 2017 (doi 10.1016/j.media.2016.08.008);
Han et
al. 2022 (arXiv 2204.06455).
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import numpy as np

from histocyte.core.errors import InputError
from histocyte.core.tissues import BCSS as BCSS_CLASSES
from histocyte.core.tissues import BCSS_CODES
from histocyte.datasets.cards import DATASETS, DatasetCard
from histocyte.datasets.labelled_image import Entry, LabelledImage
from histocyte.datasets.tissue_masks import code_map
from histocyte.files.foreign import foreign_parser
from histocyte.runs.data.sets.public_set import SetReader, files_in, labelled, listed, paired, tcga_patient

__all__ = ["BCSS", "GLAS", "WSSS4LUAD"]

_BCSS_LAYOUT = "images and masks of the same name, as rgbs_colorNormalized/NAME.png and masks/NAME.png"
_GLAS_LAYOUT = "train_1.bmp beside train_1_anno.bmp, testA_1.bmp …, and Grade.csv"
_WSSS4LUAD_LAYOUT = "img/NAME.png and mask/NAME.png, in '2.validation' and '3.testing'"
_TEST_INSTITUTES = ("OL", "LL", "E2", "EW", "GM", "S3")
"""Whose regions BCSS's authors keep for testing."""


def _bcss(source: Path) -> list[Entry]:
    files = files_in(source, (".png",))
    masks = [p for p in files if p.parent.name.startswith("mask")]
    # The images as they were scanned where they are there, else those of normalised colours.
    pictures = sorted(
        (p for p in files if p.parent.name.startswith("rgb")), key=lambda p: "Normalized" in p.parent.name
    )
    first = {p.stem: p for p in reversed(pictures)}
    entries = (Entry(p.stem, partial(_breast, p, m, source)) for p, m in paired(sorted(first.values()), masks))
    return listed(entries, source, "BCSS", _BCSS_LAYOUT)


def _breast(picture: Path, mask: Path, source: Path) -> LabelledImage:
    codes = code_map(mask)
    table = np.zeros(256, np.uint8)
    for code, known in BCSS_CODES.items():
        table[code] = known
    if codes.max(initial=0) > 21:
        raise InputError(f"'{mask}' has the code {codes.max()}; those of BCSS are 0 to 21.")
    institute = picture.stem.split("-")[1] if picture.stem.count("-") > 1 else ""
    return labelled(
        picture,
        source,
        tissue_map=table[codes],
        ignored=codes == 0,
        group=tcga_patient(picture.stem),
        tissue="breast",
        split="test" if institute in _TEST_INSTITUTES else "train",
    )


def _glas(source: Path) -> list[Entry]:
    table = next((p for p in files_in(source, (".csv",)) if p.stem.lower() == "grade"), None)
    patients = {} if table is None else _patients(table)
    masks = [p for p in files_in(source, (".bmp",)) if p.stem.endswith("_anno")]
    pictures = [p for p in files_in(source, (".bmp",)) if not p.stem.endswith("_anno")]
    entries = (
        Entry(p.stem, partial(_glands, p, m, source, patients.get(p.stem, "")))
        for p, m in paired(pictures, masks, drop="_anno")
    )
    return listed(entries, source, "GlaS", _GLAS_LAYOUT)


def _patients(path: Path) -> dict[str, str]:
    with (
        foreign_parser(lambda why: InputError(f"'{path}' cannot be read ({why}); expected: name, patient ID, grades.")),
        path.open(newline="", encoding="utf-8-sig") as file,
    ):
        rows = [
            {key.strip().lower(): (value or "").strip() for key, value in row.items()} for row in csv.DictReader(file)
        ]
        return {row["name"]: row["patient id"] for row in rows}


def _glands(picture: Path, mask: Path, source: Path, patient: str) -> LabelledImage:
    glands = code_map(mask)
    split = next((part for part in ("train", "testA", "testB") if picture.stem.startswith(f"{part}_")), "")
    tissue = (glands > 0).astype(np.uint8)
    return labelled(picture, source, instances=glands, tissue_map=tissue, group=patient, tissue="colon", split=split)


def _wsss4luad(source: Path) -> list[Entry]:
    files = files_in(source, (".png",))
    pairs = paired([p for p in files if p.parent.name == "img"], [p for p in files if p.parent.name == "mask"])
    entries = (Entry(f"{p.parent.parent.name}_{p.stem}", partial(_lung, p, m, source)) for p, m in pairs)
    return listed(entries, source, "WSSS4LUAD", _WSSS4LUAD_LAYOUT)


def _lung(picture: Path, mask: Path, source: Path) -> LabelledImage:
    codes = code_map(mask)
    if codes.max(initial=0) > 3:
        raise InputError(f"'{mask}' has the code {codes.max()}; those of WSSS4LUAD are 0 to 3.")
    split = "test" if "test" in picture.parent.parent.name else "validation"
    # 0 tumour, 1 stroma, 2 normal, 3 glass.
    tissue = np.array([1, 2, 3, 0], np.uint8)[codes]
    return labelled(picture, source, tissue_map=tissue, tissue="lung", split=split)


BCSS = SetReader(
    "BCSS",
    DatasetCard(
        *("bcss", 0.25, "CC0 1.0", "Amgad et al., Bioinformatics 35(18), 2019", lambda name: name, BCSS_CLASSES),
        areas="classes",
        commercial=True,
    ),
    _BCSS_LAYOUT,
    _bcss,
)
GLAS = SetReader("GlaS", DATASETS["glas"], _GLAS_LAYOUT, _glas)
WSSS4LUAD = SetReader("WSSS4LUAD", DATASETS["wsss4luad"], _WSSS4LUAD_LAYOUT, _wsss4luad)
