"""Slides and pictures, opened as every command opens them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from fuzzing.inputs import IMAGE
from histocyte.core.geometry import Box
from histocyte.slides.open import open_slide
from histocyte.slides.tissue import find_tissue
from histocyte.testing.attack import Target
from histocyte.testing.pyramid import write_pyramid
from histocyte.testing.vendor_files import write_dicom, write_leica


def seen(path: Path, mpp: float | None = 0.25) -> None:
    """Open it and do what is done with every slide."""
    with open_slide(path, mpp=mpp) as slide:
        _ = slide.fingerprint
        slide.read(Box(0, 0, 64, 64), mpp=slide.mpp)
        find_tissue(slide)


def ome_pyramid(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as writer:
        options: dict[str, Any] = {"photometric": "rgb", "tile": (64, 64)}
        size = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25, "axes": "YXS"}
        writer.write(np.tile(IMAGE, (2, 2, 1)), subifds=1, metadata=size, **options)
        writer.write(IMAGE, subfiletype=1, **options)


def aperio(path: Path) -> None:
    text = "Aperio Image Library v1\r\n96x96 (64x64) RGB|AppMag = 40|MPP = 0.25"
    tifffile.imwrite(path, IMAGE, photometric="rgb", tile=(64, 64), description=text, metadata=None)


def deep(path: Path) -> None:
    tifffile.imwrite(path, IMAGE.astype(np.uint16) << 4, photometric="rgb", planarconfig="contig")


def picture(name: str) -> Target:
    kinds = {"grey.png": "L", "palette.png": "P", "alpha.png": "RGBA"}

    def make(folder: Path) -> None:
        Image.fromarray(IMAGE).convert(kinds.get(name, "RGB")).save(folder / name)

    return Target(f"picture {name}", make, (name,), lambda folder: seen(folder / name), share=0.5)


def slide(name: str, write: Callable[[Path], object], *, mpp: float | None = 0.25) -> Target:
    return Target(f"slide {name}", lambda f: write(f / name), (name,), lambda f: seen(f / name, mpp))


def dicom(folder: Path) -> None:
    (folder / "d").mkdir()
    for number, image in enumerate((IMAGE, np.ascontiguousarray(IMAGE[::2, ::2]))):
        write_dicom(folder / "d" / f"{number}.dcm", image, series="1.2.3.9", mpp=0.25 * (number + 1), tile_px=64)


TARGETS = (
    slide("plain.tif", lambda path: write_pyramid(path, np.tile(IMAGE, (6, 6, 1)), 0.25), mpp=None),
    slide("deep.tif", deep),
    slide("pyramid.ome.tif", ome_pyramid, mpp=None),
    slide("aperio.svs", aperio, mpp=None),
    slide("leica.scn", lambda path: write_leica(path, IMAGE, corner=(100, 70), mpp=(0.25, 0.25)), mpp=None),
    Target("slide dicom", dicom, ("d/0.dcm", "d/1.dcm"), lambda folder: seen(folder / "d", None)),
    *map(picture, ("plain.png", "grey.png", "palette.png", "alpha.png", "x.jpg", "x.webp", "x.bmp")),
)
