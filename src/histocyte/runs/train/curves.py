"""The curves of a training run, from its log and its validations: a PNG, and one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError, MissingExtraError
from histocyte.core.names import counted
from histocyte.core.plain_text import as_utf8
from histocyte.files.atomic import write_atomically
from histocyte.pages.drawing import COLOURS, MUTED, Plot, draw, short
from histocyte.pages.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curves", "write_curves"]

_POINTS = 400
"""Points of a line: each is the mean of as many steps as fit."""
_NO_TERMS = {"step", "lr", "loss", "crops_per_s", "waited"}

Columns = Mapping[str, NDArray[np.float64]]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #1c1e2e }}
table {{ border-collapse: collapse }} th, td {{ padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top }}
td {{ overflow-wrap: anywhere }} img {{ max-width: 100% }} .note {{ color: #5c6072 }}
</style></head><body>
<h1>{title}</h1>
<table>{facts}</table>
<p><img width="{width}" alt="{alt}" src="data:image/svg+xml;base64,{svg}"></p>
<p class="note">{caption}</p>
</body></html>
"""


def write_curves(run: Path, *, title: str) -> tuple[Path, Path]:
    """Write curves.png and curves.html into the folder of a run, each whole or not at all.

    Args:
        run: Folder with log.csv and, where there have been validations, validation.csv.
        title: Heading of the page.

    Returns:
        Both files.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InputError: The run has no log, or one that is damaged.
        DiskError: A file cannot be written.
    """
    try:
        page, png = _drawn(run, title)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, csv.Error) as error:
        said = " ".join(str(error).split())
        raise InputError(f"What '{run}' says of its training is damaged ({said}); it gives no curves.") from error
    files = run / "curves.png", run / "curves.html"
    for path, content in zip(files, (png, as_utf8(page)), strict=True):
        with write_atomically(path) as file:
            file.write(content)
    return files


def _drawn(run: Path, title: str) -> tuple[str, bytes]:
    """The page, and the picture by itself."""
    log, validation = _columns(run / "log.csv"), _columns(run / "validation.csv")
    if not len(log.get("step", ())):
        raise InputError(f"'{run}' holds no log of a training; its first step writes one.")
    png = io.BytesIO()
    plot = _plot(log, validation, png)
    page = _PAGE.format(
        title=html.escape(title),
        facts="".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
            for name, text in _facts(run, log, validation)
        ),
        width=plot.width_px,
        alt=html.escape(plot.alt, quote=True),
        svg=base64.b64encode(plot.svg).decode(),
        caption=html.escape(plot.caption),
    )
    return page, png.getvalue()


def _plot(log: Columns, validation: Columns, png: io.BytesIO) -> Plot:
    terms = {name: log[name] for name in log if name not in _NO_TERMS}
    scores = {name: validation[name] for name in validation if name != "step"}

    def paint(figure: Figure) -> None:
        panels = figure.subplots(3 + bool(scores), 1, sharex=True)
        _lines(panels[0], log["step"], {"loss": log["loss"]}, "loss, weighted sum")
        _lines(panels[1], log["step"], terms, "loss terms, unweighted", logarithmic=True)
        if scores:
            _lines(panels[2], validation["step"], scores, "validation score", marker="o")
            panels[2].set_ylim(0, 1)
        _lines(panels[-1], log["step"], {"lr": log["lr"]}, "learning rate")
        panels[-1].set_xlabel("step")
        figure.savefig(png, format="png", dpi=150, metadata={"Software": None})

    size = _bin(len(log["step"]))
    each = "A point of the losses is one step" if size == 1 else f"Losses are means over {size} steps a point"
    caption = (
        f"{each}; terms are shown before they are weighted. "
        "Scores are of single validations on the held-out images, without intervals; the final model's have them."
    )
    last = {name: values[-1] for name, values in {"loss": log["loss"], **scores}.items() if len(values)}
    said = ", ".join(f"{name} {number(float(value), 3)}" for name, value in last.items())
    alt = f"Curves of a training up to step {int(log['step'][-1]):,}. Last values: {said}."
    return draw(paint, size_in=(7.2, 1.9 * (3 + bool(scores)) + 0.6), alt=alt, caption=caption)


def _lines(
    axes: Axes,
    steps: NDArray[np.float64],
    series: Columns,
    label: str,
    *,
    logarithmic: bool = False,
    marker: str = "",
) -> None:
    size = 1 if marker else _bin(len(steps))
    styles = ("-", "--", ":", "-.")
    shown = {name: values for name, values in series.items() if np.isfinite(values).any()}
    for i, (name, values) in enumerate(shown.items()):
        alone = np.isfinite(_means(values, size)).sum() == 1
        axes.plot(
            _means(steps, size),
            _means(values, size),
            color=COLOURS[i % len(COLOURS)],
            linestyle=styles[(i // len(COLOURS)) % len(styles)],
            linewidth=1.4,
            marker=marker or ("o" if alone else ""),  # a line of one point cannot be seen
            markersize=4,
            label=short(name, 34),
        )
    if logarithmic and any(np.any(values > 0) for values in shown.values()):
        axes.set_yscale("log")
        # The usual formatter writes powers as formulas, which are off for the names of sets.
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda *_: "")
    elif not marker:
        axes.set_ylim(bottom=0)
    axes.set_ylabel(label, fontsize=8)
    axes.grid(axis="y", color="#e2e4eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, color=MUTED)
    if len(shown) > 1:
        axes.legend(fontsize=6.5, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)


def _bin(count: int) -> int:
    return max(1, -(-count // _POINTS))


def _means(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Means of so many values each, the last of what is left."""
    starts = np.arange(0, len(values), size)
    sums, counts = np.add.reduceat(values, starts), np.diff(np.append(starts, len(values)))
    return np.asarray(sums / counts)


def _columns(path: Path) -> Columns:
    """Each column of a table; rows that are not whole are left out."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    whole = [row for row in rows if len(row) == len(header)]
    return {name: np.array([_number(row[i]) for row in whole]) for i, name in enumerate(header)}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _facts(run: Path, log: Columns, validation: Columns) -> Sequence[tuple[str, str]]:
    recipe, environment = _read(run / "recipe.json"), _read(run / "environment.json")
    options, model = recipe.get("training", {}), recipe.get("model", {})
    of = f" of {options['steps']:,}" if "steps" in options else ""
    facts = [("steps", f"{int(log['step'][-1]):,}{of}")]
    if model:
        facts.append(("recipe", str(model.get("recipe", ""))))
    if options:
        facts.append(("batch", counted(options["batch"], "crop")))
    first = next((name for name in validation if name != "step"), None)
    if first is not None and np.isfinite(validation[first]).any():
        best = int(np.nanargmax(validation[first]))
        step, value = int(validation["step"][best]), float(validation[first][best])
        facts.append(("best validation", f"{first} {number(value, 3)} at step {step:,}"))
    if "crops_per_s" in log:
        facts.append(("speed", f"{log['crops_per_s'][-1]:.1f} crops/s"))
    if len(log.get("waited", ())):
        facts.append(("waited for crops", f"{log['waited'][-1]:.1%} of the time"))
    for session in environment.get("sessions", [])[-1:]:
        names = ("histocyte", "python", "processor", "gpu", "device", "threads", "ranks")
        facts += [(name, str(session[name])) for name in names if name in session]
        facts += [(name, str(v)) for name, v in session.get("packages", {}).items() if name in ("torch", "timm")]
    return facts


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


_SECONDS = 60.0
"""Between two drawings, each of which takes about one: a run of quick steps is not held up."""


class Curves:
    """Draws curves.png and curves.html of a run; without matplotlib it does nothing.

    Args:
        run: Folder.
        name: Name of the model.
    """

    def __init__(self, run: Path, name: str) -> None:
        self.run, self.name = run, name
        self._drawn = -_SECONDS

    def draw(self, *, now: bool = False) -> None:
        """Draw, if that was not done just before.

        Args:
            now: In any case.

        Raises:
            DiskError: A file cannot be written.
        """
        if not now and time.monotonic() - self._drawn < _SECONDS:
            return
        with suppress(MissingExtraError, InputError):  # not installed; a finished run of which only the model is left
            write_curves(self.run, title=f"Training of {self.name}")
        self._drawn = time.monotonic()
