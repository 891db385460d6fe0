from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from histocyte.core.errors import InputError
from histocyte.encoders.networks.diffusion.first_stage import Autoencoder, TinyAutoencoder, build_first_stage

torch.set_num_threads(1)
SHARED = Path(__file__).parents[5] / "shared" / "data"
TAEF2 = SHARED / "weights" / "taef2_autoencoder" / "taef2_fp16.safetensors"


def test_vq_f4_has_the_published_number_of_weights() -> None:
    """55.32 million, as latent diffusion's own training program prints it."""
    with torch.device("meta"):
        whole = Autoencoder(decoder=True)
    assert round(sum(p.numel() for p in whole.parameters()) / 1e6, 2) == 55.32
    assert (whole.channels, whole.stride) == (3, 4)


@pytest.mark.parametrize("kind", ["vq", "kl"])
def test_an_image_comes_back_in_its_size(kind: str) -> None:
    torch.manual_seed(0)
    network = Autoencoder(width=32, multiples=(1, 1), blocks=1, kind=kind, codes=5, scale=2.0, decoder=True).eval()
    image = torch.rand(1, 3, 16, 24) * 2 - 1
    with torch.no_grad():
        latent = network.encode(image)
        assert latent.shape == (1, 3, 8, 12)
        assert network.decode(latent).shape == image.shape
        raw = network.quant_conv(network.encoder(image))[:, :3]
        assert torch.allclose(latent, 2 * raw)
        if network.quantize is not None:
            codes = network.quantize(raw).permute(0, 2, 3, 1).flatten(0, 2)
            assert all((code == network.quantize.embedding.weight).all(1).any() for code in codes)


@pytest.mark.skipif(not TAEF2.is_file(), reason="needs ../shared")
def test_tissue_comes_back_from_the_tiny_latent() -> None:
    """PSNR as measured when the weights were published with their data: 34.3 dB in this corner."""
    network = TinyAutoencoder(decoder=True)
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(TAEF2).items()})
    path = min((SHARED / "consep").glob("*.webp"))
    pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)[:256, :256]
    image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        latent = network.encode(image)
        back = network.decode(latent)
    assert latent.shape == (1, 32, 32, 32)
    psnr = 10 * np.log10(4 / float(((back - image) ** 2).mean()))
    assert psnr == pytest.approx(34.3, abs=0.1)


def test_what_cannot_be() -> None:
    with pytest.raises(InputError, match="There are: autoencoder, tiny"):
        build_first_stage("vae")
    with pytest.raises(InputError, match="There are: vq, kl"):
        Autoencoder(kind="wae")
    with pytest.raises(InputError, match="without a decoder"):
        TinyAutoencoder(channels=4).decode(torch.zeros(1, 4, 2, 2))
    with pytest.raises(InputError, match="without a decoder"):
        Autoencoder(width=32, multiples=(1,), blocks=1).decode(torch.zeros(1, 3, 2, 2))
