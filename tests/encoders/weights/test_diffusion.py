"""Weights in the layouts that they are published in. The stored values are of diffusers 0.42, with its names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from histocyte.core.errors import InputError, ModelError
from histocyte.encoders.networks.diffusion.encoder import DiffusionEncoder
from histocyte.encoders.networks.timm import TimmViT
from histocyte.encoders.weights.load import load_encoder_weights

torch.set_num_threads(1)
GOLDEN = json.loads((Path(__file__).parent / "diffusers_0_42.json").read_text())
FIRST: dict[str, Any] = {"name": "autoencoder", "width": 32, "multiples": (1, 2), "blocks": 1, "codes": 8}
OPTIONS: dict[str, Any] = {
    "first_stage": FIRST,
    "denoiser": {"width": 32, "multiples": (1, 2), "blocks": 1, "attention": (2,)},
    "condition": {"width": 8, "region_width": None, "context": 16},
    "taps": (1, 3),
}


def fresh(**options: Any) -> DiffusionEncoder:
    return DiffusionEncoder(**OPTIONS | options).eval()


def filled(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """The tensors that the golden values were computed with."""
    return {
        name: (torch.arange(torch.Size(shapes[name]).numel(), dtype=torch.float64) * 0.7 + number)
        .sin()
        .mul(0.1)
        .float()
        .view(shapes[name])
        for number, name in enumerate(sorted(shapes))
    }


def pipeline(folder: Path) -> Path:
    for name in ("unet", "vqvae"):
        (folder / name).mkdir(parents=True)
        save_file(filled(GOLDEN[name]), folder / name / "diffusion_pytorch_model.safetensors")
    return folder


def few(tensor: Tensor) -> list[float]:
    return tensor.flatten()[:: max(1, tensor.numel() // 6)].tolist()


def test_a_pipeline_of_diffusers_gives_what_diffusers_gives(tmp_path: Path) -> None:
    plain = {"width": 16, "region_width": None, "context": 16, "projected": False}
    encoder = fresh(condition=plain, first_stage=FIRST | {"decoder": True})
    load_encoder_weights(encoder, pipeline(tmp_path / "ldm"))
    noised = (torch.arange(3 * 64) * 0.37).sin().view(1, 3, 8, 8)
    context = (torch.arange(32) * 0.11).cos().view(1, 2, 16)
    image = (torch.arange(3 * 256) * 0.21).sin().view(1, 3, 16, 16)
    with torch.no_grad():
        assert few(encoder.denoiser(noised, torch.tensor([50]), context)) == pytest.approx(GOLDEN["noise"], abs=2e-5)
        latent = encoder.first_stage.encode(image)
        assert few(latent) == pytest.approx(GOLDEN["latent"], abs=2e-5)
        assert few(encoder.first_stage.decode(latent)) == pytest.approx(GOLDEN["image"], abs=2e-5)


def compvis(encoder: DiffusionEncoder) -> dict[str, Tensor]:
    """A checkpoint of CompVis's program: its prefixes, the way out, averages and constants of training."""
    prefixes = {"denoiser.": "model.diffusion_model.", "first_stage.": "first_stage_model."}
    prefixes["condition."] = "cond_stage_model."
    state = {}
    for name, tensor in encoder.state_dict().items():
        ours = next(prefix for prefix in prefixes if name.startswith(prefix))
        state[prefixes[ours] + name.removeprefix(ours)] = torch.randn_like(tensor)
    for name in ("betas", "alphas_cumprod_prev", "sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod"):
        state[name] = torch.zeros(4)
    for name in ("sqrt_recipm1_alphas_cumprod", "posterior_mean_coef1", "lvlb_weights", "model_ema.decay"):
        state[name] = torch.zeros(4)
    state["first_stage_model.decoder.conv_in.weight"] = torch.zeros(4)
    state["first_stage_model.quantize.embedding.weight"] = torch.zeros(4, 3)
    return state


@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_a_checkpoint_of_compvis(tmp_path: Path, ending: str) -> None:
    encoder = fresh()
    state = compvis(encoder)
    path = tmp_path / f"last.{ending}"
    if ending == "ckpt":
        torch.save({"state_dict": state, "global_step": 3}, path)
    else:
        save_file(state, path)
    load_encoder_weights(encoder, path)
    loaded = encoder.state_dict()
    assert torch.equal(loaded["denoiser.out.2.weight"], state["model.diffusion_model.out.2.weight"])
    assert torch.equal(loaded["condition.patch_fc.bias"], state["cond_stage_model.patch_fc.bias"])
    assert torch.equal(loaded["first_stage.quant_conv.bias"], state["first_stage_model.quant_conv.bias"])


def test_our_own_file(tmp_path: Path) -> None:
    one, other = fresh(), fresh()
    save_file(one.state_dict(), tmp_path / "ldm.safetensors")
    load_encoder_weights(other, tmp_path / "ldm.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model.diffusion_model.out.0.bias": None}, r"missing: denoiser\.out\.0\.bias"),
        ({"model.diffusion_model.label_emb.weight": torch.zeros(2)}, r"left over: denoiser\.label_emb\.weight"),
        ({"cond_stage_model.region_fc.weight": torch.zeros(2)}, r"left over: condition\.region_fc\.weight"),
        ({"betas_2": torch.zeros(2)}, "left over: betas_2"),
        ({"model.diffusion_model.out.0.bias": torch.zeros(2)}, "of another shape"),
        ({"model.diffusion_model.out.0.bias": torch.full((32,), torch.nan)}, "finite"),
        ({"scale_factor": torch.tensor(0.5)}, r"scale=0\.5"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Tensor | None], says: str) -> None:
    encoder = fresh()
    state = {k: v for k, v in (compvis(encoder) | change).items() if v is not None}
    save_file(state, tmp_path / "last.safetensors")
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    with pytest.raises(ModelError, match=says):
        load_encoder_weights(encoder, tmp_path / "last.safetensors")
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())


def test_the_conditions_encoder_lies_beside(tmp_path: Path) -> None:
    vit: dict[str, Any] = {"name": "timm_vit", "options": {"name": "vit_tiny_patch16_224", "taps": [12]}}
    encoder = fresh(condition={"width": 192, "region_width": None, "context": 16, "encoder": vit})
    state = {k: v for k, v in compvis(encoder).items() if not k.startswith("cond_stage_model.encoder.")}
    save_file(state, tmp_path / "last.safetensors")
    with pytest.raises(InputError, match=r"condition\.safetensors"):
        load_encoder_weights(encoder, tmp_path / "last.safetensors")
    body = {k: torch.randn_like(v) for k, v in TimmViT("vit_tiny_patch16_224", taps=[12]).body.state_dict().items()}
    save_file(body, tmp_path / "condition.safetensors")
    load_encoder_weights(encoder, tmp_path / "last.safetensors")
    assert torch.equal(encoder.state_dict()["condition.encoder.body.cls_token"], body["cls_token"])
