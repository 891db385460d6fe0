"""What is told of long work, on a terminal and in a log."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from histocyte.apps.cli import output
from histocyte.apps.cli.listeners import Pace, PlainListener, TerminalListener, people
from histocyte.core.listener import SILENT


def _paced(*seconds: float, total: int | None = 10, done: int = 0, unit: str = "blocks") -> Pace:
    """A task that began at the first of these seconds; the last is now."""
    times = list(seconds)
    return Pace("a.svs", total, unit, done, clock=lambda: times.pop(0) if len(times) > 1 else times[0])


def test_rate_and_time_left_count_what_this_run_did_alone() -> None:
    pace = _paced(0.0, 10.0, 13.0, done=5)
    pace.advance(2, note="1,234 cells")
    assert pace.line() == "a.svs: 7 of 10 blocks, 1,234 cells, 12.0 blocks/min, 0:00:12 left"  # 15 s from the last step


@pytest.mark.parametrize(
    ("seconds", "steps", "says"), [(2.0, 5, "2.5 blocks/s"), (40.0, 1, "1.5 blocks/min"), (900.0, 1, "4.0 blocks/h")]
)
def test_slow_work_has_a_rate_too(seconds: float, steps: int, says: str) -> None:
    pace = _paced(0.0, seconds, seconds)
    pace.advance(steps)
    assert says in pace.line()


def test_what_is_not_known_is_not_said() -> None:
    assert _paced(0.0).line() == "a.svs: 0 of 10 blocks"
    pace = _paced(0.0, 1.0, total=None)
    pace.advance()
    assert pace.line() == "a.svs: 1 block, 1.0 blocks/s"


def test_a_log_has_a_line_now_and_then_though_no_step_ends(capsys: pytest.CaptureFixture[str]) -> None:
    listener = PlainListener(every_s=0.01)
    with listener.task("[red]a[/b].svs", 3, unit="blocks", done=1) as task:
        time.sleep(0.1)
        task.advance(note="7 cells")
        time.sleep(0.1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[red]a[/b].svs: 1 of 3 blocks"
    assert re.fullmatch(r"\[red\]a\[/b\]\.svs: 2 of 3 blocks, 7 cells, .* blocks/.*, 0:00:\d\d left", lines[-1])
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_a_bar_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=120, legacy_windows=False, highlight=False)
    monkeypatch.setattr(output, "console", lambda: screen)
    listener = people()
    assert isinstance(listener, TerminalListener)
    with listener.task("[red]a[/b].svs", 4, unit="blocks", done=1) as task, listener.task("inner", None) as inner:
        inner.advance()
        time.sleep(0.02)
        task.advance(note="7 cells")
        listener.say("A sentence [of] its own.")
        time.sleep(0.3)  # bars are drawn ten times a second
    assert isinstance(screen.file, io.StringIO)
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", screen.file.getvalue())
    assert "A sentence [of] its own." in shown
    assert re.search(r"\[red\]a\[/b\]\.svs.*2 of 4 blocks, 7 cells, \S+ blocks/\S+, 0:00:0\d left", shown)


def test_who_is_not_to_hear_hears_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert people(hidden=True) is SILENT
    with SILENT.task("a", 3) as task:
        task.advance(note="b")
    SILENT.say("c")
    assert capsys.readouterr() == ("", "")
    assert isinstance(people(), PlainListener)
