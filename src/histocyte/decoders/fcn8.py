"""FCN-8s: scores of three levels, summed from coarse to fine (Long et al. 2015, doi 10.1109/CVPR.2015.7298965)."""

from __future__ import annotations

from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.decoders.levels import fits_the_image, resized_like, share_a_stride
from histocyte.encoders.protocol import EncoderInfo, Features

__all__ = ["FCN8"]


class FCN8(nn.Module):
    """Three levels whose strides double → (B, D, H / s, W / s), s the stride of the finest.

    The deepest passes two convolutions that were fully connected once; each level is then projected, and from coarse to
    fine the sum so far is doubled in size (bilinear, which the paper begins with) and the next one added. Projections
    are linear, so that heads of up to D channels lose nothing against the paper's, which projects to the classes.

    Args:
        encoder: Facts of the pyramid.
        width: D.
        hidden: Channels of the two convolutions.
        dropout: Dropout of each channel after each of them, while training.

    Raises:
        InputError: Other levels than three whose strides double and cover the image.
    """

    def __init__(self, encoder: EncoderInfo, *, width: int = 32, hidden: int = 4096, dropout: float = 0.5) -> None:
        super().__init__()
        if len(encoder.strides) != 3 or share_a_stride(encoder) or not fits_the_image(encoder):
            raise InputError(f"FCN-8s reads three levels whose strides double; there are {list(encoder.strides)}.")
        self.deep = nn.Sequential(
            nn.Conv2d(encoder.widths[-1], hidden, 7, padding=3),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )
        inputs = (*encoder.widths[:-1], hidden)
        self.projections = nn.ModuleList([nn.Conv2d(each, width, 1) for each in inputs])
        self.width, self.stride = width, encoder.strides[0]

    def forward(self, features: Features, image: Tensor) -> Tensor:
        """Decode; `image` is not looked at."""
        fine, middle, deepest = features.pyramid
        x: Tensor = self.projections[2](self.deep(deepest))
        for projection, level in ((self.projections[1], middle), (self.projections[0], fine)):
            x = resized_like(x, level) + projection(level)
        return x
