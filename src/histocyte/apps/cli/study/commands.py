"""`histocyte study`: comparisons that papers make, each as one command."""

from __future__ import annotations

import typer

from histocyte.apps.cli.study.encoders import encoders
from histocyte.apps.cli.study.tokens import tokens

__all__ = ["app"]

app = typer.Typer(help="Studies: which encoder, which features, on your own data.", no_args_is_help=True)

app.command("encoders")(encoders)
app.command("tokens")(tokens)
