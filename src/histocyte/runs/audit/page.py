"""What an audit found as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.datasets.audit.audit import Audit
from histocyte.datasets.audit.finding import Example, Severity
from histocyte.datasets.data_check import USUAL_UM
from histocyte.datasets.sample import Sample
from histocyte.pages.drawing import COLOURS, Plot, draw, short
from histocyte.pages.page import embedded, write_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_audit_html"]

_TILE_PX = 240
_AROUND_PX = 48
"""What is shown around an instance."""
_OUTLINE, _MEANT = (0, 114, 178), (213, 94, 0)
_MOST_NAMES = 12


def write_audit_html(found: Audit, samples: Sequence[Sample], path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        DiskError: The file cannot be written.
    """
    by_name = {(s.source, s.name): s for s in samples}
    findings = [
        {
            "severity": f.severity.name.lower(),
            "check": f.check,
            "what": f.what,
            "advice": f.advice,
            "images": ", ".join(f.images[:_MOST_NAMES]) + (", …" if len(f.images) > _MOST_NAMES else ""),
            "tiles": [_tile(by_name[e.source, e.name], e) for e in f.examples],
        }
        for f in found.findings
    ]
    rows = [
        (
            row.source,
            row.split or "not stated",
            *(f"{n:,}" for n in (row.images, row.groups, row.cells)),
            ", ".join(f"{name} {count:,}" for name, count in row.by_class.items()) or "none",
            ", ".join(f"{name} {count:,}" for name, count in row.by_tissue.items()) or "not stated",
        )
        for row in found.counts
    ]
    plots = [plot for plot in (_classes(found), _diameters(found.diameters_um), _stains(found.densities)) if plot]
    write_page(
        path,
        __package__,
        "audit.html.jinja",
        title="Audit of " + ", ".join(dict.fromkeys(row.source for row in found.counts)),
        numbers=[(s.name.lower(), found.number(s)) for s in sorted(Severity, reverse=True)],
        findings=findings,
        rows=rows,
        licences=found.licences,
        plots=[embedded(plot) for plot in plots],
    )


def _tile(sample: Sample, example: Example) -> dict[str, str]:
    """A part of an image with its outlines, those that are meant in another colour and thicker."""
    height, width = sample.instances.shape
    x0, y0, x1, y1 = example.box or (0, 0, width, height)
    around = _AROUND_PX if example.box else 0
    part = slice(max(0, y0 - around), y1 + around), slice(max(0, x0 - around), x1 + around)
    image, labels = np.array(sample.image[part]), np.array(sample.instances[part])
    scale = _TILE_PX / max(labels.shape)
    size = max(1, round(labels.shape[1] * scale)), max(1, round(labels.shape[0] * scale))
    shown = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    drawn = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    if not sample.dots:
        shown[_edges(drawn)] = _OUTLINE
    for number in example.ids:
        meant = _edges(np.where(drawn == number, np.int32(1), np.int32(0)))
        shown[cv2.dilate(meant.astype(np.uint8), np.ones((2, 2), np.uint8)) > 0] = _MEANT
    encoded = cv2.imencode(".webp", np.ascontiguousarray(shown[..., ::-1]), [cv2.IMWRITE_WEBP_QUALITY, 82])[1]
    place = f", x {x0}, y {y0} px" if example.box else ""
    caption = f"{sample.source}/{sample.name}{place}"
    return {"uri": "data:image/webp;base64," + base64.b64encode(encoded.tobytes()).decode(), "caption": caption}


def _edges(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels of an instance beside a pixel of another label."""
    beside = np.zeros(labels.shape, bool)
    beside[:-1] |= labels[:-1] != labels[1:]
    beside[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return beside


def _classes(found: Audit) -> Plot | None:
    counts: dict[str, int] = {}
    for row in found.counts:
        for name, count in row.by_class.items():
            label = f"{row.source}: {name}"
            counts[label] = counts.get(label, 0) + count
    if not counts:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.barh([short(name, 36) for name in counts], list(counts.values()), color=COLOURS[0])
        axes.invert_yaxis()
        axes.set_xlabel("cells")

    told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    size = (6.0, 1.2 + 0.28 * len(counts))
    return draw(paint, size_in=size, alt=f"Cells by class: {told}.", caption="Cells of each class of each set.")


def _diameters(diameters: Mapping[str, NDArray[np.float64]]) -> Plot | None:
    shown = {name: values for name, values in diameters.items() if len(values)}
    if not shown:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.boxplot(list(shown.values()), orientation="horizontal", showfliers=False, whis=(1, 99))
        axes.set_yticks(range(1, len(shown) + 1), [short(name) for name in shown])
        axes.invert_yaxis()
        axes.axvspan(*USUAL_UM, color="#e2e4eb", zorder=0)
        axes.set_xlabel("diameter (µm)")

    told = ", ".join(f"{name} {np.median(values):.1f} µm" for name, values in shown.items())
    caption = "Diameters of instances: quartiles, and 1 % to 99 %. A usual median lies in the grey band."
    return draw(paint, size_in=(6.0, 1.2 + 0.35 * len(shown)), alt=f"Median diameters: {told}.", caption=caption)


def _stains(densities: Mapping[str, NDArray[np.float64]]) -> Plot:
    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for i, (name, values) in enumerate(densities.items()):
            marker = "os^Dv"[i // len(COLOURS) % 5]
            axes.scatter(
                values[:, 0], values[:, 1], s=12, marker=marker, color=COLOURS[i % len(COLOURS)], label=short(name)
            )
        axes.set_xlabel("optical density in red")
        axes.set_ylabel("optical density in green")
        figure.legend(loc="outside right upper")

    alt = f"Mean optical density of the tissue of each image of {len(densities)} sets, red against green."
    caption = "Stain of each image: mean optical density of its tissue. A point by itself is stained unlike the others."
    return draw(paint, size_in=(6.0, 4.2), alt=alt, caption=caption)
