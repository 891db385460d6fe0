"""Some hundreds of damaged inputs over every reader and command: an answer or an error of one line, and nothing else.

`scripts/fuzz.py` does thousands.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from histocyte.testing.attack import Target, attack

CASES = 8
"""Of a target with a share of one."""

pytest.importorskip("torch", reason="trainings and checkpoints are attacked too")

SCRIPTS = Path(__file__).parents[1] / "scripts"


def targets() -> tuple[Target, ...]:
    """Those of the script, whose folder is on the path of no other test."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        return importlib.import_module("fuzzing").TARGETS  # type: ignore[no-any-return]
    finally:
        sys.path.remove(str(SCRIPTS))


QUICK = [target for target in targets() if round(CASES * target.share)]


@pytest.mark.parametrize("target", QUICK, ids=lambda target: target.name.replace(" ", "-"))
def test_damaged_inputs_are_read_or_refused_in_one_line(target: Target, tmp_path: Path) -> None:
    if target.needs and importlib.util.find_spec(target.needs) is None:
        pytest.skip(f"{target.needs} is not here")
    attempts = list(attack(target, range(round(CASES * target.share)), tmp_path, seconds=60))
    assert [f"seed {a.seed}, {a.file}: {a.outcome}: {a.said}" for a in attempts if a.failed] == []


def test_every_command_that_reads_files_is_attacked() -> None:
    """A new command gets a line in `scripts/fuzzing/commands.py`."""
    from histocyte.apps.cli.main import app

    commands = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    named = " ".join(target.name for target in targets())
    assert {name for name in commands if name not in named} == {"demo", "doctor", "recipes", "encoders"}
