"""`histocyte models export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from histocyte.core.names import counted

if TYPE_CHECKING:
    from histocyte.model.zoo import ModelFiles

__all__ = ["export"]


def export(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, or a model file.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The .onnx file; beside the model by default.")
    ] = None,
    features: Annotated[
        bool, typer.Option("--features", help="Give the encoder's features too, for `segment --embeddings`.")
    ] = False,
    full_precision: Annotated[
        bool, typer.Option("--full-precision", help="Keep weights in 32 bits: twice the file, the most exact maps.")
    ] = False,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Quantise to 8-bit integers: several times as fast on a CPU, slightly less exact."),
    ] = False,
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(help="With --int8: slides, images or folders of the tissue it will see; repeat for several."),
    ] = None,
    tiles: Annotated[
        int | None, typer.Option(min=1, help="With --int8: tiles to calibrate on, 300 by default.")
    ] = None,
    mpp: Annotated[float | None, typer.Option(help="With --int8: µm/px of files that do not state it.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="With --int8: the same seed draws the same tiles; 0 by default.")
    ] = None,
) -> None:
    """Make the ONNX file that runs without torch.

    Example: histocyte models export hover-unet-consep -o quick.onnx --int8 --calibrate slides/
    """
    from histocyte.core.errors import InputError
    from histocyte.files.writable import check_file
    from histocyte.model.zoo import find_model

    check_file(out, example="model.onnx")
    files = find_model(model)
    if out is not None and out.suffix != ".onnx":
        raise InputError(f"The file of -o must end in .onnx, '{out}' does not.")
    if int8 and full_precision:
        raise InputError("--int8 and --full-precision contradict each other: choose one of them.")
    if int8:
        _export_int8(model, files, out, calibrate or [], tiles or 300, mpp, seed or 0, features)
        return
    for option, value in (("--calibrate", calibrate or None), ("--tiles", tiles), ("--mpp", mpp), ("--seed", seed)):
        if value is not None:
            raise InputError(f"{option} is for models in 8-bit integers: pass --int8 too.")
    _export(model, files, out, features, full_precision)


def _export(model: str, files: ModelFiles, out: Path | None, features: bool, full_precision: bool) -> None:
    import dataclasses

    from histocyte.core.errors import InputError, require

    if files.safetensors is None:
        raise InputError(f"'{model}' has no .safetensors file to export from.")
    require("torch", extra="torch")
    from histocyte.model.checkpoint import load_model
    from histocyte.model.onnx.export import export_onnx

    target = out or files.safetensors.with_suffix(".onnx")
    spec, network = load_model(files.safetensors)
    if features:
        from histocyte.inference.torch_runtime import TorchRuntime

        info = TorchRuntime(network, device="cpu", keep_threads=True).features
        export_onnx(spec, network, target, features=dataclasses.asdict(info), full_precision=full_precision)
    else:
        export_onnx(spec, network, target, full_precision=full_precision)
    _say_written(target)
    _warn_of_encoder(files)


def _export_int8(
    model: str,
    files: ModelFiles,
    out: Path | None,
    paths: list[Path],
    tiles: int,
    mpp: float | None,
    seed: int,
    features: bool,
) -> None:
    from histocyte.apps.cli.output import progress_bar, say
    from histocyte.core.errors import InputError
    from histocyte.model.zoo import bundled_models
    from histocyte.runs.quantise.export import export_int8

    if not paths:
        raise InputError("--int8 needs --calibrate SLIDES: some slides or images of the tissue the model will see.")
    bundled = model in bundled_models()
    target = out or (Path() if bundled else files.any.parent) / f"{files.name}-int8.onnx"
    if files.safetensors is None and target.resolve() == files.any.resolve():
        raise InputError(f"'{target}' is the model itself: choose another file with -o.")
    with progress_bar("slides") as bar:
        task = bar.add_task("tiles", total=None, note="")
        spec = export_int8(
            files,
            target,
            paths,
            count=tiles,
            mpp=mpp,
            seed=seed,
            features=features,
            progress=lambda done, total: bar.update(
                task, completed=done, total=total, note="measuring ranges" if done == total else ""
            ),
        )
    assert spec.quantised is not None
    _say_written(target)
    say(
        f"Calibrated on {counted(spec.quantised.tiles, 'tile')} of "
        f"{counted(spec.quantised.slides, 'slide or image', 'slides or images')}."
    )
    _warn_of_encoder(files)
    say(f"Next, to see what it costs: histocyte evaluate {target} LABELLED --json > int8.json; histocyte compare …")


def _say_written(target: Path) -> None:
    from histocyte.apps.cli.output import say

    say(f"Wrote {target} ({target.stat().st_size / 1e6:.1f} MB).")


def _warn_of_encoder(files: ModelFiles) -> None:
    from histocyte.apps.cli.output import say_note
    from histocyte.model.checkpoint import read_spec

    lacking = None if files.safetensors is None else read_spec(files.safetensors).encoder_weights
    if lacking is not None and not lacking.included:
        say_note(
            f"It now holds its encoder's published weights ({lacking.source or lacking.file}), under their "
            f"licence: do not hand it on where that forbids it."
        )
