"""`histocyte compare` and `histocyte folds`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from histocyte.core.names import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histocyte.evaluation.compare import Comparison, SourceComparison
    from histocyte.evaluation.folds import Folds

__all__ = ["compare", "folds", "print_folds"]


def compare(
    first: Annotated[Path, typer.Argument(help="Report of one result (evaluate or score --json).", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Report of the other.", show_default=False)],
    replicates: Annotated[
        int, typer.Option(min=1, max=100_000, help="Bootstrap resamples, and random sign flips for p-values.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same figures.")] = 0,
    csv: Annotated[Path | None, typer.Option(help="Write the scores to this CSV file, one per line.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Compare two models, or two results, on the images that both were scored on.

    Gives the difference of every score with its 95 % interval and p-value, plain and corrected for their number.

    Example: histocyte compare a.json b.json
    """
    from histocyte.apps.cli.output import print_json, say
    from histocyte.evaluation.compare import compare_reports
    from histocyte.evaluation.image_json import read_report
    from histocyte.files.writable import check_file

    check_file(csv, example="differences.csv")
    result = compare_reports(read_report(first), read_report(second), replicates=replicates, seed=seed)
    if csv is not None:
        result.write_csv(csv)
    if as_json:
        print_json({"first_file": str(first), "second_file": str(second), **result.to_json()})
        return
    for source in result.sources.values():
        _print_source(result, source)
    for path, keys in zip((first, second), result.unpaired, strict=True):
        if keys:
            say(f"Not compared, as in {path} alone: {counted(len(keys), 'image')}, {_listed(keys)}")


def folds(
    reports: Annotated[
        list[Path], typer.Argument(help="Reports of two folds or more (evaluate or score --json).", show_default=False)
    ],
    std: Annotated[str, typer.Option(help="Divisor of standard deviations: sample (n - 1) or population (n).")] = (
        "sample"
    ),
    replicates: Annotated[int, typer.Option(min=1, max=100_000, help="Bootstrap resamples.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same figures.")] = 0,
    csv: Annotated[Path | None, typer.Option(help="Write the scores to this CSV file, one per line.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Average the reports of several folds, as published figures on PanNuke are made.

    Each score with its 95 % interval, and standard deviations over folds and over tissues.

    Example: histocyte folds fold1.json fold2.json fold3.json
    """
    from typing import cast

    from histocyte.apps.cli.output import print_json
    from histocyte.evaluation.folds import Deviation, merge_folds
    from histocyte.evaluation.image_json import read_report
    from histocyte.files.writable import check_file

    check_file(csv, example="folds.csv")
    stored = [read_report(path) for path in reports]
    result = merge_folds(stored, std=cast(Deviation, std), replicates=replicates, seed=seed)
    if csv is not None:
        result.write_csv(csv)
    if as_json:
        print_json({"files": [str(path) for path in reports], **result.to_json()})
        return
    print_folds(result)


def print_folds(result: Folds) -> None:
    """The scores of several folds as a table."""
    from histocyte.apps.cli.output import print_table, say_note
    from histocyte.pages.text import estimate_text, number

    rows = [
        (s.title, estimate_text(s.mean), number(s.std_folds), number(s.std_strata), str(s.mean.n))
        for s in result.scores
    ]
    columns = ("score", "mean over folds (95 %)", "SD over folds", "SD over tissues", "images")
    parts = ", ".join(
        f"{title} ({counted(n, 'image')})" for title, n in zip(result.titles, result.n_images, strict=True)
    )
    print_table(f"{counted(len(result.titles), 'fold')}: {parts}", columns, rows)
    for note in result.notes:
        say_note(note)


def _print_source(result: Comparison, source: SourceComparison) -> None:
    from histocyte.apps.cli.output import print_table, say
    from histocyte.pages.text import estimate_text, p_text
    from histocyte.statistics.bootstrap import GROUPS

    columns = ("score", "A (95 %)", "B (95 %)", "B - A (95 %)", "p", "p, Holm", "images")
    rows = [
        (
            d.title,
            estimate_text(d.first),
            estimate_text(d.second),
            estimate_text(d.difference, sign=True),
            p_text(d.p),
            p_text(d.p_holm),
            str(d.difference.n),
        )
        for d in source.differences
    ]
    title = (
        f"{source.source}: A = {result.titles[0]}, B = {result.titles[1]}; {counted(source.n_images, 'image')}, "
        f"{counted(source.n_groups, *GROUPS)}"
    )
    print_table(title, columns, rows)
    for note in source.notes:
        say(note)


def _listed(keys: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{source}/{name}" for source, name in keys[:5]) + (", …" if len(keys) > 5 else ".")
