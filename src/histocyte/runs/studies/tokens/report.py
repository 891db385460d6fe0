"""The token study on disk: table, plots, JSON, and one page of HTML that needs nothing else."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from histocyte.core.errors import require
from histocyte.core.names import counted
from histocyte.core.plain_text import as_utf8
from histocyte.files.atomic import write_atomically
from histocyte.files.writable import check_folder
from histocyte.pages.drawing import COLOURS, Plot, draw, draw_intervals, short, spoken, with_intervals
from histocyte.pages.page import embedded, write_page
from histocyte.pages.text import escaped, estimate_text, markdown_table, number
from histocyte.runs.studies.tokens.probe import GAP_UM, MOST_PER_HALF, PERMUTATIONS
from histocyte.runs.studies.tokens.study import MapOfTokens, TokenStudy
from histocyte.statistics.bootstrap import FEW_GROUPS, Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["check_out", "notes_of", "plot_auroc", "plot_tokens", "study_json", "table_of", "write_token_study"]

_SHAPES = "os^Dv<>pP*X"

_NAMED = 30
"""So many images have their name in the legend of the UMAP picture."""


def check_out(folder: Path) -> None:
    """See before the work whether its results can be written.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        DiskError: The folder cannot be made or written.
    """
    require("jinja2", extra="study")
    require("matplotlib", extra="study")
    check_folder(folder)


def write_token_study(study: TokenStudy, folder: Path) -> list[Path]:
    """Write study.json, table.md, report.html and the plots as SVG; the paths, in this order.

    Raises:
        DiskError: A file could not be written.
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    check_out(folder)
    plots = {"auroc": plot_auroc(study)}
    if study.picture is not None:
        plots["umap"] = plot_tokens(study, study.picture)
    files = {
        "study.json": json.dumps(study_json(study), indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace"),
        "table.md": as_utf8(_markdown(study)),
        **{f"{name}.svg": plot.svg for name, plot in plots.items()},
    }
    for name, content in files.items():
        with write_atomically(folder / name) as file:
            file.write(content)
    _write_html(folder / "report.html", study, plots)
    return [folder / name for name in (*list(files)[:2], "report.html", *list(files)[2:])]


def study_json(study: TokenStudy) -> dict[str, Any]:
    """All results in plain values, None for what is undefined."""
    return {
        "title": study.title,
        "classes": list(study.class_names),
        "images": list(study.image_names),
        "held_out": list(study.held_out),
        "images_the_weights_were_trained_on": study.seen,
        "settings": study.facts,
        "variants": [_plain(variant) for variant in study.variants],
        "notes": notes_of(study),
    }


def table_of(study: TokenStudy) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: a score a row, a kind of vector a column, value (95 % interval); last what n is."""
    first = study.variants[0]
    heads = ["score", *(f"{v.name}, {v.width} numbers" for v in study.variants), "n"]
    c = first.classes
    images = counted(c.images_scored, "image")
    rows = [
        [
            "AUROC, mean of classes",
            *(estimate_text(v.classes.macro) for v in study.variants),
            f"{counted(sum(c.n_scored.values()), 'nucleus', 'nuclei')}, {images}",
        ]
    ]
    for name in c.auroc:
        cells = [estimate_text(v.classes.auroc.get(name)) for v in study.variants]
        rows.append(
            [
                f"AUROC, {name}",
                *cells,
                f"{counted(c.n_scored[name], 'nucleus', 'nuclei')}, {counted(c.auroc[name].n, 'image')}",
            ]
        )
    balanced = [estimate_text(v.classes.balanced_accuracy) for v in study.variants]
    rows.append([f"balanced accuracy (chance {1 / len(c.auroc):.2f})", *balanced, images])
    for axis in ("x", "y"):
        cells = [estimate_text(getattr(v.place, axis)) for v in study.variants]
        rows.append([f"place in tile, {axis}: R²", *cells, f"{counted(first.place.n, 'nucleus', 'nuclei')}, {images}"])
        controls = [number(getattr(v.place, f"control_{axis}")) for v in study.variants]
        rows.append(
            [
                f"place in tile, {axis}: highest R² of {PERMUTATIONS} shuffles",
                *controls,
                f"{counted(first.place.n, 'nucleus', 'nuclei')}, {images}",
            ]
        )
    if first.image is not None:
        i = first.image
        cells = [estimate_text(v.image.accuracy if v.image else None) for v in study.variants]
        rows.append(
            [
                f"which image: accuracy (chance {i.chance:.3f})",
                *cells,
                f"{counted(i.n, 'nucleus', 'nuclei')}, {counted(i.n_images, 'image')}",
            ]
        )
        cells = [estimate_text(v.image.control if v.image else None) for v in study.variants]
        rows.append(
            [
                "which image: accuracy, shuffled",
                *cells,
                f"{counted(i.n, 'nucleus', 'nuclei')}, {counted(i.n_images, 'image')}",
            ]
        )
    return heads, rows


def notes_of(study: TokenStudy) -> list[str]:
    """What must be known to read the table."""
    c = study.variants[0].classes
    image = study.variants[0].image
    notes = [
        f"Probe: multinomial logistic regression on standardised vectors, learnt on {c.n_learnt:,} nuclei of "
        f"{counted(c.images_learnt, 'image')}, scored on {counted(c.images_scored, 'other')}. Intervals: 95 %, "
        "bootstrap over patients or "
        f"slides ({study.facts['replicates']:,} resamples); with {counted(c.images_scored, 'image')} they are rough. "
        f"{FEW_GROUPS}",
        "Place in tile: ridge regression within images (vectors standardised over their image), learnt and scored "
        "on the same images as the probe. R² at or below 0: nothing is given away. Shuffles change the places "
        "of the learning images' nuclei within each image.",
        f"Which image: learnt on one half of each image (up to {MOST_PER_HALF} nuclei), scored on the other, both "
        f"ways, {GAP_UM:g} µm apart. It tells slides by stain and scanner, but also by tissue and classes; colour "
        "alone says how much of it stain explains.",
    ]
    if image is not None and image.left_out:
        notes.append(f"Left out of the image check, too few nuclei: {', '.join(image.left_out)}.")
    if study.seen:
        notes.append(
            f"Leak: the encoder was trained with the labels of {study.seen} of these "
            f"{counted(len(study.image_names), 'image')}, "
            "all on the side that the probe learns from. The scored images are new to both, but these classes are not "
            "new to the encoder: the scores say how well it knows them, not how well it would serve others, and are "
            "not comparable with those of an encoder that never saw these labels."
        )
    return notes


def plot_auroc(study: TokenStudy) -> Plot:
    """AUROC of each class, for each kind of vector, with intervals."""
    first = study.variants[0].classes
    names = list(first.auroc)
    labels = ["mean of classes", *(f"{short(n)}\nn = {counted(first.n_scored[n], 'nucleus', 'nuclei')}" for n in names)]
    series = [(v.name, [v.classes.macro, *(v.classes.auroc.get(n) for n in names)]) for v in study.variants]
    caption = (
        f"Area under the ROC curve of each class against the rest on {counted(first.images_scored, 'image')} that the "
        "probe has "
        f"not learnt from{with_intervals([e for _, values in series for e in values])}; 0.5 is guessing."
    )
    said = "; ".join(
        f"{label.replace(chr(10), ', ')}: " + ", ".join(f"{title} {spoken(values[i])}" for title, values in series)
        for i, label in enumerate(labels)
    )

    def paint(figure: Figure) -> None:
        draw_intervals(figure.subplots(), labels, series, xlabel="AUROC")

    return draw(paint, size_in=(5.6, 0.95 + 0.75 * len(labels)), alt=f"{caption} {said}.", caption=caption)


def plot_tokens(study: TokenStudy, picture: MapOfTokens) -> Plot:
    """The UMAP picture twice: by class, and by image."""
    images = np.unique(picture.image)
    caption = (
        f"UMAP of {counted(len(picture.xy), 'nucleus', 'nuclei')} of {counted(len(images), 'image')}, above by class, "
        "below by image (a colour and "
        "shape each). Clumps of one image say that vectors tell slides apart. Distances between clumps mean little."
    )

    def paint(figure: Figure) -> None:
        above, below = figure.subplots(2, 1)
        for code, name in enumerate(study.class_names, 1):
            chosen = picture.types == code
            if chosen.any():
                colour = COLOURS[(code - 1) % len(COLOURS)]
                _dots(above, picture.xy[chosen], colour, _SHAPES[(code - 1) % len(_SHAPES)], short(name))
        above.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2.5, handletextpad=0.2)
        for i, image in enumerate(images):
            chosen = picture.image == image
            named = short(study.image_names[image], 20) if i < _NAMED else None
            _dots(below, picture.xy[chosen], COLOURS[i % len(COLOURS)], _SHAPES[i % len(_SHAPES)], named)
        below.legend(
            title=None if len(images) <= _NAMED else f"the first {_NAMED} of {len(images)} images",
            loc="upper center",
            bbox_to_anchor=(0.5, -0.02),
            ncols=3,
            fontsize=7,
            markerscale=2.5,
            handletextpad=0.2,
        )
        for axes, title in ((above, "by class"), (below, "by image")):
            axes.set_title(title, loc="left")
            axes.set_xticks([])
            axes.set_yticks([])

    lines = -(-min(len(images), _NAMED) // 3)
    return draw(paint, size_in=(5.6, 8.4 + 0.16 * lines), alt=caption, caption=caption)


def _dots(axes: Axes, xy: Any, colour: str, shape: str, label: str | None) -> None:
    axes.plot(*xy.T, shape, color=colour, markersize=2.2, markeredgewidth=0, alpha=0.6, label=label, rasterized=True)


def _markdown(study: TokenStudy) -> str:
    heads, rows = table_of(study)
    lines = [f"# Vectors of nuclei: {escaped(study.title)}", ""]
    lines += markdown_table(heads, rows)
    lines += ["", *(f"- {escaped(note)}" for note in notes_of(study)), ""]
    lines += [f"Held out: {', '.join(escaped(n) for n in study.held_out)}.", ""]
    return "\n".join(lines)


def _write_html(path: Path, study: TokenStudy, plots: dict[str, Plot]) -> None:
    heads, rows = table_of(study)
    facts = {k: json.dumps(v) if isinstance(v, dict) else str(v) for k, v in study.facts.items()}
    write_page(
        path,
        __package__,
        "report.html.jinja",
        title=study.title,
        heads=heads,
        rows=rows,
        what=f"Value{with_intervals([v.classes.macro for v in study.variants], ' and 95 % interval')}.",
        notes=notes_of(study),
        held_out=study.held_out,
        plots=[embedded(plot) for plot in plots.values()],
        facts=facts,
    )


def _plain(value: Any) -> Any:
    """Dataclasses as mappings, Estimates by their own way, no NaN."""
    if isinstance(value, Estimate):
        return value.to_json()
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return list(value) if isinstance(value, tuple) else value
