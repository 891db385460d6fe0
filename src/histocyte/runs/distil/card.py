"""The card of a student: it and its teacher on the same held-out images, and what each of them costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from histocyte.core.names import counted
from histocyte.evaluation.compare import Comparison, Difference, SourceComparison
from histocyte.pages.text import escaped, estimate_text, markdown_table, p_text
from histocyte.statistics.bootstrap import GROUPS, Estimate

__all__ = ["Cost", "card_json", "card_markdown", "worse_classes"]

_CLASS_SCORES = ("f1", "pq", "r2")
_SCORES = ("bpq", "dq", "sq", "pq_pooled", "f1", "mpq", "mpq_plus", "accuracy", "r2", "r2_total")
"""On the card, of classes and of all images; the comparison's JSON holds all others too."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What having and running a model takes.

    Attributes:
        parameters: Weights of the network.
        disk_bytes: Bytes of the model file.
        measured: What `runs.distil.cost` gives on a CPU core; empty where it was not measured.
        gpu: The same on a GPU; empty without one.
    """

    parameters: int
    disk_bytes: int
    measured: Mapping[str, Any]
    gpu: Mapping[str, Any]


def worse_classes(comparison: Comparison) -> list[str]:
    """Classes, as "data set: class", whose F1 is lower by more than chance.

    That is where the 95 % interval of the paired difference, student minus teacher, lies below 0.
    """
    return [
        f"{source.source}: {d.subject}"
        for source in comparison.sources.values()
        for d in source.differences
        if d.kind == "class" and d.key == "f1" and d.difference.high < 0
    ]


def _untold_classes(comparison: Comparison) -> list[str]:
    """Classes, as "data set: class", that too few patients or images have for an interval of their F1."""
    return [
        f"{source.source}: {d.subject}"
        for source in comparison.sources.values()
        for d in source.differences
        if d.kind == "class" and d.key == "f1" and np.isnan(d.difference.high)
    ]


def _apart(one: Estimate, other: Estimate) -> bool:
    return one.high < other.low or other.high < one.low


def card_json(
    facts: Mapping[str, object],
    comparisons: Sequence[Comparison],
    costs: Mapping[str, Cost],
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """All that the card says, JSON-ready.

    Args:
        facts: Facts of the run: student, teachers, how it was taught.
        comparisons: Comparisons of each teacher (first) with the student (second).
        costs: By the models' names.
        notes: What the reader has to know, a sentence each.
    """
    return {
        "format": "histocyte-distillation/1",
        **facts,
        "comparisons": [
            {
                **comparison.to_json(),
                "classes_significantly_worse": worse_classes(comparison),
                "classes_without_interval": _untold_classes(comparison),
                "classes_with_intervals_apart": [
                    f"{s.source}: {d.subject}"
                    for s in comparison.sources.values()
                    for d in s.differences
                    if d.kind == "class" and d.key == "f1" and _apart(d.first, d.second)
                ],
            }
            for comparison in comparisons
        ],
        "costs": {name: asdict(cost) for name, cost in costs.items()},
        "notes": list(notes),
    }


def card_markdown(
    title: str,
    facts: Mapping[str, str],
    comparisons: Sequence[Comparison],
    costs: Mapping[str, Cost],
    notes: Sequence[str] = (),
) -> str:
    """The card for people.

    Args:
        title: Its heading.
        facts: What was done, a line each.
        comparisons: As for `card_json`.
        costs: As for `card_json`, the first teacher's first and the student's last.
        notes: As for `card_json`.
    """
    lines = [f"# {escaped(title)}", "", *(f"- {escaped(key)}: {escaped(value)}" for key, value in facts.items()), ""]
    lines += [f"> {escaped(note)}\n" for note in notes]
    for comparison in comparisons:
        lines += _comparison(comparison)
    lines += ["## Cost", "", *_cost_table(costs), ""]
    lines += [
        "Speed is from pixels to outlined nuclei, in brackets that of the network alone, the median of three runs: on "
        "a CPU by the time that one core worked, on a GPU by the clock. Memory is that of the whole process, libraries "
        "included.",
        "",
    ]
    return "\n".join(lines)


def _comparison(comparison: Comparison) -> list[str]:
    teacher, student = comparison.titles
    lines = [f"## {escaped(student)} against {escaped(teacher)}", ""]
    worse = worse_classes(comparison)
    classes = any(d.kind == "class" for s in comparison.sources.values() for d in s.differences)
    if classes:
        verdict = f"worse in {escaped(', '.join(worse))}" if worse else "worse in none"
        unknown = _untold_classes(comparison)
        if unknown:
            verdict += f"; without an interval, and so not told: {escaped(', '.join(unknown))}"
        lines += [f"Classes by F1, where the 95 % interval of the paired difference lies below 0: {verdict}.", ""]
    for source in comparison.sources.values():
        lines += [
            f"### {escaped(source.source)}: {counted(source.n_images, 'held-out image')} of "
            f"{counted(source.n_groups, *GROUPS)}",
            "",
            *_score_table(source, teacher, student),
            "",
            *(f"{escaped(note)}\n" for note in source.notes),
        ]
    return lines


def _score_table(source: SourceComparison, teacher: str, student: str) -> list[str]:
    shown = [d for d in source.differences if d.kind == "all" and d.key in _SCORES]
    shown.sort(key=lambda d: _SCORES.index(d.key))
    for key in _CLASS_SCORES:
        shown += [d for d in source.differences if d.kind == "class" and d.key == key]
    head = ("score", f"{teacher} (95 %)", f"{student} (95 %)", "difference (95 %)", "p", "p, Holm", "images")
    return markdown_table(head, (_row(d) for d in shown))


def _row(d: Difference) -> tuple[str, ...]:
    return (
        d.title,
        *(estimate_text(e) for e in (d.first, d.second)),
        estimate_text(d.difference, sign=True),
        p_text(d.p),
        p_text(d.p_holm),
        str(d.difference.n),
    )


def _cost_table(costs: Mapping[str, Cost]) -> list[str]:
    rows = [
        ("weights", [f"{c.parameters:,}" for c in costs.values()]),
        ("file", [f"{c.disk_bytes / 1e6:.2f} MB" for c in costs.values()]),
        ("peak memory", [_size(c.measured.get("peak_bytes")) for c in costs.values()]),
        ("CPU, mm²/min per core", [_speed(c.measured) for c in costs.values()]),
    ]
    if any(c.gpu for c in costs.values()):
        rows.append(("GPU, mm²/min", [_speed(c.gpu) for c in costs.values()]))
    ran = {str(c.measured["runtime"]) for c in costs.values() if c.measured}
    if ran:
        rows.append(("runtime", [str(c.measured.get("runtime", "–")) for c in costs.values()]))
    return markdown_table(("", *costs), ((name, *values) for name, values in rows))


def _size(count: object) -> str:
    return f"{count / 1e6:,.0f} MB" if isinstance(count, int) else "–"


def _speed(measured: Mapping[str, Any]) -> str:
    if not measured:
        return "–"
    return f"{measured['mm2_per_minute']:.3g} ({measured['network_mm2_per_minute']:.3g})"
