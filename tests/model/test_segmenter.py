from __future__ import annotations

import torch

from histocyte.core.maps import MapSpec
from histocyte.encoders.protocol import EncoderInfo, Features
from histocyte.model.segmenter import Segmenter, activate


class Pixels(torch.nn.Module):
    """Features are the image itself."""

    info = EncoderInfo((3,), (1,), 1)

    def forward(self, image: torch.Tensor) -> Features:
        return Features((image,), cls=image.mean((2, 3)))


class Passed(torch.nn.Module):
    def forward(self, features: Features, image: torch.Tensor) -> torch.Tensor:
        assert features.pyramid[0] is image
        return image


def test_the_encoder_is_given_normalised_images() -> None:
    model = Segmenter(
        Pixels(), Passed(), torch.nn.Identity(), (MapSpec("rgb", 3),), mean=(0.5, 0.4, 0.2), std=(0.5, 0.1, 0.2)
    )
    white = torch.full((1, 3, 4, 4), 255.0)
    assert torch.allclose(model(white)[0, :, 0, 0], torch.tensor([1.0, 6.0, 4.0]))
    assert "mean" not in model.state_dict()


def test_each_map_is_activated_by_its_own_rule() -> None:
    raw = torch.randn(2, 6, 3, 3)
    maps = activate(raw, (MapSpec("a", 1, "sigmoid"), MapSpec("b", 2), MapSpec("c", 3, "softmax")))
    assert torch.equal(maps[:, :1], raw[:, :1].sigmoid())
    assert torch.equal(maps[:, 1:3], raw[:, 1:3])
    assert torch.equal(maps[:, 3:], raw[:, 3:].softmax(1))
