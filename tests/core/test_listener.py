"""Work that only counts is told as one task after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from histocyte.core.listener import Lines, in_turn


class Kept:
    def __init__(self) -> None:
        self.events: list[object] = []

    def say(self, text: str) -> None:
        self.events.append(text)

    @contextmanager
    def task(self, name: str, total: int | None, *, unit: str = "steps", done: int = 0) -> Iterator[Kept]:
        self.events.append((name, total, unit, done))
        yield self
        self.events.append("ends")

    def advance(self, steps: int = 1, *, note: str | None = None) -> None:
        self.events.append(steps)


def test_each_kind_of_work_is_a_task_that_ends_before_the_next() -> None:
    kept = Kept()
    with in_turn(kept, unit="crops") as told:
        told("features", 3, 8)
        told("features", 5, 8)
        told("features", 5, 8)
        told("images", 1, 2)
        told("images", 2, 2)
        told("images", 1, 2)
    assert kept.events == [
        *(("features", 8, "crops", 3), 2, "ends"),
        *(("images", 2, "crops", 1), 1, "ends"),
        *(("images", 2, "crops", 1), "ends"),
    ]


def test_lines_of_a_task_come_now_and_then_and_at_its_end() -> None:
    for every_s, expected in (
        (60.0, ["work: 5 of 6 steps, b"]),
        (0.0, ["work: 3 of 6 steps", "work: 5 of 6 steps, b"]),
    ):
        told: list[str] = []
        listener = Lines(told.append, every_s=every_s)
        listener.say("begins")
        with listener.task("work", 6, done=2) as task:
            task.advance()
            task.advance(2, note="b")
        assert told == ["begins", *expected]
    failed: list[str] = []
    with pytest.raises(ValueError, match="no"), Lines(failed.append).task("work", None, unit="rows"):
        raise ValueError("no")
    assert failed == []  # what failed has no last line
