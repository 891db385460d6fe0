"""What an ONNX file's features are, where it gives any."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter

from histocyte.core.errors import ModelError
from histocyte.model.features import FeatureInfo
from histocyte.model.onnx.metadata import FEATURES_KEY, onnx_metadata

__all__ = ["features_in"]


def features_in(path: Path) -> FeatureInfo | None:
    """What the features of a file are; None for a file that gives maps alone.

    Raises:
        InputError: No such file.
        ModelError: No ONNX file, a damaged one, or one that describes its features otherwise.
    """
    text = onnx_metadata(path).get(FEATURES_KEY)
    if text is None:
        return None
    try:
        return TypeAdapter(FeatureInfo).validate_python(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelError(
            f"'{path}' describes its features in a way that this histocyte does not know. Export it again: "
            "histocyte models export --features."
        ) from error
