"""What the hosted workflow runs is what runs here: it has no commands of its own."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORKFLOW = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")


def test_its_commands_are_those_of_the_makefile_and_of_ci() -> None:
    commands = re.findall(r"^ +- run: (.+)$", WORKFLOW, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert commands
    for command in commands:
        program, *rest = command.split()
        if program == "make":
            assert command in run, f"'{command}' is not tried by .ci/run"
        else:
            assert f"\n\t$(PYTHON) {' '.join(rest)}" in makefile, f"no target of the Makefile runs '{command}'"
            assert "make test-core" in run


def test_it_runs_on_every_python_that_is_supported() -> None:
    listed = re.search(r"python: \[(.+)\]", WORKFLOW)
    assert listed is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [c.rpartition(" ")[2] for c in project["classifiers"] if re.search(r"Python :: 3\.\d", c)]
    assert re.findall(r"3\.\d+", listed[1]) == named
    assert project["requires-python"] == f">={named[0]}"
