"""Training learns, is reproducible, and goes on exactly after being killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from histocyte.core.errors import InputError, ModelError
from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.sample import Sample
from histocyte.model.build import build_segmenter
from histocyte.model.spec import ModelSpec
from histocyte.recipes.hover_unet import hover_unet
from histocyte.runs.train.defaults import crop_sampler, first_spec
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses
from histocyte.training.crops import Batch, CropSampler
from histocyte.training.feature_cache import stored
from histocyte.training.fit import TrainingError, TrainingOptions, _forward, fit

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_fit
test_fit.train(Path(sys.argv[1]), steps=8)
"""


def tiny() -> tuple[ModelSpec, CropSampler]:
    spec = hover_unet().with_changes(
        encoder={"name": "timm_pyramid", "options": {"name": "resnet10t", "depths": [0, 1, 2]}},
        decoder={"name": "unet", "options": {"widths": [8, 8], "depths": [1, 1]}},
    )
    samples = []
    for seed in range(2):
        labels = packed_ellipses((160, 160), 40, seed=seed)
        image = paint_truth(labels, CONSEP)
        samples.append(Sample(f"s{seed}", image, labels.instances, labels.types, 0.25, "synthetic", f"s{seed}"))
    sampler = crop_sampler(spec, samples, seed=1)
    sampler.crop_px = 64
    return spec, sampler


def train(run: Path, steps: int, **changes: object) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    spec, sampler = tiny()
    options = TrainingOptions(steps=steps, batch=2, checkpoint_every=2, **changes)  # type: ignore[arg-type]
    fit(build_segmenter(spec), spec, sampler, run, options)
    return load_file(run / "last.safetensors")


class Told:
    """Who keeps what was said, and the notes of each step."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.notes: list[str] = []
        self.begun: list[tuple[str, int | None, int]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def task(self, name: str, total: int | None, *, unit: str = "steps", done: int = 0) -> Iterator[Told]:
        self.begun.append((name, total, done))
        yield self

    def advance(self, steps: int = 1, *, note: str | None = None) -> None:
        self.notes.append(note or "")


def steps_of(run: Path) -> int:
    return int(json.loads((run / "progress.json").read_text())["step"])


def test_the_state_is_written_by_the_clock_and_with_each_validation(tmp_path: Path) -> None:
    """A kill in the middle costs what was done since; not a fixed number of steps, which may take hours."""
    spec, sampler = tiny()
    kept: list[int] = []

    def run(folder: Path, *, listener: Told | None = None, validate: bool = False, **options: object) -> None:
        given = TrainingOptions(**{"steps": 6, "batch": 2, "validate_every": 100, **options})  # type: ignore[arg-type]
        fit(
            *(build_segmenter(spec), spec, sampler, folder, given),
            validate=(lambda _: {"bpq": 0.0}) if validate else None,
            on_checkpoint=lambda: kept.append(steps_of(folder)),
            listener=listener or Told(),
        )

    run(tmp_path / "end")
    assert kept == [6], "five minutes have not passed"
    kept.clear()
    run(tmp_path / "clock", checkpoint_minutes=0.0)
    assert kept == [1, 2, 3, 4, 5, 6]
    kept.clear()
    run(tmp_path / "validated", validate=True, validate_every=4)
    assert kept == [4, 6]


def test_a_run_says_where_it_goes_on(tmp_path: Path) -> None:
    spec, sampler = tiny()

    def run(steps: int, kill_after: int = 99, **options: object) -> Told:
        told = Told()

        def kill(step: int, _: object) -> None:
            if step == kill_after:
                raise KeyboardInterrupt

        given = TrainingOptions(**{"steps": steps, "batch": 2, **options})  # type: ignore[arg-type]
        with suppress(KeyboardInterrupt):
            fit(build_segmenter(spec), spec, sampler, tmp_path, given, listener=told, progress=kill)
        return told

    first = run(8, kill_after=2)
    assert first.said == []
    assert first.begun == [("training", 8, 0)]
    assert all("loss " in note and note.endswith(" crops/s") for note in first.notes)
    again = run(8, kill_after=5, checkpoint_every=3)
    assert again.said == ["The run ended at step 2, before its first checkpoint: it begins again."]
    third = run(8)
    assert third.said == ["Going on from step 3 of 8 (2 done after the last checkpoint are done again)."]
    assert third.begun == [("training", 8, 3)]
    assert len(third.notes) == 5
    assert run(8).said == ["The training has ended at step 8."]


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return train(tmp_path_factory.mktemp("run"), steps=8)


def test_tissues_are_learnt_from_kept_features_too() -> None:
    torch.manual_seed(0)
    spec = first_spec("cellvit", "vit_tiny_patch16_224").with_changes(tissues=("breast", "colon"))
    model = build_segmenter(spec).eval()
    image = torch.randint(0, 256, (2, 3, 64, 64)).float()
    with torch.no_grad():
        maps, tissues = model.forward_with_tissue(image)
        kept = stored(model.encoder(model.normalise(image)))
        batch = Batch(image.numpy(), {}, np.ones(2, np.float32), kept, np.array([0, 1]))
        raw, found = _forward(model, image, batch, tissues=True)
        assert _forward(model, image, batch, tissues=False)[1] is None
    assert found is not None
    torch.testing.assert_close(found, tissues, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(raw, maps, rtol=1e-2, atol=1e-2)


def test_a_killed_run_goes_on_to_the_same_weights(undisturbed: dict[str, torch.Tensor], tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(Path(__file__).parent)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 600  # a busy machine takes minutes to import torch
    while not (tmp_path / "last.safetensors").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / "last.safetensors").exists()
    assert equal(train(tmp_path, steps=8), undisturbed)
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert [r.split(",")[0] for r in rows[1:]] == [str(i) for i in range(1, 9)]


def test_a_run_that_is_asked_to_stop_ends_after_a_step_and_goes_on(
    undisturbed: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    spec, sampler = tiny()
    torch.manual_seed(0)
    steps: list[int] = []
    fit(
        *(build_segmenter(spec), spec, sampler, tmp_path, TrainingOptions(steps=8, batch=2, checkpoint_every=100)),
        progress=lambda step, _: steps.append(step),
        stop=lambda: len(steps) == 3,
    )
    assert steps == [1, 2, 3]
    assert json.loads((tmp_path / "progress.json").read_text())["step"] == 3
    assert equal(train(tmp_path, steps=8), undisturbed)


def test_the_loss_falls(tmp_path: Path) -> None:
    train(tmp_path, steps=40, learning_rate=3e-3)
    header, *rows = [r.split(",") for r in (tmp_path / "log.csv").read_text().splitlines()]
    losses = [float(r[header.index("loss")]) for r in rows]
    assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:8])


def test_a_folder_with_another_run_is_left_alone(tmp_path: Path) -> None:
    train(tmp_path, steps=2)
    with pytest.raises(InputError, match="other options .*learning_rate"):
        train(tmp_path, steps=2, learning_rate=0.5)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    before = train(tmp_path, steps=2)
    spec, sampler = tiny()
    model = build_segmenter(spec)
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, float("nan"))
    (tmp_path / "other").mkdir()
    with pytest.raises(TrainingError, match="not finite"):
        fit(model, spec, sampler, tmp_path / "other", TrainingOptions(steps=4, batch=2))
    assert equal(load_file(tmp_path / "last.safetensors"), before)


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    train(tmp_path, steps=2)
    (tmp_path / "last.safetensors").write_bytes(b"garbage")
    with pytest.raises(ModelError, match="not a checkpoint"):
        train(tmp_path, steps=4)


def test_frozen_layers_stay_and_the_others_move(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec, sampler = tiny()
    model = build_segmenter(spec)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fit(model, spec, sampler, tmp_path, TrainingOptions(steps=2, batch=2, frozen=("encoder.body.conv1",)))
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert not any(k.startswith("encoder.body.conv1") for k in moved)
    assert any(k.startswith("encoder.body.layer1") for k in moved)
    assert any(k.startswith("decoder") for k in moved)


def test_images_without_classes_teach_outlines_only() -> None:
    spec, sampler = tiny()
    batch = sampler.batch(0, 2)
    representation = sampler.representation
    raw = torch.zeros((2, 8, 64, 64), requires_grad=True)
    target = {k: torch.from_numpy(v) for k, v in batch.maps.items()}
    target["types"] = torch.zeros_like(target["types"])
    terms = representation.loss_terms(raw, target, torch.from_numpy(batch.separable))
    sum(terms.values()).backward()
    assert raw.grad is not None
    assert raw.grad[:, 3:].abs().max() == 0
    assert raw.grad[:, :3].abs().max() > 0


def test_inseparable_images_teach_the_foreground_only() -> None:
    _, sampler = tiny()
    batch = sampler.batch(0, 2)
    raw = torch.randn((2, 8, 64, 64), requires_grad=True)
    target = {k: torch.from_numpy(v) for k, v in batch.maps.items()}
    terms = sampler.representation.loss_terms(raw, target, torch.zeros(2))
    (terms["hover_mse"] + terms["hover_msge"]).backward()
    assert raw.grad is not None
    assert raw.grad.abs().max() == 0


def test_a_batch_is_decided_by_its_step() -> None:
    _, sampler = tiny()
    first, again, other = sampler.batch(3, 2), sampler.batch(3, 2), sampler.batch(4, 2)
    np.testing.assert_array_equal(first.images, again.images)
    assert (first.images != other.images).any()
