"""What stays of an encoder stays, what trains trains, and every way can be stopped and gone on with."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from histocyte.core.errors import InputError, ModelError
from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.sample import Sample
from histocyte.decoders.blocks import conv_block
from histocyte.decoders.heads import PointwiseHeads
from histocyte.encoders.networks.timm import TimmPyramid, TimmViT
from histocyte.encoders.protocol import Features
from histocyte.model.build import build_representation, build_segmenter
from histocyte.model.segmenter import Segmenter
from histocyte.model.spec import ModelSpec
from histocyte.recipes.cellvit import cellvit
from histocyte.recipes.hover_unet import hover_unet
from histocyte.runs.train.defaults import crop_sampler
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses
from histocyte.training.adapt import adapt, encoder_blocks
from histocyte.training.crops import CropSampler
from histocyte.training.ema import WeightAverage
from histocyte.training.fit import TrainingOptions, fit

torch.set_num_threads(1)

WAYS = {
    "frozen": set[str](),
    "last-2": {"encoder.body.blocks.10", "encoder.body.blocks.11"},
    "lora": {f"encoder.body.blocks.{i}" for i in range(12)},
}
"""Blocks that change, by way."""


def spec_of_vit() -> ModelSpec:
    return cellvit("vit_tiny_patch16_224", shared=True, tissues=(), taxonomy=CONSEP)


class SmallDecoder(nn.Module):
    """The last tap alone, to keep the tests short."""

    width, stride = 8, 16

    def __init__(self) -> None:
        super().__init__()
        self.layers = conv_block(192, 8)

    def forward(self, features: Features, _: torch.Tensor) -> torch.Tensor:
        return self.layers(features.pyramid[-1])


@pytest.fixture(scope="module")
def base() -> Segmenter:
    torch.manual_seed(0)
    spec = spec_of_vit()
    maps = build_representation(spec.representation).maps
    encoder = TimmViT("vit_tiny_patch16_224", image_size=64)
    return Segmenter(encoder, SmallDecoder(), PointwiseHeads(8, 16, maps), maps, mean=spec.mean, std=spec.std)


def sampler_for(spec: ModelSpec, *, crop_px: int = 64) -> CropSampler:
    labels = packed_ellipses((96, 96), 20, seed=0)
    sample = Sample("s", paint_truth(labels, CONSEP), labels.instances, labels.types, 0.25, "synthetic", "s")
    sampler = crop_sampler(spec, [sample], seed=1)
    sampler.crop_px = crop_px
    return sampler


class Stop(Exception):
    pass


def train(model: Segmenter, run: Path, *, steps: int = 2, stop_at: int = 0, adapt: str = "full") -> Segmenter:
    """Train a copy of the model; stop before the checkpoint of a step is written."""
    model, spec = copy.deepcopy(model), spec_of_vit()
    options = TrainingOptions(steps=steps, batch=1, checkpoint_every=1, adapt=adapt)

    def progress(step: int, _: object) -> None:
        if step == stop_at:
            raise Stop

    validate = None if stop_at else lambda _: {"bpq": 0.5}
    fit(model, spec, sampler_for(spec), run, options, validate=validate, progress=progress)
    return model


def changed(model: nn.Module, base: nn.Module) -> set[str]:
    before = base.state_dict()
    return {k for k, v in model.state_dict().items() if k not in before or not torch.equal(v, before[k])}


@pytest.mark.parametrize("how", WAYS)
def test_a_run_changes_what_it_should_and_goes_on_exactly(how: str, base: Segmenter, tmp_path: Path) -> None:
    model = train(base, tmp_path / "undisturbed", adapt=how)
    moved = {n for n in changed(model, base) if n.startswith("encoder.")}
    assert {".".join(n.split(".")[:4]) for n in moved if ".blocks." in n} == WAYS[how]
    assert all(n.endswith(("lora_a", "lora_b")) for n in moved if how == "lora")
    assert {n for n in moved if ".blocks." not in n} <= {"encoder.body.norm.weight", "encoder.body.norm.bias"}
    assert any(n.startswith("decoder.") for n in changed(model, base))

    with pytest.raises(Stop):
        train(base, tmp_path / "stopped", adapt=how, stop_at=2)
    assert json.loads((tmp_path / "stopped" / "progress.json").read_text())["step"] == 1
    train(base, tmp_path / "stopped", adapt=how)
    last, wanted = (load_file(tmp_path / run / "last.safetensors") for run in ("stopped", "undisturbed"))
    assert last.keys() == wanted.keys()
    assert all(torch.equal(last[k], wanted[k]) for k in last)


def test_files_hold_what_trains_alone(base: Segmenter, tmp_path: Path) -> None:
    train(base, tmp_path, steps=1, adapt="frozen")
    for name in ("last", "best"):
        keys = load_file(tmp_path / f"{name}.safetensors").keys()
        assert not any("encoder." in k for k in keys)
        assert any(k.endswith("running_mean") for k in keys)
    other = copy.deepcopy(base)
    nn.init.ones_(other.encoder.body.cls_token)
    with pytest.raises(ModelError, match="fixed weights are others"):
        train(other, tmp_path, adapt="frozen")
    with pytest.raises(InputError, match="adapt frozen there, lora now"):
        train(base, tmp_path, adapt="lora")


def test_what_is_frozen_runs_as_at_inference_and_keeps_nothing_for_gradients(base: Segmenter) -> None:
    model = copy.deepcopy(base)
    fixed = adapt(model, "frozen")
    fixed.train(model)
    assert not any(m.training for m in model.encoder.modules())
    assert model.decoder.training
    features = model.encoder(torch.zeros(1, 3, 64, 64))
    assert all(f.grad_fn is None for f in features.pyramid)

    cnn = build_segmenter(hover_unet())
    fixed = adapt(cnn, "last-1")
    fixed.train(cnn)
    trained = {n for n, m in cnn.encoder.named_modules() if m.training and not list(m.children())}
    assert trained
    assert all(n.startswith("body.layer3.") for n in trained)
    assert "encoder.body.layer2.0.bn1.running_mean" in fixed.names
    assert "encoder.body.layer3.0.bn1.running_mean" not in fixed.names


def test_averages_share_what_stays_and_follow_what_moves(base: Segmenter) -> None:
    model = copy.deepcopy(base)
    fixed = adapt(model, "lora")
    average = WeightAverage(model, 0.5, fixed.names)
    mine, theirs = (m.state_dict(keep_vars=True) for m in (average.model, model))
    assert {n for n in mine if mine[n].data_ptr() == theirs[n].data_ptr()} == fixed.names
    assert theirs["encoder.body.blocks.0.attn.qkv.lora_b"].requires_grad
    with torch.no_grad():
        theirs["encoder.body.blocks.0.attn.qkv.lora_b"].fill_(1.0)
    average.update(model)
    assert mine["encoder.body.blocks.0.attn.qkv.lora_b"].unique().item() == pytest.approx(1 - 2 / 11)


def test_blocks_are_found_in_every_family() -> None:
    with torch.device("meta"):
        assert encoder_blocks(TimmViT("vit_tiny_patch16_224"))[0] == "body.blocks"
        assert encoder_blocks(TimmPyramid("resnet10t", (0, 1, 2))) == ("body", ["layer1", "layer2"])
        assert encoder_blocks(TimmPyramid("mobilenetv2_100", (0, 1, 2))) == ("body.blocks", ["0", "1", "2"])
        assert encoder_blocks(TimmPyramid("convnext_atto", (0, 1))) == ("body", ["stages_0", "stages_1"])
    with pytest.raises(InputError, match="no list of blocks"):
        encoder_blocks(nn.Sequential(nn.Linear(2, 2)))


@pytest.mark.parametrize(
    ("how", "says"), [("last-0", "There is: full"), ("half", "last-N"), ("last-13", "has 12 blocks")]
)
def test_ways_that_are_none_are_said(how: str, says: str, base: Segmenter) -> None:
    with pytest.raises(InputError, match=says):
        adapt(copy.deepcopy(base), how)


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """Its options name neither the ways to adapt nor leave the loss weights to the representation."""
    spec = hover_unet().with_changes(
        encoder={"name": "timm_pyramid", "options": {"name": "resnet10t", "depths": [0, 1]}},
        decoder={"name": "unet", "options": {"widths": [8], "depths": [1]}},
    )

    def go_on(steps: int) -> None:
        torch.manual_seed(0)
        options = TrainingOptions(steps=steps, batch=1)
        fit(build_segmenter(spec), spec, sampler_for(spec), tmp_path, options)

    go_on(1)
    path = tmp_path / "options.json"
    options = json.loads(path.read_text())
    new = {"adapt", "lora_rank", "lora_alpha", "lora_targets"}
    path.write_text(json.dumps({k: v for k, v in options.items() if k not in new}))
    assert options["loss_weights"]["hover_msge"] == 8
    go_on(2)
    path.write_text(json.dumps({**options, "loss_weights": {"hover_mse": 1.0}}))
    with pytest.raises(InputError, match="loss_weights"):
        go_on(3)
