"""The class lists of public sets of tissue regions: data, no code. Background is not a class of its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from histocyte.core.taxonomies import BLUE, GREEN, GREY, ORANGE, PINK, RED, YELLOW
from histocyte.core.taxonomy import CellClass, Taxonomy

__all__ = ["BCSS", "BCSS_CODES", "EBHI_SEG", "GLANDS", "WSSS4LUAD"]


def _listed(name: str, **classes: tuple[int, int, int]) -> Taxonomy:
    return Taxonomy(name, tuple(CellClass(label.replace("_", " "), colour) for label, colour in classes.items()))


GLANDS = _listed("glands", gland=RED)
"""GlaS: glands of the colon, benign or malignant (Sirinukunwattana et al. 2017, doi 10.1016/j.media.2016.08.008)."""

BCSS = _listed("bcss", tumour=RED, stroma=BLUE, inflammatory=GREEN, necrosis=YELLOW, other=GREY)
"""The five groups of BCSS (Amgad et al. 2019, doi 10.1093/bioinformatics/btz083)."""

BCSS_CODES: Mapping[int, int] = MappingProxyType(
    {1: 1, 19: 1, 20: 1, 2: 2, 3: 3, 10: 3, 11: 3, 4: 4} | dict.fromkeys((*range(5, 10), *range(12, 19), 21), 5)
)
"""Code of BCSS's masks → class of `BCSS`, from 1. Code 0 is what nobody looked at; it is neither learnt nor scored."""

WSSS4LUAD = _listed("wsss4luad", tumour=RED, stroma=BLUE, normal=ORANGE)
"""WSSS4LUAD: lung adenocarcinoma (Han et al. 2022, arXiv 2204.06455)."""

EBHI_SEG = _listed(
    "ebhi_seg",
    normal=GREEN,
    polyp=BLUE,
    low_grade_neoplasia=YELLOW,
    high_grade_neoplasia=ORANGE,
    adenocarcinoma=RED,
    serrated_adenoma=PINK,
)
"""EBHI-Seg: glands of the colon by diagnosis (Shi et al. 2023, doi 10.3389/fmed.2023.1114673)."""
