"""Any timm model as an encoder: CNN pyramids by `features_only`, ViTs by their intermediate blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.encoders.networks.sides import check_sides
from histocyte.encoders.networks.timm_import import import_timm
from histocyte.encoders.networks.timm_options import timm_options
from histocyte.encoders.protocol import EncoderInfo, Features

__all__ = ["TimmPyramid", "TimmViT", "create_timm", "even_taps"]


_MOST_BLOCKS = 64
"""More than any Hiera has (48)."""


def create_timm(name: str, **options: object) -> Any:
    """A timm model with random weights.

    Raises:
        UnknownNameError: timm has no such model.
    """
    timm = import_timm()
    if name not in timm.list_models() and not timm.is_model(name):
        raise UnknownNameError(
            "timm model", name, timm.list_models(f"{name.split('_')[0]}*")[:8] or timm.list_modules()
        )
    return timm.create_model(name, pretrained=False, **options)


def _cut_unused_stages(body: Any) -> tuple[str, ...]:
    """Cut stages beyond the last level, which timm leaves in EfficientNet's family and runs; gives their names."""
    if isinstance(getattr(getattr(body, "model", None), "blocks", None), nn.ModuleList | nn.Sequential):
        # Hiera: all stages' blocks in one list, which timm has cut already.
        return tuple(f"model.blocks.{number}." for number in range(len(body.model.blocks), _MOST_BLOCKS))
    levels = body.feature_info.get_dicts()
    if not isinstance(getattr(body, "blocks", None), nn.Sequential) or "stage" not in levels[-1]:
        return ()
    kept = levels[-1]["stage"]
    unused = tuple(f"blocks.{stage}." for stage in range(kept, len(body.blocks)))
    body.blocks = body.blocks[:kept]
    return unused


def _joined_cells(body: nn.Module) -> int:
    """Cells of the deepest map that a pyramid takes together along a side: MobileViTv2 joins them two by two.

    A map of any other size it rounds up, without undoing that; so the image has to fit.
    """
    blocks = (module for module in body.modules() if type(module).__name__ == "MobileVitV2Block")
    return max((int(side) for block in blocks for side in block.patch_size), default=1)  # type: ignore[union-attr]


def even_taps(name: str, depth: int, taps: Sequence[int] | None) -> tuple[int, ...]:
    """Blocks to tap, from 1, in order: the given ones, or the ends of the four quarters of the depth.

    Raises:
        InputError: A block that `name` does not have.
    """
    taps = tuple(depth * quarter // 4 for quarter in (1, 2, 3, 4)) if taps is None else tuple(sorted(taps))
    if not taps or max(taps) > depth or min(taps) < 1:
        raise InputError(f"'{name}' has blocks 1–{depth}; tapped were {list(taps)}.")
    return taps


class TimmPyramid(nn.Module):
    """A hierarchical timm model as a pyramid: image (B, 3, H, W) → maps at strides 2, 4, 8 and so on.

    Args:
        name: timm's name, e.g. "resnet18"; also Swin's and Hiera's, whose maps come channels first like the others'.
        depths: Which of the model's feature levels to keep, counted from the finest (0).
        arch_options: Options of timm's constructor, as in `timm_options`.

    Attributes:
        unused: Prefixes of names in a weights file that this cut-off network has no use for.

    Raises:
        UnknownNameError: timm has no such model.
        InputError: Strides that do not double.
    """

    def __init__(
        self,
        name: str,
        depths: Sequence[int] = (0, 1, 2, 3),
        *,
        arch_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        options = timm_options(name, arch_options)
        if not depths:
            raise InputError(f"A pyramid needs one level of '{name}' or more; none is asked for.")
        try:
            self.body = create_timm(name, features_only=True, out_indices=tuple(depths), **options)
        except IndexError as error:
            raise InputError(f"'{name}' does not have all of the levels {list(depths)}. Ask for fewer.") from error
        self.channels_last = str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")
        self.unused = _cut_unused_stages(self.body)
        facts = self.body.feature_info
        strides = tuple(int(r) for r in facts.reduction())
        widths = tuple(int(c) for c in facts.channels())
        if any(b != 2 * a for a, b in zip(strides, strides[1:], strict=False)):
            raise InputError(
                f"'{name}' at depths {list(depths)} has strides {strides}; a pyramid needs each twice the last."
            )
        self.info = EncoderInfo(widths, strides, strides[-1] * _joined_cells(self.body))

    def forward(self, image: Tensor) -> Features:
        """Feature maps, fine to coarse.

        Raises:
            InputError: Height or width is not a multiple of the coarsest stride, or of what the network joins of it.
        """
        check_sides(image, self.info.multiple)
        levels = self.body(image)
        return Features(tuple(level.permute(0, 3, 1, 2) for level in levels) if self.channels_last else tuple(levels))


class TimmViT(nn.Module):
    """A timm vision transformer tapped after chosen blocks: image (B, 3, H, W) → (B, D, H / p, W / p) each.

    Args:
        name: timm's name, e.g. "vit_small_patch16_224".
        taps: Blocks to tap, counted from 1 as in CellViT (3 = after the third block); four at even distances up to the
            last where None.
        image_size: Side the positional embeddings are kept at; they are resampled (bicubic) to any input.
        position_resampling: "timm" smooths while resampling; "dino" is the way of DINO's own code, which CellViT-256
            was trained with: no smoothing, and a scale off by a tenth of a token.
        fit: Resize the image (area) to the nearest smaller multiple of the patch, as CellViT++ does for patches of
            14 px, where one of another size is an error otherwise.
        arch_options: Options of timm's constructor where a published model differs from timm's, as in `timm_options`.

    Raises:
        UnknownNameError: timm has no such model, or no such layer.
        InputError: It is no ViT, has no such blocks, or no positions that could be resampled DINO's way.
    """

    def __init__(
        self,
        name: str,
        taps: Sequence[int] | None = None,
        image_size: int | None = None,
        *,
        position_resampling: Literal["timm", "dino"] = "timm",
        fit: bool = False,
        arch_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.body = _create_vit(name, image_size, timm_options(name, arch_options))
        depth = len(self.body.blocks)
        self.taps = taps = even_taps(name, depth, taps)
        self.fit, self.dino = fit, position_resampling == "dino"
        self.summarises = getattr(self.body, "cls_token", None) is not None
        if self.dino and not (self.summarises and self.body.num_prefix_tokens == 1 and not self.body.no_embed_class):
            raise InputError(
                f"'{name}' does not keep its positions as DINO does (a class token, then the grid); "
                "use position_resampling='timm'."
            )
        # A hybrid's patches are of a CNN's feature map; what counts is their size on the image.
        self.patch = int(self.body.patch_embed.feat_ratio())
        width = int(self.body.embed_dim)
        self.info = EncoderInfo(
            (width,) * len(taps),
            (self.patch,) * len(taps),
            1 if fit else self.patch,
            width if self.summarises else None,
        )

    def forward(self, image: Tensor) -> Features:
        """Taps as grids, the last of them as tokens, and the normalised class token.

        Raises:
            InputError: Height or width is not a multiple of the patch.
        """
        image = self._fitted(image)
        taps, last = self._dino_taps(image) if self.dino else self._timm_taps(image)
        return Features(tuple(taps), taps[-1], last[:, 0] if self.summarises else None)

    def _fitted(self, image: Tensor) -> Tensor:
        if not self.fit:
            check_sides(image, self.patch)
            return image
        height, width = (side // self.patch * self.patch for side in image.shape[-2:])
        return image if (height, width) == image.shape[-2:] else F.interpolate(image, (height, width), mode="area")

    def _timm_taps(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        last, taps = self.body.forward_intermediates(
            image, indices=[t - 1 for t in self.taps], norm=False, output_fmt="NCHW"
        )
        return taps, last

    def _dino_taps(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        body = self.body
        patches = body.patch_embed(image)
        rows, columns = patches.shape[1:3]
        summary = body.cls_token.expand(image.shape[0], -1, -1)
        x = torch.cat([summary, patches.flatten(1, 2)], dim=1) + _dino_positions(
            body.pos_embed, body.patch_embed.grid_size, (rows, columns)
        )
        x = body.norm_pre(body.patch_drop(body.pos_drop(x)))
        taps = []
        for number, block in enumerate(body.blocks, 1):
            x = block(x)
            if number in self.taps:
                taps.append(x[:, 1:].unflatten(1, (rows, columns)).permute(0, 3, 1, 2).contiguous())
        return taps, body.norm(x)


def _create_vit(name: str, image_size: int | None, options: dict[str, Any]) -> Any:
    options = options if image_size is None else {**options, "img_size": image_size}
    try:
        body = create_timm(name, num_classes=0, dynamic_img_size=True, **options)
    except TypeError as error:
        body, why = None, f" ({error})"
    else:
        why = ""
    if not all(hasattr(body, part) for part in ("blocks", "patch_embed", "forward_intermediates")):
        raise InputError(
            f"'{name}' is not a vision transformer with blocks to tap{why}; use the encoder 'timm_pyramid' for it."
        )
    return body


def _dino_positions(embedding: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """(1, 1 + h · w, D) positions of the class token and a new grid (h, w), by bicubic interpolation.

    As `F.interpolate` does it with a scale factor of (h + 0.1) / old h; written as products, it can be exported with
    sizes left free. The tenth, there to guard the size against rounding, also moves where values are read.
    """
    if tuple(new) == tuple(old):
        return embedding
    grid = embedding[:, 1:].unflatten(1, old).permute(0, 3, 1, 2)
    grid = F.pad(grid, (2, 2, 2, 2), mode="replicate")
    down, across = (_bicubic_weights(o, n, embedding) for o, n in zip(old, new, strict=True))
    grid = down @ grid @ across.mT
    return torch.cat([embedding[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


def _bicubic_weights(old: int, new: int, like: Tensor) -> Tensor:
    """(new, old + 4) share of each old place, and of two beyond either end, in each new one (Keys 1981, a = -0.75)."""
    read_at = (torch.arange(new, device=like.device, dtype=like.dtype) + 0.5) * (old / (new + 0.1)) - 0.5
    places = torch.arange(-2, old + 2, device=like.device, dtype=like.dtype)
    d = (read_at[:, None] - places).abs()
    near = (1.25 * d - 2.25) * d**2 + 1
    far = ((-0.75 * d + 3.75) * d - 6) * d + 3
    return torch.where(d <= 1, near, torch.where(d < 2, far, 0.0))
