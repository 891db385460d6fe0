"""`histocyte`: the commands, and how errors reach the user."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from histocyte.apps.cli import (
    compare,
    counts,
    demo,
    distil,
    doctor,
    encoders,
    evaluate,
    recipes,
    score,
    segment,
    tissue,
)
from histocyte.apps.cli.data import commands as data
from histocyte.apps.cli.failures import in_words
from histocyte.apps.cli.help_pages import tidy
from histocyte.apps.cli.models import commands as models
from histocyte.apps.cli.output import say_error
from histocyte.apps.cli.study import commands as study
from histocyte.apps.cli.train import classifier, train
from histocyte.core.errors import HistocyteError
from histocyte.core.version import __version__

__all__ = ["app", "run"]

# Older typers use click's errors, newer ones bring their own copy; both are the base of BadParameter.
_UsageError: Any = typer.BadParameter.__base__


class _Interrupted(Exception):
    """Ctrl-C in a command; newer typers would end with its exit code and no word."""


class _Commands(TyperGroup):
    """Commands of one word, and those of two ("train classifier") that begin with the name of another."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tidy(self)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that arguments begin with, the longer name first."""
        two = " ".join(args[:2])
        return super().resolve_command(ctx, [two, *args[2:]] if len(args) > 1 and two in self.commands else args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Interrupted from error


app = typer.Typer(
    name="histocyte",
    cls=_Commands,
    help="Find, outline and classify every cell on a histology slide.",
    epilog="First time here? Run: histocyte demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"histocyte {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command("demo")(demo.demo)
app.command("segment")(segment.segment)
app.command("tissue")(tissue.tissue)
app.command("train")(train.train)
app.command("train classifier")(classifier.classifier)
app.command("distil")(distil.distil)
app.command("evaluate")(evaluate.evaluate)
app.command("score")(score.score)
app.command("compare")(compare.compare)
app.command("folds")(compare.folds)
app.command("counts")(counts.counts)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(recipes.app, name="recipes")
app.add_typer(encoders.app, name="encoders")
app.add_typer(study.app, name="study")
app.command("doctor")(doctor.doctor)


def run() -> None:
    """Start the command line.

    The exit code is 0; 2 for wrong input, 1 for what nobody foresaw (one line says which); 130 and 143 when ended by
    SIGINT and SIGTERM.
    """
    try:
        code = app(prog_name="histocyte", standalone_mode=False)
    except HistocyteError as error:
        say_error(f"histocyte: {error}")
        sys.exit(2)
    except _UsageError as error:
        # Typer's own boxes take five lines to say it.
        where = error.ctx.command_path if error.ctx else "histocyte"
        if message := error.format_message().strip():  # empty where nothing was asked, and the help has been shown
            end = "" if message[-1] in ".?!" else "."
            say_error(f"histocyte: {message}{end} See: {where} --help")
        sys.exit(2)
    except (_Interrupted, KeyboardInterrupt, typer.Abort):
        say_error("histocyte: interrupted. Run the same command again to go on.")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; nothing is wrong.
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 (no command ends in a traceback)
        say_error(f"histocyte: {in_words(error)}")
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
