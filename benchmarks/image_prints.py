"""How surely an image is known by its print (`datasets.image_print`): copies that are missed, strangers that are taken.

    python benchmarks/image_prints.py ../shared/data

Known are all images of four sets. A false alarm is any match between two that are not the same image: of images of
other sets with known ones, and of known ones with one another. Copies are made of every third known image, parts at
random.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.datasets.image_print import ImagePrint, PrintIndex, image_print

KNOWN = ("consep", "monuseg", "tnbc", "nuinsseg")
STRANGERS = (
    *("brca_m2c_points", "cpm15", "crchisto_points", "dsb2018_he", "monusac", "monuseg7", "nucls_sample"),
    "pannuke_breast25",
)
MPP = 0.25
Picture = NDArray[np.uint8]
RNG = np.random.default_rng(0)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    known = [path for name in KNOWN for path in sorted((arguments.data / name).glob("*.webp"))]
    began = time.process_time()
    texts = [image_print(read(path), MPP).to_text() for path in known]
    each = (time.process_time() - began) / len(known)
    index = PrintIndex([ImagePrint.from_text(text) for text in texts])
    print(f"{len(known)} prints, {sum(map(len, texts)) / 1e3:.0f} kB, {1e3 * each:.0f} ms each with reading the file\n")
    strangers = [path for name in STRANGERS for path in sorted((arguments.data / name).glob("*.webp"))]
    began = time.process_time()
    false = sum(len(index.find(read(path), MPP)) for path in strangers)
    each = (time.process_time() - began) / len(strangers)
    print(f"{len(strangers)} images of other sets: {false} matches; {1e3 * each:.0f} ms each with reading the file")
    false = sum(len(set(index.find(read(path), MPP)) - {n}) for n, path in enumerate(known))
    print(f"{len(known)} known images: {false} matches with another\n")
    print("| copy | known, % | taken for another |\n|---|---|---|")
    for name, change in CHANGES.items():
        right = wrong = 0
        chosen = list(enumerate(known))[::3]
        for number, path in chosen:
            found = index.find(change(read(path)), MPP)
            right += number in found
            wrong += len(set(found) - {number})
        print(f"| {name} | {100 * right / len(chosen):.0f} | {wrong} |", flush=True)


def read(path: Path) -> Picture:
    """RGB."""
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def encoded(suffix: str, option: int, quality: int) -> Callable[[Picture], Picture]:
    """Written and read again."""
    return lambda p: np.asarray(cv2.imdecode(cv2.imencode(suffix, p, [option, quality])[1], cv2.IMREAD_COLOR), np.uint8)


def jpeg(quality: int) -> Callable[[Picture], Picture]:
    """As JPEG."""
    return encoded(".jpg", cv2.IMWRITE_JPEG_QUALITY, quality)


def webp(quality: int) -> Callable[[Picture], Picture]:
    """As WebP."""
    return encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, quality)


def turned(picture: Picture) -> Picture:
    """In one of the seven other orientations."""
    turn = int(RNG.integers(1, 8))
    picture = np.rot90(picture, turn % 4)
    return picture[:, ::-1] if turn >= 4 else picture


def part(side: int) -> Callable[[Picture], Picture]:
    """A square from anywhere."""

    def cut(picture: Picture) -> Picture:
        y, x = (int(RNG.integers(0, max(1, length - side + 1))) for length in picture.shape[:2])
        return picture[y : y + side, x : x + side]

    return cut


def stained(picture: Picture) -> Picture:
    """Each channel on another curve, and lighter."""
    return (250 * (picture / 255.0) ** (1.25, 0.85, 1.1) + 5).clip(0, 255).astype(np.uint8)


def half(picture: Picture) -> Picture:
    """Shrunk to half and enlarged again."""
    small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "JPEG of quality 75": jpeg(75),
    "JPEG of quality 50": jpeg(50),
    "JPEG of quality 30": jpeg(30),
    "WebP of quality 75": webp(75),
    "WebP of quality 50": webp(50),
    "turned or mirrored, JPEG 75": lambda p: jpeg(75)(turned(p)),
    "other colours": stained,
    "shrunk to half and enlarged": half,
    "part of 384 px, turned, JPEG 75": lambda p: jpeg(75)(turned(part(384)(p))),
    "part of 256 px, turned, JPEG 75": lambda p: jpeg(75)(turned(part(256)(p))),
    "part of 256 px": part(256),
    "part of 128 px": part(128),
}

if __name__ == "__main__":
    main()
