"""`histocyte demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histocyte.core.names import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from histocyte.core.cells import Cells
    from histocyte.testing.synthetic import SyntheticSlide

__all__ = ["demo"]

REAL_SLIDE = "https://openslide.cs.cmu.edu/download/openslide-testdata/Aperio/CMU-1-Small-Region.svs"
REAL_SLIDE_SHA256 = "ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7"
REAL_SLIDE_BYTES = 1_938_955


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the slide and its results.")] = Path(
        "histocyte-demo"
    ),
    real: Annotated[
        bool, typer.Option("--real", help="Fetch a small public slide (CC0, 2 MB) instead of painting one.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Random seed of the painted tissue.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """See it work: a slide, its cells, a picture and a QuPath file, without any data or network.

    Paints a small slide of synthetic H&E tissue whose every nucleus is known, segments it with the default model, and
    scores the result against the truth: which nuclei were found, and with which class.

    Example: histocyte demo -o demo
    """
    from histocyte.apps.cli.output import print_json, say
    from histocyte.apps.cli.segment import segment_one
    from histocyte.files.writable import check_folder
    from histocyte.inference.load import load
    from histocyte.results import Options

    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    truth = None
    if real:
        slide = _fetch(out / "CMU-1-Small-Region.svs")
    else:
        say("Painting a slide of synthetic H&E tissue with known truth …")
        slide, truth = _paint(out / "synthetic.tiff", seed)
    record = segment_one(slide, out, load(), Options(force=True), quiet=as_json).to_json()
    if truth is not None:
        from histocyte.formats.geoparquet import read_cells

        record["score"] = _scored(truth, read_cells(Path(record["outputs"]["parquet"])))
    if as_json:
        print_json(record)
        return
    if truth is not None:
        score = record["score"]
        say(
            f"Against the truth: {counted(score['truth'], 'nucleus', 'nuclei')} painted, {record['cells']:,} found; "
            "detection F1 "
            f"{score['detection_f1']:.2f} (precision {score['precision']:.2f}, recall {score['recall']:.2f})."
        )
        say(_classes_in_words(score))
        say("Painted tissue is a demonstration: what the model does on real tissue is on its card.")
    outputs = record["outputs"]
    say(f"\nPicture:  {outputs['overview']}")
    say(f"QuPath:   open {slide} in QuPath and drag {outputs['geojson']} onto it")
    say(f"Table:    {outputs['parquet']}, summary in {outputs['summary']}")
    say("Next:     histocyte segment YOUR_SLIDE -o out")


def _paint(path: Path, seed: int) -> tuple[Path, SyntheticSlide]:
    from histocyte.testing.pyramid import write_pyramid
    from histocyte.testing.synthetic import paint_tissue

    slide = paint_tissue((3072, 2304), mpp=0.25, seed=seed)
    write_pyramid(path, slide.image, slide.mpp)
    return path, slide


def _scored(truth: SyntheticSlide, found: Cells) -> dict[str, Any]:
    """Detection and classes of the cells against the painted ones."""
    from histocyte.metrics.detection import centroids, detection_radius_px, match_centroids

    ids, true_xy = centroids(truth.labels.instances)
    match = match_centroids(true_xy, found.xy, radius_px=detection_radius_px(truth.mpp), mode="max_cardinality")
    hits = len(match.truth)
    precision, recall = hits / max(1, len(found)), hits / max(1, len(true_xy))
    return {
        "truth": len(true_xy),
        "precision": precision,
        "recall": recall,
        "detection_f1": 2 * hits / max(1, len(found) + len(true_xy)),
        **_score_classes(truth, found, ids[match.truth], match.found),
    }


def _score_classes(
    truth: SyntheticSlide, found: Cells, ids: NDArray[np.integer], rows: NDArray[np.integer]
) -> dict[str, Any]:
    """Which class the nuclei that were found got.

    Args:
        truth: The painted slide.
        found: All found cells.
        ids: (M,) instance of each true nucleus that was found.
        rows: (M,) the cell that it was found as.

    Returns:
        `class_accuracy`, share of the found with the painted class; `classes`, for each painted class `painted` and
        `found` nuclei and `called`, how many of the found got each class.
    """
    import numpy as np

    from histocyte.core.taxonomies import CONSEP

    types = truth.labels.types
    assert types is not None
    painted = np.bincount(types[1:], minlength=len(CONSEP) + 1)
    told = found.probabilities[rows].argmax(axis=1)
    names = found.taxonomy.names
    classes: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(CONSEP.names, 1):
        called = np.bincount(told[types[ids] == number], minlength=len(names))
        classes[name] = {
            "painted": int(painted[number]),
            "found": int(called.sum()),
            "called": dict(zip(names, called.tolist(), strict=True)),
        }
    right = sum(c["called"].get(name, 0) for name, c in classes.items())
    return {"class_accuracy": right / max(1, len(rows)), "classes": classes}


def _classes_in_words(score: Mapping[str, Any]) -> str:
    """How many of each class got it, and what most of the others of that class were called."""
    parts = []
    for name, c in score["classes"].items():
        if c["found"]:
            right = c["called"].get(name, 0)
            wrong = {other: n for other, n in c["called"].items() if other != name}
            worst = max(wrong, key=lambda other: wrong[other], default="")
            astray = f" ({wrong[worst]:,} called {worst})" if worst and wrong[worst] else ""
            parts.append(f"{name} {right:,} of {c['found']:,}{astray}")
    share = f"{100 * score['class_accuracy']:.0f} %"
    return f"Of those found {share} have the painted class: {', '.join(parts)}."


def _fetch(path: Path, url: str = REAL_SLIDE) -> Path:
    """Download the public slide, checked by its hash.

    Raises:
        InputError: No network, or another file than expected.
    """
    import hashlib
    import os
    import urllib.request

    from histocyte.core.errors import InputError

    if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == REAL_SLIDE_SHA256:
        return path
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 (a fixed https address)
            content = answer.read(REAL_SLIDE_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"The slide could not be fetched from {url} ({error}). Without a network: histocyte demo"
        ) from error
    if hashlib.sha256(content).hexdigest() != REAL_SLIDE_SHA256:
        raise InputError(f"What {url} sent is not the slide expected (its SHA-256 differs); nothing was kept.")
    temporary = path.with_suffix(".part")
    temporary.write_bytes(content)
    os.replace(temporary, path)
    return path
