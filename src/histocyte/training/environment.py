"""What a run was done with: versions and hardware, and nothing that names a person, a machine or a folder."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from histocyte.core.version import __version__
from histocyte.training.journal import write_json

__all__ = ["environment", "record_environment"]

_PACKAGES = ("torch", "timm", "numpy", "opencv-python-headless", "scikit-image", "safetensors")


def environment(device: torch.device, *, ranks: int = 1) -> dict[str, Any]:
    """Versions, processor, threads and, where it computes there, the GPU.

    Args:
        device: That the run computes on.
        ranks: Processes that share the work.
    """
    facts: dict[str, Any] = {
        "histocyte": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "ranks": ranks,
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
        facts["cuda"] = torch.version.cuda
    return facts


def record_environment(path: Path, facts: dict[str, Any], *, step: int) -> None:
    """Write it, with the step it holds from; where a run goes on elsewhere, both stand there.

    Raises:
        DiskError: The file cannot be written.
    """
    stays: list[dict[str, Any]] = []
    if path.exists():
        try:
            stays = [s for s in json.loads(path.read_text(encoding="utf-8"))["sessions"] if s["from_step"] < step]
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            RecursionError,
        ):
            stays = []
    if stays and {k: v for k, v in stays[-1].items() if k != "from_step"} == facts:
        return
    write_json(path, {"sessions": [*stays, {"from_step": step, **facts}]})


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
