"""Plots of the encoder study: scores with intervals, and scores against size and speed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from histocyte.core.errors import require
from histocyte.files.atomic import write_atomically
from histocyte.pages.drawing import with_intervals
from histocyte.runs.studies.encoders.scores import ALL, SCORES
from histocyte.runs.studies.encoders.table import Row, Table
from histocyte.statistics.bootstrap import Estimate

__all__ = ["write_plots"]

_COLOURS = {"shallow": "#0072b2", "deep": "#d55e00", "mixed": "#009e73"}
"""Told apart by the colour-blind too (Okabe and Ito)."""
_MARKERS = {"shallow": "o", "deep": "s", "mixed": "D"}
_SHOWN = ("bpq", "f1", "class_f1")


def write_plots(table: Table, folder: Path) -> dict[str, bytes]:
    """Write scores.svg/.png and cost.svg/.png.

    Args:
        table: With at least one row.
        folder: To write into.

    Returns:
        The SVGs by name, for a page to hold.

    Raises:
        MissingExtraError: matplotlib is not installed.
        DiskError: A file could not be written.
    """
    require("matplotlib", extra="report")
    from matplotlib import rc_context

    written = {}
    # The same table gives the same file: no date, and names of parts that do not vary.
    with rc_context(
        {
            **{"svg.hashsalt": "histocyte", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False},
            "text.parse_math": False,  # a name may hold a dollar sign
        }
    ):
        for name, figure in (("scores", _scores_figure(table)), ("cost", _cost_figure(table))):
            for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                with write_atomically(folder / f"{name}.{kind}") as file:
                    figure.savefig(file, format=kind, dpi=110, metadata=metadata)
            written[name] = (folder / f"{name}.svg").read_bytes()
    return written


def _figure(width: float, height: float, columns: int, **options: Any) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False, **options)[0]


def _scores_figure(table: Table) -> Any:
    """One line an encoder, a mark with its interval for each choice of taps; one panel a score."""
    keys = [key for key in _SHOWN if any(key in row.scores for row in table.rows)]
    labels = list(dict.fromkeys(row.label for row in table.rows))
    figure, panels = _figure(1.6 + 2.7 * len(keys), 1.1 + 0.5 * len(labels), len(keys), sharey=True)
    taps = [t for t in _COLOURS if any(row.taps == t for row in table.rows)]
    for panel, key in zip(panels, keys, strict=True):
        for row in table.rows:
            score = row.scores.get(key, {}).get(ALL)
            if score is not None:
                shift = (taps.index(row.taps) - (len(taps) - 1) / 2) * 0.22
                _mark(panel, row, score, y=labels.index(row.label) + shift)
        scores = [row.scores.get(key, {}).get(ALL) for row in table.rows]
        panel.set_xlabel(SCORES[key][0] + (", 95 % interval" if with_intervals(scores) else ""))
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(labels)), [_plain(label) for label in labels])
    panels[0].set_ylim(len(labels) - 0.5, -0.5)
    _legend(figure, table)
    return figure


def _cost_figure(table: Table) -> Any:
    """Plot bPQ against the encoder's weights and against its speed."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    columns = {
        "encoder_parameters": "weights of the encoder, millions",
        "crops_per_s": "crops per second, encoder alone",
    }
    figure, panels = _figure(8.2, 3.4, len(columns), sharey=True)
    for panel, (key, title) in zip(panels, columns.items(), strict=True):
        for row in table.rows:
            _mark(panel, row, row.scores["bpq"][ALL], x=_place(row, key))
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.margins(x=0.15)
        panel.set_xlabel(title)
        panel.grid(alpha=0.3)
        for row in _best(table):
            text = panel.annotate(
                _plain(row.label.split(" (")[0]),
                xy=(_place(row, key), row.scores["bpq"][ALL].value),
                xytext=(5, 3),
                textcoords="offset points",
                fontsize=7,
            )
            text.set_in_layout(False)
    intervals = with_intervals([row.scores["bpq"][ALL] for row in table.rows])
    panels[0].set_ylabel(SCORES["bpq"][0] + (", 95 % interval" if intervals else ""))
    _legend(figure, table)
    return figure


def _place(row: Row, key: str) -> float:
    return float(row.facts[key]) / (1e6 if key == "encoder_parameters" else 1)


def _best(table: Table) -> list[Row]:
    """For each encoder with weights its best row, which bears the name; controls show by their mark."""
    best: dict[str, Row] = {}
    for row in table.rows:
        known = best.get(row.label)
        if not row.facts["random"] and (known is None or row.scores["bpq"][ALL].value > known.scores["bpq"][ALL].value):
            best[row.label] = row
    return list(best.values())


def _mark(panel: Any, row: Row, score: Estimate, *, x: float | None = None, y: float | None = None) -> None:
    """A mark with its interval, across where `y` is given and upright where `x` is."""
    ends = [[score.value - score.low], [score.high - score.value]]
    style: Mapping[str, Any] = {
        "fmt": _MARKERS[row.taps],
        "color": _COLOURS[row.taps],
        "markersize": 5,
        "markerfacecolor": "white" if row.facts["random"] else _COLOURS[row.taps],
        "linewidth": 1.2,
    }
    interval = None if score.low != score.low else ends
    if y is not None:
        panel.errorbar([score.value], [y], xerr=interval, **style)
    else:
        panel.errorbar([x], [score.value], yerr=interval, **style)


def _legend(figure: Any, table: Table) -> None:
    """Each choice of taps that is drawn, and the controls where there are any."""
    from matplotlib.lines import Line2D

    taps = [t for t in _COLOURS if any(row.taps == t for row in table.rows)]
    marks = [Line2D([], [], linestyle="", marker=_MARKERS[t], color=_COLOURS[t], label=t) for t in taps]
    if any(row.facts["random"] for row in table.rows):
        control = Line2D(
            [], [], linestyle="", marker="o", color="grey", markerfacecolor="white", label="random weights"
        )
        marks.append(control)
    figure.legend(handles=marks, loc="outside upper center", ncols=len(marks), frameon=False)


def _plain(label: str) -> str:
    """A label that matplotlib does not read as mathematics."""
    return label.replace("$", r"\$")
