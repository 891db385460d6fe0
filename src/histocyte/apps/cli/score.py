"""`histocyte score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from histocyte.core.instances import Instances
    from histocyte.datasets.cell_files.contents import OutlinedCells

__all__ = ["score"]


def score(
    predictions: Annotated[
        Path, typer.Argument(help="Folder of NAME.json by HoVer-Net or CellViT.", show_default=False)
    ],
    truth: Annotated[Path, typer.Argument(help="Folder of labelled images.", show_default=False)],
    mpp: Annotated[float | None, typer.Option(help="µm/px of images of a set that is not known by name.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="true=found,…: names or codes of the found classes; needed unless they agree.")
    ] = None,
    no_classes: Annotated[bool, typer.Option("--no-classes", help="Score detection and outlines alone.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the scores of each image to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Score another program's cells against labelled images, with 95 % intervals.

    Every labelled image needs a file of the same name. Where outlines overlap, the pixel goes to the smaller cell.

    Example: histocyte score hovernet/json data/consep --classes inflammatory=2,epithelial=1,spindle=3,other=4
    """
    from histocyte.apps.cli.output import print_json, print_table
    from histocyte.core.errors import InputError
    from histocyte.core.taxonomy import CONSEP
    from histocyte.datasets.cell_files.json_outlines import read_json_outlines
    from histocyte.datasets.folder import load_folder
    from histocyte.evaluation.image_scores import ImageInfo, score_image
    from histocyte.evaluation.protocol import report_of

    samples = load_folder(truth, mpp=mpp)
    missing = [s.name for s in samples if not (predictions / f"{s.name}.json").is_file()]
    if missing:
        raise InputError(
            f"'{predictions}' has no NAME.json for {len(missing)} of {len(samples)} images: {', '.join(missing[:5])}."
        )
    names = () if no_classes else CONSEP.names
    typed = bool(names) and any(s.types is not None for s in samples)
    rows = []
    skipped: dict[str, list[str]] = {}
    for sample in samples:
        if not sample.separable:
            skipped.setdefault(sample.source, []).append(sample.name)
            continue
        path = predictions / f"{sample.name}.json"
        cells = read_json_outlines(path)
        codes = _codes(cells, names, _pairs(classes), path) if typed else None
        found = _on_image(cells, codes, len(names), sample.instances.shape, path)
        info = ImageInfo(sample.name, sample.source, sample.group, sample.mpp)
        rows.append(score_image(sample.labels, found, info, n_classes=len(names)))
    report = report_of(rows, names, skipped=skipped)
    if csv is not None:
        report.write_csv(csv)
    if as_json:
        print_json({"predictions": str(predictions), "truth": str(truth), **report.to_json()})
        return
    columns = ("data set", "score", "value", "95 % interval", "images")
    print_table(f"{predictions.name}", columns, [tuple(row) for row in report.table()])


def _pairs(classes: str | None) -> dict[str, str]:
    """Found class → true class."""
    from histocyte.core.errors import InputError
    from histocyte.core.taxonomy import CONSEP

    pairs = [pair.partition("=") for pair in (classes or "").split(",") if pair]
    for true, _, found in pairs:
        if true not in CONSEP.names or not found:
            raise InputError(f"--classes {classes}: needed is true=found,…; true is one of {', '.join(CONSEP.names)}.")
    return {found: true for true, _, found in pairs}


def _codes(cells: OutlinedCells, names: tuple[str, ...], pairs: dict[str, str], path: Path) -> NDArray[np.int64]:
    """(N,) index of each cell's class in `names`."""
    import numpy as np

    from histocyte.core.errors import InputError

    called = [cells.class_names.get(int(t), str(t)) for t in cells.types]
    into = [pairs.get(name, name.lower()) for name in called]
    unknown = sorted({name for name, to in zip(called, into, strict=True) if to not in names})
    if unknown:
        raise InputError(
            f"'{path}' has classes {', '.join(unknown)}; the truth has {', '.join(names)}. "
            "Pass --classes true=found,… or --no-classes."
        )
    return np.array([names.index(to) for to in into], np.int64)


def _on_image(
    cells: OutlinedCells, codes: NDArray[np.int64] | None, n_classes: int, shape: tuple[int, ...], path: Path
) -> Instances:
    import numpy as np

    from histocyte.core.errors import InputError
    from histocyte.core.instances import Instances, relabel_sequential
    from histocyte.datasets.cell_files.contents import draw_outlines

    height, width = shape[:2]
    far = [o for o in cells.outlines if (o.min(axis=0) >= (width, height)).any() or (o.max(axis=0) < 0).any()]
    if far:
        raise InputError(
            f"'{path}': {len(far)} of {len(cells.outlines)} cells lie outside the truth's {width} × {height} px; "
            "both must be of the same image at the same resolution."
        )
    labels, old = relabel_sequential(draw_outlines(cells.outlines, (height, width)))
    kept = old[1:] - 1
    if codes is None:
        probabilities = np.zeros((len(kept), 0), np.float32)
    else:
        probabilities = np.eye(n_classes, dtype=np.float32)[codes[kept]]
    return Instances(labels, probabilities, np.ones(len(kept), np.float32))
