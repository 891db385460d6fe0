"""`histocyte distil`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from histocyte.runs.arguments import defaults_of
from histocyte.runs.distil.distil import LIMITS
from histocyte.runs.distil.distil import distil as run_distillation

__all__ = ["distil"]

_USUAL = defaults_of(run_distillation)


def distil(
    teachers: Annotated[
        list[str],
        typer.Argument(help="Models to learn from: names of `histocyte models list` or files.", show_default=False),
    ],
    data: Annotated[
        list[Path],
        typer.Option("--data", help="Folder of labelled images; repeat for several.", show_default=False),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the run; an unfinished run there is continued.")
    ] = Path(_USUAL["output"]),
    student: Annotated[str, typer.Option(help="Recipe of the student (`histocyte recipes list`).")] = _USUAL["student"],
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="Recipe option, e.g. levels=4 or mpp=0.5; repeat for several."),
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="Encoder in place of the recipe's own.")] = None,
    encoder_weights: Annotated[
        str | None, typer.Option(help="Pre-trained weights of that encoder, as for `histocyte train`.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Classes that the student tells apart, with commas between them, a list known by name (`train "
            "--help`), or data: those of the labelled images. The first teacher's by default.",
        ),
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option("--images", help="Folder of images without labels; repeat for several.")
    ] = None,
    images_mpp: Annotated[float | None, typer.Option(help="Resolution of these images in µm/px.")] = None,
    slide: Annotated[
        list[Path] | None, typer.Option("--slide", help="Whole slide to draw crops from; repeat for several.")
    ] = None,
    places: Annotated[
        int, typer.Option(**LIMITS["places"].option, help="Places of 640 px drawn from the tissue of each slide.")
    ] = _USUAL["places"],
    share: Annotated[
        float,
        typer.Option(
            **LIMITS["share"].option, help="Share of crops without labels in a batch, where there are such images."
        ),
    ] = _USUAL["share"],
    way: Annotated[
        str, typer.Option(help="Learn from the teacher's maps, from its labels, or auto: maps where schemes agree.")
    ] = _USUAL["way"],
    temperature: Annotated[float, typer.Option(help="Temperature T that softens probabilities.")] = _USUAL[
        "temperature"
    ],
    alpha: Annotated[float, typer.Option(help="Weight α of the teacher's answers.")] = _USUAL["alpha"],
    beta: Annotated[float, typer.Option(help="Weight β of the loss against true labels.")] = _USUAL["beta"],
    reading: Annotated[
        str, typer.Option(help="natural: α and β as said; swapped: the other way round (the paper leaves it open).")
    ] = _USUAL["reading"],
    squared: Annotated[
        bool,
        typer.Option(
            "--squared/--no-squared", help="Multiply divergences of softened probabilities by T² (Hinton et al. 2015)."
        ),
    ] = _USUAL["squared"],
    features: Annotated[
        str, typer.Option(help="Also learn the teacher's deepest features: none, cosine or mse.")
    ] = _USUAL["features"],
    feature_weight: Annotated[float, typer.Option(help="Weight of the feature loss.")] = _USUAL["feature_weight"],
    teacher_views: Annotated[
        int,
        typer.Option(help="Flips and turns of each image that the teacher sees: 1, 2, 4 or 8; its maps are averaged."),
    ] = _USUAL["teacher_views"],
    teacher_tile: Annotated[
        int | None,
        typer.Option(metavar="PX", help="Side of the squares that teachers are given of an image; a teacher's own."),
    ] = None,
    teacher_margin: Annotated[
        int | None,
        typer.Option(metavar="PX", help="Border of a square that does not count where a neighbouring one has better."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder for the teachers' answers, which several runs may share; OUT/teachers by default."),
    ] = None,
    cache_limit: Annotated[
        float, typer.Option(**LIMITS["cache_limit_gb"].option, help="Most disk space for these answers, GB.")
    ] = _USUAL["cache_limit_gb"],
    plan: Annotated[
        str,
        typer.Option(
            help="How the student is trained: ours, or published, as its recipe's paper has it (`recipes show`)."
        ),
    ] = _USUAL["plan"],
    plan_option: Annotated[
        list[str] | None,
        typer.Option(
            "--plan-option",
            metavar="NAME=VALUE",
            help="Change a setting of the published plan, e.g. epochs=10; repeat for several.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(**LIMITS["steps"].option, help="Batches to train for: 4000 by default, or the plan's epochs."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            **LIMITS["batch"].option,
            help="Crops in a batch: the plan's by default; without a plan 16, or as suits cores and memory.",
        ),
    ] = None,
    crop_px: Annotated[
        int | None,
        typer.Option(
            **LIMITS["crop_px"].option,
            help="Side of a crop: 256 by default, or the plan's; less where images are smaller.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            **LIMITS["learning_rate"].option,
            help="Peak learning rate: by default 0.001 (0.3 of it for the encoder), or the plan's.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(**LIMITS["seed"].option, help="Random seed, also of the split.")] = _USUAL[
        "seed"
    ],
    validation: Annotated[
        float,
        typer.Option(
            **LIMITS["validation"].option, help="Share of the patients or slides held out of sets new to teachers."
        ),
    ] = _USUAL["validation"],
    validate_every: Annotated[
        int | None,
        typer.Option(
            **LIMITS["validate_every"].option, help="Steps between validations: 500 by default, or the plan's."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = _USUAL["device"],
    threads: Annotated[
        int | None, typer.Option(**LIMITS["threads"].option, help="Threads on a CPU; all processors by default.")
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(help="Resolution of the labelled images in µm/px, for sets not known by name.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the student.")] = _USUAL["name"],
    cost: Annotated[
        bool, typer.Option("--cost/--no-cost", help="Measure speed and memory of teacher and student for the card.")
    ] = _USUAL["cost"],
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as one JSON object.")] = False,
) -> None:
    """Teach a small model what a large one knows, and say what is lost and what is gained.

    The teacher predicts every image once, and the student learns from these predictions and from the true labels. The
    run can be stopped at any moment; run the same command again to continue. It ends with model.safetensors and a card
    that compares
    both on held-out images: card.md.

    Example: histocyte distil hover-unet-consep --data data/consep --data data/tnbc -o runs/student
    """
    from histocyte.apps.cli.listeners import people
    from histocyte.apps.cli.output import command_as_typed, print_json
    from histocyte.apps.cli.stopping import Stopping, ending_with_a_word
    from histocyte.core.listener import Stopped
    from histocyte.recipes.options import parsed

    listener = people()
    with ending_with_a_word(), Stopping(once_asked=True) as stopping:
        try:
            taught = run_distillation(
                teachers,
                data,
                out,
                student=student,
                options=parsed(option or ()),
                encoder=encoder,
                encoder_weights=encoder_weights,
                classes=classes,
                images=images,
                images_mpp=images_mpp,
                slides=slide,
                places=places,
                share=share,
                way=cast(Any, way),
                temperature=temperature,
                alpha=alpha,
                beta=beta,
                reading=cast(Any, reading),
                squared=squared,
                features=cast(Any, features),
                feature_weight=feature_weight,
                teacher_views=teacher_views,
                teacher_tile_px=teacher_tile,
                teacher_margin_px=teacher_margin,
                cache=cache,
                cache_limit_gb=cache_limit,
                plan=plan,
                plan_options=parsed(plan_option or (), flag="--plan-option"),
                steps=steps,
                batch=batch,
                crop_px=crop_px,
                learning_rate=learning_rate,
                seed=seed,
                validation=validation,
                validate_every=validate_every,
                device=device,
                threads=threads,
                mpp=mpp,
                name=name,
                cost=cost,
                command=command_as_typed(),
                listener=listener,
                stop=stopping.asked,
            )
        except Stopped as stopped:
            raise stopping.end(str(stopped)) from None
    path = taught.model
    listener.say(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB) and {out / 'card.md'}.")
    if path.with_suffix(".onnx").exists():
        listener.say(f"Next: histocyte segment SLIDE --model {path.with_suffix('.onnx')}")
    else:
        listener.say(f"Next: histocyte models export {path}")
    if as_json:
        print_json(taught.card)
