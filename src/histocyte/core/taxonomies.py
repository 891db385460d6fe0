"""The class lists of the sets and models that are known by name, and how one is read as another: data, no code.

A class may be read as several of another list: "inflammatory" is a lymphocyte, a macrophage or a neutrophil, and such a
label teaches that it is one of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from histocyte.core.taxonomy import CONSEP, PANNUKE, CellClass, Taxonomy

__all__ = ["CELLS", "TAXONOMIES", "readings"]

EPITHELIAL, IMMUNE, STROMAL, OTHER = (233, 79, 55), (46, 196, 92), (45, 114, 217), (160, 160, 160)

CELLS = Taxonomy(
    "cells",
    (
        CellClass("epithelial", EPITHELIAL),
        CellClass("lymphocyte", IMMUNE),
        CellClass("macrophage", (160, 90, 200)),
        CellClass("neutrophil", (240, 200, 40)),
        CellClass("stromal", STROMAL),
        CellClass("other", OTHER),
    ),
)
"""What users ask for in any organ: epithelial is benign or malignant; stromal is fibroblast, endothelium or muscle."""

MONUSAC = Taxonomy("monusac", CELLS.classes[:4])
"""The four classes of MoNuSAC (Verma et al., IEEE TMI 40(12), 2021)."""

BRCA_M2C = Taxonomy(
    "brca_m2c",
    (CellClass("lymphocyte", IMMUNE), CellClass("tumour or epithelial", EPITHELIAL), CellClass("stromal", STROMAL)),
)
"""The three classes of the dots of BRCA-M2C (Abousamra et al., ICCV 2021)."""

CRCHISTO = Taxonomy(
    "crchisto",
    (
        CellClass("epithelial", EPITHELIAL),
        CellClass("inflammatory", IMMUNE),
        CellClass("fibroblast", STROMAL),
        CellClass("others", OTHER),
    ),
)
"""The four classes of the dots of CRCHistoPhenotypes (Sirinukunwattana et al., IEEE TMI 35(5), 2016)."""

TAXONOMIES: Mapping[str, Taxonomy] = {t.name: t for t in (CELLS, CONSEP, PANNUKE, MONUSAC, BRCA_M2C, CRCHISTO)}

_LEUKOCYTES = ("lymphocyte", "macrophage", "neutrophil")

_READINGS: Mapping[tuple[str, str], Mapping[str, tuple[str, ...]]] = {
    ("consep", "cells"): {"inflammatory": _LEUKOCYTES, "spindle": ("stromal",)},
    ("pannuke", "cells"): {
        "neoplastic": ("epithelial",),
        "inflammatory": _LEUKOCYTES,
        "connective": ("stromal",),
    },
    ("cells", "pannuke"): {
        **dict.fromkeys(_LEUKOCYTES, ("inflammatory",)),
        "epithelial": ("neoplastic", "epithelial"),
        "stromal": ("connective",),
    },
    ("brca_m2c", "cells"): {"tumour or epithelial": ("epithelial",)},
    ("crchisto", "cells"): {"inflammatory": _LEUKOCYTES, "fibroblast": ("stromal",), "others": ("other",)},
    ("monusac", "consep"): dict.fromkeys(_LEUKOCYTES, ("inflammatory",)),
    ("cells", "consep"): {**dict.fromkeys(_LEUKOCYTES, ("inflammatory",)), "stromal": ("spindle",)},
    ("brca_m2c", "consep"): {
        "lymphocyte": ("inflammatory",),
        "tumour or epithelial": ("epithelial",),
        "stromal": ("spindle",),
    },
    ("crchisto", "consep"): {"fibroblast": ("spindle",), "others": ("other",)},
}
"""(own list, wanted list) → own class → what it may be in the wanted list; what is not named is read by its name."""


def readings(own: Taxonomy, wanted: Taxonomy) -> dict[str, tuple[str, ...]]:
    """What each class of a list may be in another one.

    Args:
        own: The classes that labels have.
        wanted: The classes to read them as.

    Returns:
        Own class → one or several wanted classes, for those that have any.

    >>> readings(CONSEP, CELLS)["inflammatory"]
    ('lymphocyte', 'macrophage', 'neutrophil')
    """
    named = _READINGS.get((own.name, wanted.name), {})
    every = {name: named.get(name, (name,) if name in wanted.names else ()) for name in own.names}
    return {name: classes for name, classes in every.items() if classes}
