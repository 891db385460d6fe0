"""Write pictures in vendors' formats, as small as OpenSlide takes them, with what such files state of themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

__all__ = ["write_leica"]

_NM_PER_UM = 1000


def write_leica(
    path: str | Path, image: NDArray[np.uint8], *, corner: tuple[int, int] = (0, 0), mpp: tuple[float, float]
) -> None:
    """Write a picture as Leica SCN: a scanned area somewhere on a slide, which OpenSlide states as bounds.

    Args:
        path: The file, replaced if it is there.
        image: (H, W, 3) uint8 RGB.
        corner: (x, y) of the picture on the slide, level-0 px.
        mpp: Size of a pixel across and down, µm.
    """
    height, width = image.shape[:2]
    nm = [round(side * _NM_PER_UM) for side in mpp]
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="c" sizeX="{(corner[0] * 2 + width) * nm[0]}" sizeY="{(corner[1] * 2 + height) * nm[1]}">'
        '<image name="main"><device model="m" version="1"/><creationDate>2020-01-01</creationDate>'
        f'<pixels sizeX="{width}" sizeY="{height}"><dimension sizeX="{width}" sizeY="{height}" r="0" ifd="0"/></pixels>'
        f'<view sizeX="{width * nm[0]}" sizeY="{height * nm[1]}" '
        f'offsetX="{corner[0] * nm[0]}" offsetY="{corner[1] * nm[1]}"/>'
        "<scanSettings><objectiveSettings><objective>40</objective></objectiveSettings><illuminationSettings>"
        "<illuminationSource>brightfield</illuminationSource><numericalAperture>0.6</numericalAperture>"
        "</illuminationSettings></scanSettings></image></collection></scn>"
    )
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            image,
            tile=(256, 256),
            photometric="rgb",
            description=text,
            metadata=None,
            resolution=(1e4 / mpp[0], 1e4 / mpp[1]),
            resolutionunit="CENTIMETER",
        )
