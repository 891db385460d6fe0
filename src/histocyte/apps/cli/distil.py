"""`histocyte distil`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["distil"]


def distil(
    teachers: Annotated[
        list[str],
        typer.Argument(help="Models to learn from: names of `histocyte models list` or files.", show_default=False),
    ],
    data: Annotated[
        list[Path],
        typer.Option("--data", help="Folder of labelled images; may be given again.", show_default=False),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the run; an unfinished run there goes on.")
    ] = Path("runs/student"),
    student: Annotated[str, typer.Option(help="Recipe of the student (`histocyte recipes list`).")] = "hover_small",
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="Of the recipe, e.g. levels=4 or mpp=0.5; may be given again."),
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="Encoder in place of the recipe's own.")] = None,
    encoder_weights: Annotated[
        str | None, typer.Option(help="Pre-trained weights of that encoder, as for `histocyte train`.")
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option("--images", help="Folder of images without labels; may be given again.")
    ] = None,
    images_mpp: Annotated[float | None, typer.Option(help="µm/px of these images.")] = None,
    slide: Annotated[
        list[Path] | None, typer.Option("--slide", help="Whole slide to draw places from; may be given again.")
    ] = None,
    places: Annotated[int, typer.Option(min=1, help="Places of 640 px drawn from the tissue of each slide.")] = 32,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of crops without labels in a batch, where there are such images.")
    ] = 0.5,
    way: Annotated[
        str, typer.Option(help="Learn from the teacher's maps, from its labels, or auto: maps where schemes agree.")
    ] = "auto",
    temperature: Annotated[float, typer.Option(help="T, by which probabilities are softened.")] = 14.0,
    alpha: Annotated[float, typer.Option(help="α, weight of what the teacher says.")] = 0.3,
    beta: Annotated[float, typer.Option(help="β, weight of the student's own loss against true labels.")] = 0.7,
    reading: Annotated[
        str, typer.Option(help="natural: α and β as said; swapped: the other way round (the paper leaves it open).")
    ] = "natural",
    features: Annotated[
        str, typer.Option(help="Also learn the teacher's deepest features: none, cosine or mse.")
    ] = "none",
    feature_weight: Annotated[float, typer.Option(help="Weight of that.")] = 1.0,
    teacher_views: Annotated[
        int, typer.Option(help="Sides the teacher sees each image from: 1, 2, 4 or 8; its maps are averaged.")
    ] = 1,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for what the teachers say; several runs may share it. OUT/teachers.")
    ] = None,
    cache_limit: Annotated[float, typer.Option(min=0, max=1e6, help="GB that this may take.")] = 50.0,
    steps: Annotated[int, typer.Option(min=1, help="Batches to train for.")] = 4000,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Crops in a batch: 16 where not given, or as suits cores and memory.")
    ] = None,
    crop_px: Annotated[
        int | None,
        typer.Option(min=32, max=4096, help="Side of a crop: 256 where not given, or less where images are smaller."),
    ] = None,
    learning_rate: Annotated[
        float, typer.Option(min=1e-9, max=1, help="Of the decoder; the encoder's is 0.3 of it.")
    ] = 1e-3,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of everything random, the split included.")] = 0,
    validation: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of the patients or slides held out of sets new to teachers.")
    ] = 0.2,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between validations.")] = 500,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads on a CPU; all there are where not given.")] = None,
    mpp: Annotated[float | None, typer.Option(help="µm/px of labelled images of a set not known by name.")] = None,
    name: Annotated[str, typer.Option(help="Name of the student.")] = "my-student",
    cost: Annotated[
        bool, typer.Option("--cost/--no-cost", help="Measure speed and memory of teacher and student for the card.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as one JSON object.")] = False,
) -> None:
    """Teach a small model what a large one knows, and say what is lost and what is gained.

    The teacher is asked once about every image, and the student learns from its answers beside the true labels. The run
    can be stopped at any moment; the same command goes on. It ends with model.safetensors and a card that compares
    both on held-out images: card.md.

    Example: histocyte distil hover-unet-consep --data data/consep --data data/tnbc -o runs/student
    """
    from histocyte.core.errors import require, require_installed
    from histocyte.files.writable import check_folder
    from histocyte.runs.labelled import check_labelled, check_readable

    require_installed("torch", extra="torch")
    _check_alone()
    for folder in (out, cache):
        check_folder(folder)
    check_labelled(data, mpp=mpp)
    check_readable(*(images or ()), *(slide or ()))
    require("torch", extra="torch")
    from typing import cast

    from histocyte.apps.cli.listeners import people
    from histocyte.apps.cli.output import print_json
    from histocyte.apps.cli.stopping import Stopping, ending_with_a_word
    from histocyte.core.listener import Stopped
    from histocyte.model.licences import not_for_commerce
    from histocyte.runs.distil.data import DistilData
    from histocyte.runs.distil.run import DistilRun, DistilSettings
    from histocyte.runs.distil.student import student_spec
    from histocyte.runs.distil.teacher import Source
    from histocyte.runs.labelled import say_notes, say_unpaired
    from histocyte.runs.train.defaults import with_class_weights_of_plan, with_fitting_sides
    from histocyte.training.distil.lessons import Way
    from histocyte.training.distil.losses import DistilOptions, Features, Reading

    listener = people()
    with ending_with_a_word():
        how = DistilOptions(
            temperature,
            alpha,
            beta,
            cast(Reading, reading),
            features=cast(Features, features),
            feature_weight=feature_weight,
        )
        how.check()
        wanted = [features != "none", *[False] * (len(teachers) - 1)]  # the first teacher's features alone
        sources = [Source(each, views=teacher_views, features=f) for each, f in zip(teachers, wanted, strict=True)]
        spec = with_fitting_sides(student_spec(student, sources[0].teacher.spec, encoder, option or (), name))
        specs = [source.teacher.spec for source in sources]
        read = DistilData.read(
            data, taxonomy=spec.classes, teachers=specs, fraction=validation, seed=seed, mpp=mpp, listener=listener
        )
        say_unpaired(data, listener)
        say_notes([*read.training, *read.validation], listener)
        settings = DistilSettings(cast(Way, way), share, crop_px or read.crop_px(spec), how, seed)
        spec = with_class_weights_of_plan(spec, read.training)
        least_um = settings.crop_px * spec.mpp
        read.fill_up(least_um=least_um)
        say_notes(read.add_images(images or (), least_um=least_um, mpp=images_mpp), listener)
        finest = min(spec.mpp, *(each.mpp for each in specs))
        read.add_slides(slide or (), mpp=finest, count=places, seed=seed, least_um=least_um)
        run = DistilRun(
            out, sources, spec, encoder_weights, read, settings, device=device, threads=threads, listener=listener
        )
        listener.say(f"{read.describe()}. The student learns from {run.lessons.describe()}.")
        for note in read.notes:
            listener.say(note)
        answers = run.ask(cache, most_bytes=round(cache_limit * 1e9))
        with Stopping(once_asked=True) as stopping:
            try:
                path = run.train(
                    answers,
                    steps=steps,
                    batch=batch,
                    validate_every=validate_every,
                    learning_rate=learning_rate,
                    stop=stopping.asked,
                )
            except Stopped as stopped:
                raise stopping.end(str(stopped)) from None
        card = run.result(path).card(cost=cost)
        if restricted := not_for_commerce(run.spec):
            listener.say(f"Not for commercial use, as what it learnt from is not: {', '.join(restricted)}.")
        listener.say(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB) and {out / 'card.md'}.")
        if path.with_suffix(".onnx").exists():
            listener.say(f"Next: histocyte segment SLIDE --model {path.with_suffix('.onnx')}")
        else:
            listener.say(f"Next: histocyte models export {path}")
        if as_json:
            print_json(card)


def _check_alone() -> None:
    """Refuse to be started by torchrun: several processes would each do all of the work.

    Raises:
        InputError: That has happened.
    """
    import os

    from histocyte.core.errors import InputError

    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError("`histocyte distil` runs in one process, on one GPU. Start it without torchrun.")
