from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from histocyte.core.errors import ResolutionError, SlideError
from histocyte.core.geometry import Box
from histocyte.slides.image_reader import ImageBackend
from histocyte.slides.open import open_slide

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
ALL = Box(0, 0, 60, 40)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp"])
def test_lossless_images_come_back_as_they_are(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"field{suffix}"
    Image.fromarray(PIXELS).save(path, lossless=True)
    slide = open_slide(path, mpp=0.5)
    assert (slide.name, slide.size) == ("field", (60, 40))
    np.testing.assert_array_equal(slide.read(ALL, mpp=0.5), PIXELS)


def test_jpeg_is_not_turned_by_its_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "x.jpg", quality=95, exif=exif, dpi=(72, 72))
    assert open_slide(tmp_path / "x.jpg", mpp=0.5).size == (60, 40)


def test_an_image_needs_its_resolution(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.png", dpi=(72, 72))
    with pytest.raises(ResolutionError, match=r"x\.png does not state its resolution.*--mpp 0.25"):
        open_slide(tmp_path / "x.png")


def test_grey_16_bits_palette_and_alpha(tmp_path: Path) -> None:
    def read(name: str) -> np.ndarray:
        return ImageBackend(tmp_path / name).read_level(0, ALL)

    grey = np.repeat(PIXELS[..., :1], 3, axis=2)
    cv2.imwrite(str(tmp_path / "grey16.png"), PIXELS[..., 0].astype(np.uint16) * 257)
    np.testing.assert_array_equal(read("grey16.png"), grey)
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read("grey.png"), grey)
    cv2.imwrite(str(tmp_path / "rgb16.png"), PIXELS[..., ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(read("rgb16.png"), PIXELS)
    Image.fromarray(PIXELS).quantize(16).save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read("palette.png"), np.asarray(Image.fromarray(PIXELS).quantize(16).convert("RGB")))
    alpha = np.where(np.arange(60) < 20, 0, 255).astype(np.uint8)[None].repeat(40, 0)
    Image.fromarray(np.dstack([PIXELS, alpha])).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read("alpha.png"), np.where(alpha[..., None] == 0, 255, PIXELS))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_image_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    Image.fromarray(PIXELS).save(path)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(SlideError, match="damaged image"):
        open_slide(path, mpp=0.5)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    assert ImageBackend(tmp_path / "x.png").levels[0].size == (60, 40)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(SlideError, match="pyramidal TIFF"):
        ImageBackend(tmp_path / "x.png")
