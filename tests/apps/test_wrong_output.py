"""Where a result cannot be written, a command says so before the work."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from histocyte.apps.cli.compare import compare, folds
from histocyte.apps.cli.counts import counts
from histocyte.apps.cli.distil import distil
from histocyte.apps.cli.evaluate import evaluate
from histocyte.apps.cli.score import score
from histocyte.apps.cli.study.encoders import encoders
from histocyte.apps.cli.study.tokens import tokens
from histocyte.apps.cli.train.classifier import classifier
from histocyte.apps.cli.train.train import train
from histocyte.core.errors import DiskError, InputError

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")


@pytest.mark.parametrize("command", [compare, counts, evaluate, folds, score])
def test_a_table_that_cannot_be_written_is_refused_first(command: object, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    (tmp_path / "file").touch()
    arguments = ["none", *([] if command is counts else ["none either"])]
    result = CliRunner().invoke(app, [*arguments, "--csv", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"'{tmp_path}' is a folder; name the file")
    result = CliRunner().invoke(app, [*arguments, "--csv", str(tmp_path / "file" / "a.csv")])
    assert isinstance(result.exception, DiskError)
    assert "is a file and no folder" in str(result.exception)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (train, ["none"]),
        (distil, ["none", "--data", "none"]),
        (classifier, ["none", "none"]),
        (encoders, ["--data", "none", "--encoders", "resnet18=random"]),
        (tokens, ["none", "none"]),
    ],
)
def test_a_run_that_cannot_be_written_is_refused_first(command: object, arguments: list[str], tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "file" / "run")])
    assert isinstance(result.exception, DiskError)
    assert "is a file and no folder" in str(result.exception)
    if command is not tokens and command is not encoders:
        result = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "o"), "--cache", str(tmp_path / "file")])
        assert isinstance(result.exception, DiskError)
    for number in ("-1", str(2**64)):
        option = "--split-seed" if command is encoders else "--seed"
        assert CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "o"), option, number]).exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.torch
def test_seeds_of_a_study_are_whole_numbers_from_zero(tmp_path: Path) -> None:
    for seeds in ("-1", "0,99999999999999999999", "a"):
        with pytest.raises(InputError, match="seed"):
            encoders([tmp_path], ["resnet18=random"], out=tmp_path / "o", seeds=seeds)
