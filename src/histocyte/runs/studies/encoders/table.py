"""The encoder study's table: scores of each encoder and choice of taps with intervals, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.names import counted
from histocyte.evaluation.image_json import image_from_json
from histocyte.evaluation.image_scores import ImageScores
from histocyte.files.csv_file import csv_text
from histocyte.files.foreign import foreign_parser
from histocyte.pages.text import estimate_text, markdown_table
from histocyte.runs.studies.encoders.run import Failure
from histocyte.runs.studies.encoders.scores import ALL, SCORES, HeldOut, less, mean_of, over_sets
from histocyte.runs.studies.encoders.weights import Ready
from histocyte.statistics.bootstrap import LEAST_GROUPS, Estimate, Statistic, estimate
from histocyte.training.journal import read_json

__all__ = ["SEEDS", "Row", "Table", "read_results", "table_of"]

SEEDS = (
    "The intervals say how far scores would move with other patients, not with another training: that is in the number "
    "of seeds with their least and most bPQ."
)
"""What a reader of the table must not overlook."""


_FACTS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("label", "name", "taps", "tapped_what", "licence", "weights_sha256"), str),
    **dict.fromkeys(("seed", "encoder_parameters", "decoder_parameters", "feature_bytes_per_crop"), int),
    **{"tapped": list, "images": list, "seconds": dict, "crops_per_s": (int, float), "random": bool},
}
"""What a run's result.json has to say, and in which form."""


@dataclass(frozen=True, slots=True)
class Row:
    """An encoder and its taps.

    Attributes:
        label: The encoder and its weights.
        taps: shallow, deep or mixed.
        facts: What `runs.studies.encoders.run` wrote of its first seed but for the images: sizes, speed, licence.
        seeds: Trainings that the scores are a mean of.
        scores: By score, then by data set or `ALL`.
        seed_range: Least and most of bPQ over all sets, over the seeds.
        against_reference: Its bPQ over all sets less the reference's, on the same images; None for the reference.
        against_random: The same against random weights and the same taps; None where there is no such run.
    """

    label: str
    taps: str
    facts: Mapping[str, Any]
    seeds: int
    scores: Mapping[str, Mapping[str, Estimate]]
    seed_range: tuple[float, float]
    against_reference: Estimate | None
    against_random: Estimate | None

    def of_seeds(self) -> str:
        """Number of seeds, and their least and most bPQ."""
        low, high = self.seed_range
        return f"{self.seeds}: {low:.3f}" + (f" to {high:.3f}" if self.seeds > 1 else "")


@dataclass(frozen=True, slots=True)
class Table:
    """All finished runs of a study.

    Attributes:
        rows: In the order in which they were asked for.
        sources: Data sets.
        images: Held-out images by data set.
        groups: Patients or slides by data set, which the intervals rest on; None where they are not stated, and the
            intervals rest on images.
        reference: Label and taps that differences are taken against; None without rows.
        replicates: Bootstrap resamples.
    """

    rows: tuple[Row, ...]
    sources: tuple[str, ...]
    images: Mapping[str, int]
    groups: Mapping[str, int | None]
    reference: tuple[str, str] | None
    replicates: int

    def to_json(self) -> list[dict[str, Any]]:
        """The rows in plain values, None for what is undefined."""
        return [
            {
                "label": row.label,
                "taps": row.taps,
                "seeds": row.seeds,
                **{k: v for k, v in row.facts.items() if k not in ("label", "taps", "seed")},
                "scores": {key: {s: e.to_json() for s, e in by.items()} for key, by in row.scores.items()},
                "bpq_range_over_seeds": list(row.seed_range),
                "bpq_less_reference": row.against_reference and row.against_reference.to_json(),
                "bpq_less_random": row.against_random and row.against_random.to_json(),
            }
            for row in self.rows
        ]

    def to_csv(self) -> str:
        """One line a score, long form."""
        header = ["encoder", "taps", "seeds", "data", "score", "value", "low", "high", "images"]
        rows: list[tuple[object, ...]] = []
        for row in self.rows:
            entries = [(s, key, e) for key, by in row.scores.items() for s, e in by.items()]
            differences = [("bpq less reference", row.against_reference), ("bpq less random", row.against_random)]
            entries += [(ALL, key, e) for key, e in differences if e is not None]
            for source, key, e in entries:
                values = ["" if math.isnan(v) else f"{v:.6f}" for v in (e.value, e.low, e.high)]
                rows.append((row.label, row.taps, row.seeds, source, key, *values, e.n))
        return csv_text(header, rows)

    def held_out(self) -> str:
        """What was scored, in words."""
        return ", ".join(
            f"{s}: {counted(self.images[s], 'image')} "
            + (
                "(patients not stated)"
                if (groups := self.groups[s]) is None
                else f"of {counted(groups, 'patient or slide', 'patients or slides')}"
            )
            for s in self.sources
        )

    def header(self) -> tuple[str, ...]:
        """Columns of `lines`."""
        scores = [title for key, (title, _) in SCORES.items() if any(key in row.scores for row in self.rows)]
        differences = ("bPQ less reference", "bPQ less random")
        return ("encoder", "taps", "M", "decoder M", "crops/s", *scores, "bPQ of each seed", *differences)

    def lines(self) -> list[tuple[str, ...]]:
        """A line a row, all text: scores over all sets with their intervals, and differences of bPQ."""
        scores = [key for key in SCORES if any(key in row.scores for row in self.rows)]
        return [
            (
                row.label,
                f"{row.taps} {'–'.join(str(t) for t in _ends(row.facts['tapped']))}".strip(),
                f"{row.facts['encoder_parameters'] / 1e6:.1f}",
                f"{row.facts['decoder_parameters'] / 1e6:.2f}",
                f"{row.facts['crops_per_s']:.1f}",
                *(estimate_text(row.scores.get(key, {}).get(ALL)) for key in scores),
                row.of_seeds(),
                "reference"
                if (row.label, row.taps) == self.reference
                else estimate_text(row.against_reference, sign=True),
                estimate_text(row.against_random, sign=True),
            )
            for row in self.rows
        ]

    def to_markdown(self, failures: Sequence[Failure], ready: Sequence[tuple[Ready, str]]) -> str:
        """The table with its legend, what failed and what waits for weights; `ready` with each one's command."""
        parts = [
            f"Held out: {self.held_out()}. In brackets: 95 % intervals, {self.replicates:,} resamples of patients or "
            f"slides, those of differences on the same images; {NO_INTERVAL}. {SEEDS} Scores are means over the data "
            "sets and seeds. M: millions of weights of the "
            "encoder as it is tapped; decoder M: of what is trained, which for taps of one grid includes what spreads "
            "them to a pyramid. crops/s: of the encoder alone.",
            "\n".join(markdown_table(self.header(), self.lines())),
        ]
        if failures:
            lines = [(f.label, f.taps, str(f.seed), f.reason) for f in failures]
            parts += ["Did not run:", "\n".join(markdown_table(("encoder", "taps", "seed", "reason"), lines))]
        if ready:
            lines = [(r.label, f"{r.memory_mb / 1000:.1f}", r.missing, f"`{command}`") for r, command in ready]
            parts += [
                "Ready to run once their weights are here (GB: memory for one 1024 × 1024 px image in float32):",
                "\n".join(markdown_table(("encoder", "GB", "missing", "command"), lines)),
            ]
        return "\n\n".join(parts) + "\n"


def read_results(folder: Path, order: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Results of the study's finished runs, in order.

    Raises:
        InputError: One of them is damaged.
    """
    place = {key: number for number, key in enumerate(order)}
    known: list[dict[str, Any]] = []
    for path in sorted(folder.glob("runs/*/result.json")):
        found = read_json(path)
        wrong = next((key for key, kind in _FACTS.items() if not isinstance(found.get(key), kind)), None)
        wrong = wrong or (None if found["images"] else "images")
        if wrong is not None:
            raise InputError(
                f"'{path}' is damaged ('{wrong}'). Delete '{path.parent}', and the same command does that run again."
            )
        if (found["label"], found["taps"]) in place:
            known.append(found)
    return sorted(known, key=lambda r: (place[r["label"], r["taps"]], r["seed"]))


def table_of(
    results: Sequence[Mapping[str, Any]],
    *,
    n_classes: int,
    reference: str | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> Table:
    """Score the results.

    Args:
        results: Results of runs on the same held-out images (`read_results`).
        n_classes: Cell classes they were scored for.
        reference: Label of the encoder that others are compared with; the first where None.
        replicates: Bootstrap resamples, of patients or slides within each data set.
        seed: The same seed gives the same intervals.

    Raises:
        InputError: No such reference among the results, or results on different images.
    """
    if not results:
        return Table((), (), {}, {}, None, replicates)
    scored = [_scored(result, n_classes) for result in results]
    held_out = HeldOut.of(scored)
    weights = held_out.resamples(replicates, seed)
    facts: dict[tuple[str, str], dict[str, Any]] = {}
    runs: dict[tuple[str, str], list[list[ImageScores]]] = {}
    for result, rows in zip(results, scored, strict=True):
        key = (result["label"], result["taps"])
        facts.setdefault(key, {k: v for k, v in result.items() if k != "images"})
        runs.setdefault(key, []).append(rows)
    first = next((key for key in runs if reference in (None, key[0])), None)
    if first is None:
        labels = ", ".join(dict.fromkeys(label for label, _ in runs))
        raise InputError(f"There is no result of the reference '{reference}'. There is: {labels}.")
    headline = {key: _statistic("bpq", seeds, held_out, held_out.sources) for key, seeds in runs.items()}

    def difference(one: tuple[str, str], other: tuple[str, str]) -> Estimate | None:
        mine, theirs = headline[one], headline.get(other)
        return None if one == other or mine is None or theirs is None else estimate(less(mine, theirs), weights)

    return Table(
        tuple(
            Row(
                label=key[0],
                taps=key[1],
                facts=facts[key],
                seeds=len(seeds),
                scores=_scores(seeds, held_out, weights),
                seed_range=_range(seeds, held_out),
                against_reference=difference(key, first),
                against_random=difference(key, (f"{facts[key]['name']} (random)", key[1])),
            )
            for key, seeds in runs.items()
        ),
        held_out.sources,
        {source: len(held_out.of_source(source)) for source in held_out.sources},
        {source: held_out.groups(source) for source in held_out.sources},
        first,
        replicates,
    )


def _scored(result: Mapping[str, Any], n_classes: int) -> list[ImageScores]:
    which = f"The result of {result['label']}, {result['taps']}, seed {result['seed']}"
    remedy = "Delete its folder in 'runs' of the study, and run the same command again."
    with foreign_parser(lambda why: InputError(f"{which} is damaged: {why}. {remedy}")):
        return [image_from_json(image, n_classes=n_classes) for image in result["images"]]


NO_INTERVAL = f"with none where fewer than {LEAST_GROUPS} patients, slides or single images are behind a score"


def _statistic(
    key: str, seeds: Sequence[Sequence[ImageScores]], held_out: HeldOut, sources: Sequence[str]
) -> Statistic | None:
    parts = [over_sets(key, rows, held_out, sources) for rows in seeds]
    known = [part for part in parts if part is not None]
    return mean_of(known) if known else None


def _scores(
    seeds: Sequence[Sequence[ImageScores]], held_out: HeldOut, weights: NDArray[np.float64]
) -> dict[str, dict[str, Estimate]]:
    scores: dict[str, dict[str, Estimate]] = {}
    for key in SCORES:
        for source in (*held_out.sources, ALL):
            chosen = held_out.sources if source == ALL else (source,)
            statistic = _statistic(key, seeds, held_out, chosen)
            if statistic is not None:
                of_classes = key in ("class_f1", "mpq_plus")
                defined = [r.info.source in chosen and (r.classes is not None or not of_classes) for r in seeds[0]]
                scores.setdefault(key, {})[source] = estimate(statistic, weights, defined=np.array(defined))
    return scores


def _range(seeds: Sequence[Sequence[ImageScores]], held_out: HeldOut) -> tuple[float, float]:
    once = np.ones((1, len(held_out.images)))
    found = [over_sets("bpq", rows, held_out, held_out.sources) for rows in seeds]
    values = [float(statistic(once)[0]) for statistic in found if statistic is not None]
    return min(values), max(values)


def _ends(tapped: Sequence[int]) -> Sequence[int]:
    return tapped if len(tapped) < 2 else (tapped[0], tapped[-1])
