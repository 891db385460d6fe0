"""Whatever is wrong is said in one line that ends in sentences."""

from __future__ import annotations

import sys

import pytest

from histocyte.apps.cli.main import run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["compare", "a.json", "b.json", "--replicates", "0"], ". See: histocyte compare --help"),
        (["compare", "a.json"], "'second'. See: histocyte compare --help"),
        (["models", "show", "a\nb"], r"No model called 'a\nb'."),
    ],
)
def test_wrong_input_is_told_in_one_line(
    arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["histocyte", *arguments])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert says in told
    assert ".." not in told


def test_ctrl_c_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("histocyte.model.zoo.find_model", interrupted)
    monkeypatch.setattr(sys, "argv", ["histocyte", "models", "show", "a"])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "histocyte: interrupted. Run the same command again to go on.\n"
