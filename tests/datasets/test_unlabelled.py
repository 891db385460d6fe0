"""Folders of images without labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.datasets.unlabelled import list_unlabelled


def test_images_are_listed_and_read(tmp_path: Path) -> None:
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 2] = 255
    for name in ("b.png", "a.jpg", "c.webp"):
        cv2.imwrite(str(tmp_path / name), red)
    (tmp_path / "a.npz").write_bytes(b"labels, which nobody asks for")
    found = list_unlabelled(tmp_path, mpp=0.5)
    assert [image.path.name for image in found] == ["a.jpg", "b.png", "c.webp"]
    assert [image.size for image in found] == [(4, 6)] * 3
    assert found[1].read()[0, 0].tolist() == [255, 0, 0]
    cv2.imwrite(str(tmp_path / "b.png"), red[:3])
    with pytest.raises(InputError, match="has changed"):
        found[1].read()


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no folder"):
        list_unlabelled(tmp_path / "none", mpp=0.5)
    with pytest.raises(InputError, match="holds no image"):
        list_unlabelled(tmp_path, mpp=0.5)
    with pytest.raises(InputError, match="the true one with --images-mpp"):
        list_unlabelled(tmp_path, mpp=float("nan"))
    with pytest.raises(InputError, match="--images-mpp"):
        list_unlabelled(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a\.png cannot be opened"):
        list_unlabelled(tmp_path, mpp=0.5)
    (tmp_path / "cpm15").mkdir()
    with pytest.raises(InputError, match="external test set"):
        list_unlabelled(tmp_path / "cpm15", mpp=0.5)
