"""Rows of images as JSON, both ways: from what `Report.to_json` writes under `images` every score can be made again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
import orjson

from histocyte.core.errors import ContentError, InputError
from histocyte.core.plain_text import plain
from histocyte.evaluation.image_scores import ClassScores, ImageInfo, ImageScores, Told
from histocyte.metrics.calibration import FINE_BINS, CalibrationCounts
from histocyte.metrics.detection import ClassDetectionCounts, DetectionCounts, MatchMode
from histocyte.metrics.panoptic import PanopticCounts

__all__ = ["FORMAT", "StoredReport", "image_from_json", "image_to_json", "read_report"]

FORMAT = "histocyte-evaluation/1"

_T = TypeVar("_T")

MAX_BYTES = 1 << 30
"""Some hundred thousand images; a larger file is none of ours."""

_MOST = 2**53
"""Above this, doubles no longer tell counts apart."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredReport:
    """A report that was read back.

    Attributes:
        path: Where from.
        title: The model (and classifier) or the folder of predictions it names, else the file's name.
        class_names: The classes, of all data sets together.
        images: One row an image.
        mode: How centroids were paired.
        learnt: Data set and name of those of the images that the model has learnt from, as far as the report says.
        own_names: By data set, the K classes that its scores are of, where they are not all of these.
        truth_of: By data set and class, the classes of the truth that were scored as it, where the report says.
    """

    path: Path
    title: str
    class_names: tuple[str, ...]
    images: tuple[ImageScores, ...]
    mode: MatchMode
    learnt: frozenset[tuple[str, str]] = frozenset()
    own_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    truth_of: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def names_of(self, source: str) -> tuple[str, ...]:
        """The K classes that the scores of a data set are of."""
        return self.own_names.get(source, self.class_names)


def image_to_json(row: ImageScores) -> dict[str, object]:
    """A JSON-ready description of one image's scores and of the counts behind them; undefined values are None."""
    info, panoptic, detection = row.info, row.panoptic, row.detection
    quality = panoptic.quality("pannuke")
    result: dict[str, object] = {
        "source": info.source,
        "name": info.name,
        "group": info.group,
        "stratum": info.stratum,
        "mpp": info.mpp,
        "told": info.told,
        "n_truth": row.n_truth,
        "n_found": row.n_found,
        "tp": panoptic.tp,
        "fp": panoptic.fp,
        "fn": panoptic.fn,
        "iou_sum": panoptic.iou_sum,
        "bpq": _defined(row.bpq),
        "dq": _defined(float(quality.dq)),
        "sq": _defined(float(quality.sq)),
        "aji": _defined(row.aji),
        "aji_plus": _defined(row.aji_plus),
        "dice": _defined(row.dice),
        "dice_ensemble": _defined(row.dice_ensemble),
        "detected": detection.tp,
        "detected_falsely": detection.fp,
        "detection_missed": detection.fn,
        "f1": _defined(detection.f1),
        "detected_most_pairs": row.most_pairs.tp,
        "f1_most_pairs": _defined(row.most_pairs.f1),
        "mpq": _defined(row.mpq),
    }
    if row.tissue_right is not None:
        result["tissue_right"] = row.tissue_right
    if row.classes is not None:
        result |= _classes_json(row.classes)
    return result


def _classes_json(part: ClassScores) -> dict[str, object]:
    columns = zip(part.panoptic, part.detection, part.n_truth, part.n_found, part.pq, strict=True)
    filled = np.flatnonzero(part.calibration.table[:, 0])
    return {
        "classes": [
            {
                "n_truth": int(truth),
                "n_found": int(found),
                **asdict(panoptic),
                "pq": _defined(float(pq)),
                "detection": asdict(detection),
            }
            for panoptic, detection, truth, found, pq in columns
        ],
        "class_right": part.right,
        "class_detected": part.detected,
        "confusion": part.confusion.tolist(),
        "calibration": {
            "bins": [[int(i), *map(float, part.calibration.table[i])] for i in filled],
            "squared_error": [float(v) for v in part.calibration.squared_error],
        },
    }


def read_report(path: str | Path) -> StoredReport:
    """Read what `histocyte evaluate --json` or `histocyte score --json` printed.

    Raises:
        InputError: There is no such file, it is no such report, or a figure in it is missing or impossible.
    """
    path = Path(path)
    data = _load(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(
            f"'{path}' is not a report of an evaluation. Make one: histocyte evaluate … --json > report.json"
        )
    try:
        names = _names(data)
        own = {source: _names(part) for source, part in _sources(data).items() if "class_names" in part}
        rows = []
        for row in _list(data, "images"):
            source = row.get("source") if isinstance(row, dict) else None
            rows.append(image_from_json(row, n_classes=len(own.get(source, names))))  # type: ignore[arg-type]
        mode = _entry(_entry(data, "settings"), "detection_mode")
        _check(mode in get_args(MatchMode), f"'detection_mode' is {mode!r}")
        _check(len(rows) > 0, "it has no images")
        keys = [(row.info.source, row.info.name) for row in rows]
        _check(len(set(keys)) == len(keys), "it lists an image twice")
        learnt, truth_of = _learnt(data), _truth_of(data)
    except _BrokenError as error:
        raise InputError(f"'{path}' cannot be used: {error}. Write it again with this version of histocyte.") from error
    title = next((t for t in (data.get("model"), data.get("predictions")) if isinstance(t, str) and t), path.stem)
    if isinstance(data.get("classifier"), str) and data["classifier"]:
        title = f"{title}, classes of {Path(data['classifier']).name}"
    return StoredReport(path, title, names, tuple(rows), mode, learnt, own, truth_of)


def _names(data: object) -> tuple[str, ...]:
    names = tuple(_text(name, "class_names") for name in _list(data, "class_names"))
    _check(len(set(names)) == len(names), "a class is named twice")
    return names


def _sources(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the report says of each data set; nothing in one of earlier versions that says no more than scores."""
    found = data.get("sources", {})
    _check(isinstance(found, dict), "'sources' is not an object")
    return {source: part for source, part in found.items() if isinstance(part, dict)}


def _truth_of(data: Mapping[str, Any]) -> dict[tuple[str, str], tuple[str, ...]]:
    result = {}
    for source, part in _sources(data).items():
        if part.get("compared") is not None:
            for each in _list(part["compared"], "classes"):
                true = tuple(_text(name, "truth") for name in _list(each, "truth"))
                result[source, _text(_entry(each, "name"), "name")] = true
    return result


def _learnt(data: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """Images that the model has learnt from; none in reports of earlier versions, which do not say."""
    if "known_images" not in data:
        return frozenset()
    known = _list(_entry(data, "known_images"), "learnt")
    return frozenset((_text(_entry(k, "source"), "source"), _text(_entry(k, "name"), "name")) for k in known)


def image_from_json(data: object, *, n_classes: int) -> ImageScores:
    """What `image_to_json` described; counts that cannot be are refused.

    Args:
        data: The parsed JSON, from anywhere.
        n_classes: K.

    Raises:
        ContentError: An entry is missing or is none that an image can have.
    """
    _check(isinstance(data, dict), "an image is not an object")
    assert isinstance(data, dict)  # noqa: S101 (for the type checker)
    texts = {key: _text(_entry(data, key), key) for key in ("name", "source", "group", "stratum")}
    try:
        return _image(data, texts, n_classes)
    except _BrokenError as error:
        raise _BrokenError(f"image {texts['name']!r}: {error}") from error


def _image(data: Mapping[str, Any], texts: Mapping[str, str], n_classes: int) -> ImageScores:
    mpp, told = _number(data, "mpp", 1e-9, 1e9), data.get("told", "outlines")
    _check(told in get_args(Told), f"'told' is {told!r}")
    tissue_right = data.get("tissue_right")
    _check(tissue_right is None or isinstance(tissue_right, bool), "'tissue_right' is neither true nor false")
    panoptic = _panoptic(data)
    n_truth, n_found = panoptic.tp + panoptic.fn, panoptic.tp + panoptic.fp
    tp, fp, fn = (_count(data, key) for key in ("detected", "detected_falsely", "detection_missed"))
    detection = DetectionCounts(tp, fp, fn)
    most = _count(data, "detected_most_pairs")
    _check(detection.tp + detection.fn == n_truth, "hits and misses do not add up to its true nuclei")
    _check(detection.tp + detection.fp == n_found, "hits and false finds do not add up to its found nuclei")
    _check(most <= min(n_truth, n_found), "'detected_most_pairs' is above the number of nuclei")
    aji, aji_plus, dice, dice_ensemble = (_share(data, key) for key in ("aji", "aji_plus", "dice", "dice_ensemble"))
    return ImageScores(
        ImageInfo(texts["name"], texts["source"], texts["group"], mpp, texts["stratum"], told),
        panoptic,
        detection,
        DetectionCounts(most, n_found - most, n_truth - most),
        aji,
        aji_plus,
        dice,
        dice_ensemble,
        _class_scores(data, n_classes) if data.get("classes") is not None else None,
        tissue_right,
    )


def _class_scores(data: Mapping[str, Any], n_classes: int) -> ClassScores:
    parts = _list(data, "classes")
    _check(len(parts) == n_classes > 0, f"it has {len(parts)} classes, the report {n_classes}")
    kinds = ("tp", "fp", "fn", "fp_unmatched", "fn_unmatched")
    detection = [ClassDetectionCounts(*(_count(_entry(part, "detection"), k) for k in kinds)) for part in parts]
    side = n_classes + 1
    confusion = [_row(row, side, _whole, "confusion") for row in _list(data, "confusion")]
    _check(len(confusion) == side and confusion[0][0] == 0, "'confusion' does not fit the classes")
    right, detected = _count(data, "class_right"), _count(data, "class_detected")
    _check(right <= detected, "more nuclei have the right class than were detected")
    return ClassScores(
        tuple(_panoptic(part) for part in parts),
        tuple(detection),
        np.array([_count(part, "n_truth") for part in parts], np.int64),
        np.array([_count(part, "n_found") for part in parts], np.int64),
        right,
        detected,
        np.array(confusion, np.int64),
        _calibration(_entry(data, "calibration"), n_classes),
    )


def _calibration(data: object, n_classes: int) -> CalibrationCounts:
    table = np.zeros((FINE_BINS, 3))
    for entry in _list(data, "bins"):
        i, n, confidence, right = _row(entry, 4, _finite, "bins")
        _check(i == int(i) and i < FINE_BINS, f"'bins' has a bin {i:g}")
        # A mean of float32 probabilities may come a little above 1.
        _check(right <= n and confidence <= 1.001 * n, "'bins' holds more right nuclei or confidence than nuclei")
        table[int(i)] = n, confidence, right
    return CalibrationCounts(
        table, np.array(_row(_entry(data, "squared_error"), n_classes, _finite, "squared_error"), np.float64)
    )


def _panoptic(data: object) -> PanopticCounts:
    tp, fp, fn = (_count(data, key) for key in ("tp", "fp", "fn"))
    counts = PanopticCounts(tp, fp, fn, _number(data, "iou_sum", 0, _MOST))
    _check(counts.iou_sum <= counts.tp * (1 + 1e-9), "'iou_sum' is above its number of pairs")
    return counts


class _BrokenError(ContentError):
    """What is wrong with an entry, without the file's name."""


def _check(condition: bool, says: str) -> None:
    if not condition:
        raise _BrokenError(says)


def _entry(data: object, key: str) -> Any:
    _check(isinstance(data, dict) and key in data, f"'{key}' is missing")
    return data[key]  # type: ignore[index]


def _list(data: object, key: str) -> list[Any]:
    value = _entry(data, key)
    _check(isinstance(value, list), f"'{key}' is not a list")
    return list(value)


def _text(value: object, key: str) -> str:
    _check(isinstance(value, str), f"'{key}' is no text")
    return str(value)


def _whole(value: object, key: str) -> int:
    _check(
        type(value) is int and 0 <= value <= _MOST, f"'{key}' is not a count: {plain(str(value)[:20], one_line=True)}"
    )
    assert isinstance(value, int)  # noqa: S101 (for the type checker)
    return value


def _finite(value: object, key: str) -> float:
    good = type(value) in (int, float) and 0 <= value <= _MOST  # type: ignore[operator]
    _check(good, f"'{key}' is not a possible number: {plain(str(value)[:20], one_line=True)}")
    return float(value)  # type: ignore[arg-type]


def _count(data: object, key: str) -> int:
    return _whole(_entry(data, key), key)


def _number(data: object, key: str, low: float, high: float) -> float:
    value = _finite(_entry(data, key), key)
    _check(low <= value <= high, f"'{key}' is {value:g}")
    return value


def _share(data: Mapping[str, Any], key: str) -> float:
    return float("nan") if _entry(data, key) is None else _number(data, key, 0, 1 + 1e-9)


def _row(value: object, length: int, each: Callable[[object, str], _T], key: str) -> list[_T]:
    _check(isinstance(value, list) and len(value) == length, f"'{key}' does not fit the classes")
    return [each(v, key) for v in value]  # type: ignore[attr-defined]


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _load(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"'{path}' is larger than {MAX_BYTES >> 30} GiB, so it is not a report of an evaluation.")
        return orjson.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}.") from error
    except orjson.JSONDecodeError as error:
        raise InputError(
            f"'{path}' is not valid JSON ({error}). Write it again: histocyte evaluate … --json"
        ) from error
