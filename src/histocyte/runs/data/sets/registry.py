"""Readers of sets by name; a package can add its own."""

from __future__ import annotations

from typing import Any

from histocyte.core.registry import Registry

__all__ = ["OWN", "SETS"]

_SETS = "histocyte.runs.data.sets"

SETS: Registry[Any] = Registry(
    "data set",
    {
        "pannuke": f"{_SETS}.pannuke:PANNUKE",
        "monusac": f"{_SETS}.aperio_xml:MONUSAC",
        "monuseg": f"{_SETS}.aperio_xml:MONUSEG",
        "consep": f"{_SETS}.consep:CONSEP",
        "lizard": f"{_SETS}.conic:LIZARD",
        "conic": f"{_SETS}.conic:CONIC",
        "nuinsseg": f"{_SETS}.label_maps:NUINSSEG",
        "cryonuseg": f"{_SETS}.label_maps:CRYONUSEG",
        "tnbc": f"{_SETS}.label_maps:TNBC",
        "dsb2018": f"{_SETS}.label_maps:DSB2018",
        "cytodark0": f"{_SETS}.label_maps:CYTODARK0",
        "puma": f"{_SETS}.outlines:PUMA",
        "nucls": f"{_SETS}.outlines:NUCLS",
        "bcss": f"{_SETS}.tissue:BCSS",
        "glas": f"{_SETS}.tissue:GLAS",
        "wsss4luad": f"{_SETS}.tissue:WSSS4LUAD",
    },
    group="histocyte.sets",
)
"""Name → `SetReader`."""

OWN: Registry[Any] = Registry(
    "form of labelled data",
    {
        "folder": "histocyte.runs.data.own.folder:folder",
        "labels": "histocyte.runs.data.own.labels:labels",
        "coco": "histocyte.runs.data.own.coco:coco",
        "parquet": "histocyte.runs.data.own.parquet:parquet",
    },
    group="histocyte.data_forms",
)
"""Name → (source, Asked) → `SetReader` of somebody's own data."""
