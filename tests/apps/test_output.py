"""What commands print: every text as it is, whatever a file brought into it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

import histocyte.apps
from histocyte.apps.cli import output
from histocyte.apps.cli.listeners import PlainListener, people
from histocyte.apps.cli.output import print_json, print_lines, print_markdown, print_table, say, say_error, say_note

NASTY = (
    *("a[/b].png", "[/bold]x", "[red]x", "[link=x]y[/link]"),
    *("\x1b[31mred\x07", "\x9b31m", "cut\udce9", "\u202egnp.exe"),
)
SHOWN = (*NASTY[:4], r"\x1b[31mred\x07", r"\x9b31m", r"cut\udce9", r"\u202egnp.exe")


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", "80")
    return 80


@pytest.mark.parametrize(("text", "shown"), list(zip(NASTY, SHOWN, strict=True)))
def test_no_way_of_printing_takes_a_text_for_more_than_a_text(
    text: str, shown: str, capsys: pytest.CaptureFixture[str], narrow: int
) -> None:
    print_table(text, (text, "b"), [(text, "1"), ("x", text)])
    say(text)
    say(text, lead=text)
    say_note(text)
    say_error(f"histocyte: {text}\nand more")
    people().say(text)
    PlainListener().say(text)
    print_lines([text])
    told = capsys.readouterr()
    # In the title, the column's head, two cells and a line; a line, twice in one, a note, an error, two listeners.
    assert told.out.count(shown) == 5
    assert told.err.count(shown) == 7
    assert f"histocyte: {shown} and more\n" in told.err
    for bad in ("\x1b", "\x07", "\x9b", "\u202e", "\udce9"):
        assert bad not in told.out + told.err


def test_a_card_is_set_and_its_text_is_no_markup_for_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_markdown("# [red]x\n\n\x1b[31mtext [/bold]")
    told = capsys.readouterr().out
    assert "[red]x" in told
    assert "text [/bold]" in told
    assert "\x1b" not in told


def test_json_holds_names_that_are_no_unicode(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"slides": [{"path": Path("cut\udce9.png")}], "cut\udce9": ("\udce9", 1, None)})
    told = capsys.readouterr().out
    assert told.count(r"\\udce9") == 3


def test_a_bar_shows_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from rich.console import Console

    screen = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr(output, "console", lambda: screen)
    with output.progress_bar("blocks") as bar:
        bar.add_task("a[/b].png", total=2, note="[red]x\x1b[31m")
    with people().task("[/bold]\x1b[31m", 2) as task:
        task.advance(note="[/b]")
    drawn = screen.file.getvalue()  # type: ignore[attr-defined]
    for text in ("a[/b].png", r"[red]x\x1b[31m", r"[/bold]\x1b[31m", "[/b]"):
        assert text in drawn
    assert "\x1b[31m" not in drawn


def test_only_one_module_prints() -> None:
    """Everything else goes through it, so that what is printed is made harmless in one place."""
    folder = Path(histocyte.apps.__file__).parent
    found = []
    for path in sorted(folder.rglob("*.py")):
        if path.name == "output.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                version = "__version__" in ast.unparse(node)
                if name in ("print", "Console", "typer.echo", "typer.secho", "rprint") or name.endswith(".print"):
                    found += [] if version else [f"{path.name}: {ast.unparse(node)[:60]}"]
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "[/" in node.value:
                found.append(f"{path.name}: markup in {node.value!r:.60}")
    assert not found


def test_the_first_column_is_whole_and_nothing_is_cut(capsys: pytest.CaptureFixture[str], narrow: int) -> None:
    name, words = "a-name-of-thirty-six-letters-to-copy", "many words " * 12
    print_table("T" * 100, ("name", "n", "what", "more"), [(name, "1,234.5", words, "x" * 50), ("b", "2", "y", "z")])
    told = capsys.readouterr().out
    assert name in told
    assert "1,234.5" in told
    assert "…" not in told
    assert told.count("x") == 51  # one of them in the name
    assert told.count("many") == 12
    assert max(map(cell_len, told.splitlines())) <= narrow


@pytest.mark.skipif(sys.platform == "win32", reason="sets the width of the terminal by a variable")
@pytest.mark.parametrize("group", ["recipes", "encoders", "models"])
def test_names_in_lists_can_be_copied(group: str, capsys: pytest.CaptureFixture[str], narrow: int) -> None:
    from histocyte.apps.cli.main import app
    from histocyte.encoders.catalog.find import CARDS
    from histocyte.model.zoo import bundled_models
    from histocyte.recipes.registry import RECIPES

    app([group, "list"], standalone_mode=False)
    told = capsys.readouterr().out
    names = {"recipes": list(RECIPES), "encoders": list(CARDS), "models": list(bundled_models())}[group]
    assert [name for name in names if name not in told] == []
    assert "…" not in told
    assert max(map(cell_len, told.splitlines())) <= narrow
