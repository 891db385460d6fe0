"""`histocyte doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["doctor"]

_CORE = ("numpy", "scipy", "cv2", "numba", "shapely", "pyarrow", "openslide", "tifffile", "openvino", "safetensors")
_EXTRAS = {
    "torch": ("torch", "timm"),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "tiff": ("imagecodecs",),
    "train": ("skimage",),
    "report": ("jinja2", "matplotlib"),
    "study": ("sklearn", "umap"),
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Check that everything is in place: packages, processors, memory, models, runtimes.

    Ends with exit code 2 where something that every run needs is missing.

    Example: histocyte doctor
    """
    import platform
    import shutil

    from histocyte.apps.cli.output import print_json, print_table
    from histocyte.core.installation import how_to_add
    from histocyte.core.version import __version__
    from histocyte.inference.cpus import available_cpus
    from histocyte.model.zoo import bundled_models

    checks: list[tuple[str, bool | None, str]] = [
        ("histocyte", True, __version__),
        ("python", True, f"{platform.python_version()} on {platform.platform()}"),
        ("processors", True, f"{available_cpus()} usable"),
    ]
    checks += [_package(name, needed=True) for name in _CORE]
    checks += [
        (name, ok, note if ok else f"not installed: {how_to_add(extra)}")
        for extra, names in _EXTRAS.items()
        for name, ok, note in (_package(n, needed=False) for n in names)
    ]
    checks += [("nvidia driver", True if shutil.which("nvidia-smi") else None, shutil.which("nvidia-smi") or "none")]
    models = bundled_models()
    checks.append(("bundled models", bool(models), ", ".join(models) or "none: reinstall histocyte"))
    checks.append(_trial())
    broken = [name for name, ok, _ in checks if ok is False]
    if as_json:
        print_json({"ok": not broken, "checks": [{"name": n, "ok": ok, "note": note} for n, ok, note in checks]})
    else:
        marks = {True: "ok", False: "MISSING", None: "–"}
        print_table("histocyte doctor", ("", "", ""), [(name, marks[ok], note) for name, ok, note in checks])
    if broken:
        raise typer.Exit(2)


def _package(name: str, *, needed: bool) -> tuple[str, bool | None, str]:
    import importlib

    from histocyte.core.errors import is_installed

    if not is_installed(name):
        return name, False if needed else None, "not installed"
    if name in ("torch", "timm", "skimage", "onnxscript", "matplotlib", "sklearn", "umap"):
        return name, True, "installed"  # importing these takes seconds
    try:
        module = importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 (whatever a broken install throws is the finding)
        return name, False, f"does not import: {error}"
    return name, True, str(getattr(module, "__version__", "installed"))


def _trial() -> tuple[str, bool | None, str]:
    """Run the default model on a blank tile: the one check that covers model, runtime and compiler together."""
    import time

    import numpy as np

    from histocyte.core.errors import HistocyteError
    from histocyte.inference.load import load

    try:
        model = load()
        image = np.full((1, 256, 256, 3), 255, np.uint8)
        model.runtime.predict(image)
        began = time.perf_counter()
        model.runtime.predict(image)
        speed = 0.256**2 * model.spec.mpp**2 / (time.perf_counter() - began)
    except (HistocyteError, RuntimeError, OSError) as error:
        return "default model", False, str(error)
    return (
        "default model",
        True,
        f"{model.runtime.name} on {model.runtime.device}: {60 * speed:.1f} mm²/min on one thread",
    )
