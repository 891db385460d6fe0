"""Facts about the labelled sets this project reads: classes, resolution, licence, what may not be split."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from histocyte.core.taxonomies import BRCA_M2C, CONSEP, CRCHISTO, MONUSAC
from histocyte.core.taxonomy import Taxonomy
from histocyte.core.tissues import EBHI_SEG, GLANDS, WSSS4LUAD

__all__ = ["DATASETS", "DatasetCard"]


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """What has to be known about a data set to train on it and to ship what was trained.

    Attributes:
        name: Folder name.
        mpp: µm per px of its images; NaN where nobody states it, so that whoever uses the set has to.
        licence: As its authors state it.
        citation: Short reference.
        group: Image name → patient, slide, or whatever must stay on one side of a split.
        taxonomy: The set's own classes in the order of its type codes; None where it has none.
        ignored: Type codes of what teaches nothing: regions of which nobody could say what they are.
        dots: Nuclei are dots without outlines: "all" nuclei have one, or "some" have.
        nucleus_um: Median diameter of its nuclei, µm, from which the resolution of each image follows where it is not
            known but the table of the set states that diameter in px.
        share: How often crops are drawn from it, beside other sets.
        separable: Whether touching nuclei are apart in the labels.
        centres: Whether nuclei can be told by their centres where their outlines are not to be trusted: "all", or
            "some" where others are not labelled. Of dots it is as `dots` says.
        areas: What masks of a set of tissue hold: a class in each pixel, or an id for each object such as a gland.
        external: Never to be trained or selected on.
        commercial: Whether its licence, as far as it is known, lets models that learnt from it be used commercially.
    """

    name: str
    mpp: float
    licence: str
    citation: str
    group: Callable[[str], str]
    taxonomy: Taxonomy | None = None
    ignored: tuple[int, ...] = ()
    dots: Literal["", "all", "some"] = ""
    nucleus_um: float | None = None
    share: float = 1.0
    separable: bool = True
    centres: Literal["", "all", "some"] = ""
    areas: Literal["", "classes", "objects"] = ""
    external: bool = False
    commercial: bool = False
    mpp_by_image: Mapping[str, float] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its classes, in the order of its type codes; none where it has none."""
        return () if self.taxonomy is None else self.taxonomy.names


def _patient(name: str) -> str:
    # train_TCGA-18-5592-01Z-00-DX1 → TCGA-18-5592: the first 12 characters of a TCGA barcode are the patient
    barcode = name[name.index("TCGA") :] if "TCGA" in name else name
    return barcode[:12]


def _itself(name: str) -> str:
    return name


def _before_underscore(name: str) -> str:
    return name.split("_")[0]


DATASETS: dict[str, DatasetCard] = {
    card.name: card
    for card in (
        DatasetCard(
            "consep",
            0.25,
            "Apache-2.0 (as reported; verify)",
            "Graham et al., Medical Image Analysis 58, 2019",
            _itself,
            CONSEP,
            share=0.40,
            commercial=True,
        ),
        DatasetCard("monuseg", 0.25, "CC BY-NC-SA 4.0", "Kumar et al., IEEE TMI 36(7), 2017", _patient, share=0.38),
        DatasetCard("monuseg7", 0.25, "CC BY-NC-SA 4.0", "Kumar et al., IEEE TMI 36(7), 2017", _patient, share=0.10),
        DatasetCard(
            "tnbc",
            0.25,
            "CC BY 4.0",
            "Naylor et al., IEEE TMI 38(2), 2019",
            _before_underscore,
            share=0.12,
            commercial=True,
        ),
        DatasetCard(
            "nuinsseg",
            0.25,
            "CC BY 4.0",
            "Mahbod et al., Scientific Data 11, 2024",
            _itself,
            share=0.10,
            separable=False,
            commercial=True,
        ),
        DatasetCard(
            "monusac",
            0.25,
            "CC BY-NC-SA 4.0",
            "Verma et al., IEEE TMI 40(12), 2021",
            _patient,
            MONUSAC,
            ignored=(5,),
            share=0.25,
            separable=False,  # touching nuclei of one class were drawn as one and parted by a watershed
            centres="some",  # those of no class, as in stroma, are not labelled
        ),
        DatasetCard(
            "dsb2018_he",
            0.25,
            "CC0 1.0",
            "Caicedo et al., Nature Methods 16, 2019",
            _itself,
            nucleus_um=5.1,
            share=0.05,
            commercial=True,
        ),
        DatasetCard(
            "brca_m2c_points",
            0.5,
            "BSD-3-Clause (repository; images of TCGA)",
            "Abousamra et al., ICCV 2021",
            _patient,
            BRCA_M2C,
            dots="all",
            share=0.25,
            commercial=True,
        ),
        DatasetCard(
            "crchisto_points",
            0.55,
            "research only",
            "Sirinukunwattana et al., IEEE TMI 35(5), 2016",
            _itself,
            CRCHISTO,
            dots="some",
            share=0.15,
        ),
        DatasetCard("nucls_sample", 0.2, "CC0 1.0", "Amgad et al., GigaScience 11, 2022", _itself, commercial=True),
        DatasetCard("pannuke_breast25", 0.25, "CC BY-NC-SA 4.0", "Gamper et al., arXiv:2003.10778, 2020", _itself),
        DatasetCard(
            "glas",
            0.62005,
            "research only",
            "Sirinukunwattana et al., Medical Image Analysis 35, 2017",
            _itself,  # the patient stands in images.csv
            GLANDS,
            areas="objects",
        ),
        DatasetCard(
            "wsss4luad",
            1.0,
            "research only",
            "Han et al., Medical Image Analysis 80, 2022",
            _itself,
            WSSS4LUAD,
            areas="classes",
        ),
        DatasetCard(
            "ebhi_seg",
            math.nan,
            "CC BY 4.0",
            "Shi et al., Frontiers in Medicine 10, 2023",
            _itself,  # the case stands in images.csv
            EBHI_SEG,
            areas="classes",
            commercial=True,
        ),
        DatasetCard(
            "cpm15",
            0.25,
            "none stated",
            "MICCAI 2015 Segmentation of Nuclei in Images",
            _itself,
            external=True,
            mpp_by_image={f"image{i:02d}": 0.5 for i in range(1, 8)},
        ),
    )
}
