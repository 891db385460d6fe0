"""From a path to a reader, or one sentence why not."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import openslide

from histocyte.core.errors import MissingExtraError, SlideError
from histocyte.files.foreign import broken_link, reason_of
from histocyte.files.names import safe_name
from histocyte.slides.image_reader import IMAGE_SUFFIXES, ImageBackend
from histocyte.slides.openslide_reader import OpenSlideBackend
from histocyte.slides.protocol import Backend, RefusedError, SlideReader
from histocyte.slides.reader import PyramidReader
from histocyte.slides.tiff_header import open_tiff, orientation_of
from histocyte.slides.tiff_reader import TiffBackend

__all__ = ["SLIDE_SUFFIXES", "no_such", "open_slide", "slide_name"]

_TIFF_SUFFIXES = frozenset({".btf", ".tf2", ".tf8", ".tif", ".tiff"})
_VENDOR_SUFFIXES = frozenset({".bif", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".vms", ".vmu"})
_SCAN_SUFFIXES = _TIFF_SUFFIXES | _VENDOR_SUFFIXES | {".dcm"}

SLIDE_SUFFIXES = _SCAN_SUFFIXES | IMAGE_SUFFIXES
"""Endings (lower case) of the files that count as slides in a folder."""

_NO_VENDORS = ("generic-tiff", None)
"""What OpenSlide calls a TIFF that no vendor wrote."""

_RGB = (2, 6)
"""RGB and YCbCr among TIFF's photometric interpretations."""

_BACKENDS: dict[str, Callable[[Path], Backend]] = {
    "OpenSlide": OpenSlideBackend,
    "TIFF": TiffBackend,
    "image": ImageBackend,
}


def open_slide(path: str | Path, *, mpp: float | None = None) -> SlideReader:
    """Open a slide or image.

    Args:
        path: A slide, an image, a DICOM file, or a folder of DICOM files (its first slide, and a note of others).
        mpp: Resolution of level 0, µm/px; needed where the file states none or a wrong one, and always for
            plain images (PNG, JPEG, WebP).

    Raises:
        SlideError: No such file, or no backend reads it; the message gives each one's reason.
        ResolutionError: The resolution is unknown or outside 0.05–10 µm/px.
        MissingExtraError: The file's compression needs the extra `tiff`.
    """
    path = Path(path)
    if not path.exists():
        raise SlideError(no_such(path))
    if path.is_file() and not path.stat().st_size:
        raise SlideError(f"{path} is empty. Copy or export it again.")
    reasons: list[str] = []
    missing: MissingExtraError | None = None
    for name in _order(path):
        try:
            return PyramidReader(partial(_BACKENDS[name], path), name=slide_name(path), path=path, mpp=mpp)
        except SlideError as error:
            if isinstance(error, RefusedError):  # what others said of it does not count
                raise SlideError(f"{path} cannot be read: {error}.") from error
            reasons.append(f"{name}: {reason_of(error)}")
        except MissingExtraError as error:
            missing = error
    if missing is not None:
        raise MissingExtraError(f"{path} needs one more package: {missing}") from missing
    raise SlideError(
        f"{path} cannot be opened ({'; '.join(reasons)}). Check that the file is whole, or convert it to a pyramidal "
        "OME-TIFF, e.g. with QuPath or bfconvert."
    )


def slide_name(path: Path) -> str:
    """The file's name without its ending (`.ome.tif` as a whole), such that a folder may be called so.

    A folder's name, and one that is a DICOM identifier, has no ending: the part after its last point is part of it.
    """
    if path.is_dir():
        return safe_name(path.resolve().name)
    stem = path.name if re.fullmatch(r"[\d.]*", path.suffix) else path.stem
    return safe_name(re.sub(r"\.ome$", "", stem, flags=re.IGNORECASE))


def _order(path: Path) -> tuple[str, ...]:
    """Backends to try, the likeliest first."""
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".dcm":
        return ("OpenSlide",)
    if suffix in IMAGE_SUFFIXES:
        return ("image",)
    if _is_beyond_openslide(path):
        return ("TIFF",)
    if suffix in _TIFF_SUFFIXES:
        # OpenSlide would see such a file's full resolution only: OME keeps the pyramid in SubIFDs.
        return ("TIFF", "OpenSlide") if _is_ome(path) else ("OpenSlide", "TIFF")
    if suffix in _VENDOR_SUFFIXES:
        return ("OpenSlide", "TIFF")
    return ("OpenSlide", "TIFF", "image")


def _is_ome(path: Path) -> bool:
    with suppress(Exception), open_tiff(path) as file:  # whatever is wrong is said by who opens it
        return bool(file.is_ome)
    return False


def _is_beyond_openslide(path: Path) -> bool:
    """Whether it is a TIFF that no vendor wrote, and none of RGB of 8 bits.

    Of 16 bits OpenSlide keeps the upper 8, so that a picture of 12 is black; where all is transparent, it shows white;
    and of a picture that is to be turned, it turns each tile.
    """
    with suppress(Exception):
        if openslide.OpenSlide.detect_format(path) in _NO_VENDORS:
            with open_tiff(path) as file:
                page = file.pages.first
                plain = page.bitspersample == 8 and not page.extrasamples and page.photometric in _RGB
                return not plain or orientation_of(page) != 1
    return False


def no_such(path: Path) -> str:
    """What to say of a path that is not there, with one beside it that is called nearly so."""
    if why := broken_link(path):
        return f"{why}. Mend or remove the link."
    near: list[str] = []
    if path.parent.is_dir():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=1)
    return f"No such file: {path}." + (f" Did you mean {path.parent / near[0]}?" if near else "")
