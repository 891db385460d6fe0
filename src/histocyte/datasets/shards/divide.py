"""Divide a set in the uniform form into parts by patient or slide, so that each is like the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.listener import SILENT, Listener
from histocyte.datasets.shards.describe import Description, read_description, shard_paths
from histocyte.datasets.shards.form import schema
from histocyte.files.atomic import write_atomically
from histocyte.files.foreign import foreign_parser
from histocyte.files.lock import FolderLock

__all__ = ["divide_groups", "divide_shards"]

_MOST_PASSES = 20
_LEAST_GAIN = 1e-12


def divide_groups(
    counts: Mapping[str, Mapping[str, float]], shares: Mapping[str, float], *, seed: int = 0
) -> dict[str, str]:
    """Divide groups (patients, slides) into parts, each with its share of every stratum as far as groups allow.

    The largest groups are given away first, each to the part that lacks most of what the group has; then groups move as
    long as that brings the parts closer to their shares, by the sum of squares over strata. A stratum counts by its
    share of the whole, so that a rare class weighs as much as a frequent one. The seed decides the order of groups of
    one size.

    Args:
        counts: By group, how much it has of each stratum (images of a tissue, cells of a class).
        shares: By part, its share of the whole; they need not add up to 1.
        seed: Seed of the order.

    Returns:
        The part of each group; every part has one at least.

    Raises:
        InputError: Fewer groups than parts.
    """
    groups, parts = sorted(counts), list(shares)
    if len(groups) < len(parts):
        raise InputError(f"There are {len(groups)} patients or slides, too few for {len(parts)} parts.")
    strata = sorted({stratum for has in counts.values() for stratum in has})
    table = np.array([[counts[group].get(stratum, 0.0) for stratum in strata] for group in groups], np.float64)
    table /= np.maximum(table.sum(0), 1e-12)
    wanted = np.array([shares[part] for part in parts], np.float64)
    wanted = wanted / wanted.sum()
    order = np.random.default_rng(seed).permutation(len(groups))
    order = order[np.argsort(-table[order].sum(1), kind="stable")]
    lacks = np.repeat(wanted[:, None], len(strata), axis=1)
    taken = np.zeros(len(groups), int)
    empty = set(range(len(parts)))
    for done, group in enumerate(order):
        candidates = sorted(empty) if len(order) - done <= len(empty) else range(len(parts))
        taken[group] = max(candidates, key=lambda p: float(lacks[p] @ table[group]))
        lacks[taken[group]] -= table[group]
        empty.discard(int(taken[group]))
    _improve(taken, lacks, table, order)
    return {group: parts[part] for group, part in zip(groups, taken, strict=True)}


def _improve(
    taken: NDArray[np.int_], lacks: NDArray[np.float64], table: NDArray[np.float64], order: NDArray[np.int_]
) -> None:
    """Move groups, in place, while that lowers the sum of squares of what parts lack, (parts, strata)."""
    sizes = np.bincount(taken, minlength=len(lacks))
    for _ in range(_MOST_PASSES):
        moved = False
        for group in order:
            old, has = taken[group], table[group]
            gain = (lacks - lacks[old]) @ has - has @ has
            gain[old] = 0.0
            new = int(gain.argmax())
            if gain[new] > _LEAST_GAIN and sizes[old] > 1:
                lacks[old] += has
                lacks[new] -= has
                sizes[[old, new]] += (-1, 1)
                taken[group], moved = new, True
        if not moved:
            return


def divide_shards(
    folder: Path, shares: Mapping[str, float], *, seed: int = 0, again: bool = False, listener: Listener = SILENT
) -> Description:
    """Give every image of a set its part, in place.

    Parts depend on groups, tissues, classes and the seed alone: after an interruption the same call comes to the same
    end. Until then the set has no parts. One shard is held at a time.

    Args:
        folder: With dataset.json and the shards.
        shares: By part, its share.
        seed: Seed of the choice.
        again: Replace the parts that the set has.
        listener: Told how far it is.

    Returns:
        The description with images by part.

    Raises:
        InputError: The set has parts already, too few patients or slides, or a damaged shard.
        DiskError: It cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with FolderLock(folder):
        known = read_description(folder)
        if known.by_split and not again:
            raise InputError(
                f"'{folder}' has parts already ({', '.join(known.by_split)}). Use those, or replace them: --replace."
            )
        shards = shard_paths(folder)
        part_of = divide_groups(_strata(shards, known.card.classes), shares, seed=seed)
        replace(known, by_split={}).write(folder)
        found: Counter[str] = Counter()
        with listener.task(f"dividing {known.card.name}", len(shards), unit="shards") as task:
            for path in shards:
                with foreign_parser(lambda why, path=path: InputError(f"'{path}' cannot be read ({why}).")):  # type: ignore[misc]
                    table = pq.read_table(path)
                groups = zip(table["group"].to_pylist(), table["name"].to_pylist(), strict=True)
                parts = [part_of[group or name] for group, name in groups]
                found.update(parts)
                place = table.schema.get_field_index("split")
                table = table.set_column(place, schema().field("split"), pa.array(parts, pa.string()))
                with write_atomically(path) as file:
                    pq.write_table(table, file, compression="zstd", row_group_size=64)
                task.advance()
        whole = replace(known, by_split={part: found[part] for part in shares})
        whole.write(folder)
        return whole


def _strata(shards: Sequence[Path], classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """By group: its images, its images of each tissue, its labels and its labels of each class."""
    import pyarrow.parquet as pq

    counts: dict[str, Counter[str]] = {}
    for path in shards:
        with foreign_parser(lambda why, path=path: InputError(f"'{path}' cannot be read ({why}).")):  # type: ignore[misc]
            rows = pq.read_table(path, columns=["name", "group", "tissue", "count", "classes"]).to_pylist()
        for row in rows:
            has = counts.setdefault(row["group"] or row["name"], Counter())
            has.update({"images": 1, "labels": row["count"]})
            has.update([f"tissue {row['tissue']}"] if row["tissue"] else [])
            codes: NDArray[np.int64] = np.array(row["classes"] or (), np.int64)
            has.update(f"class {classes[code - 1]}" for code in codes.tolist() if 0 < code <= len(classes))
    return {group: dict(has) for group, has in counts.items()}
