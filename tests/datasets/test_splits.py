"""Held-out groups."""

from __future__ import annotations

import numpy as np

from histocyte.datasets.sample import Sample
from histocyte.datasets.splits import split_by_group


def sample(source: str, group: str) -> Sample:
    nothing = np.zeros((4, 4), np.int32)
    return Sample(f"{source} {group}", np.zeros((4, 4, 3), np.uint8), nothing, None, 0.25, source, group)


def test_a_patient_held_out_of_one_set_is_held_out_of_all() -> None:
    patients = [f"TCGA-A1-{number:04d}" for number in range(10)]
    samples = [sample(source, patient) for source in ("monuseg", "monusac") for patient in patients]
    for seed in range(5):
        learnt, held = split_by_group(samples, seed=seed)
        assert held
        assert {s.group for s in learnt}.isdisjoint(s.group for s in held)


def test_groups_that_only_share_a_name_are_parted_by_themselves() -> None:
    samples = [sample(source, str(number)) for source, n in (("tnbc", 10), ("glas", 20)) for number in range(n)]
    for seed in range(5):
        held = [s.source for s in split_by_group(samples, seed=seed)[1]]
        assert (held.count("tnbc"), held.count("glas")) == (2, 4)
