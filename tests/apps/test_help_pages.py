"""Every command's help page."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from histocyte.apps.cli.main import app


def commands(group: Any, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The arguments of every command, groups among them."""
    found = [before]
    for name, below in getattr(group, "commands", {}).items():
        found += commands(below, (*before, *name.split()))
    return found


COMMANDS = commands(typer.main.get_command(app))


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_page_fills_its_lines_and_gives_flags_no_type(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(COMMANDS) > 20
    monkeypatch.setenv("COLUMNS", "80")
    app([*arguments, "--help"], standalone_mode=False)
    page = capsys.readouterr().out
    assert "--help" in page
    assert "<bool>" not in page
    if arguments and "Example: " in page:
        assert f"Example: histocyte {' '.join(arguments)}" in " ".join(page.split())
    # A line of a paragraph breaks where the next word would not have fitted.
    prose = page.partition("╭")[0].splitlines()
    for line, following in zip(prose, prose[1:], strict=False):
        if line.strip() and following.strip() and not following.startswith("  "):
            assert len(line.rstrip()) + 1 + len(following.split()[0]) > 79, f"{line!r} breaks early"
