"""A training that cannot go on ends with the reason and its last good checkpoint; its folder says what it was."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from histocyte.core.errors import DiskError, InputError, UnknownNameError
from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.sample import Sample
from histocyte.model.build import build_segmenter
from histocyte.model.spec import ModelSpec
from histocyte.recipes.hover_unet import hover_unet
from histocyte.runs.train.defaults import crop_sampler
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses
from histocyte.training import state
from histocyte.training.crops import Batch, CropSampler
from histocyte.training.fit import TrainingError, TrainingOptions, fit
from histocyte.training.journal import Table

torch.set_num_threads(1)
SPEC = hover_unet().with_changes(
    encoder={"name": "timm_pyramid", "options": {"name": "resnet10t", "depths": [0, 1]}},
    decoder={"name": "unet", "options": {"widths": [8], "depths": [1]}},
)


def sampler_of(spec: ModelSpec = SPEC) -> CropSampler:
    labels = packed_ellipses((96, 96), 12, seed=0)
    image = paint_truth(labels, CONSEP)
    sampler = crop_sampler(spec, [Sample("a", image, labels.instances, labels.types, 0.25, "synthetic", "a")], seed=1)
    sampler.crop_px = 32
    return sampler


def train(run: Path, steps: int, *, broken: dict[int, str] | None = None, **changes: object) -> dict[str, Tensor]:
    """Train; in some steps something breaks."""
    torch.manual_seed(0)
    options = TrainingOptions(**{"steps": steps, "batch": 2, "checkpoint_every": 2, **changes})  # type: ignore[arg-type]
    model, sampler, step = build_segmenter(SPEC), sampler_of(), 0

    def losses(raw: Tensor, batch: Batch) -> Mapping[str, Tensor]:
        nonlocal step
        step += 1
        how = (broken or {}).get(step, "")
        if how == "weights":  # a step whose loss is fine and whose weights are not
            raw.register_hook(lambda _: [p.data.fill_(math.inf) for p in model.decoder.parameters()] and None)
        return {"nucleus_bce": raw.square().mean() * {"": 1.0, "large": 1e6, "nan": math.nan}.get(how, 1.0)}

    fit(
        *(model, SPEC, sampler, run, options),
        losses=losses if broken else None,
        validate=lambda _: {"bpq": math.nan},
    )
    return load_file(run / "last.safetensors")


def progress_of(run: Path) -> int:
    with safe_open(run / "last.safetensors", framework="pt") as file:
        return int(json.loads(file.metadata()["progress"])["step"])


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_diverging_run_ends_with_the_checkpoint_from_before(tmp_path: Path) -> None:
    broken = dict.fromkeys(range(28, 100), "large")
    with pytest.raises(TrainingError, match=r"diverges: for 6 steps up to step 33"):
        train(tmp_path, 100, broken=broken, divergence_steps=6)
    assert progress_of(tmp_path) == 26
    assert Table(tmp_path / "log.csv").column("step")[-1] == 32


def test_one_bad_step_puts_the_checkpoint_off_and_no_more(tmp_path: Path) -> None:
    train(tmp_path, 27, broken={24: "large"})
    assert progress_of(tmp_path) == 27
    assert len(Table(tmp_path / "log.csv").column("step")) == 27


def test_a_loss_that_is_no_number_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"loss of step 4 is not finite \(nucleus_bce nan\)"):
        train(tmp_path, 8, broken={4: "nan"})
    assert progress_of(tmp_path) == 2


def test_weights_that_are_no_numbers_are_not_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_segmenter(SPEC)

    def poison(step: int, _: Mapping[str, float]) -> None:
        if step == 4:  # after its loss and gradient were fine
            next(model.decoder.parameters()).data.fill_(math.inf)

    options = TrainingOptions(steps=6, batch=2, checkpoint_every=2)
    with pytest.raises(TrainingError, match=r"After step 4 the weights 'decoder.* are not finite"):
        fit(model, SPEC, sampler_of(), tmp_path, options, progress=poison)
    assert progress_of(tmp_path) == 2
    assert all(torch.isfinite(t).all() for t in load_file(tmp_path / "last.safetensors").values())


def test_a_gradient_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="gradient of step 4 is not finite"):
        train(tmp_path, 4, broken={4: "weights"})
    assert progress_of(tmp_path) == 2


def test_a_full_disk_keeps_the_checkpoint_and_the_run_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = train(tmp_path / "whole", 6)

    def full(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
        if json.loads((metadata or {}).get("progress", "{}")).get("step") == 4:
            path.write_bytes(b"half a file")
            raise OSError(errno.ENOSPC, "No space left on device")
        save_file(dict(tensors), path, dict(metadata) if metadata else None)

    monkeypatch.setattr(state, "save_file", full)
    run = tmp_path / "run"
    with pytest.raises(DiskError, match=r"No space left on device.*the one before it is kept\. Make room"):
        train(run, 6)
    assert progress_of(run) == 2
    assert not list(run.glob("*.part"))
    monkeypatch.undo()
    assert equal(train(run, 6), undisturbed)
    assert Table(run / "log.csv").column("step") == [1, 2, 3, 4, 5, 6]


def test_a_full_disk_under_the_log_ends_the_run_likewise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = Table.append

    def full(self: Table, row: Mapping[str, float]) -> None:
        if row["step"] == 3:
            with self.path.open("a") as file:
                file.write("3,0.0")
            raise DiskError("Cannot write log.csv: No space left on device.")
        append(self, row)

    monkeypatch.setattr(Table, "append", full)
    with pytest.raises(DiskError, match="No space left"):
        train(tmp_path, 4)
    monkeypatch.undo()
    train(tmp_path, 4)
    assert Table(tmp_path / "log.csv").column("step") == [1, 2, 3, 4]


def test_the_folder_says_what_the_run_is_in_strict_json(tmp_path: Path) -> None:
    train(tmp_path, 2)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    read = {
        name: json.loads((tmp_path / f"{name}.json").read_text(), parse_constant=refuse)
        for name in ("recipe", "options", "environment", "progress")
    }
    assert read["progress"]["best"] is None
    assert ModelSpec.model_validate(read["recipe"]["model"]) == SPEC
    assert read["recipe"]["training"]["batch"] == 2
    assert read["environment"]["sessions"][0]["packages"]["torch"] == torch.__version__


def test_a_run_of_the_version_before_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    undisturbed = train(tmp_path / "whole", 8)
    run = tmp_path / "old"
    train(run, 4)
    # What that version did not write yet.
    known = "steps batch learning_rate encoder_factor weight_decay clip average_decay frozen loss_weights seed"
    options = json.loads((run / "options.json").read_text())
    kept = {k: v for k, v in options.items() if k in [*known.split(), "validate_every", "checkpoint_every", "device"]}
    (run / "options.json").write_text(json.dumps(kept))
    for name in ("recipe.json", "environment.json"):
        (run / name).unlink()
    (run / "progress.json").write_text('{"step": 4, "of": 4, "best": -Infinity, "crops_per_s": 1.0}')
    with safe_open(run / "last.safetensors", framework="pt") as file:
        tensors, said = {k: file.get_tensor(k) for k in file.keys()}, json.loads(file.metadata()["progress"])  # noqa: SIM118
    progress = json.dumps({"step": 4, "best": -math.inf, "average_updates": said["average_updates"]})
    save_file(tensors, run / "last.safetensors", {"progress": progress})
    rows = [",".join(row.split(",")[:-1]) for row in (run / "log.csv").read_text().splitlines()]
    (run / "log.csv").write_bytes("".join(f"{row}\r\n" for row in rows).encode())  # without "waited"
    assert equal(train(run, 8), undisturbed)
    assert Table(run / "log.csv").column("step") == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_loss_term_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="No loss term called 'nucleus_dise'. Did you mean 'nucleus_dice'"):
        train(tmp_path, 1, loss_weights={"nucleus_dise": 1.0})


def test_an_encoder_may_wait_for_its_turn(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_segmenter(SPEC)
    before = {k: v.clone() for k, v in model.state_dict().items() if k.startswith("encoder")}

    def moved(step: int, _: Mapping[str, float]) -> None:
        seen[step] = {k for k, v in model.state_dict().items() if k in before and not torch.equal(v, before[k])}

    seen: dict[int, set[str]] = {}
    options = TrainingOptions(steps=4, batch=2, frozen_steps=2, average_decay=0.0)
    fit(model, SPEC, sampler_of(), tmp_path, options, progress=moved)
    assert seen[2] == set()
    assert any(k.endswith("conv1.0.weight") for k in seen[4])
    with pytest.raises(InputError, match="frozen_steps 2 there, 0 now"):
        fit(build_segmenter(SPEC), SPEC, sampler_of(), tmp_path, TrainingOptions(steps=4, batch=2, average_decay=0.0))


def test_a_run_ends_early_when_it_no_longer_gets_better_and_stays_ended(tmp_path: Path) -> None:
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    options = TrainingOptions(
        **{"steps": 20, "batch": 2, "validate_every": 2, "patience": 2, "keep": "best", "epoch_steps": 2},  # type: ignore[arg-type]
        schedule={"name": "plateau", "gamma": 0.5, "patience": 1},
    )
    for _ in range(2):  # the second call finds nothing to do
        torch.manual_seed(0)
        fit(build_segmenter(SPEC), SPEC, sampler_of(), tmp_path, options, validate=lambda _: {"bpq": next(scores)})
    assert Table(tmp_path / "validation.csv").column("bpq") == [0.1, 0.3, 0.2, 0.3]
    assert Table(tmp_path / "log.csv").column("lr") == pytest.approx([1e-3] * 6 + [5e-4] * 2)
    assert json.loads((tmp_path / "progress.json").read_text())["step"] == 8


def test_batches_do_not_depend_on_how_many_threads_prepare_them() -> None:
    one, many = sampler_of(), sampler_of()
    many.threads = 3
    for a, b in zip(one.batches(0, 6, 2), many.batches(0, 6, 2), strict=True):
        np.testing.assert_array_equal(a.images, b.images)


def test_shares_of_a_batch_are_the_batch() -> None:
    whole, first, second = sampler_of(), sampler_of(), sampler_of()
    first.share, second.share = (0, 2), (1, 2)
    images = whole.batch(3, 4).images
    np.testing.assert_array_equal(first.batch(3, 4).images, images[[0, 2]])
    np.testing.assert_array_equal(second.batch(3, 4).images, images[[1, 3]])
