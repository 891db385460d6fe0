from __future__ import annotations

import pytest
import torch

from histocyte.core.errors import InputError
from histocyte.encoders.networks.diffusion.unet import DenoisingUNet

torch.set_num_threads(1)


def test_weights_and_blocks_of_the_published_network() -> None:
    """400,920,579 weights, and channels at the resolution of a 64 × 64 latent, block by block."""
    with torch.device("meta"):
        network = DenoisingUNet()
    assert sum(p.numel() for p in network.parameters()) == 400_920_579
    assert [(w, 64 // r) for w, r in zip(network.tap_widths, network.tap_rates, strict=True)] == [
        *((960, 8), (960, 8), (960, 16), (576, 16), (576, 16), (576, 32)),
        *((384, 32), (384, 32), (384, 64), (192, 64), (192, 64), (192, 64)),
    ]
    latent = torch.empty(1, 3, 64, 64, device="meta")
    context = torch.empty(1, 2, 512, device="meta")
    step = torch.zeros(1, device="meta")
    maps, middle = network.features(latent, step, context, range(12))
    told = [(w, 64 // r, 64 // r) for w, r in zip(network.tap_widths, network.tap_rates, strict=True)]
    assert [tuple(m.shape[1:]) for m in maps] == told
    assert middle.shape == (1, 960, 8, 8)


def test_features_are_those_of_the_whole_pass() -> None:
    torch.manual_seed(0)
    network = DenoisingUNet(width=32, multiples=(1, 2), blocks=1, attention=(2,), context=None).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    latent, step = torch.randn(2, 3, 8, 12), torch.tensor([3, 3])
    with torch.no_grad():
        (last,), _ = network.features(latent, step, None, [3])
        assert torch.allclose(network.out(last), network(latent, step), atol=1e-6)
        assert not torch.allclose(network(latent, step), network(latent, step + 500), atol=1e-3)


@pytest.mark.parametrize("options", [{"width": 40}, {"multiples": ()}, {"blocks": 0}, {"heads": 5}])
def test_sizes_that_cannot_be(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match="multiple of 32"):
        DenoisingUNet(**options)  # type: ignore[arg-type]
