"""What a representation is: a way of writing cells as maps, both ways, and of telling a network its errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from histocyte.core.instances import Instances, Labels
from histocyte.core.maps import Maps, MapSpec
from histocyte.representations.maps.kinds import MapKind

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Representation"]


@runtime_checkable
class Representation(Protocol):
    """One scheme. Its options are plain values, so that a model file can name it with them; `classes` is one of them.

    `testing.contracts.check_representation` holds one to what is said here.
    """

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """What a network predicts, in channel order."""
        ...

    @property
    def kinds(self) -> Mapping[str, MapKind]:
        """What each decoded map says, by its name: how it turns with the image, and what others can learn of it."""
        ...

    @classmethod
    def at(cls, mpp: float, *, classes: int) -> Self:
        """The representation for maps of a resolution in µm/px, with constants in px that fit it.

        Raises:
            ResolutionError: The resolution is not finite or outside 0.05–10 µm/px.
        """
        ...

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """Weight of each loss term in a training that says nothing else; terms left out are not learnt from."""
        ...

    def encode(self, labels: Labels) -> Maps:
        """Labels as target maps: every map but those of training alone, (C, H, W) float32, in the order of `maps`."""
        ...

    def decode(self, maps: Maps) -> Instances:
        """Predicted maps, after activation and in float32 or float16, as solid one-piece instances."""
        ...

    def loss_terms(self, raw: Tensor, target: Mapping[str, Tensor], separable: Tensor) -> dict[str, Tensor]:
        """Unweighted loss terms by name, scalars.

        Args:
            raw: (B, C, H, W) raw channels of all maps, stacked in the order of `maps`.
            target: What `encode` wrote, each with a batch axis.
            separable: (B,) 0 where touching nuclei are not apart in the labels: such images teach the foreground only.
        """
        ...
