from __future__ import annotations

from typing import Any

import pytest
import torch

from histocyte.core.errors import InputError
from histocyte.encoders.networks.diffusion.condition import Condition
from histocyte.encoders.networks.diffusion.encoder import DiffusionEncoder

torch.set_num_threads(1)
SMALL: dict[str, Any] = {
    "first_stage": {"name": "autoencoder", "width": 32, "multiples": (1, 1), "blocks": 1},
    "denoiser": {"width": 32, "multiples": (1, 2, 2), "blocks": 1, "attention": (2, 4)},
    "taps": (1, 3, 5),
}
VIT: dict[str, Any] = {"name": "timm_vit", "options": {"name": "vit_tiny_patch16_224", "taps": [12]}}


def small(**options: Any) -> DiffusionEncoder:
    torch.manual_seed(0)
    encoder = DiffusionEncoder(**SMALL | options).eval()
    for parameter in encoder.denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return encoder


def test_maps_are_fine_to_coarse_and_as_told() -> None:
    encoder, image = small(), torch.rand(2, 3, 32, 48) * 2 - 1
    with torch.no_grad():
        features = encoder(image)
    assert encoder.taps == [5, 3, 1]
    assert encoder.info.strides == (2, 2, 4)  # the last block of a level is doubled before it is tapped
    assert encoder.info.multiple == 8
    for tap, width, stride in zip(features.pyramid, encoder.info.widths, encoder.info.strides, strict=True):
        assert tap.shape == (2, width, 32 // stride, 48 // stride)
    assert features.tokens is features.pyramid[-1]
    assert features.cls is not None
    assert features.cls.shape == (2, encoder.info.summary_width)


def test_noise_is_fixed_at_inference_and_fresh_in_training() -> None:
    encoder, image = small(timestep=400), torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        first, again = encoder(image).pyramid[0], encoder(image).pyramid[0]
        assert torch.equal(first, again)
        assert torch.equal(encoder(image.repeat(3, 1, 1, 1)).pyramid[0][2:], first) or torch.allclose(
            encoder(image.repeat(3, 1, 1, 1)).pyramid[0][2:], first, atol=1e-5
        )
        other = small(timestep=400, seed=1)(image).pyramid[0]
        assert not torch.allclose(first, other, atol=1e-3)
        encoder.training = True
        assert not torch.allclose(encoder(image).pyramid[0], encoder(image).pyramid[0], atol=1e-3)


def test_several_noises_are_averaged() -> None:
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    both = small(timestep=400, samples=2)
    with torch.no_grad():
        mean = both(image).pyramid[0]
        parts = []
        for number in range(2):
            one = small(timestep=400)
            one.noise = both.noise[number : number + 1]
            parts.append(one(image).pyramid[0])
    assert torch.allclose(mean, torch.stack(parts).mean(0), atol=1e-5)


def test_noise_repeats_beyond_its_own_size() -> None:
    encoder = small()
    side = encoder.noise.shape[-1]
    noise = encoder._noise(torch.zeros(1, 3, 2, side + 3), 0)
    assert torch.equal(noise[..., side:], noise[..., :3])


def test_the_condition_is_an_embedding_of_length_one() -> None:
    torch.manual_seed(0)
    condition = Condition(width=192, region_width=8, context=16, encoder=VIT, mean=(0.2, 0.3, 0.4), std=(0.1, 0.2, 0.3))
    condition.eval()
    image = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        given = condition.encoder(
            (image - torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)) / torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
        ).cls  # type: ignore[misc]
        embedding = condition.embed(image * 2 - 1)
        tokens = condition(image * 2 - 1)
    assert torch.allclose(embedding, given / given.norm(dim=1, keepdim=True), atol=1e-4)
    assert tokens.shape == (2, 2, 16)
    assert condition.region_fc is not None
    assert torch.allclose(tokens[:, 1], condition.region_fc.bias.expand(2, -1))


def test_an_encoder_of_the_condition_changes_the_maps() -> None:
    image = torch.rand(1, 3, 224, 224) * 2 - 1
    told = small(condition={"width": 192, "region_width": None, "context": 64, "encoder": VIT})
    zeros = small(condition={"width": 192, "region_width": None, "context": 64})
    zeros.load_state_dict({k: v for k, v in told.state_dict().items() if not k.startswith("condition.encoder.")})
    with torch.no_grad():
        assert not torch.allclose(told(image).pyramid[0], zeros(image).pyramid[0], atol=1e-4)
        assert zeros.condition is not None
        assert torch.equal(zeros.condition.embed(image), torch.zeros(1, 192))
        told(image[..., :200])  # the condition sees it at a size that suits it


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"taps": (1, 6)}, "blocks 0 to 5"),
        ({"taps": ()}, "blocks 0 to 5"),
        ({"timestep": 1000}, "steps 0 to 999"),
        ({"samples": 0}, "1 noise or more"),
        ({"denoiser": {"width": 32, "channels": 5}}, "takes 5 channels"),
        ({"condition": {"width": 5, "encoder": VIT}}, "has 192"),
        ({"condition": {"width": 5, "projected": False}}, "not projected"),
    ],
)
def test_parts_that_do_not_fit(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        DiffusionEncoder(**SMALL | options)


def test_sides_that_are_no_multiple() -> None:
    with pytest.raises(InputError, match="8"):
        small()(torch.zeros(1, 3, 12, 16))
