"""`histocyte segment` on several slides: what is wrong with one is its own, and nothing passes in silence."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from histocyte.apps.cli.main import run
from histocyte.core.taxonomies import CONSEP
from histocyte.files.lock import FolderLock
from histocyte.inference.load import Model
from histocyte.inference.plan import Settings
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

Ended = tuple[int, str, str]


@pytest.fixture(autouse=True)
def _quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all else on so small a slide."""
    monkeypatch.setattr("histocyte.results.outputs.draw_overview", lambda *_, **__: np.zeros((8, 8, 3), np.uint8))


@pytest.fixture
def segment(
    perfect_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Runs the command with the perfect model; gives exit code, standard output and error."""

    def loaded(*_: object, tile_px: int | None, margin_px: int | None, **__: object) -> Model:
        return perfect_model.with_tiles(tile_px=tile_px, margin_px=margin_px)

    monkeypatch.setattr("histocyte.inference.load.load", loaded)
    # Small blocks, as the pictures are small.
    monkeypatch.setattr("histocyte.inference.plan.Settings", lambda **given: Settings(block_px=96, **given))

    def end(*arguments: object, out: str = "out") -> Ended:
        common = ["--mpp", "0.25", "--workers", "1", "-o", str(tmp_path / out)]
        monkeypatch.setattr(sys, "argv", ["histocyte", "segment", *map(str, arguments), *common])
        with pytest.raises(SystemExit) as ended:
            run()
        said = capfd.readouterr()
        return int(str(ended.value.code)), said.out, said.err

    return end


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    folder = tmp_path / "slides"
    for i, name in enumerate(("a/one.png", "b/two.png", "b/three.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture = paint_truth(packed_ellipses((150, 130), 20, seed=i), CONSEP)
        cv2.imwrite(str(folder / name), picture[..., ::-1])
    return folder


def failing_at(predict: Callable[[Any], Any], call: int, act: Callable[[], Any]) -> Callable[[Any], Any]:
    """The prediction, which does something else at one of its calls."""
    calls = 0

    def either(images: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            act()
        return predict(images)

    return either


def test_whatever_a_slide_ends_in_is_its_own(
    segment: Callable[..., Ended], slides: Path, perfect_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act() -> None:
        raise KeyError("a\nsurprise")

    monkeypatch.setattr(perfect_model.runtime, "predict", failing_at(perfect_model.runtime.predict, 1, act))
    (slides / "cut.png").write_bytes(b"\x89PNG")
    code, out, err = segment(slides, "--json")
    answer = json.loads(out)
    assert code == 2
    assert [r["name"] for r in answer["slides"]] == ["three", "two"]
    assert [Path(f["slide"]).name for f in answer["failed"]] == ["one.png", "cut.png"]
    assert "unexpected KeyError" in answer["failed"][0]["error"]
    assert "HISTOCYTE_TRACEBACK=1" in answer["failed"][0]["error"]
    assert "Traceback" not in err
    for failure in answer["failed"]:
        assert err.count(failure["slide"]) == 1
    assert "2 of 4 slides done, 2 failed." in err


def test_the_only_slide_is_named_too(
    segment: Callable[..., Ended], slides: Path, perfect_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act() -> None:
        raise MemoryError

    monkeypatch.setattr(perfect_model.runtime, "predict", failing_at(perfect_model.runtime.predict, 1, act))
    code, out, err = segment(slides / "a", "--json")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "one.png" in err


@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_a_slide_in_use_is_skipped_and_named(
    json_too: list[str], segment: Callable[..., Ended], slides: Path, tmp_path: Path
) -> None:
    with FolderLock(tmp_path / "out" / "two" / ".journal"):
        code, out, err = segment(slides, *json_too)
    assert code == 0
    assert f"{slides / 'b' / 'two.png'}: skipped." in err
    assert f"{tmp_path / 'out' / 'two'} is being worked on by process " in err
    assert "2 of 3 slides done, 1 skipped." in err
    assert segment(slides)[0] == 0
    if json_too:
        assert [Path(s["slide"]).name for s in json.loads(out)["skipped"]] == ["two.png"]


def test_one_that_was_in_use_is_looked_at_again_in_the_end(
    segment: Callable[..., Ended], slides: Path, tmp_path: Path, perfect_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = FolderLock(tmp_path / "out" / "one" / ".journal")
    predict = failing_at(perfect_model.runtime.predict, 1, lock.release)
    monkeypatch.setattr(perfect_model.runtime, "predict", predict)
    code, out, _ = segment(slides, "--json")
    answer = json.loads(out)
    assert (code, answer["skipped"]) == (0, [])
    assert [r["name"] for r in answer["slides"]] == ["three", "two", "one"]


def test_results_that_cannot_be_written_cost_no_other_slide(
    segment: Callable[..., Ended], slides: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("")
    code, _, err = segment(slides)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "is a file and no folder" in err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "two").write_text("")
    code, out, err = segment(slides, "--json", out="other")
    assert code == 2
    answer = json.loads(out)
    assert [r["name"] for r in answer["slides"]] == ["one", "three"]
    assert "'" + str(tmp_path / "other" / "two") + "' is a file and no folder" in answer["failed"][0]["error"]
    assert "Traceback" not in err


def test_what_is_passed_over_is_said_and_notes_name_their_slide(segment: Callable[..., Ended], slides: Path) -> None:
    (slides / "masks").mkdir()
    for name in ("one.png", "two.png", "three.png", "four.png"):
        (slides / "masks" / name).write_bytes(b"x")
    cv2.imwrite(str(slides / "blank.png"), np.full((100, 100, 3), 250, np.uint8))
    code, out, err = segment(slides, "--json")
    assert code == 0
    assert f"Passed over as pictures about slides: {slides / 'masks' / 'four.png'}, " in err
    assert " and 1 more." in err
    assert "note blank: No cell was found" in err
    assert len(json.loads(out)["slides"]) == 4


def test_tiles_are_those_asked_for(segment: Callable[..., Ended], slides: Path, tmp_path: Path) -> None:
    code, said, told = segment(slides / "a" / "one.png", "--tile", "96", "--margin", "16", "--json")
    assert code == 0, told
    settings = json.loads(said)["signature"]["settings"]
    assert (settings["tile_px"], settings["margin_px"]) == (96, 16)
    code, _, told = segment(slides / "a" / "one.png", "--tile", "96", "--margin", "24", out="other")
    assert code == 0, told
    assert segment(slides / "a" / "one.png", "--tile", "96", "--margin", "47", out="never") == (
        2,
        "",
        "histocyte: --margin 47: margins of 'perfect' in tiles of 96 px are multiples of 8 px from 0 to 40, e.g. 40.\n",
    )
    assert not (tmp_path / "never").exists()


def test_a_field_has_an_area(segment: Callable[..., Ended], slides: Path) -> None:
    _, _, err = segment(slides / "a")
    assert "20 cells on 0.00122 mm²" in err


def test_names_that_are_no_unicode_reach_the_end(segment: Callable[..., Ended], slides: Path, tmp_path: Path) -> None:
    named = slides / "caf\udce9.png"
    try:
        (slides / "a" / "one.png").rename(named)
    except OSError:
        pytest.skip("the file system takes no such name")
    code, out, err = segment(named, slides / "b" / "two.png", slides / "..two.png", "--json")
    assert code == 2, err  # there is no ..two.png
    (slides / "b" / "two.png").rename(slides / "...png")
    code, out, err = segment(named, slides / "...png", "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert sorted(r["name"] for r in answer["slides"]) == ["__", "caf%E9"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["__", "caf%E9"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_told_to_end_it_says_how_to_go_on_and_does(
    force: list[str],
    name: str,
    segment: Callable[..., Ended],
    slides: Path,
    perfect_model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with monkeypatch.context() as patch:
            act = failing_at(perfect_model.runtime.predict, 2, lambda: signal.raise_signal(signal.Signals[name]))
            patch.setattr(perfect_model.runtime, "predict", act)
            code, out, err = segment(slides / "a", *force)
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
    assert code == 128 + signal.Signals[name]
    assert f"{name}: ends once the blocks under way are done." in err
    assert f"ended by {name}. " in err
    assert " of 4 blocks of 'one' done. Run the same command again to go on." in err
    code, out, _ = segment(slides / "a", *force, "--json")
    record = json.loads(out)
    assert code == 0
    assert 2 <= record["resumed_blocks"] < record["blocks"] == 4
    assert record["cells"] == 20
