"""What a command of commands says when it is not told which."""

from __future__ import annotations

import sys

import pytest

from histocyte.apps.cli.main import run


@pytest.mark.parametrize("group", [[], ["models"], ["encoders"], ["recipes"]])
def test_help_is_shown_and_nothing_else(
    group: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["histocyte", *group])
    with pytest.raises(SystemExit) as ended:
        run()
    answer = capsys.readouterr()
    assert ended.value.code == 2
    assert "Usage" in answer.out
    assert answer.err == ""
