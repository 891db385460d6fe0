"""Pythons that have a peer: its packages do not mix with ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["SINGLE_THREAD", "peer_python"]

SINGLE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
"""Environment of a program that is to use one thread."""


def peer_python(peer: str, needs: Sequence[str] | None = None) -> Path:
    """A Python that has the peer, made once with uv in the cache folder.

    Args:
        peer: Name and version, a space between them.
        needs: What it takes to run the part that is measured, where that is less than what the package asks for.
    """
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        sys.exit(f"uv is not installed: install it, or pass --peer-python with a Python that has {peer}.")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "histocyte-benchmarks"
    cache /= peer.replace(" ", "-")
    python = cache / "bin" / "python"
    if not (cache / "complete").exists():
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", "3.11", str(cache)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(python)]
        alone = [] if needs is None else ["--no-deps"]
        subprocess.run([*install, *alone, peer.replace(" ", "==")], check=True)
        if needs:
            subprocess.run([*install, *needs], check=True)
        (cache / "complete").touch()
    return python
