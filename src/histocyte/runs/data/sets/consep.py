"""CoNSeP: 41 fields of the colon with seven classes (Graham et al. 2019, doi 10.1016/j.media.2019.101563)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from histocyte.core.taxonomies import CONSEP_7
from histocyte.datasets.cards import DATASETS, DatasetCard
from histocyte.datasets.labelled_image import Entry, LabelledImage
from histocyte.runs.data.sets.public_set import SetReader, cells_of, files_in, is_in, labelled, listed, paired
from histocyte.slides.picture import picture_size

__all__ = ["CONSEP"]

_LAYOUT = "Train/Images/NAME.png, Train/Labels/NAME.mat, and the same in Test"


def _entries(source: Path) -> list[Entry]:
    pictures = [p for p in files_in(source, (".png",)) if p.parent.name.lower() != "overlay"]
    pairs = paired(pictures, files_in(source, (".mat",)))
    return listed((Entry(p.stem, partial(_image, p, labels, source)) for p, labels in pairs), source, "CoNSeP", _LAYOUT)


def _image(picture: Path, labels: Path, source: Path) -> LabelledImage:
    instances, classes = cells_of(labels, picture_size(picture), CONSEP_7)
    split = "test" if is_in(picture, source, "test") else "train"
    return labelled(picture, source, instances=instances, classes=classes, tissue="colon", split=split)


_KNOWN = DATASETS["consep"]
CONSEP = SetReader(
    "CoNSeP",
    DatasetCard("consep", _KNOWN.mpp, _KNOWN.licence, _KNOWN.citation, _KNOWN.group, CONSEP_7, commercial=True),
    _LAYOUT,
    _entries,
)
