"""`histocyte train classifier`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["classifier"]


def classifier(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, or a model file.", show_default=False)],
    data: Annotated[
        list[Path],
        typer.Argument(help="Folders of labelled images with classes: NAME.webp/.png, NAME.npz.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="File of the classifier.")] = Path("classifier.safetensors"),
    classes: Annotated[
        str | None,
        typer.Option(help="Names of the classes 1, 2, …, by commas; those of the set or its classes.json by default."),
    ] = None,
    cells: Annotated[
        int | None, typer.Option(min=2, help="Learn from this many cells, drawn at random; all by default.")
    ] = None,
    hidden: Annotated[
        int, typer.Option(min=0, max=65_536, help="Width of a hidden layer; 0 is a linear classifier.")
    ] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="At most; one goes over few cells several times.")] = 50,
    validation: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of the patients or slides held out.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of split, draw, first weights and intervals.")] = 0,
    mpp: Annotated[float | None, typer.Option(help="µm/px of images of a set that is not known by name.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder to keep found cells in; the next classifier takes seconds.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Images at a time on a CPU; as many as processors by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Teach a model your own classes from a few hundred labelled cells, in minutes; the model itself stays as it is.

    The model finds the cells of your images; those within 3 µm of a labelled one learn its class from their vectors.
    Whole patients or slides are held out and scored.

    Example: histocyte train classifier hover-unet-consep data/mine --mpp 0.25 -o mine.safetensors
    Then: histocyte segment slide.svs --model hover-unet-consep --classifier mine.safetensors
    """
    import time

    from histocyte.apps.cli.listeners import people
    from histocyte.apps.cli.output import print_json, say_note
    from histocyte.apps.cli.stopping import ending_with_a_word
    from histocyte.core.errors import InputError, require, require_installed
    from histocyte.runs.labelled import check_labelled, say_notes, say_unpaired

    require_installed("torch", extra="torch")
    from histocyte.files.writable import check_file, check_folder

    check_file(out, example="classifier.safetensors")
    check_folder(cache)
    check_labelled(data, mpp=mpp)
    require("torch", extra="torch")
    from histocyte.datasets.own_classes import load_with_own_classes
    from histocyte.inference.load import load
    from histocyte.runs.classifier.run import cells_of, write_classifier
    from histocyte.runs.classifier.train import images_to_stop_by, train_classifier
    from histocyte.training.classifier import HeadOptions

    began = time.perf_counter()
    samples, taxonomy = load_with_own_classes(data, names=None if classes is None else classes.split(","), mpp=mpp)
    listener = people()
    say_unpaired(data, listener)
    say_notes(samples, listener)
    usable = [s for s in samples if s.separable and s.types is not None and (s.types > 0).any()]
    if not usable:
        raise InputError(f"None of these {len(samples)} images has cells with a class; NAME.npz needs an array 'type'.")
    loaded = load(model, runtime="torch", device=device, workers=threads)
    spec = loaded.spec
    parts = spec.history.split(usable, fraction=validation, seed=seed, listener=listener)
    score = [*parts.validation, *parts.left_out]
    learn = parts.training
    options = HeadOptions(hidden=hidden, epochs=epochs, seed=seed)
    once_more = "Run the same command again; with --cache FOLDER it would find the cells of no image twice."
    with ending_with_a_word(None if cache else once_more):
        learnt, held_out = cells_of(loaded, learn, score, cache, listener)
        with listener.task("fitting", epochs, unit="epochs") as task:
            trained = train_classifier(
                learnt,
                images_to_stop_by(learn, seed=seed),
                held_out,
                taxonomy.names,
                options=options,
                own_names=spec.classes.names,
                cells=cells,
                on_epoch=lambda _: task.advance(),
            )
    facts = {
        **trained.facts,
        "seconds": round(time.perf_counter() - began, 1),
        "images_the_model_was_trained_on": len(learn) - len(spec.history.unseen(learn)),
    }
    record = write_classifier(out, loaded, taxonomy, learn, score, facts, trained)
    notes = [*parts.notes, *spec.history.doubts(spec.name)]
    if as_json:
        print_json({**record, "notes": notes})
    else:
        for note in notes:
            say_note(note)
        _report(record, trained.scores, out, model)


def _report(record: dict[str, Any], scores: Any, out: Path, model: str) -> None:
    from histocyte.apps.cli.output import print_table, say, say_note

    facts = record["training"]
    fitted = sum(facts["cells_fitted"].values())
    heads, rows = scores.table()
    print_table("Held-out images: value (95 % interval)", heads, rows)
    for note in scores.interval_notes():
        say_note(note)
    print_table("Confusion of the classifier, held-out cells", *scores.confusion_table())
    stop = (
        f"{facts['cells_to_stop_by']:,} of other patients or slides said when to stop"
        if facts["cells_to_stop_by"]
        else "no other patient or slide was left to say when to stop"
    )
    say(f"Learnt from {fitted:,} cells; {stop} (epoch {facts['best_epoch']} of {facts['epochs']}).")
    say(f"Of {scores.n_labelled:,} labelled cells on held-out images the model found {sum(scores.n_cells):,}.")
    lacking = [name for name, n in facts["cells_fitted"].items() if not n]
    if lacking:
        say_note(f"No cell to learn from of: {', '.join(lacking)}. It will not be told.")
    seen = facts["images_the_model_was_trained_on"]
    if seen:
        say_note(
            f"The model was trained on {seen} of the images learnt from; on tissue new to it the "
            "classifier may do worse than on theirs."
        )
    say(f"Wrote {out} in {facts['seconds']:.0f} s. Next: histocyte segment SLIDE --model {model} --classifier {out}")
