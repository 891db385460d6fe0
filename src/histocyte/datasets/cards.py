"""Facts about the labelled sets this project reads: classes, resolution, licence, what may not be split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["DATASETS", "DatasetCard"]


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """What has to be known about a data set to train on it and to ship what was trained.

    Attributes:
        name: Folder name.
        mpp: µm per px of its images; a mapping by image name where it varies ("*" for the rest).
        licence: As its authors state it.
        citation: Short reference.
        group: Image name → patient, slide, or whatever must stay on one side of a split.
        classes: The set's own class names in the order of its type codes; empty where it has none.
        into: Its class name → class of the CoNSeP taxonomy.
        separable: Whether touching nuclei are apart in the labels.
        external: Never to be trained or selected on.
        commercial: Whether its licence, as far as it is known, lets models that learnt from it be used commercially.
    """

    name: str
    mpp: float
    licence: str
    citation: str
    group: Callable[[str], str]
    classes: tuple[str, ...] = ()
    into: Mapping[str, str] = field(default_factory=dict)
    separable: bool = True
    external: bool = False
    commercial: bool = False
    mpp_by_image: Mapping[str, float] = field(default_factory=dict)


def _patient(name: str) -> str:
    # train_TCGA-18-5592-01Z-00-DX1 → TCGA-18-5592: the first 12 characters of a TCGA barcode are the patient
    barcode = name[name.index("TCGA") :] if "TCGA" in name else name
    return barcode[:12]


def _itself(name: str) -> str:
    return name


def _before_underscore(name: str) -> str:
    return name.split("_")[0]


_SAME = {n: n for n in ("other", "inflammatory", "epithelial", "spindle")}

DATASETS: dict[str, DatasetCard] = {
    card.name: card
    for card in (
        DatasetCard(
            "consep",
            0.25,
            "Apache-2.0 (as reported; verify)",
            "Graham et al., Medical Image Analysis 58, 2019",
            _itself,
            tuple(_SAME),
            _SAME,
            commercial=True,
        ),
        DatasetCard("monuseg", 0.25, "CC BY-NC-SA 4.0", "Kumar et al., IEEE TMI 36(7), 2017", _patient),
        DatasetCard(
            "tnbc", 0.25, "CC BY 4.0", "Naylor et al., IEEE TMI 38(2), 2019", _before_underscore, commercial=True
        ),
        DatasetCard(
            *("nuinsseg", 0.25, "CC BY 4.0", "Mahbod et al., Scientific Data 11, 2024", _itself),
            separable=False,
            commercial=True,
        ),
        DatasetCard("nucls_sample", 0.2, "CC0 1.0", "Amgad et al., GigaScience 11, 2022", _itself, commercial=True),
        DatasetCard("pannuke_breast25", 0.25, "CC BY-NC-SA 4.0", "Gamper et al., arXiv:2003.10778, 2020", _itself),
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
