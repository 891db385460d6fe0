"""Rays measured again from points along them: where exactly, over any decoder, with a gradient in every weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from histocyte.core.errors import InputError
from histocyte.decoders.cpp_refine import CppRefineHeads
from histocyte.decoders.heads import PointwiseHeads
from histocyte.decoders.unetr import UNETR
from histocyte.encoders.protocol import EncoderInfo
from histocyte.model.build import build_segmenter
from histocyte.model.segmenter import activate
from histocyte.recipes.stardist import stardist
from histocyte.representations.hover.scheme import Hover
from histocyte.representations.star.scheme import Star

torch.set_num_threads(1)
SPECS = Star(classes=5, refined=True).maps


def refined_plainly(heads: CppRefineHeads, rays: np.ndarray, sureness: np.ndarray) -> np.ndarray:
    """(K, H, W) pixel by pixel, as CPP-Net's paper describes it."""
    count, height, width = rays.shape
    weight = heads.mixing.weight.detach().numpy()[:, :, 0, 0]
    bias = heads.mixing.bias.detach().numpy()
    refined = np.zeros_like(rays)
    for k, row, column in np.ndindex(count, height, width):
        angle, length = 2 * np.pi * k / count, rays[k, row, column]
        measured, sure = [length], [sureness[k, row, column]]
        for place in (0.2, 0.4, 0.6, 0.8, 1.0):
            way = max(length - 1, 0.0) * place
            y = int(np.clip(np.rint(row + way * np.sin(angle)), 0, height - 1))
            x = int(np.clip(np.rint(column + way * np.cos(angle)), 0, width - 1))
            measured.append(rays[k, y, x] + way)
            sure.append(sureness[k, y, x])
        mixed = np.exp(weight @ np.array(sure) + bias)
        refined[k, row, column] = (mixed / mixed.sum()) @ np.array(measured)
    return refined


def test_rays_are_measured_along_themselves() -> None:
    heads = CppRefineHeads(8, 1, SPECS)
    generator = torch.Generator().manual_seed(0)
    rays, sureness = (torch.rand(2, 32, 9, 13, generator=generator) * scale for scale in (6, 2))
    with torch.no_grad():
        refined = heads._refine(rays, sureness).numpy()
    plain = np.stack([refined_plainly(heads, r.numpy(), s.numpy()) for r, s in zip(rays, sureness, strict=True)])
    # Halves of a pixel, where either neighbour is the nearest, are met by chance alone.
    assert (np.abs(refined - plain) < 1e-3).mean() > 0.999


def test_true_rays_stay_true() -> None:
    # Inside a disc whose every pixel knows its rays, all six measurements agree but for the pixels' coarseness.
    labels = (np.hypot(*(np.indices((64, 64)) - 31.5)) < 20).astype(np.int32)
    rays = torch.from_numpy(Star().encode(labels_of(labels))["rays"])[None]
    heads = CppRefineHeads(8, 1, SPECS)
    with torch.no_grad():
        heads.mixing.weight.zero_()
        heads.mixing.bias.zero_()
        error = (heads._refine(rays, torch.zeros_like(rays)) - rays)[0][:, labels > 0].abs()
    assert error.mean() < 0.6


def labels_of(instances: np.ndarray) -> object:
    from histocyte.core.instances import Labels

    return Labels(instances)


@pytest.mark.parametrize(("stride", "own_branch"), [(1, True), (2, False)])
def test_heads_come_out_at_the_images_size_in_the_order_of_the_maps(stride: int, own_branch: bool) -> None:
    heads = CppRefineHeads(12, stride, SPECS, own_branch=own_branch)
    features = torch.randn(2, 12, 10, 14, generator=torch.Generator().manual_seed(1))
    raw = heads(features)
    assert raw.shape == (2, 1 + 32 + 6 + 32, 10 * stride, 14 * stride)
    assert activate(raw, SPECS).shape[1] == 1 + 32 + 6
    first, refined = raw[:, -32:], raw[:, 1:33]
    assert not torch.equal(first, refined)
    with torch.no_grad():
        heads.heads[1].weight.zero_()
        heads.sureness.weight.zero_()
    changed = heads(features)
    assert (changed[:, -32:] == 0).all()
    assert torch.equal(changed[:, [0, *range(33, 39)]], raw[:, [0, *range(33, 39)]])


def test_every_weight_learns() -> None:
    heads = CppRefineHeads(12, 1, SPECS, own_branch=True)
    heads(torch.randn(1, 12, 16, 16)).square().mean().backward()
    assert {name for name, p in heads.named_parameters() if p.grad is None or not p.grad.any()} == set()


def test_models_without_classes_have_two_branches() -> None:
    heads = CppRefineHeads(8, 1, Star(refined=True).maps, own_branch=True)
    assert heads(torch.randn(1, 8, 6, 6)).shape == (1, 65, 6, 6)


def test_what_does_not_fit_is_said() -> None:
    for specs in (Hover(2).maps, Star(2).maps):
        with pytest.raises(InputError, match="use them with the representation 'star' and refined=True"):
            CppRefineHeads(12, 1, specs)
    with pytest.raises(InputError, match="give the decoder 3 branches"):
        CppRefineHeads(64, 1, SPECS, own_branch=True)


@pytest.mark.parametrize("refined", [False, True])
def test_star_polygons_from_a_cnn(refined: bool) -> None:
    model = build_segmenter(stardist("resnet18", refined=refined))
    raw = model(torch.rand(1, 3, 64, 96) * 255)
    assert raw.shape == (1, 1 + 32 + 5 + 32 * refined, 64, 96)
    raw.square().mean().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("heads", "refined", "published"), [(PointwiseHeads, False, 62_716_986), (CppRefineHeads, True, 62_723_005)]
)
def test_sizes_over_sam_h_are_those_of_the_paper(heads: type, refined: bool, published: int) -> None:
    # Logged by the published runs; the last term is the tissue head, 256 → 19.
    with torch.device("meta"):
        decoder = UNETR(EncoderInfo((1280,) * 4, (16,) * 4, 16), branches=3)
        built = heads(decoder.width, 1, Star(5, refined=refined).maps, own_branch=True)
    assert sum(p.numel() for part in (decoder, built) for p in part.parameters()) == published - (256 * 19 + 19)
