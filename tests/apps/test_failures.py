"""What nobody foresaw is one line too, in every command."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from histocyte.apps.cli.failures import in_words, of_slide
from histocyte.apps.cli.main import run
from histocyte.core.errors import InputError


def _raise(*_: object, **__: object) -> None:
    raise ValueError("of two\nlines [/b]")


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["models", "show", "a"], "histocyte.model.zoo.find_model"),
        (["doctor"], "histocyte.apps.cli.doctor._trial"),
        (["segment", "a.svs"], "histocyte.slides.listing.find_slides"),
    ],
)
@pytest.mark.parametrize("traceback", ["", "1"])
def test_an_unexpected_error_is_one_line_that_says_how_to_see_more(
    traceback: str,
    arguments: list[str],
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(place, _raise)
    monkeypatch.setattr(sys, "argv", ["histocyte", *arguments])
    monkeypatch.setenv("HISTOCYTE_TRACEBACK", traceback)
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 1
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("histocyte: unexpected ValueError in apps/cli/")
    assert ": of two lines [/b]." in err.splitlines()[-1]
    if traceback:
        assert "Traceback (most recent call last)" in err
    else:
        assert len(err.splitlines()) == 1
        assert "HISTOCYTE_TRACEBACK=1" in err


def test_a_slide_is_named_once() -> None:
    path = Path("some/slide.svs")
    assert of_slide(path, InputError("some/slide.svs is cut.")) == "some/slide.svs is cut."
    assert of_slide(path, InputError("No tissue.")) == "some/slide.svs: No tissue."
    assert of_slide(Path("caf\udce9.svs"), InputError("No\ntissue.")) == "caf\\udce9.svs: No tissue."


def test_of_files_the_name_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such") as caught:
        (tmp_path / "gone").read_text()
    assert str(tmp_path / "gone") in in_words(caught.value)
