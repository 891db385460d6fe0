from __future__ import annotations

import pytest
import torch

from histocyte.core.errors import InputError, ModelError, UnknownNameError
from histocyte.encoders.networks.timm import TimmPyramid, TimmViT, _dino_positions
from histocyte.encoders.protocol import Encoder

torch.set_num_threads(1)
SMALL_VIT = "vit_tiny_patch16_224"


def image(side: int) -> torch.Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(side))


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100", "efficientnet_b0"])
def test_a_pyramid_is_what_its_info_says(name: str) -> None:
    encoder = TimmPyramid(name).eval()
    assert isinstance(encoder, Encoder)
    features = encoder(image(64))
    levels = zip(encoder.info.widths, encoder.info.strides, strict=True)
    shapes = [(1, width, 64 // stride, 64 // stride) for width, stride in levels]
    assert [tuple(level.shape) for level in features.pyramid] == shapes
    assert encoder.info.multiple == encoder.info.strides[-1] == 16
    assert features.tokens is None
    assert features.cls is None
    assert encoder.info.summary_width is None


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100", "efficientnet_b0", "convnext_atto"])
def test_a_pyramid_has_no_idle_weights(name: str) -> None:
    encoder = TimmPyramid(name, depths=(0, 1, 2))
    sum(level.square().sum() for level in encoder(image(64)).pyramid).backward()
    assert [key for key, p in encoder.named_parameters() if p.grad is None] == []


def test_a_vit_is_what_its_info_says() -> None:
    encoder = TimmViT(SMALL_VIT).eval()
    assert isinstance(encoder, Encoder)
    features = encoder(torch.cat([image(64), image(64)])[:, :, :, :48])
    assert encoder.taps == (3, 6, 9, 12)
    assert [tuple(tap.shape) for tap in features.pyramid] == [(2, 192, 4, 3)] * 4
    assert features.tokens is features.pyramid[-1]
    assert features.cls is not None
    assert features.cls.shape == (2, encoder.info.summary_width)


def test_taps_are_the_residual_stream_and_the_summary_is_normalised() -> None:
    encoder = TimmViT(SMALL_VIT, taps=(12,)).eval()
    seen: list[torch.Tensor] = []
    encoder.body.blocks[-1].register_forward_hook(lambda _module, _given, out: seen.append(out))
    with torch.inference_mode():
        features = encoder(image(64))
        summary = encoder.body.norm(seen[0])[:, 0]
    assert torch.equal(features.pyramid[0], seen[0][:, 1:].transpose(1, 2).reshape(1, 192, 4, 4))
    assert features.cls is not None
    assert torch.allclose(features.cls, summary)


def test_registers_without_a_class_token_are_no_summary() -> None:
    encoder = TimmViT("vit_little_patch16_reg1_gap_256").eval()
    features = encoder(image(64))
    assert features.cls is None
    assert encoder.info.summary_width is None
    assert features.pyramid[0].shape[-2:] == (4, 4)


def test_dino_positions_differ_from_timms_only_in_resampling() -> None:
    ours, timms = TimmViT(SMALL_VIT, position_resampling="dino").eval(), TimmViT(SMALL_VIT).eval()
    timms.load_state_dict(ours.state_dict())
    with torch.inference_mode():
        for side, same in ((224, True), (320, False)):
            a, b = ours(image(side)), timms(image(side))
            assert torch.allclose(a.pyramid[0], b.pyramid[0], atol=1e-5) is same
            assert torch.allclose(a.cls, b.cls, atol=1e-5) is same
            assert a.pyramid[0].shape == b.pyramid[0].shape


@pytest.mark.parametrize("new", [(16, 20), (32, 9), (3, 14)])
def test_dino_positions_are_interpolated_as_torch_does_with_that_scale(new: tuple[int, int]) -> None:
    embedding = torch.randn(1, 1 + 14 * 14, 8, generator=torch.Generator().manual_seed(0))
    grid = embedding[:, 1:].reshape(1, 14, 14, 8).permute(0, 3, 1, 2)
    scale = ((new[0] + 0.1) / 14, (new[1] + 0.1) / 14)
    plain = torch.nn.functional.interpolate(grid, scale_factor=scale, mode="bicubic").flatten(2).transpose(1, 2)
    ours = _dino_positions(embedding, (14, 14), new)
    assert torch.equal(ours[:, :1], embedding[:, :1])
    assert torch.allclose(ours[:, 1:], plain, atol=2e-5)


def test_sides_that_are_no_multiple_are_refused() -> None:
    for encoder in (TimmViT(SMALL_VIT), TimmViT(SMALL_VIT, position_resampling="dino"), TimmPyramid("resnet18")):
        with pytest.raises(InputError, match="100 × 100 px does not fit .* multiple of 16, e.g. 112 × 112"):
            encoder(image(100))


def test_fit_resizes_to_whole_patches() -> None:
    encoder = TimmViT(SMALL_VIT, fit=True).eval()
    with torch.inference_mode():
        features = encoder(image(100))
        whole = encoder(torch.nn.functional.interpolate(image(100), (96, 96), mode="area"))
    assert encoder.info.multiple == 1
    assert torch.equal(features.pyramid[0], whole.pyramid[0])


def test_wrong_names_and_blocks_are_said() -> None:
    with pytest.raises(UnknownNameError, match="resnet19"):
        TimmPyramid("resnet19")
    with pytest.raises(InputError, match="not a vision transformer"):
        TimmViT("resnet18")
    with pytest.raises(InputError, match="blocks 1–12; tapped were"):
        TimmViT(SMALL_VIT, taps=(3, 13))
    with pytest.raises(InputError, match="position_resampling='timm'"):
        TimmViT("deit3_small_patch16_224", position_resampling="dino")
    with pytest.raises(InputError, match="each twice the last"):
        TimmPyramid("resnet18", depths=(0, 2))


def test_taps_come_in_order_however_they_are_given() -> None:
    assert TimmViT(SMALL_VIT, taps=(12, 3)).taps == (3, 12)


def test_a_swin_gives_its_maps_channels_first_at_any_size() -> None:
    with torch.device("meta"):
        encoder = TimmPyramid("swin_tiny_patch4_window7_224", arch_options={"strict_img_size": False}).eval()
        features = encoder(torch.empty(1, 3, 96, 64))
    assert encoder.info.strides == (4, 8, 16, 32)
    assert [tuple(level.shape[1:]) for level in features.pyramid] == [
        (96, 24, 16),
        (192, 12, 8),
        (384, 6, 4),
        (768, 3, 2),
    ]


def test_published_departures_from_timm_are_plain_options() -> None:
    options = {"embed_dim": 64, "depth": 4, "num_heads": 4, "mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"}
    registers = {"reg_tokens": 3, "no_embed_class": True, "init_values": 1e-5, "mlp_ratio": 2.0}
    encoder = TimmViT("vit_tiny_patch16_224", arch_options={**options, **registers}).eval()
    block = encoder.body.blocks[0]
    assert type(block.mlp).__name__ == "GluMlp"
    assert block.ls1.gamma.shape == (64,)
    assert encoder.body.num_prefix_tokens == 4
    assert [tuple(tap.shape) for tap in encoder(image(64)).pyramid] == [(1, 64, 4, 4)] * 4


def test_options_that_could_fetch_or_run_something_are_refused() -> None:
    with pytest.raises(ModelError, match="cannot be set for 'resnet18': checkpoint_path, pretrained"):
        TimmPyramid("resnet18", arch_options={"pretrained": True, "checkpoint_path": "x.pth"})
    with pytest.raises(UnknownNameError, match=r"No mlp_layer called 'os\.system'"):
        TimmViT(SMALL_VIT, arch_options={"mlp_layer": "os.system"})


def test_a_hybrids_stride_is_that_of_its_tokens() -> None:
    with torch.device("meta"):
        encoder = TimmViT("vit_tiny_r_s16_p8_224").eval()
        features = encoder(torch.empty(1, 3, 256, 192))
    assert encoder.info.strides == (32,) * 4
    assert features.pyramid[0].shape[-2:] == (8, 6)
