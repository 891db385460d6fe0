"""Write the tables of counts in the docs again, from the results of the commands that stand above them.

python scripts/counts_tables.py CMU-1-Small-Region.svs [--results FOLDER]

The slide is segmented with the default model on OpenVINO and on PyTorch; results that lie in FOLDER already are taken.
`counts_tables.json` beside this script keeps what a test asks: the counts in the docs, and those of a small part of the
slide, which are quick to count again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from histocyte.counts.agreement import compare_counts
from histocyte.counts.count import count_cells
from histocyte.inference.load import load
from histocyte.results import Options, segment_to_folder

DOCS = Path(__file__).parents[1] / "docs"
FACTS = Path(__file__).with_suffix(".json")
RUNTIMES = ("openvino", "torch")
SLIDE = "CMU-1-Small-Region"
LOBULE = [(450, 1900), (1100, 1900), (1100, 2700), (450, 2700)]
PROBE = [(900, 2000), (1150, 2000), (1150, 2250), (900, 2250)]
"""Regions of the slide, level-0 px: the one of the example, with glass in it, and one for the test."""


def main() -> None:
    """Count, and put the tables between their marks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--results", type=Path, help="folder for the results, and of those that are there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.results or Path(scratch)
        for runtime in RUNTIMES:
            if not (folder / runtime / SLIDE / "run.json").is_file():
                segment_to_folder(arguments.slide, folder / runtime, load(runtime=runtime))
        first, second = (folder / runtime / SLIDE for runtime in RUNTIMES)
        roi = Path(scratch) / "regions.geojson"
        write_region(roi, "Lobule", LOBULE)
        counted, within, agreement = count_cells(first), count_cells(first, roi=roi), compare_counts(first, second)
        record = json.loads((first / "run.json").read_text())
        facts = {
            "cells": record.cells,
            "classes": record.classes,
            "tissue_mm2": record.tissue_mm2,
            "probe": probe(arguments.slide, Path(scratch)),
        }
    FACTS.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    columns = ("class", "cells", "per mm²", "95 % interval")
    (title, rows), (lobule, of_lobule) = counted.tables()[0], within.tables()[0]
    (agreeing, figures) = agreement.tables()[0]
    command = f"$ histocyte counts out/{SLIDE}"
    pair = " ".join(f"{runtime}/{SLIDE}" for runtime in RUNTIMES)
    left_out = " ".join(note for note in agreement.notes if "not compared" in note)
    blocks = {
        "slide": _block(command, title, columns, rows),
        "region": _block(f"{command} --roi regions.geojson", lobule, columns, of_lobule),
        "agreement": _block(
            f"$ histocyte counts {pair} --html agreement.html", agreeing, ("figure", "value", "95 % interval"), figures
        )
        + f"\n\n{left_out}".rstrip(),
    }
    page = (DOCS / "counts.md").read_text(encoding="utf-8")
    for name, block in blocks.items():
        page = put(page, name, block)
    (DOCS / "counts.md").write_text(page, encoding="utf-8")


def probe(slide: Path, scratch: Path) -> dict[str, Any]:
    """Cells and classes in a small part of the slide."""
    roi = scratch / "probe.geojson"
    write_region(roi, "Probe", PROBE)
    record = segment_to_folder(slide, scratch / "probe", load(runtime="openvino"), Options(roi=roi, workers=1))
    return {"cells": record.cells, "classes": record.classes}


def write_region(path: Path, name: str, ring: Sequence[tuple[int, int]]) -> None:
    """One polygon as QuPath exports it."""
    geometry = {"type": "Polygon", "coordinates": [[*map(list, ring), list(ring[0])]]}
    properties = {"objectType": "annotation", "name": name}
    path.write_text(json.dumps({"type": "Feature", "geometry": geometry, "properties": properties}))


def marks(name: str) -> tuple[str, str]:
    """What a block stands between."""
    return f"<!-- {name}: scripts/counts_tables.py -->", f"<!-- end of {name} -->"


def put(page: str, name: str, block: str) -> str:
    """The page with another block between its marks."""
    begin, end = marks(name)
    head, found, rest = page.partition(begin)
    assert found, f"no {begin}"
    return f"{head}{begin}\n\n{block}\n\n{end}{rest.partition(end)[2]}"


def counts_in(page: str, name: str) -> Mapping[str, int]:
    """Class → cells of the table in a block."""
    begin, end = marks(name)
    lines = page.partition(begin)[2].partition(end)[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {row[0]: int(row[1].replace(",", "")) for row in cells[1:]}


def _block(command: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head, *body = ("| " + " | ".join(row) + " |" for row in (columns, *rows))
    rule = "|---|" + "--:|" * (len(columns) - 2) + "---|"
    return "\n".join(["```console", command, title, "```", "", head, rule, *body])


if __name__ == "__main__":
    main()
