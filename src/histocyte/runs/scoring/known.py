"""Whether the model that found cells had learnt from the image that they are scored on, where that can be known."""

from __future__ import annotations

from pathlib import Path

from histocyte.core.errors import InputError
from histocyte.evaluation.files.pairs import TrueImage, picture_of
from histocyte.formats.manifest import RUN_FILE, RunRecord, read_manifest
from histocyte.model.checkpoint import read_spec
from histocyte.model.learnt_set import Standing
from histocyte.model.zoo import bundled_models

__all__ = ["known_to_its_model"]


def known_to_its_model(found: Path, image: TrueImage, mpp: float) -> Standing:
    """What the model had to do with an image before.

    A result of `histocyte segment` says it of its image, and which model it was; a bundled one is asked for the image
    beside the truth, which may be a part of the slide.

    Args:
        found: The file of found cells, or the folder of a result.
        image: The truth.
        mpp: Resolution of the image beside it.
    """
    folder = found if found.is_dir() else found.parent
    try:
        record = read_manifest(folder / RUN_FILE, RunRecord)
    except InputError:
        return Standing.NEW  # of another program
    said = record.known_to_model.upper()
    standing = Standing[said] if said in Standing.__members__ else Standing.NEW
    model = bundled_models().get(record.model)
    picture = picture_of(image.picture) if model is not None and not standing else None
    if model is not None and model.safetensors is not None and picture is not None:
        standing = read_spec(model.safetensors).history.know_image(picture, mpp)
    return standing
