"""What options of representations can be. Model files bring them, and `model.build` holds each to its type here."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from histocyte.core.taxonomy import MOST_CLASSES

__all__ = ["AreaPx", "Classes", "KernelPx", "LengthPx", "Share", "Weight"]


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("a kernel has an odd number of pixels")
    return value


Classes = Annotated[int, Field(ge=0, le=MOST_CLASSES)]
AreaPx = Annotated[int, Field(ge=0, le=2**31 - 1)]
LengthPx = Annotated[float, Field(gt=0, le=256, allow_inf_nan=False)]
KernelPx = Annotated[int, Field(ge=1, le=31), AfterValidator(_odd)]
"""Side of a kernel that OpenCV takes."""
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
