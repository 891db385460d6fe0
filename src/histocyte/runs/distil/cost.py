"""What running a model costs: time and memory, measured in a process of its own, on one core."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import HistocyteError

__all__ = ["measure_cost", "measure_here"]

_RUNS = 3
_CHILD = "import sys; from histocyte.runs.distil.cost import measure_here; print(measure_here(*sys.argv[1:]))"


def measure_cost(
    model: str | Path, image: NDArray[np.uint8], mpp: float, *, runtime: str = "torch", device: str = "cpu"
) -> dict[str, Any]:
    """Measure in a new process, so that neither what this one holds nor its threads count.

    Args:
        model: As `inference.load.load` takes it.
        image: (H, W, 3) uint8 RGB to run it on, of ordinary tissue.
        mpp: Its resolution.
        runtime: As for `load`.
        device: As for `load`.

    Returns:
        What `measure_here` gives.

    Raises:
        HistocyteError: It failed there; says how.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.npy"
        np.save(path, image)
        arguments = [str(model), str(path), repr(mpp), runtime, device]
        one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        ended = subprocess.run(  # noqa: S603 (our own interpreter)
            [sys.executable, "-c", _CHILD, *arguments],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, **one},
        )
    if ended.returncode:
        reason = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise HistocyteError(f"Running '{model}' to measure it failed: {reason}")
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def measure_here(model: str, image: str, mpp: str, runtime: str, device: str) -> str:
    """Run a model on an image, network alone and with decoding, and say what it took.

    Returns:
        JSON: `runtime`, `device`, `mm2_per_minute` from pixels to nuclei and `network_mm2_per_minute` without decoding,
        each the median of three runs after one that is not counted, and `peak_bytes` of memory of the process with
        all its libraries (None where the system does not tell).
    """
    from typing import cast

    from histocyte.inference.load import RuntimeName, load
    from histocyte.pipeline import instances_on

    pixels, resolution = np.load(image), float(mpp)
    loaded = load(model, runtime=cast(RuntimeName, runtime), device=device, workers=1)
    step = loaded.runtime.multiple
    side = max(step, min(loaded.spec.tile_px, *pixels.shape[:2]) // step * step)
    tile = np.full((1, side, side, 3), 255, np.uint8)
    part = pixels[:side, :side]
    tile[0, : part.shape[0], : part.shape[1]] = part
    # The processor's own time, as long as there is one core and nothing else to wait for: others at work on the same
    # machine do not count.
    clock = time.process_time if device == "cpu" else time.perf_counter
    whole = _median(lambda: instances_on(pixels, loaded, mpp=resolution), clock)
    network = _median(lambda: loaded.runtime.predict(tile), clock)
    area = pixels.shape[0] * pixels.shape[1] * resolution**2 / 1e6
    found = {
        "runtime": loaded.runtime.name,
        "device": loaded.runtime.device,
        "mm2_per_minute": 60 * area / whole,
        "network_mm2_per_minute": 60 * (side * loaded.spec.mpp) ** 2 / 1e6 / network,
        "peak_bytes": _peak_bytes(),
    }
    return json.dumps(found)


def _median(work: Callable[[], object], clock: Callable[[], float]) -> float:
    work()
    seconds = []
    for _ in range(_RUNS):
        began = clock()
        work()
        seconds.append(clock() - began)
    return max(1e-9, statistics.median(seconds))


def _peak_bytes() -> int | None:
    """Most memory that this process ever held."""
    # What getrusage says of a process on Linux is at least what its parent held when it began.
    with suppress(OSError, StopIteration), Path("/proc/self/status").open() as status:
        return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
