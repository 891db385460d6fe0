"""The commands that README, docs and help show: all are read by the command line, and some are run on small data."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import typer.main
from typer.testing import CliRunner

from histocyte.apps.cli.main import app
from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.cards import DATASETS
from histocyte.inference.load import Model
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = sorted((ROOT / "src" / "histocyte" / "apps" / "cli").rglob("*.py"))
ROOT_COMMAND = typer.main.get_command(app)

_STARTS = re.compile(r"(?:^|[ /])histocyte (?=[a-z-])")
_DATA = {name: "data" for name in ("train", "evaluate", "train classifier", "distil", "study tokens")}
"""Commands that read labelled folders, and the parameter that names them."""


class Shown(NamedTuple):
    """A command where it stands; in the middle of a sentence it may lack what it needs."""

    where: str
    arguments: tuple[str, ...]
    whole: bool


def shown() -> Iterator[Shown]:
    """Every command line in code blocks of the pages, in their code spans, and in examples of the help."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        fenced = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = [line for block in fenced for line in _commands(block)]
        lines += re.findall(r"^    (\S*histocyte .*)$", text, re.MULTILINE)
        for line in lines:
            yield from _in_line(page.name, line, whole=True)
        for span in re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            if re.match(r"\S*histocyte ", span):
                yield from _in_line(page.name, span, whole=False)
    for source in SOURCES:
        text = source.read_text(encoding="utf-8")
        for line in re.findall(r"^ +(?:Example: |Then: |    )(histocyte .*)$", text, re.MULTILINE):
            yield from _in_line(source.name, line, whole=True)


def _commands(block: str) -> Iterator[str]:
    """Commands of a console block: what follows a prompt, up to what is printed."""
    current = ""
    for line in block.splitlines():
        if line.startswith("$ "):
            yield current
            current = line[2:]
        elif line.startswith("    ") and current:
            current += " " + line.strip()
        else:
            yield current
            current = ""
    yield current


def _in_line(where: str, line: str, *, whole: bool) -> Iterator[Shown]:
    """The commands in a line of shell: loops run once, redirections fall away; what is left open is passed over."""
    line = re.sub(r"\$k\b", "1", " ".join(line.split()))
    for part in re.split(r"; |\| ", line):
        found = _STARTS.search(part)
        if found is None or re.search(r"…|\.\.\.|[\[\]|]", part):
            continue
        words = shlex.split(re.sub(r" > \S+", "", part[found.end() :]), comments=True)
        yield Shown(where, tuple(words), whole)


EVERY = list(dict.fromkeys(shown()))


@pytest.mark.parametrize("where", sorted({command.where for command in EVERY}))
def test_the_command_line_reads_what_is_shown(where: str) -> None:
    for command in EVERY:
        if command.where == where:
            try:
                _read(command)
            except Exception as error:
                if command.whole or type(error).__name__ != "MissingParameter":
                    raise AssertionError(f"histocyte {' '.join(command.arguments)}: {error}") from error


def _read(command: Shown) -> None:
    """Parse a command as the command line does, without running it."""
    if command.arguments[-1] == "--help":
        return
    context, name, rest = _resolved(list(command.arguments))
    parsed = context.command.make_context(name, rest, parent=context.parent)
    folders = parsed.params.get(_DATA.get(name, "")) or ()
    given = [Path(f) for f in ([folders] if isinstance(folders, str | Path) else folders)]
    # What `histocyte data import` has made, in sets/ on these pages, states it.
    unknown = [path.name for path in given if path.name not in DATASETS and path.parent.name != "sets"]
    if command.whole and unknown:
        assert parsed.params["mpp"], f"{unknown[0]} is no known set: its resolution has to be passed"


def _resolved(arguments: list[str]):  # noqa: ANN202 (click's types are typer's own in newer ones)
    """The context of the command that arguments name, its name, and what follows."""
    context, name = ROOT_COMMAND.make_context("histocyte", [], resilient_parsing=True), ""
    while hasattr(context.command, "commands"):
        word, command, arguments = context.command.resolve_command(context, arguments)
        assert command is not None, f"no such command: {word}"
        name = f"{name} {word}".strip()
        context = type(context)(command, info_name=word, parent=context)
    return context, name, arguments


def test_enough_commands_were_found() -> None:
    assert len(EVERY) > 80
    assert {"README.md", "training.md", "train.py"} <= {command.where for command in EVERY}


def test_every_extra_is_in_the_table_of_install() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = re.findall(
        r"^(\w+) = \[", project.partition("[project.optional-dependencies]")[2].partition("\n\n")[0], re.M
    )
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert extras
    assert [extra for extra in extras if f"| `{extra}` |" not in page] == []


def test_the_table_of_options_of_segment_has_all_of_them() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(--[a-z-]+)`", text.partition("## segment")[2].partition("\n## ")[0], re.MULTILINE))
    context, _, _ = _resolved(["segment"])
    lacking = [p.opts[0] for p in context.command.params if not listed & {*p.opts, *p.secondary_opts}]
    assert [name for name in lacking if name.startswith("--") and name not in ("--json", "--help")] == []


@pytest.fixture
def folder(tmp_path: Path, perfect_model: Model, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what the examples name: an image, labelled images, a region; every model is perfect."""
    data = tmp_path / "data" / "mine"
    data.mkdir(parents=True)
    for i in range(6):
        labels = packed_ellipses((96, 96), 12, seed=i)
        cv2.imwrite(str(data / f"i{i}.png"), paint_truth(labels, CONSEP)[..., ::-1])
        np.savez(data / f"i{i}.npz", inst=labels.instances, type=labels.types)
    (tmp_path / "image.png").write_bytes((data / "i0.png").read_bytes())
    (data / "classes.json").write_text(json.dumps(dict(enumerate(CONSEP.names, 1))))
    ring = [[0, 0], [96, 0], [96, 96], [0, 96], [0, 0]]
    (tmp_path / "regions.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    monkeypatch.setattr("histocyte.inference.load.load", lambda *args, **options: perfect_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


CHAIN = (
    "segment image.png --mpp 0.25 -o out",
    "counts out/image --roi regions.geojson",
    "score out/image data/mine/i0.npz --mpp 0.25",
    "evaluate model-a data/mine --mpp 0.25 --split all --json > a.json",
    "evaluate model-b data/mine --mpp 0.25 --split all --json > b.json",
    "compare a.json b.json",
    "folds a.json b.json",
    "recipes list",
    "recipes show cellvit_stardist",
    "encoders list --commercial",
    "encoders show uni2-h",
    "models list",
    "models show hover-unet-consep",
)


def test_examples_run_one_after_the_other(folder: Path) -> None:
    for line in CHAIN:
        command, _, target = line.partition(" > ")
        answer = CliRunner().invoke(app, shlex.split(command))
        assert answer.exit_code == 0, f"{line}: {answer.exception}"
        if target:
            (folder / target).write_text(answer.stdout)
    assert (folder / "out" / "image" / "cells.geojson.gz").exists()
