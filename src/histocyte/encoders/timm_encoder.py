"""Any timm model as an encoder: CNN pyramids by `features_only`, ViTs by their intermediate blocks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.encoders.protocol import EncoderInfo, Features
from histocyte.encoders.timm_import import import_timm

__all__ = ["TimmPyramid", "TimmViT"]


def _create(name: str, **options: object) -> nn.Module:
    timm = import_timm()
    if name not in timm.list_models() and not timm.is_model(name):
        raise UnknownNameError(
            "timm model", name, timm.list_models(f"{name.split('_')[0]}*")[:8] or timm.list_modules()
        )
    model: nn.Module = timm.create_model(name, pretrained=False, **options)
    return model


class TimmPyramid(nn.Module):
    """A convolutional timm model as a pyramid.   image (B, 3, H, W) → maps at strides 2, 4, 8, …

    Args:
        name: timm's name, e.g. "resnet18".
        depths: Which of the model's feature levels to keep, counted from the finest (0).
    """

    def __init__(self, name: str, depths: Sequence[int] = (0, 1, 2, 3)) -> None:
        super().__init__()
        self.body = _create(name, features_only=True, out_indices=tuple(depths))
        facts = self.body.feature_info
        strides = tuple(int(r) for r in facts.reduction())  # type: ignore[operator,union-attr]
        widths = tuple(int(c) for c in facts.channels())  # type: ignore[operator,union-attr]
        if any(b != 2 * a for a, b in zip(strides, strides[1:], strict=False)):
            raise InputError(
                f"'{name}' at depths {list(depths)} has strides {strides}; a pyramid needs each twice the last."
            )
        self.info = EncoderInfo(widths, strides, strides[-1])

    def forward(self, image: Tensor) -> Features:
        """Feature maps, fine to coarse."""
        return Features(tuple(self.body(image)))


class TimmViT(nn.Module):
    """A timm vision transformer tapped after chosen blocks.   image (B, 3, H, W) → (B, D, H / p, W / p) each

    Args:
        name: timm's name, e.g. "vit_small_patch16_224".
        taps: Blocks to tap, counted from 1 as in CellViT (3 = after the third block).
        image_size: Side the positional embeddings are kept at; they are resampled (bicubic) to any input.
    """

    def __init__(self, name: str, taps: Sequence[int] = (3, 6, 9, 12), image_size: int | None = None) -> None:
        super().__init__()
        options = {} if image_size is None else {"img_size": image_size}
        self.body = _create(name, num_classes=0, dynamic_img_size=True, **options)
        depth = len(self.body.blocks)  # type: ignore[arg-type]
        if not taps or max(taps) > depth or min(taps) < 1:
            raise InputError(f"'{name}' has blocks 1–{depth}; tapped were {list(taps)}.")
        self.taps = tuple(taps)
        patch = int(self.body.patch_embed.patch_size[0])  # type: ignore[union-attr,index,arg-type]
        width = int(self.body.embed_dim)  # type: ignore[arg-type]
        self.info = EncoderInfo((width,) * len(taps), (patch,) * len(taps), patch)

    def forward(self, image: Tensor) -> Features:
        """Taps as grids, the last block's grid as tokens, and the normalised class token."""
        last, taps = self.body.forward_intermediates(  # type: ignore[operator]
            image, indices=[t - 1 for t in self.taps], norm=False, output_fmt="NCHW"
        )
        cls = last[:, 0] if self.body.num_prefix_tokens else None
        return Features(tuple(taps), taps[-1], cls)
