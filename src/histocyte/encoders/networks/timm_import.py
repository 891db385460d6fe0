"""Importing timm beside a torchvision whose compiled operators do not load.

timm needs only torchvision's Python parts, but importing torchvision declares shapes for its compiled
operators and fails ("operator torchvision::nms does not exist") where these come from another build than
torch, as with a CPU torch beside the registry's CUDA torchvision. Declaring the two operators first lets it import.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from histocyte.core.errors import require

if TYPE_CHECKING:
    import torch

__all__ = ["import_timm"]

_declared: list[torch.library.Library] = []


def import_timm() -> ModuleType:
    """Return timm.

    Raises:
        MissingExtraError: timm is not installed, or torch, which it needs.
    """
    try:
        return require("timm", extra="torch")
    except ModuleNotFoundError:
        require("torch", extra="torch")
        raise
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    import torch

    for name in [n for n in sys.modules if n.split(".")[0] in ("timm", "torchvision")]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)  # the declarations live as long as this object
    return require("timm", extra="torch")
