"""Heads that refine star polygons: each ray is measured again from points along it (CPP-Net)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.core.maps import MapSpec

__all__ = ["CppRefineHeads"]

_PLACES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Where along a ray it is measured again, as shares of its length; as published."""
_NAMES = ("nucleus", "rays", "types", "rays_initial")


class CppRefineHeads(nn.Module):
    """(B, D, H / s, W / s) → raw channels (B, C, H, W) of star maps, the rays refined.

    A pixel sees the rim of its nucleus badly where that is far; pixels on the way to it see it better. So the ray of
    each pixel is measured again at five points along it, there by what that pixel says of the same direction, and the
    six answers are averaged by weights that are learnt from how sure each pixel is of its own (Chen et al. 2023,
    CPP-Net, doi 10.1109/TIP.2023.3237013, in the arrangement of CellViT).

    Args:
        width: D.
        stride: s; what is worked out there is resized (bilinear) before rays are followed.
        specs: Maps of `Star(refined=True)`: nucleus, rays, types if there are classes, rays_initial; in this order.
        own_branch: D holds one equal part each for nucleus, rays and types, from a decoder with as many branches; else
            all read all of D.
        features: Channels between D and the maps.
        compatible: Follow rays as the published networks do, for their weights: the places aimed at are off by half a
            pixel, to the left and up at the image's left and top border, to the right and down at the others, and what
            lies beyond the image counts as 0; rays shorter than a pixel are followed backwards. Otherwise places are
            what they should be, the border goes on beyond, and a short ray is measured where it starts.

    Raises:
        InputError: Other maps, or D cannot be shared out evenly.
    """

    angles: Tensor

    def __init__(
        self,
        width: int,
        stride: int,
        specs: Sequence[MapSpec],
        *,
        own_branch: bool = False,
        features: int = 32,
        compatible: bool = False,
    ) -> None:
        super().__init__()
        channels = {spec.name: spec.channels for spec in specs}
        if list(channels) != [name for name in _NAMES if name in channels or name != "types"]:
            raise InputError(
                f"Heads that refine star polygons give the maps {', '.join(_NAMES)}, not {', '.join(channels)}; "
                "use them with the representation 'star' and refined=True, or use the heads 'pointwise'."
            )
        read = [name for name in channels if name != "rays_initial"]
        self.parts = len(read) if own_branch else 1
        if width % self.parts:
            raise InputError(
                f"{len(read)} heads with a branch each cannot share the decoder's {width} channels evenly; "
                f"give the decoder {len(read)} branches or the heads own_branch=False."
            )
        rays = channels["rays"]
        self.features = nn.ModuleList([nn.Conv2d(width // self.parts, features, 1) for _ in read])
        self.heads = nn.ModuleList([nn.Conv2d(features, channels[name], 1, bias=False) for name in read])
        self.sureness = nn.Conv2d(features, rays, 1, bias=False)
        self.mixing = nn.Conv2d(1 + len(_PLACES), 1 + len(_PLACES), 1)
        self.stride, self.compatible = stride, compatible
        angles = torch.arange(rays) * (2 * torch.pi / rays)
        self.register_buffer("angles", angles, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Raw channels of all maps, stacked: nucleus, refined rays, types, rays at first."""
        parts = features.chunk(self.parts, dim=1) if self.parts > 1 else (features,) * len(self.heads)
        hidden = [layer(part) for layer, part in zip(self.features, parts, strict=True)]
        first = [head(h) for head, h in zip(self.heads, hidden, strict=True)]
        nucleus, rays, *types, sureness = (self._full_size(x) for x in (*first, self.sureness(hidden[1])))
        refined = self._refine(rays.relu(), sureness)
        return torch.cat([nucleus, refined, *types, rays], dim=1)

    def _full_size(self, x: Tensor) -> Tensor:
        return x if self.stride == 1 else F.interpolate(x, scale_factor=float(self.stride), mode="bilinear")

    def _refine(self, rays: Tensor, sureness: Tensor) -> Tensor:
        """(B, K, H, W) the mean of six measurements, weighted by how sure each is."""
        own = torch.stack([rays, sureness], dim=2).flatten(0, 1)  # (B · K, 2, H, W): each ray looks up its own channel
        measured, sure = [rays], [sureness]
        # Rays that end within a pixel are measured where they start; published networks step back along them.
        length = rays - 1 if self.compatible else (rays - 1).relu()
        for place in _PLACES:
            way = length * place
            there = self._look_up(own, way.flatten(0, 1)).unflatten(0, rays.shape[:2])
            measured.append(there[:, :, 0] + way)
            sure.append(there[:, :, 1])
        weights = self.mixing(torch.stack(sure, dim=2).flatten(0, 1)).softmax(dim=1)
        return (torch.stack(measured, dim=2).flatten(0, 1) * weights).sum(dim=1).unflatten(0, rays.shape[:2])

    def _look_up(self, maps: Tensor, way: Tensor) -> Tensor:
        """(B · K, 2, H, W) what the maps hold `way` (B · K, H, W) px along the rays from each pixel; nearest pixel."""
        height, width = way.shape[-2:]
        angles = self.angles.repeat(way.shape[0] // len(self.angles)).view(-1, 1, 1)
        x = torch.arange(width, device=way.device, dtype=way.dtype) + way * angles.cos()
        y = torch.arange(height, device=way.device, dtype=way.dtype).view(-1, 1) + way * angles.sin()
        if self.compatible:
            # Scaled for corners that count as -1 and 1, then read as if edges did.
            grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], dim=-1)
        else:
            grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
        beyond = "zeros" if self.compatible else "border"
        return F.grid_sample(maps, grid, mode="nearest", padding_mode=beyond, align_corners=False)
