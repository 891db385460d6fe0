"""Pictures are read whole or refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.datasets.pictures import decode_picture

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 255, (64, 48, 3), dtype=np.uint8)


def encoded(suffix: str) -> bytes:
    return cv2.imencode(suffix, PIXELS[..., ::-1])[1].tobytes()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pixels_are_rgb(suffix: str) -> None:
    np.testing.assert_array_equal(decode_picture(encoded(suffix), Path("a")), PIXELS)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_picture_that_is_cut_off_is_refused_and_nothing_else_is_said(
    suffix: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    content = encoded(suffix)
    with pytest.raises(InputError, match="cannot be read as an image"):
        decode_picture(content[: int(share * len(content))], Path(f"a{suffix}"))
    assert capfd.readouterr() == ("", "")


def test_bytes_behind_the_end_and_a_thumbnail_before_it_do_no_harm() -> None:
    content = encoded(".jpg")
    thumbnail = cv2.imencode(".jpg", PIXELS[:16, :16])[1].tobytes()
    header = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = content[:2] + header + content[2:] + b"more"
    assert decode_picture(whole, Path("a.jpg")).shape == PIXELS.shape
    with pytest.raises(InputError, match="its end is missing"):
        decode_picture(whole[:-200], Path("a.jpg"))
