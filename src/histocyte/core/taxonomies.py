"""The class lists of the sets and models that are known by name, and how one is read as another: data, no code.

Each class of a list is said in kinds of cell that no list parts further, so that any list can be read as any other: a
label may be each class that has a kind in common with it. "Inflammatory" is a lymphocyte, a plasma cell, a neutrophil,
an eosinophil or a macrophage, and such a label teaches that it is one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from histocyte.core.errors import ContentError, UnknownNameError
from histocyte.core.taxonomy import CellClass, Taxonomy

__all__ = [
    "BRCA_M2C",
    "CELLS",
    "CONSEP",
    "CRCHISTO",
    "LISTS",
    "MONUSAC",
    "PANNUKE",
    "PANNUKE_TISSUES",
    "REFINED",
    "TAXONOMIES",
    "asked_list",
    "find_list",
    "known_list",
    "plain_tissue",
    "readings",
    "taxonomy_of",
]

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
"""Colours of classes that have a name alone, in their order and then again."""

RED, GREEN, BLUE, YELLOW, PURPLE, ORANGE, CYAN, PINK, BROWN, GREY = COLOURS

# Kinds of cell. Those of one tissue are strung together, as most lists do not part them.
TUMOUR = ("carcinoma", "mitosis")
BENIGN = ("benign epithelium",)
EPITHELIUM = (*TUMOUR, *BENIGN)
LYMPHOID = ("lymphocyte", "plasma cell")
LEUKOCYTES = (*LYMPHOID, "neutrophil", "eosinophil", "macrophage", "melanophage")
STROMA = ("fibroblast", "muscle", "endothelium")
REST = ("dead", "other")

_SELDOM = frozenset({"melanoma", "melanophage"})
"""Kinds of one organ: a label of many organs is not read otherwise because it covers them too."""

_Rows = tuple[tuple[str, tuple[int, int, int], tuple[str, ...]], ...]
"""Class, its display colour, and the kinds of cell it is for."""

_KINDS: dict[str, dict[str, frozenset[str]]] = {}


def _listed(name: str, rows: _Rows) -> Taxonomy:
    _KINDS[name] = {label: frozenset(kinds) for label, _, kinds in rows}
    return Taxonomy(name, tuple(CellClass(label, colour) for label, colour, _ in rows))


CELLS = _listed(
    "cells",
    (
        ("epithelial", RED, EPITHELIUM),
        ("lymphocyte", GREEN, LYMPHOID),
        ("macrophage", PURPLE, ("macrophage", "melanophage")),
        ("neutrophil", YELLOW, ("neutrophil",)),
        ("stromal", BLUE, STROMA),
        ("other", GREY, REST),
    ),
)
"""What users ask for in any organ: epithelial is benign or malignant; stromal is fibroblast, endothelium or muscle."""

CONSEP = _listed(
    "consep",
    (
        ("other", GREY, REST),
        ("inflammatory", GREEN, LEUKOCYTES),
        ("epithelial", RED, EPITHELIUM),
        ("spindle", BLUE, STROMA),
    ),
)
"""The four merged classes of CoNSeP (Graham et al. 2019, HoVer-Net §4.1)."""

CONSEP_7 = _listed(
    "consep7",
    (
        ("other", GREY, REST),
        ("inflammatory", GREEN, LEUKOCYTES),
        ("healthy epithelial", ORANGE, BENIGN),
        ("malignant epithelial", RED, TUMOUR),
        ("fibroblast", BLUE, ("fibroblast",)),
        ("muscle", BROWN, ("muscle",)),
        ("endothelial", CYAN, ("endothelium",)),
    ),
)
"""The classes of CoNSeP's files in the order of their codes; malignant takes in dysplastic (Graham et al. 2019)."""

PANNUKE = _listed(
    "pannuke",
    (
        ("neoplastic", RED, (*TUMOUR, "melanoma")),
        ("inflammatory", GREEN, LEUKOCYTES),
        ("connective", BLUE, STROMA),
        ("dead", YELLOW, ("dead",)),
        ("epithelial", ORANGE, BENIGN),
    ),
)
"""The five classes of PanNuke, in the order of its masks (Gamper et al. 2020, arXiv 2003.10778)."""

MONUSAC = _listed(
    "monusac",
    (
        ("epithelial", RED, EPITHELIUM),
        ("lymphocyte", GREEN, ("lymphocyte",)),
        ("macrophage", PURPLE, ("macrophage",)),
        ("neutrophil", YELLOW, ("neutrophil",)),
    ),
)
"""The four classes of MoNuSAC in the order of its usual conversions (Verma et al. 2021, doi 10.1109/TMI.2021.3085712).
"""

REFINED = _listed(
    "refined",
    (
        ("neoplastic", (255, 0, 0), (*TUMOUR, "melanoma")),
        ("lymphocyte", (0, 255, 0), LYMPHOID),
        ("connective", (0, 0, 255), STROMA),
        ("dead", (0, 0, 0), ("dead",)),
        ("epithelial", (255, 255, 0), BENIGN),
        ("macrophage", (255, 165, 0), ("macrophage", "melanophage")),
        ("neutrophil", (0, 255, 255), ("neutrophil",)),
    ),
)
"""The seven classes of PanNuke and MoNuSAC relabelled by each other (Shvetsov et al. 2025, arXiv 2502.19217), in their
order and colours; a plasma cell of PanNuke became a lymphocyte."""

CONIC = _listed(
    "conic",
    (
        ("neutrophil", YELLOW, ("neutrophil",)),
        ("epithelial", RED, EPITHELIUM),
        ("lymphocyte", GREEN, ("lymphocyte",)),
        ("plasma", CYAN, ("plasma cell",)),
        ("eosinophil", PINK, ("eosinophil",)),
        ("connective", BLUE, STROMA),
    ),
)
"""The six classes of Lizard and CoNIC in the order of their codes (Graham et al. 2021, arXiv 2108.11195)."""

CYTODARK0 = _listed("cytodark0", (("cell", PURPLE, ("neuron or glia",)),))
"""The one class of CytoDArk0: neurons and glia of the brain in Nissl stain (Vadori et al. 2024, arXiv 2409.04175)."""

BRCA_M2C = _listed(
    "brca_m2c",
    (
        ("lymphocyte", GREEN, LYMPHOID),
        ("tumour or epithelial", RED, EPITHELIUM),
        ("stromal", BLUE, STROMA),
    ),
)
"""The three classes of the dots of BRCA-M2C (Abousamra et al., ICCV 2021)."""

CRCHISTO = _listed(
    "crchisto",
    (
        ("epithelial", RED, EPITHELIUM),
        ("inflammatory", GREEN, LEUKOCYTES),
        ("fibroblast", BLUE, ("fibroblast",)),
        ("others", GREY, REST),
    ),
)
"""The four classes of the dots of CRCHistoPhenotypes (Sirinukunwattana et al., IEEE TMI 35(5), 2016)."""

NUCLS_MAIN = _listed(
    "nucls_main",
    (
        ("tumor_nonMitotic", RED, ("carcinoma",)),
        ("tumor_mitotic", YELLOW, ("mitosis",)),
        ("nonTILnonMQ_stromal", BLUE, STROMA),
        ("macrophage", PURPLE, ("macrophage", "melanophage")),
        ("lymphocyte", GREEN, ("lymphocyte",)),
        ("plasma_cell", CYAN, ("plasma cell",)),
        ("other_nucleus", GREY, ("neutrophil", "eosinophil", *BENIGN)),
    ),
)
"""The main classes of NuCLS (Amgad et al. 2022, doi 10.1093/gigascience/giac037), as `NucleusCategories` of its
authors' code (CancerDataScience/NuCLS) makes them of its raw ones: other is neutrophil, eosinophil, myoepithelium and
ductal epithelium. Ambiguous nuclei (apoptotic bodies, unlabelled) have no class."""

NUCLS_SUPER = _listed(
    "nucls_super",
    (
        ("tumor_any", RED, TUMOUR),
        ("nonTIL_stromal", BLUE, (*STROMA, "macrophage", "melanophage")),
        ("sTIL", GREEN, LYMPHOID),
        ("other_nucleus", GREY, ("neutrophil", "eosinophil", *BENIGN)),
    ),
)
"""The super-classes of NuCLS, of the same source: macrophages are among the stromal ones."""

PUMA = _listed(
    "puma",
    (
        ("nuclei_endothelium", CYAN, ("endothelium",)),
        ("nuclei_plasma_cell", PINK, ("plasma cell",)),
        ("nuclei_stroma", BLUE, ("fibroblast", "muscle")),
        ("nuclei_tumor", RED, ("melanoma",)),
        ("nuclei_histiocyte", PURPLE, ("macrophage",)),
        ("nuclei_apoptosis", GREY, ("dead",)),
        ("nuclei_epithelium", ORANGE, BENIGN),
        ("nuclei_melanophage", BROWN, ("melanophage",)),
        ("nuclei_neutrophil", YELLOW, ("neutrophil",)),
        ("nuclei_lymphocyte", GREEN, ("lymphocyte",)),
    ),
)
"""The ten classes of PUMA's second track, melanoma (Schuiveling et al. 2025, doi 10.1093/gigascience/giaf011), in the
order of the challenge's baseline (tueimage/PUMA-challenge-baseline-track2, `CLASS_LABELS_PUMA10`)."""

PUMA_3 = _listed(
    "puma3",
    (
        ("nuclei_lymphocyte", GREEN, LYMPHOID),
        ("nuclei_tumor", RED, ("melanoma",)),
        ("nuclei_other", GREY, (*LEUKOCYTES[2:], *STROMA, *BENIGN, *REST)),
    ),
)
"""The three classes of PUMA's first track: lymphocytes with plasma cells, tumour, all else."""

LISTS: Mapping[str, tuple[Taxonomy, str]] = MappingProxyType(
    {
        taxonomy.name: (taxonomy, of)
        for taxonomy, of in (
            (CELLS, "what can be told in any organ; most lists can be read as it"),
            (PANNUKE, "PanNuke, 19 organs"),
            (REFINED, "PanNuke and MoNuSAC relabelled by each other"),
            (MONUSAC, "MoNuSAC: lung, prostate, kidney, breast"),
            (CONSEP, "CoNSeP, merged as in HoVer-Net: colon"),
            (CONSEP_7, "CoNSeP as its files have them"),
            (CONIC, "Lizard and CoNIC: colon; `lizard` is the same list"),
            (NUCLS_MAIN, "NuCLS: breast"),
            (NUCLS_SUPER, "NuCLS, super-classes"),
            (PUMA, "PUMA, ten classes: melanoma"),
            (PUMA_3, "PUMA, three classes"),
            (BRCA_M2C, "dots of BRCA-M2C: breast"),
            (CRCHISTO, "dots of CRCHistoPhenotypes: colon"),
            (CYTODARK0, "CytoDArk0: brain in Nissl stain"),
        )
    }
)
"""Every list by its name, with what it is of, in the order they are told in."""

TAXONOMIES: Mapping[str, Taxonomy] = MappingProxyType({name: taxonomy for name, (taxonomy, _) in LISTS.items()})

_ALSO_CALLED = {"lizard": "conic"}

PANNUKE_TISSUES = (
    *("adrenal gland", "bile duct", "bladder", "breast", "cervix", "colon", "esophagus", "head and neck", "kidney"),
    *("liver", "lung", "ovarian", "pancreatic", "prostate", "skin", "stomach", "testis", "thyroid", "uterus"),
)
"""PanNuke's 19 tissues, in the order of CellViT's tissue head."""


def plain_tissue(tissue: str) -> str:
    """A tissue's name whatever way a set writes it: Bile-duct, bile_duct, "Bile duct"; PanNuke's HeadNeck too."""
    plain = " ".join(tissue.lower().replace("_", " ").replace("-", " ").split())
    return "head and neck" if plain in ("headneck", "head neck") else plain


def find_list(name: str) -> Taxonomy:
    """A list by its name, large and small letters alike.

    Raises:
        UnknownNameError: There is none.

    >>> find_list("Lizard").name
    'conic'
    """
    wanted = name.strip().casefold()
    wanted = _ALSO_CALLED.get(wanted, wanted)
    if wanted not in TAXONOMIES:
        raise UnknownNameError(
            "list of classes",
            name.strip(),
            TAXONOMIES,
            hint="Classes of your own have commas between them (tumour,stroma), a single one a comma behind it.",
        )
    return TAXONOMIES[wanted]


def asked_list(text: str, *, name: str = "own") -> Taxonomy:
    """What `--classes` asks for: a list by its name, or names of classes with commas between them.

    Args:
        text: As typed; a single class has a comma behind it.
        name: Name of a list that is not a known one.

    Raises:
        UnknownNameError: One word that is not a list.
        ContentError: A class without a name, or two of one.

    >>> asked_list("tumour, stroma").names, asked_list("nucleus,").names
    (('tumour', 'stroma'), ('nucleus',))
    """
    if "," not in text:
        return find_list(text)
    return taxonomy_of(text.rstrip().removesuffix(",").split(","), name=name)


def known_list(names: Sequence[str]) -> Taxonomy | None:
    """The list that has these classes, in whatever order and letters; None where none has."""
    wanted = sorted(name.casefold() for name in names)
    return next((t for t in TAXONOMIES.values() if sorted(n.casefold() for n in t.names) == wanted), None)


def taxonomy_of(names: Sequence[str], *, name: str = "own") -> Taxonomy:
    """A taxonomy for classes that have names alone: the known one with these in this order, or one of its own.

    Args:
        names: Names of the classes, in order.
        name: Name of the list, where it is not a known one.

    Raises:
        ContentError: No class, one without a name, or two of one name.
    """
    clean = [each.strip() for each in names]
    if not clean or not all(clean) or len(set(clean)) < len(clean):
        raise ContentError(f"'{', '.join(clean)}' is not a list of classes: each needs a name of its own.")
    known = known_list(clean)
    if known is not None and known.names == tuple(clean):
        return known
    return Taxonomy(name, tuple(CellClass(each, COLOURS[i % len(COLOURS)]) for i, each in enumerate(clean)))


def readings(own: Taxonomy, wanted: Taxonomy) -> dict[str, tuple[str, ...]]:
    """What each class of a list may be in another one.

    Of two lists that are known (by their classes, whatever they are called) a class may be those that have a kind of
    cell in common with it. Where kinds of it are in none of the wanted classes, it is read only while several are left:
    a single one would say more than the label does. Of other lists, a class is read by its name alone.

    Args:
        own: The classes that labels have.
        wanted: The classes to read them as.

    Returns:
        Own class → one or several wanted classes in their order, for those that have any.

    >>> readings(CONSEP, CELLS)["inflammatory"]
    ('lymphocyte', 'macrophage', 'neutrophil')
    >>> readings(CELLS, CONSEP)["lymphocyte"]
    ('inflammatory',)
    """
    kinds, kinds_wanted = _kinds_of(own), _kinds_of(wanted)
    if kinds is None or kinds_wanted is None or own.names == wanted.names:
        return _by_name(own.names, wanted.names)
    there = frozenset[str]().union(*kinds_wanted.values())
    result = {}
    for name, its in kinds.items():
        classes = tuple(each for each, theirs in kinds_wanted.items() if its & theirs)
        if len(classes) > 1 or (classes and not its - there - _SELDOM):
            result[name] = classes
    return result


def _by_name(own: Sequence[str], wanted: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Same name, or the same but for large and small letters where that is plain."""
    folded = Counter(name.casefold() for name in wanted)
    loose = {name.casefold(): name for name in wanted if folded[name.casefold()] == 1}
    found = {name: name if name in wanted else loose.get(name.casefold()) for name in own}
    return {name: (other,) for name, other in found.items() if other is not None}


def _kinds_of(taxonomy: Taxonomy) -> dict[str, frozenset[str]] | None:
    """The kinds of cell of each class, in the taxonomy's order and by its names; None of a list that is not known."""
    known = known_list(taxonomy.names)
    if known is None:
        return None
    of = {name.casefold(): kinds for name, kinds in _KINDS[known.name].items()}
    return {name: of[name.casefold()] for name in taxonomy.names}
