"""Features of a frozen encoder, computed once and kept on disk, so that training runs the decoder alone.

A frozen encoder makes the same features of the same crop for ever. So a number of crops is drawn as training draws
them, augmentation included, and what the encoder makes of each is kept in float16, with the crop itself: decoders also
look at the image. Training then draws from these crops. It sees each of them more often than it would without the
cache, which is the price; more crops lower it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from histocyte.core.errors import DiskError, InputError
from histocyte.core.names import counted
from histocyte.encoders.protocol import Features
from histocyte.encoders.weights.fingerprint import weights_sha256
from histocyte.files.atomic import write_atomically
from histocyte.model.segmenter import Segmenter
from histocyte.model.spec import ModelSpec
from histocyte.training.crops import Batch, Crop, CropSampler, prepared_ahead
from histocyte.training.journal import difference, read_json
from histocyte.training.precision import Precision, autocast, pick_precision

__all__ = ["CachedSampler", "FeatureCache", "crops_of_passes", "restored"]

_FORMAT = 1
_SHARD_BYTES = 64 * 2**20
"""Approximate size of a file; a killed run loses the one it was making."""
_SPARE_BYTES = 256 * 2**20
"""Left on the disk for what else a run writes."""
_PROBES = 4
"""Crops that are drawn again to notice that the augmentation is another than the cache was made with."""


def crops_of_passes(sampler: CropSampler, passes: int) -> int:
    """Number of crops whose area is `passes` times that of all images."""
    area = sum(s.instances.size * (s.mpp / sampler.mpp) ** 2 for s in sampler.samples)
    return max(1, round(passes * area / sampler.crop_px**2))


def stored(features: Features) -> dict[str, NDArray[np.float16]]:
    """Features by name, each (B, …) float16, without what is there twice: a ViT's last tap is also its tokens.

    Raises:
        InputError: Numbers beyond float16.
    """
    named = {f"pyramid.{i}": level for i, level in enumerate(features.pyramid)}
    if features.tokens is not None and not any(features.tokens is level for level in features.pyramid):
        named["tokens"] = features.tokens
    elif features.tokens is not None:
        same = next(i for i, level in enumerate(features.pyramid) if level is features.tokens)
        named[f"tokens_are.{same}"] = features.tokens.new_zeros(len(features.tokens))
    if features.cls is not None:
        named["cls"] = features.cls
    halves = {name: tensor.detach().half().cpu() for name, tensor in named.items()}
    wild = [name for name, half in halves.items() if not half.isfinite().all()]
    if wild:
        raise InputError(
            f"This encoder's features ({', '.join(wild)}) have values beyond float16 (65,504) and cannot be kept. "
            "Train without a cache."
        )
    return {name: half.contiguous().numpy() for name, half in halves.items()}


def restored(named: Mapping[str, NDArray[np.float16]], device: torch.device) -> Features:
    """What `stored` wrote, in float32."""
    tensors = {name: torch.from_numpy(array).to(device).float() for name, array in named.items()}
    pyramid = tuple(tensors[f"pyramid.{i}"] for i in range(sum(name.startswith("pyramid.") for name in named)))
    tokens = tensors.get("tokens")
    for name in named:
        if name.startswith("tokens_are."):
            tokens = pyramid[int(name.rpartition(".")[2])]
    return Features(pyramid, tokens, tensors.get("cls"))


class FeatureCache:
    """A folder of features: shards of crops, each file there whole or not at all, and cache.json, which says of what.

    Args:
        folder: Made if it is not there.
        model: Whose encoder is asked; put into inference mode and moved to the device.
        spec: Spec of the model.
        sampler: Draws the crops.
        device: To run the encoder on.
        precision: Precision of the encoder, as in training.

    Attributes:
        crop_bytes: Bytes of one crop with its features.
        shard: Crops in one file.

    Raises:
        InputError: The folder holds features of something else, or they cannot be kept at all.
    """

    def __init__(
        self,
        folder: Path,
        model: Segmenter,
        spec: ModelSpec,
        sampler: CropSampler,
        *,
        device: str | torch.device = "cpu",
        precision: Precision = "auto",
    ) -> None:
        self.folder, self.sampler, self.device = folder, sampler, torch.device(device)
        self.model = model.to(self.device)
        self.model.encoder.eval()
        self.computing = autocast(precision, self.device)
        most = max((int(s.instances.max(initial=0)) for s in sampler.samples), default=0)
        signed = any(s.ignored is not None for s in sampler.samples)
        self.ids: Any = np.uint16 if most < 2**16 and not signed else np.int32
        self.identity: dict[str, Any] = {
            "format": _FORMAT,
            "encoder": f"{spec.encoder.name} {json.dumps(dict(spec.encoder.options), sort_keys=True)}",
            "encoder weights": weights_sha256(model.encoder.state_dict()),
            "mean and std": json.dumps([spec.mean, spec.std]),
            "precision": pick_precision(precision, self.device),
            "crops": f"{sampler.crop_px} px at {sampler.mpp:g} µm/px, zoom {sampler.zoom}, seed {sampler.seed}",
            "images and labels": _samples_sha256(sampler),
            "augmentation": _crops_sha256([self.crop(i) for i in range(_PROBES)]),
        }
        self._check_identity()
        probe = self._tensors([self.crop(0)])
        self.crop_bytes = sum(array.nbytes for array in probe.values())
        self.shard = max(1, _SHARD_BYTES // self.crop_bytes)

    def crop(self, number: int) -> Crop:
        """A crop by its number; it depends on nothing else."""
        return self.sampler.crop(np.random.default_rng([self.sampler.seed, number, 0, _FORMAT]))

    def shards(self, crops: int) -> int:
        """Files that hold that many crops; the last may hold more."""
        return -(-crops // self.shard)

    def missing(self, crops: int) -> list[int]:
        """Numbers of the shards that are still to be made."""
        return [number for number in range(self.shards(crops)) if not self._is_whole(number)]

    def bytes_needed(self, crops: int) -> int:
        """Room on the disk that is still to be taken."""
        return len(self.missing(crops)) * self.shard * self.crop_bytes

    def fill(self, crops: int, *, batch: int = 8, progress: Callable[[int, int], None] | None = None) -> CachedSampler:
        """Compute what is missing; a killed call is gone on with by the next one.

        Args:
            crops: How many at least.
            batch: Crops that the encoder is given at once.
            progress: Called with the crops done and all.

        Returns:
            Batches of these crops.

        Raises:
            DiskError: The disk has not the room, or could not be written.
        """
        missing, total = self.missing(crops), self.shards(crops) * self.shard
        self._check_room(crops)
        done = total - len(missing) * self.shard
        with ThreadPoolExecutor(1, thread_name_prefix="crops") as pool:
            for number in missing:
                numbers = range(number * self.shard, (number + 1) * self.shard)
                groups = [numbers[i : i + batch] for i in range(0, self.shard, batch)]
                drawn = [pool.submit(lambda group: [self.crop(i) for i in group], group) for group in groups]
                parts = []
                for future in drawn:
                    crops_here = future.result()
                    parts.append(self._tensors(crops_here))
                    done += len(crops_here)
                    if progress is not None:
                        progress(done, total)
                with write_atomically(self._path(number)) as file:
                    file.write(save({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}))
        return CachedSampler(self, crops)

    def read(self, number: int) -> tuple[Crop, dict[str, NDArray[np.float16]]]:
        """A crop that is there, and its features without a batch axis."""
        shard, place = divmod(number, self.shard)
        file = self._open(shard)
        values = {name: file.get_slice(name)[place : place + 1][0] for name in file.keys()}  # noqa: SIM118 (not a dict)
        crop = Crop(values.pop("image"), values.pop("instances").astype(np.int32), int(values.pop("sample")))
        return crop, values

    def _open(self, number: int) -> Any:
        if number not in self._files:
            self._files[number] = safe_open(self._path(number), framework="np")
        return self._files[number]

    @cached_property
    def _files(self) -> dict[int, Any]:
        return {}

    def _path(self, number: int) -> Path:
        return self.folder / f"features-{number:05d}.safetensors"

    def _is_whole(self, number: int) -> bool:
        try:
            return bool(len(self._open(number).get_slice("image").get_shape()) == 4)
        except (SafetensorError, OSError):
            return False

    @torch.no_grad()
    def _tensors(self, crops: list[Crop]) -> dict[str, NDArray[Any]]:
        images = np.stack([crop.image for crop in crops])
        pixels = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float()
        with self.computing():
            features = self.model.encoder(self.model.normalise(pixels))
        return {
            "image": images,
            "instances": np.stack([crop.instances for crop in crops]).astype(self.ids),
            "sample": np.array([crop.sample for crop in crops], np.int32),
            **stored(features),
        }

    def _check_identity(self) -> None:
        path = self.folder / "cache.json"
        if path.exists():
            theirs = read_json(path)
            other = [difference(k, theirs.get(k), v) for k, v in self.identity.items() if theirs.get(k) != v]
            if other:
                raise InputError(
                    f"'{self.folder}' holds features of something else ({'; '.join(other)}). "
                    "Delete it, or name another folder."
                )
            return
        with write_atomically(path) as file:
            file.write(json.dumps(self.identity, indent=2).encode())

    def _check_room(self, crops: int) -> None:
        needed, free = self.bytes_needed(crops), shutil.disk_usage(self.folder).free
        if needed and needed + _SPARE_BYTES > free:
            raise DiskError(
                f"The features of {counted(crops, 'crop')} need {needed / 1e9:.1f} GB in '{self.folder}', and "
                f"{free / 1e9:.1f} GB are free. Keep fewer passes, or name a folder on another disk."
            )


class CachedSampler:
    """Batches of cached crops, each crop once before any comes again; a step's batch is decided by its number.

    Args:
        cache: Filled.
        crops: How many of its crops to use.
        share: As of `CropSampler`.
    """

    def __init__(self, cache: FeatureCache, crops: int, *, share: tuple[int, int] = (0, 1)) -> None:
        self.cache, self.crops, self.share = cache, crops, share

    def batch(self, step: int, size: int) -> Batch:
        """The batch of a step."""
        first, every = self.share
        chosen = [self.cache.read(number) for number in self._numbers(step * size, size)[first::every]]
        batch = self.cache.sampler.batch_of([crop for crop, _ in chosen])
        names = chosen[0][1]
        features = {name: np.stack([values[name] for _, values in chosen]) for name in names}
        return replace(batch, features=features)

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """The batches of steps start … stop - 1, two prepared ahead in a thread of their own."""
        return prepared_ahead(lambda step: self.batch(step, size), start, stop)

    def _numbers(self, start: int, count: int) -> list[int]:
        return [int(self._order(i // self.crops)[i % self.crops]) for i in range(start, start + count)]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            rng = np.random.default_rng([self.cache.sampler.seed, epoch])
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1} | {
                epoch: rng.permutation(self.crops)
            }
        return self._orders[epoch]

    @cached_property
    def _orders(self) -> dict[int, NDArray[np.int64]]:
        return {}


def _samples_sha256(sampler: CropSampler) -> str:
    digest = hashlib.sha256()
    for sample, share in zip(sampler.samples, sampler.shares, strict=True):
        digest.update(f"{sample.source} {sample.name} {sample.mpp:g} {share:.9g} {sample.image.shape}\n".encode())
        digest.update(np.ascontiguousarray(sample.image).tobytes())
        digest.update(np.ascontiguousarray(sample.marked).tobytes())
    return digest.hexdigest()


def _crops_sha256(crops: list[Crop]) -> str:
    digest = hashlib.sha256()
    for crop in crops:
        digest.update(crop.image.tobytes() + crop.instances.tobytes())
    return digest.hexdigest()
