"""`histocyte models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from histocyte.apps.cli.models.export import export

__all__ = ["app", "export"]

app = typer.Typer(help="Models: those that come with histocyte, and your own files.", no_args_is_help=True)


@app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """List the models that come with histocyte.

    Example: histocyte models list
    """
    from histocyte.apps.cli.output import print_json, print_table
    from histocyte.inference.load import spec_of
    from histocyte.model.zoo import DEFAULT_MODEL, bundled_models

    found = {name: (files, spec_of(files)) for name, files in bundled_models().items()}
    if as_json:
        print_json(
            {
                "models": [
                    {
                        "name": name,
                        "default": name == DEFAULT_MODEL,
                        "description": spec.description,
                        "mpp": spec.mpp,
                        "classes": list(spec.classes.names),
                        "licence": spec.licence,
                        "bytes": {p.suffix: p.stat().st_size for p in (files.onnx, files.safetensors) if p},
                    }
                    for name, (files, spec) in found.items()
                ]
            }
        )
        return
    rows = [
        (
            name + (" (default)" if name == DEFAULT_MODEL else ""),
            f"{spec.mpp:g}",
            ", ".join(spec.classes.names),
            spec.licence.partition(" (")[0],  # the rest is on the card
        )
        for name, (_, spec) in found.items()
    ]
    print_table("Bundled models", ("name", "µm/px", "classes", "licence"), rows)


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, or a model file.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole spec as JSON.")] = False,
) -> None:
    """Show a model's card: data, licence, measured accuracy; or its spec.

    Example: histocyte models show hover-unet-consep
    """
    import json

    from histocyte.apps.cli.output import print_json, print_markdown
    from histocyte.inference.load import spec_of
    from histocyte.model.zoo import find_model

    files = find_model(model)
    spec = spec_of(files)
    if as_json or files.card is None:
        print_json(json.loads(spec.model_dump_json()))
        return
    print_markdown(files.card.read_text(encoding="utf-8", errors="replace"))


app.command()(export)


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A published checkpoint: .pth, .pt, .tar, .ckpt.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The .safetensors file; beside the checkpoint by default.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="Kind of checkpoint, where the names of its weights do not tell.")
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(help="µm/px that it was trained at, where the file does not say.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Cell classes in order, a,b,c, or a known list, e.g. pannuke.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    own_decoding: Annotated[
        bool, typer.Option("--own-decoding", help="Read the maps as histocyte does, not as the publishers do.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a model file of a checkpoint that others published; nothing in it is run.

    Example: histocyte models convert CellViT-256-x40.pth -o cellvit-256.safetensors
    """
    from histocyte.apps.cli.output import print_json, say
    from histocyte.core.errors import InputError, require

    if not file.is_file():
        raise InputError(f"There is no checkpoint '{file}'.")
    target = out or file.with_suffix(".safetensors")
    if target.suffix != ".safetensors":
        raise InputError(f"A model file ends in .safetensors, '{target}' does not.")
    require("torch", extra="torch")
    from histocyte.conversion.convert import convert as convert_checkpoint
    from histocyte.core.taxonomies import asked_list
    from histocyte.model.checkpoint import save_model

    taxonomy = None if classes is None else asked_list(classes)
    spec, weights = convert_checkpoint(file, kind=kind, taxonomy=taxonomy, mpp=mpp, name=name, compat=not own_decoding)
    save_model(target, spec, weights)
    converted = spec.training["converted"]
    if as_json:
        print_json(
            {
                "path": str(target),
                "bytes": target.stat().st_size,
                "name": spec.name,
                "kind": converted["kind"],
                "mpp": spec.mpp,
                "mean": list(spec.mean),
                "std": list(spec.std),
                "classes": list(spec.classes.names),
                "tissues": list(spec.tissues),
                "notes": list(converted["notes"]),
            }
        )
        return
    say(f"{spec.description}: {spec.mpp:g} µm/px, classes {', '.join(spec.classes.names) or 'none'}.")
    for note in converted["notes"]:
        say(f"Note: {note}.")
    say(f"Wrote {target} ({target.stat().st_size / 1e6:.1f} MB).")
    say(f"Next: histocyte segment SLIDE --model {target}")
    say(f"      histocyte models export {target}   (an ONNX file, which runs without torch and faster on a CPU)")
