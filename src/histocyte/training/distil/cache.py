"""What teachers say of images, asked once and kept on disk.

A file holds what one teacher said of one image: logits of its maps in half precision (`representations.logits`), the
labels it makes of them, and where wanted the encoder's deepest features, all at the teacher's resolution. Its name is
a hash of the teacher, the image and the way it was asked, so that a folder may serve several runs, and a run that was
killed goes on with what is there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from histocyte.core.errors import DiskError
from histocyte.core.instances import Instances
from histocyte.core.maps import decoded_maps, split_maps
from histocyte.core.names import counted
from histocyte.files.atomic import write_atomically
from histocyte.model.build import build_representation, build_segmenter
from histocyte.model.spec import ModelSpec
from histocyte.representations.maps.kinds import by_kind
from histocyte.representations.protocol import Representation
from histocyte.training.distil.fields import Field
from histocyte.training.distil.windows import Window, cut, cut_nearest

__all__ = ["Answer", "Answers", "Ask", "Teacher", "TeacherCache"]

_FORMAT = 1
_SPARE_BYTES = 256 * 2**20
"""Left on the disk for what else a run writes."""
_OPEN_FILES = 64
"""Kept open at a time; systems allow some hundreds."""


_AXES = {"logits": 3, "labels": 2, "types": 1}
"""Axes of the arrays that every answer holds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a teacher says of an image, at its own resolution.

    Attributes:
        logits: (C, H, W) of all maps (`representations.logits`), float16.
        instances: What it makes of them.
        features: (D, h, w) float16 of its encoder; None where not asked for.
    """

    logits: NDArray[np.float16]
    instances: Instances
    features: NDArray[np.float16] | None = None


Ask = Callable[[Field], Answer]
"""A teacher at work."""


@dataclass(frozen=True)
class Teacher:
    """A teacher, and how it is asked; its network is needed only for what is not in the cache.

    Attributes:
        spec: What it is.
        sha256: SHA-256 of its file.
        views: Sides it sees each image from (`inference.views`).
        features: Whether it is asked for features too.
    """

    spec: ModelSpec
    sha256: str
    views: int = 1
    features: bool = False

    @cached_property
    def representation(self) -> Representation:
        """Reads its maps."""
        return build_representation(self.spec.representation)

    @property
    def channels(self) -> int:
        """Channels of all its maps."""
        return sum(spec.channels for spec in decoded_maps(self.representation.maps))

    @cached_property
    def feature_shape(self) -> tuple[int, int]:
        """Width and stride (px at its resolution) of its deepest features, from a network without memory."""
        with torch.device("meta"):
            info: Any = build_segmenter(self.spec).encoder.info
        return int(info.widths[-1]), int(info.strides[-1])

    def key(self, field: Field) -> str:
        """Key of what it says of an image."""
        facts = {
            "format": _FORMAT,
            "teacher": self.sha256,
            "image": field.sha256,
            "mpp": self.spec.mpp,
            "tiles": [self.spec.tile_px, self.spec.margin_px],
            "views": self.views,
            "features": self.features,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:40]

    def bytes_of(self, field: Field) -> int:
        """Room that this takes."""
        height, width = field.frame(self.spec.mpp)
        taken = height * width * (2 * self.channels + 4)
        if self.features:
            features, stride = self.feature_shape
            taken += 2 * features * -(-height // stride) * -(-width // stride)
        return taken


class TeacherCache:
    """A folder of answers.

    Args:
        folder: Made if it is not there.
        most_bytes: It may grow to by one run.
    """

    def __init__(self, folder: Path, *, most_bytes: int = 50 * 10**9) -> None:
        self.folder, self.most_bytes = folder, most_bytes
        self._open: OrderedDict[Path, Any] = OrderedDict()

    def missing(self, teacher: Teacher, fields: Sequence[Field]) -> list[Field]:
        """Those that the teacher is still to be asked about."""
        return [field for field in fields if self._file(self._path(teacher, field)) is None]

    def bytes_needed(self, teachers: Sequence[Teacher], fields: Sequence[Field]) -> tuple[int, int]:
        """Room for all answers, and how much of it is still to be taken."""
        every = sum(t.bytes_of(field) for t in teachers for field in fields)
        return every, sum(t.bytes_of(field) for t in teachers for field in self.missing(t, fields))

    def check_room(self, teachers: Sequence[Teacher], fields: Sequence[Field]) -> None:
        """Refuse what would not fit, before anything is done.

        Raises:
            DiskError: More than may be taken, or than the disk has.
        """
        every, still = self.bytes_needed(teachers, fields)
        way_out = "Give fewer images or places of slides, name a folder on another disk"
        if every > self.most_bytes:
            raise DiskError(
                f"What the teachers say of {counted(len(fields), 'image')} takes {every / 1e9:.1f} GB, more than the "
                f"{self.most_bytes / 1e9:.1f} GB allowed. {way_out}, or allow more: --cache-limit."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if still and still + _SPARE_BYTES > free:
            raise DiskError(
                f"What the teachers say still needs {still / 1e9:.1f} GB in '{self.folder}', and {free / 1e9:.1f} GB "
                f"are free. {way_out}."
            )

    def fill(
        self, teacher: Teacher, fields: Sequence[Field], ask: Ask, *, progress: Callable[[], None] | None = None
    ) -> None:
        """Ask about what is missing; a killed call is gone on with by the next one.

        Args:
            teacher: Who.
            fields: About what.
            ask: The teacher at work.
            progress: Called after each image.

        Raises:
            DiskError: The folder cannot be written.
        """
        for field in self.missing(teacher, fields):
            answer = ask(field)
            found = answer.instances
            kinds = found.class_probabilities.argmax(1) + 1 if found.class_probabilities.shape[1] else []
            tensors: dict[str, NDArray[Any]] = {
                "logits": np.ascontiguousarray(answer.logits, np.float16),
                "labels": np.ascontiguousarray(found.labels, np.int32),
                "types": np.array([0, *kinds], np.uint8),
            }
            if answer.features is not None:
                tensors["features"] = np.ascontiguousarray(answer.features, np.float16)
            with write_atomically(self._path(teacher, field)) as file:
                file.write(save(tensors))
            if progress is not None:
                progress()

    def read(self, teacher: Teacher, field: Field) -> Answers:
        """What a teacher said, to cut windows out of.

        Raises:
            DiskError: It is no longer there.
        """
        path = self._path(teacher, field)
        file = self._file(path)
        if file is None:
            raise DiskError(f"'{path}', a teacher's answer, is gone or damaged. Run the same command again.")
        return Answers(teacher, file, path)

    def _path(self, teacher: Teacher, field: Field) -> Path:
        return self.folder / f"{teacher.key(field)}.safetensors"

    def _file(self, path: Path) -> Any:
        """Open file, None where it is not there or not whole."""
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        try:
            file = safe_open(path, framework="np")
            whole = all(len(file.get_slice(name).get_shape()) == axes for name, axes in _AXES.items())
        except (SafetensorError, OSError):
            return None
        if not whole:
            return None
        self._open[path] = file
        if len(self._open) > _OPEN_FILES:
            self._open.popitem(last=False)
        return file


class Answers:
    """What one teacher said of one image, on disk."""

    def __init__(self, teacher: Teacher, file: Any, path: Path) -> None:
        self._teacher, self._file, self._path = teacher, file, path
        self._classes = len(teacher.spec.classes)

    def fields_by_kind(self, window: Window, out_px: int) -> Mapping[str, NDArray[np.float32]]:
        """(C, out, out) logits of a window by kind of map (`representations.kinds`); px of the teacher's resolution."""
        logits = self._cut("logits", window, out_px)
        specs = decoded_maps(self._teacher.representation.maps)
        return by_kind(split_maps(logits, specs), self._teacher.representation)

    def labels(self, window: Window, out_px: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """(out, out) nuclei, ids those of the whole image, and (N + 1,) the teacher's class of each."""
        part = self._file.get_slice("labels")
        height, width = part.get_shape()
        labels = cut_nearest(lambda r, c: part[r, c], (height, width), window, out_px)
        types = self._file.get_tensor("types")
        if labels.min(initial=0) < 0 or labels.max(initial=0) >= len(types) or types.max(initial=0) > self._classes:
            raise DiskError(
                f"'{self._path}', a teacher's answer, is damaged. Delete it and run the same command again."
            )
        return labels.astype(np.int32), types.astype(np.uint8)

    def features(self, window: Window, out: int) -> NDArray[np.float32]:
        """(D, out, out) features of a window, px of the teacher's resolution."""
        return self._cut("features", window.at(1 / self._teacher.feature_shape[1]), out)

    def _cut(self, name: str, window: Window, out: int) -> NDArray[np.float32]:
        part = self._file.get_slice(name)
        _, height, width = part.get_shape()
        return cut(lambda rows, columns: part[:, rows, columns], (height, width), window, out)
