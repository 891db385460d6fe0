"""The vendors' formats that OpenSlide reads: SVS, NDPI, MRXS, SCN, BIF, generic pyramids, DICOM."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray

from histocyte.core.errors import SlideError
from histocyte.core.geometry import Box
from histocyte.slides.dicom import Instance, dicom_files, read_instance, slide_series
from histocyte.slides.fingerprint import fingerprint_files
from histocyte.slides.protocol import StoredLevel
from histocyte.slides.tiff_header import check_sizes, note_of_others, tile_fault

__all__ = ["OpenSlideBackend", "companions_of"]

_BOUNDS = (
    openslide.PROPERTY_NAME_BOUNDS_X,
    openslide.PROPERTY_NAME_BOUNDS_Y,
    openslide.PROPERTY_NAME_BOUNDS_WIDTH,
    openslide.PROPERTY_NAME_BOUNDS_HEIGHT,
)
_NO_DICOM = "a folder without DICOM files"
_SAME_RATIO = 0.05
_CELL_PX = 512
_CACHE_BYTES = 32 << 20
"""Size of the cache of decoded tiles: those that neighbouring blocks share, of a few blocks at a time."""


class OpenSlideBackend:
    """Levels as OpenSlide gives them.

    `path` is a file or a folder of DICOM files, of which those of one series are a slide. A JPEG tile that is cut off
    in the middle is no error to OpenSlide: the rest of that tile comes back grey.
    """

    def __init__(self, path: Path) -> None:
        self._file, self._instances, self.notes = _dicom_slide(path)
        _check_before_opening(self._file, self._instances)
        self._lock = threading.Lock()
        self._slide: openslide.OpenSlide | None = None
        slide = self._opened()
        self._downsamples = tuple(slide.level_downsamples)
        self.levels = tuple(_stored_level(slide, i, self._instances) for i in range(slide.level_count))
        self.stated_mpp = _stated_mpp(slide)
        self.bounds = _bounds(slide)
        self.notes += _left_out(path, slide)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the file and of those that belong to it, see `slides.fingerprint`."""
        return fingerprint_files(
            [instance.path for instance in self._instances] or [self._file, *companions_of(self._file)]
        )

    def read_level(self, level: int, box: Box) -> NDArray[np.uint8]:
        """RGB pixels of a level; what the scanner left out is white."""
        downsample = self._downsamples[level]
        if downsample == int(downsample):
            return self._read(level, box)
        # OpenSlide takes places in level-0 px and interpolates where they fall between two pixels of such a
        # level. Cells on a fixed grid keep a pixel's value independent of the box.
        out = np.empty((box.height, box.width, 3), np.uint8)
        plane = Box(0, 0, *self.levels[level].size)
        for y in range(box.y // _CELL_PX * _CELL_PX, box.bottom, _CELL_PX):
            for x in range(box.x // _CELL_PX * _CELL_PX, box.right, _CELL_PX):
                cell = Box(x, y, _CELL_PX, _CELL_PX).clip(plane)
                part = cell.clip(box)
                out[part.slices((box.x, box.y))] = self._read(level, cell)[part.slices((x, y))]
        return out

    def close(self) -> None:
        """Give up the file handle."""
        with self._lock:
            if self._slide is not None:
                self._slide.close()
            self._slide = None

    def _opened(self) -> openslide.OpenSlide:
        with self._lock:
            if self._slide is None:
                try:
                    self._slide = openslide.OpenSlide(self._file)
                except (openslide.OpenSlideError, OSError) as error:
                    raise SlideError(str(error) or type(error).__name__) from error
                self._slide.set_cache(openslide.OpenSlideCache(_CACHE_BYTES))
            return self._slide

    def _read(self, level: int, box: Box) -> NDArray[np.uint8]:
        """A box in bands of rows: OpenSlide gives RGBA, of which a whole box would be held several times over."""
        out = np.empty((box.height, box.width, 3), np.uint8)
        for top in range(0, box.height, _CELL_PX):
            band = Box(box.x, box.y + top, box.width, min(_CELL_PX, box.height - top))
            out[top : top + _CELL_PX] = self._read_band(level, band)
        return out

    def _read_band(self, level: int, box: Box) -> NDArray[np.uint8]:
        slide = self._opened()
        downsample = self._downsamples[level]
        location = (round(box.x * downsample), round(box.y * downsample))
        try:
            rgba = np.asarray(slide.read_region(location, level, (box.width, box.height)))
        except openslide.OpenSlideError:
            # After an error a handle answers nothing else; other threads may still hold it, so it is not closed.
            with self._lock:
                if self._slide is slide:
                    self._slide = None
            raise
        return _on_white(rgba)


def _check_before_opening(file: Path, instances: list[Instance]) -> None:
    """OpenSlide asks for memory as a file tells it to, and ends the whole program where there is none."""
    check_sizes(file)
    for instance in instances:
        if instance.tile is not None and (fault := tile_fault(*instance.tile)):
            raise SlideError(f"damaged: {instance.path.name} states {fault}")


def _dicom_slide(path: Path) -> tuple[Path, list[Instance], tuple[str, ...]]:
    """The file to open, all files of its slide if they are DICOM, and a note of other slides in its folder."""
    if not path.is_dir():
        instance = read_instance(path)
        if instance is None or not instance.series:
            return path, [], ()
        return path, [i for i in map(read_instance, dicom_files(path.parent)) if i and i.series == instance.series], ()
    series = slide_series(path)
    if not series:
        there = len(dicom_files(path))
        raise SlideError(f"a folder of {there} DICOM files, none a level of a slide" if there else _NO_DICOM)
    first, *others = [next(instance for instance in one if instance.is_level) for one in series]
    notes: tuple[str, ...] = ()
    if others:
        named = ", ".join(f"{instance.path.name} (series {instance.series})" for instance in others)
        notes = (
            f"The folder holds {len(series)} slides; {first.path.name} is read. Left out, pass it by name: {named}.",
        )
    return first.path, series[0], notes


def companions_of(file: Path) -> list[Path]:
    """The files beside it that a slide of several consists of (MRXS, VMS, VMU), sorted."""
    folder = file.with_suffix("")
    if file.suffix.lower() == ".mrxs" and folder.is_dir():
        return sorted(p for p in folder.iterdir() if p.is_file())
    if file.suffix.lower() in {".vms", ".vmu"}:
        # A list of the kind KEY=NAME.
        names = {line.partition(b"=")[2].strip().decode("utf-8", "replace") for line in _head(file).splitlines()}
        return sorted(p for p in (file.with_name(name) for name in names if name and "/" not in name) if p.is_file())
    return []


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(1 << 20)


def _stored_level(slide: openslide.OpenSlide, i: int, instances: list[Instance]) -> StoredLevel:
    """A level with its tiles, and its downsample where the format states one (Philips' TIFF, DICOM)."""
    size, full = slide.level_dimensions[i], slide.level_dimensions[0]
    quotient = (full[0] / size[0] + full[1] / size[1]) / 2  # what OpenSlide says where the format says nothing
    downsample = slide.level_downsamples[i]
    stated = downsample if abs(downsample / quotient - 1) > 1e-6 else _by_spacing(full, size, instances)
    tile = [slide.properties.get(f"openslide.level[{i}].tile-{side}") for side in ("width", "height")]
    return StoredLevel(
        size,
        (int(tile[0]), int(tile[1])) if tile[0] and tile[1] else None,
        stated,
    )


def _by_spacing(full: tuple[int, int], size: tuple[int, int], instances: list[Instance]) -> float | None:
    """How much wider the pixels of a DICOM level are than those of level 0, where both say and their sides agree."""
    stated = {instance.size: instance.spacing_mm for instance in instances if instance.is_level}
    finest, here = stated.get(full), stated.get(size)
    if finest is None or here is None or size == full:
        return None
    across, down = here[0] / finest[0], here[1] / finest[1]
    return (across + down) / 2 if abs(across - down) <= _SAME_RATIO * max(across, down) else None


def _left_out(path: Path, slide: openslide.OpenSlide) -> tuple[str, ...]:
    """A note of the other images of a TIFF; vendors' own formats have no more than label, macro and thumbnail."""
    if slide.properties.get(openslide.PROPERTY_NAME_VENDOR) != "generic-tiff":
        return ()
    return note_of_others(path, {*slide.level_dimensions, *(image.size for image in slide.associated_images.values())})


def _stated_mpp(slide: openslide.OpenSlide) -> float | tuple[float, float] | None:
    stated = []
    for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y):
        with suppress(KeyError, ValueError):
            stated.append(float(slide.properties[name]))
    return (stated[0], stated[1]) if len(stated) == 2 else stated[0] if stated else None


def _bounds(slide: openslide.OpenSlide) -> Box | None:
    """The scanned part of level 0, by the rule of QuPath: where all four numbers are stated."""
    try:
        x, y, width, height = (int(slide.properties[name]) for name in _BOUNDS)
    except (KeyError, ValueError):
        return None
    return Box(x, y, width, height) if width > 0 and height > 0 else None


def _on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 4) straight alpha → (H, W, 3) on white."""
    alpha = rgba[..., 3]
    rgb = np.ascontiguousarray(rgba[..., :3])
    clear = alpha == 0  # most of what a scanner left out, and quick to fill
    if clear.any():
        rgb[clear] = 255
    edge = (alpha < 255) & ~clear
    if edge.any():
        weight = alpha[edge][:, None].astype(np.uint16)
        rgb[edge] = (rgb[edge] * weight + 255 * (255 - weight) + 127) // 255
    return rgb
