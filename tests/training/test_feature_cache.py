"""Cached features are those that the encoder makes; a cache of something else, a half one or a full disk is noticed."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from histocyte.core.errors import DiskError, InputError
from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.sample import Sample
from histocyte.encoders.protocol import Features
from histocyte.model.build import build_segmenter
from histocyte.model.segmenter import Segmenter
from histocyte.model.spec import ModelSpec
from histocyte.recipes.hover_unet import hover_unet
from histocyte.runs.train.defaults import crop_sampler
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses
from histocyte.training import feature_cache
from histocyte.training.crops import CropSampler
from histocyte.training.feature_cache import CachedSampler, FeatureCache, crops_of_passes, restored, stored
from histocyte.training.fit import TrainingOptions, fit

torch.set_num_threads(1)

CROP_PX = 64


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "_SHARD_BYTES", 400_000)


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return hover_unet(taxonomy=CONSEP).with_changes(
        encoder={"name": "timm_pyramid", "options": {"name": "resnet10t", "depths": [0, 1]}},
        decoder={"name": "unet", "options": {"widths": [8, 8], "depths": [1, 1]}},  # ends at the image
    )


@pytest.fixture(scope="module")
def base(spec: ModelSpec) -> Segmenter:
    torch.manual_seed(0)
    return build_segmenter(spec)


def sampler_for(spec: ModelSpec, *, seed: int = 1) -> CropSampler:
    samples = []
    for number in range(2):
        labels = packed_ellipses((96, 96), 20, seed=number)
        image = paint_truth(labels, CONSEP)
        samples.append(
            Sample(f"s{number}", image, labels.instances, labels.types, 0.25, "synthetic", f"s{number}", number == 0)
        )
    sampler = crop_sampler(spec, samples, seed=seed)
    sampler.crop_px = CROP_PX
    return sampler


def cache_for(spec: ModelSpec, model: Segmenter, folder: Path, sampler: CropSampler | None = None) -> FeatureCache:
    return FeatureCache(folder, copy.deepcopy(model), spec, sampler or sampler_for(spec), precision="float32")


def test_features_of_a_crop_are_what_the_encoder_makes_of_it(spec: ModelSpec, base: Segmenter, tmp_path: Path) -> None:
    cache = cache_for(spec, base, tmp_path)
    batch = cache.fill(3, batch=2).batch(0, 3)
    model = copy.deepcopy(base).eval()
    with torch.no_grad():
        wanted = model.encoder(model.normalise(torch.from_numpy(batch.images)))
    assert batch.features is not None
    found = restored(batch.features, torch.device("cpu"))
    for mine, true in zip(found.pyramid, wanted.pyramid, strict=True):
        torch.testing.assert_close(mine, true, rtol=1e-3, atol=1e-3)
    drawn = [cache.crop(number) for number in (0, 1, 2)]
    order = [
        next(i for i, c in enumerate(drawn) if (c.image.transpose(2, 0, 1) == image).all()) for image in batch.images
    ]
    assert sorted(order) == [0, 1, 2]
    live = cache.sampler.batch_of([drawn[i] for i in order])
    assert all(np.array_equal(batch.maps[k], live.maps[k]) for k in live.maps)
    assert np.array_equal(batch.separable, live.separable)


def test_training_from_the_cache_is_training_from_live_features(
    spec: ModelSpec, base: Segmenter, tmp_path: Path
) -> None:
    cached = cache_for(spec, base, tmp_path / "features").fill(6)

    class Live(CachedSampler):
        def batch(self, step: int, size: int):  # type: ignore[no-untyped-def]
            made = super().batch(step, size)
            return type(made)(made.images, made.maps, made.separable)

    losses = []
    for name, sampler in (("cached", cached), ("live", Live(cached.cache, cached.crops))):
        options = TrainingOptions(steps=3, batch=2, adapt="frozen", cached_crops=6, precision="float32")
        fit(copy.deepcopy(base), spec, sampler, tmp_path / name, options)
        losses.append(np.loadtxt(tmp_path / name / "log.csv", delimiter=",", skiprows=1)[:, 2])
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-3)
    assert losses[0][-1] != losses[0][0]


def test_a_run_from_the_cache_goes_on_exactly(spec: ModelSpec, base: Segmenter, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(step: int, _: object) -> None:
        if step == 3:
            raise Stop

    options = TrainingOptions(steps=4, batch=2, adapt="frozen", cached_crops=5, checkpoint_every=1)

    def run(name: str, progress=None) -> None:  # type: ignore[no-untyped-def]
        cached = cache_for(spec, base, tmp_path / "features").fill(5)
        fit(copy.deepcopy(base), spec, cached, tmp_path / name, options, progress=progress)

    run("undisturbed")
    with pytest.raises(Stop):
        run("stopped", stop)
    run("stopped")
    last, wanted = (load_file(tmp_path / name / "last.safetensors") for name in ("stopped", "undisturbed"))
    assert all(torch.equal(last[k], wanted[k]) for k in wanted)
    with pytest.raises(InputError, match="cached_crops 5 there, 0 now"):
        fit(
            copy.deepcopy(base),
            spec,
            sampler_for(spec),
            tmp_path / "stopped",
            TrainingOptions(steps=4, batch=2, adapt="frozen"),
        )
    with pytest.raises(InputError, match="those of a frozen encoder"):
        fit(copy.deepcopy(base), spec, sampler_for(spec), tmp_path / "x", TrainingOptions(cached_crops=5))


def test_only_finished_shards_count(spec: ModelSpec, base: Segmenter, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(done: int, _: int) -> None:
        if done > cache.shard:
            raise Killed

    cache = cache_for(spec, base, tmp_path)
    crops = 3 * cache.shard
    assert cache.missing(crops) == [0, 1, 2]
    assert cache.bytes_needed(crops) == crops * cache.crop_bytes
    with pytest.raises(Killed):
        cache.fill(crops, batch=2, progress=kill)
    cache = cache_for(spec, base, tmp_path)
    assert cache.missing(crops) == [1, 2]
    first = tmp_path / "features-00000.safetensors"
    before = first.stat().st_mtime_ns
    counted: list[tuple[int, int]] = []
    cache.fill(crops, batch=2, progress=lambda *done: counted.append(done))
    assert counted[0][0] > cache.shard
    assert counted[-1] == (crops, crops)
    assert first.stat().st_mtime_ns == before
    size = sum(p.stat().st_size for p in tmp_path.glob("*.safetensors"))
    assert size == pytest.approx(crops * cache.crop_bytes, rel=0.01)
    undisturbed = cache_for(spec, base, tmp_path / "again")
    undisturbed.fill(crops, batch=3)
    for number in range(crops):
        (crop, features), (theirs, true) = cache.read(number), undisturbed.read(number)
        assert np.array_equal(crop.image, theirs.image)
        for name in true:
            np.testing.assert_allclose(features[name], true[name], rtol=2e-3, atol=2e-3)

    with first.open("r+b") as file:
        file.truncate(1000)
    assert cache_for(spec, base, tmp_path).missing(crops) == [0]


@pytest.mark.parametrize("other", ["encoder weights", "images and labels", "augmentation", "crops", "mean and std"])
def test_a_cache_of_something_else_is_refused(other: str, spec: ModelSpec, base: Segmenter, tmp_path: Path) -> None:
    cache_for(spec, base, tmp_path)
    model, sampler = copy.deepcopy(base), sampler_for(spec)
    if other == "encoder weights":
        nn.init.normal_(model.encoder.body.conv1[0].weight)  # type: ignore[index,union-attr,arg-type]
    elif other == "images and labels":
        sampler.samples[0].instances[0, 0] += 1
    elif other == "augmentation":
        sampler.augmentation = type(sampler.augmentation)([])
    elif other == "crops":
        sampler.zoom = (1.0, 1.0)
    else:
        spec = spec.with_changes(mean=(0.5, 0.5, 0.5))
    with pytest.raises(InputError, match=rf"features of something else \(.*{other} .* there, .* now.*\)\. Delete it"):
        cache_for(spec, model, tmp_path, sampler)


def test_a_full_disk_is_said_before_anything_is_written(
    spec: ModelSpec, base: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cache_for(spec, base, tmp_path)
    monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=300 * 2**20))
    cache.crop_bytes = 10**9
    needed = 2 * cache.shard
    with pytest.raises(DiskError, match=rf"features of {needed} crops need {needed}\.0 GB .* 0\.3 GB are free"):
        cache.fill(needed)
    assert [p.name for p in tmp_path.iterdir()] == ["cache.json"]


def test_every_crop_comes_once_before_any_comes_again(spec: ModelSpec, base: Segmenter, tmp_path: Path) -> None:
    sampler = CachedSampler(cache_for(spec, base, tmp_path), 7)
    drawn = [n for step in range(7) for n in sampler._numbers(step * 3, 3)]
    assert [Counter(drawn[i : i + 7]) for i in (0, 7, 14)] == [Counter(range(7))] * 3
    assert drawn[:7] != drawn[7:14]
    assert CachedSampler(sampler.cache, 7)._numbers(12, 3) == drawn[12:15]


def test_tokens_and_summary_come_back_as_they_were() -> None:
    levels = (torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3))
    device = torch.device("cpu")
    same = restored(stored(Features(levels, levels[1], torch.ones(2, 4))), device)
    assert same.tokens is same.pyramid[1]
    assert torch.equal(same.cls, torch.ones(2, 4))  # type: ignore[arg-type]
    own = restored(stored(Features(levels, torch.ones(2, 4, 3, 3))), device)
    assert torch.equal(own.tokens, torch.ones(2, 4, 3, 3))  # type: ignore[arg-type]
    assert own.cls is None
    with pytest.raises(InputError, match=r"pyramid\.1.*float16"):
        stored(Features((levels[0], levels[1] + 1e5)))


def test_passes_are_counted_by_area(spec: ModelSpec) -> None:
    sampler = sampler_for(spec)
    assert crops_of_passes(sampler, 4) == round(4 * 2 * 96 * 96 / CROP_PX**2)
