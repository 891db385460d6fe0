"""Where --csv cannot be written, a command says so before the work."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from histocyte.apps.cli.compare import compare, folds
from histocyte.apps.cli.counts import counts
from histocyte.apps.cli.evaluate import evaluate
from histocyte.apps.cli.score import score
from histocyte.core.errors import DiskError, InputError


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
