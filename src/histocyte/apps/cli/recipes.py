"""`histocyte recipes`."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from histocyte.model.spec import ModelSpec, Part

__all__ = ["app"]

_LONG = 48
"""Characters from which on a default is cut on a line."""

app = typer.Typer(help="Recipes: the published methods, and how each is put together.", no_args_is_help=True)


@app.command("list")
def list_recipes(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """List the recipes, those of other packages too.

    Example: histocyte recipes list
    """
    from histocyte.apps.cli.output import print_json, print_table
    from histocyte.recipes.registry import RECIPES

    rows = [(name, RECIPES[name](), _summary(RECIPES[name])) for name in RECIPES]
    if as_json:
        found = [
            {"name": name, "summary": summary, "from": RECIPES.origin(name), **_parts(spec)}
            for name, spec, summary in rows
        ]
        print_json({"recipes": found})
        return
    print_table(
        "Recipes",
        ("name", "maps", "decoder", "encoder", "what"),
        [
            (name, spec.representation.name, spec.decoder.name, str(_encoder_name(spec.encoder)), summary)
            for name, spec, summary in rows
        ],
    )


@app.command()
def show(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe (`histocyte recipes list`).", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a recipe: method and source, what can be chosen, parts, maps and losses, size, and how to train it.

    Example: histocyte recipes show cellvit_stardist
    """
    from histocyte.apps.cli.output import print_json, print_lines
    from histocyte.model.build import build_representation
    from histocyte.recipes.options import recipe_options
    from histocyte.recipes.plans import PLANS
    from histocyte.recipes.registry import RECIPES, way_to_adapt

    factory = RECIPES[recipe]
    spec = factory()
    representation = build_representation(spec.representation)
    options, plans = recipe_options(recipe), PLANS.get(recipe, {})
    facts = {
        "name": recipe,
        "from": RECIPES.origin(recipe),
        "summary": _summary(factory),
        "method": re.split(r"\n(?:Args|Raises|Returns):\n", inspect.getdoc(factory) or "")[0].strip(),
        "options": {option.name: option.default for option in options},
        "meanings": {option.name: option.meaning for option in options},
        **_parts(spec),
        "mpp": spec.mpp,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "classes": list(spec.classes.names),
        "tissues": len(spec.tissues),
        "maps": [{"name": m.name, "channels": m.channels, "activation": m.activation} for m in representation.maps],
        "losses": dict(representation.loss_weights),
        "parameters": _parameters(spec),
        "adapt": way_to_adapt(spec),
        "plans": {name: plan.to_json() for name, plan in plans.items()},
        "train": _command(recipe, weights=way_to_adapt(spec) != "full"),
        "train_published": _published_command(recipe),
    }
    if as_json:
        print_json(facts)
        return
    lines = _lines(facts)
    for name, plan in plans.items():
        lines += ["", f"trained as '{name}' (--plan {name}):", *(f"  {line}" for line in plan.lines())]
    lines += ["", f"Train it: {facts['train']}"]
    if facts["train_published"]:
        lines += ["", f"As published: {facts['train_published']}"]
    print_lines(lines)


def _option_lines(facts: Mapping[str, Any]) -> list[str]:
    """What can be chosen, with its default and meaning."""
    if not facts["options"]:
        return []
    flags = {"encoder": " (or --encoder)", "mpp": " (or --model-mpp)"}
    lines = ["options, --option NAME=VALUE in train and distil:"]
    for name, default in facts["options"].items():
        default = default if len(default) < _LONG else f"{default[: _LONG - 1]}…"
        lines.append(f"  {name}{f'={default}' if default else ''}{flags.get(name, '')}: {facts['meanings'][name]}")
    return [*lines, ""]


def _lines(facts: Mapping[str, Any]) -> list[str]:
    from histocyte.core.installation import how_to_add

    lines = [f"{facts['name']}: {facts['summary']}", "", *str(facts["method"]).splitlines(), ""]
    lines += _option_lines(facts)
    for part in ("encoder", "decoder", "heads", "representation"):
        options = ", ".join(f"{k}={json.dumps(v)}" for k, v in facts[part]["options"].items())
        lines.append(f"{part:15} {facts[part]['name']}({options})")
    maps = ", ".join(f"{m['name']} {m['channels']} ({m['activation']})" for m in facts["maps"])
    lines += [
        f"{'maps':15} {maps}",
        f"{'losses':15} " + " + ".join(f"{w:g} {name}" for name, w in facts["losses"].items()),
        f"{'classes':15} those of the data; as published {', '.join(facts['classes'])}"
        + (f"; {facts['tissues']} tissues" if facts["tissues"] else ""),
        f"{'resolution':15} {facts['mpp']:g} µm/px, pixels normalised by mean {facts['mean']}, std {facts['std']}",
    ]
    count = facts["parameters"]
    if count is not None:
        shares = ", ".join(f"{part} {n:,}" for part, n in count.items() if part != "all")
        lines.append(f"{'parameters':15} {count['all']:,} ({shares})")
    else:
        lines.append(f"{'parameters':15} counted where torch is installed: {how_to_add('torch')}")
    ways = {"full": "the whole network", "frozen": "all but the encoder, which stays as it is"}
    way = ways.get(facts["adapt"], f"the encoder by '{facts['adapt']}', and all behind it")
    lines.append(f"{'trained':15} {way}; otherwise by --adapt")
    return lines


def _command(recipe: str, *, weights: bool, plan: str = "") -> str:
    """The command that trains a recipe; what stays as it is needs weights to begin with."""
    from histocyte.encoders.catalog.find import CARDS
    from histocyte.recipes.registry import RECIPES

    usual = inspect.signature(RECIPES[recipe]).parameters.get("encoder")
    own = str(usual.default) if usual is not None else ""
    begun = f" --encoder-weights {own}" if weights and own in CARDS else ""
    as_planned = f" --plan {plan}" if plan else ""
    return f"histocyte train data/mine --mpp 0.25 --recipe {recipe}{begun}{as_planned} -o runs/{recipe}"


def _published_command(recipe: str) -> str:
    """The command that trains a recipe as published; empty where nothing is published."""
    from histocyte.recipes.plans import PLANS

    plan = PLANS.get(recipe, {}).get("published")
    if plan is None:
        return ""
    return _command(recipe, weights=plan.adapt != "full" or plan.frozen_epochs > 0, plan="published")


def _summary(factory: Any) -> str:
    """First line of the recipe's module, or of its own description."""
    module = inspect.getmodule(factory)
    text = (module and inspect.getdoc(module)) or inspect.getdoc(factory) or ""
    return text.split("\n")[0].rstrip(".:")


def _parts(spec: ModelSpec) -> dict[str, dict[str, Any]]:
    parts = {
        "encoder": spec.encoder,
        "decoder": spec.decoder,
        "heads": spec.heads,
        "representation": spec.representation,
    }
    return {kind: {"name": part.name, "options": dict(part.options)} for kind, part in parts.items()}


def _encoder_name(part: Part) -> object:
    return part.options.get("name", part.name)


def _parameters(spec: ModelSpec) -> dict[str, int] | None:
    """Parameters by part, counted on a network without memory; None without torch."""
    from histocyte.core.errors import is_installed

    if not is_installed("torch"):
        return None
    from histocyte.model.build import count_parameters

    return count_parameters(spec)
