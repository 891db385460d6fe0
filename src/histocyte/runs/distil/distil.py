"""Distillation as one call, for Python and for `histocyte distil`; the work itself is `runs.distil.run`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from histocyte.core.listener import SILENT, Listener, Stop, never
from histocyte.runs.arguments import FRACTION, POSITIVE, SEED, Limit, PathLike, called_as, check_limits, paths

if TYPE_CHECKING:
    from histocyte.core.taxonomy import Taxonomy
    from histocyte.model.spec import ModelSpec

__all__ = ["LIMITS", "DistilledModel", "distil"]

LIMITS: Mapping[str, Limit] = {
    **dict.fromkeys(("places", "steps", "batch", "validate_every", "threads"), POSITIVE),
    "share": Limit(0, 1, whole=False),
    "cache_limit_gb": Limit(0, 1e6, whole=False),
    "crop_px": Limit(32, 4096),
    "learning_rate": Limit(1e-9, 1, whole=False),
    "seed": SEED,
    "validation": FRACTION,
}
"""Limits of the numbers that `distil` takes."""


class DistilledModel:
    """A student that is taught.

    Args:
        folder: Folder of the run.

    Attributes:
        folder: Folder of the run: model, card, curves, log.
        model: The student's model file, as `histocyte.segment` and `histocyte.load` take it.
    """

    def __init__(self, folder: Path) -> None:
        from histocyte.runs.folder import RunFolder

        self.folder = folder
        self.model: Path = RunFolder(folder).model

    @property
    def spec(self) -> ModelSpec:
        """What the file says of the student: classes, resolution, history, licence."""
        from histocyte.model.checkpoint import read_spec

        return read_spec(self.model)

    @property
    def card(self) -> dict[str, Any]:
        """What card.json says: how the student was taught, and how it compares with its teachers."""
        found: dict[str, Any] = json.loads((self.folder / "card.json").read_text(encoding="utf-8"))
        return found

    def __repr__(self) -> str:
        """The file and who taught it."""
        return f"<DistilledModel: {self.model}, taught by {self.card['teachers']}>"

    def _repr_html_(self) -> str:
        """The card, for notebooks."""
        return f"<pre>{escape((self.folder / 'card.md').read_text(encoding='utf-8'))}</pre>"


def distil(
    teachers: PathLike | Iterable[PathLike],
    data: PathLike | Iterable[PathLike],
    output: PathLike = "runs/student",
    *,
    student: str = "hover_small",
    options: Mapping[str, Any] | None = None,
    encoder: str | None = None,
    encoder_weights: PathLike | None = None,
    classes: str | Sequence[str] | None = None,
    images: PathLike | Sequence[PathLike] | None = None,
    images_mpp: float | None = None,
    slides: PathLike | Sequence[PathLike] | None = None,
    places: int = 32,
    share: float = 0.5,
    way: Literal["auto", "maps", "labels"] = "auto",
    temperature: float = 14.0,
    alpha: float = 0.3,
    beta: float = 0.7,
    reading: Literal["natural", "swapped"] = "natural",
    squared: bool = True,
    features: Literal["none", "cosine", "mse"] = "none",
    feature_weight: float = 1.0,
    teacher_views: int = 1,
    teacher_tile_px: int | None = None,
    teacher_margin_px: int | None = None,
    cache: PathLike | None = None,
    cache_limit_gb: float = 50.0,
    plan: str = "ours",
    plan_options: Mapping[str, Any] | None = None,
    steps: int | None = None,
    batch: int | None = None,
    crop_px: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    validation: float = 0.2,
    validate_every: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    mpp: float | None = None,
    name: str = "my-student",
    cost: bool = True,
    command: str | None = None,
    listener: Listener | None = None,
    stop: Stop | None = None,
) -> DistilledModel:
    """Teach a small model what a large one knows, and compare both on held-out images.

    The teachers are asked once about every image, and the student learns from their answers beside the true labels. A
    distillation that was stopped goes on by the same call.

    >>> import histocyte as hc
    >>> student = hc.distil("hover-unet-consep", ["data/consep", "data/tnbc"], "runs/student")    # doctest: +SKIP
    >>> cells = hc.segment("slide.svs", model=student.model)                                      # doctest: +SKIP

    Args:
        teachers: One or more models to learn from, by name or file.
        data: One or more folders of labelled images.
        output: Folder of the run.
        student: Recipe of the student, by name.
        options: Options of the recipe, by name, e.g. {"levels": 4}.
        encoder: In place of the recipe's own, by name.
        encoder_weights: Pre-trained weights of the encoder, as for `train`.
        classes: What the student tells apart: names, a list known by name, or "data" for the list of the labelled
            images; the first teacher's classes where None. Teachers teach what their classes say of these, labels the
            rest.
        images: Folders of images without labels.
        images_mpp: Their resolution, µm/px.
        slides: Whole slides to draw places from.
        places: Places of 640 px drawn from the tissue of each slide.
        share: Share of crops without labels in a batch, where there are such images.
        way: Learn from the teacher's "maps", from its "labels", or "auto": maps where schemes agree.
        temperature: T, by which probabilities are softened.
        alpha: α, weight of what the teacher says.
        beta: β, weight of the student's own loss against true labels.
        reading: "natural": α and β as said; "swapped": the other way round.
        squared: Multiply divergences of softened probabilities by T².
        features: Also learn the teacher's deepest features: "none", "cosine" or "mse".
        feature_weight: Weight of that.
        teacher_views: Sides that a teacher sees each image from: 1, 2, 4 or 8.
        teacher_tile_px: Side of the squares that teachers are given of an image, px at a teacher's resolution; a
            teacher's own where None.
        teacher_margin_px: Their margin; a teacher's own where None.
        cache: Folder for what the teachers say; several runs may share it. Within the run's where None.
        cache_limit_gb: GB that this may take.
        plan: How the student is trained, by name: "ours", or "published" where its recipe has that: optimiser,
            schedule, length, the weights of its own losses, and the colours of crops.
        plan_options: What is to be otherwise than the plan says, e.g. {"epochs": 10}.
        steps: Batches to train for: 4,000 where None, or the plan's epochs.
        batch: Crops in a batch: as suits the machine where None, or the plan's.
        crop_px: Side of a crop: 256 where None, or the plan's; less where images are smaller.
        learning_rate: Its peak, in our own way that of the decoder, of which the encoder's is 0.3: 0.001 where None, or
            the plan's.
        seed: Seed of everything random, the split included.
        validation: Share of the patients or slides held out of sets that are new to the teachers.
        validate_every: Steps between validations: 500 where None, or the plan's.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        threads: On a CPU; all there are where None.
        mpp: Resolution of labelled images of a set that is not known by name, µm/px.
        name: Name of the student.
        cost: Measure speed and memory of teachers and student for the card.
        command: How the model's file says it was made; this call where None.
        listener: Is told how it goes on; nobody where None.
        stop: Asked between two steps whether to end there; never where None.

    Returns:
        The student's model file, its spec and the card that compares it with its teachers.

    Raises:
        InputError: Data, options or a folder that cannot be used or do not go together; says which and the way out.
        UnknownNameError: No such recipe, encoder or model.
        ModelError: A teacher that cannot be asked for what is wanted.
        MissingExtraError: torch is not installed.
        TrainingError: The loss has left for good; the last good checkpoint is kept.
        BusyError: Another process is at work in the folder.
        DiskError: The folder cannot be written, or the teachers' answers do not fit.
        Stopped: `stop` said so; the same call goes on.
    """
    given = {key: value for key, value in locals().items() if key not in ("command", "listener", "stop")}
    from histocyte.core.errors import InputError, require, require_installed
    from histocyte.files.writable import check_folder
    from histocyte.runs.labelled import check_labelled, check_readable

    require_installed("torch", extra="torch")
    _check_alone()
    models, folders, folder = [str(each) for each in paths(teachers)], paths(data), Path(output)
    unlabelled, whole, kept = paths(images), paths(slides), None if cache is None else Path(cache)
    for place in (folder, kept):
        check_folder(place)
    check_limits(given, LIMITS)
    if not models:
        raise InputError("There is no teacher to learn from: name one or more models.")
    check_labelled(folders, mpp=mpp)
    check_readable(*unlabelled, *whole)
    require("torch", extra="torch")
    from histocyte.model.licences import not_for_commerce
    from histocyte.recipes.options import changed_plan
    from histocyte.recipes.plans import find_plan
    from histocyte.runs.distil.data import DistilData
    from histocyte.runs.distil.run import DistilRun, DistilSettings
    from histocyte.runs.distil.student import student_spec, untaught_classes
    from histocyte.runs.distil.teacher import Source
    from histocyte.runs.labelled import say_notes, say_unpaired
    from histocyte.runs.threads import threads_as_before
    from histocyte.runs.train.defaults import with_class_weights_of_plan, with_fitting_sides
    from histocyte.training.distil.losses import DistilOptions

    told, asked = (SILENT if listener is None else listener), stop or never
    how = DistilOptions(
        temperature, alpha, beta, reading, squared=squared, features=features, feature_weight=feature_weight
    )
    how.check()
    wanted = [features != "none", *[False] * (len(models) - 1)]  # the first teacher's features alone
    with threads_as_before():
        sources = [
            Source(each, views=teacher_views, features=f, tile_px=teacher_tile_px, margin_px=teacher_margin_px)
            for each, f in zip(models, wanted, strict=True)
        ]
        specs = [source.teacher.spec for source in sources]
        wanted_classes = None if classes is None else _classes(folders, classes, mpp=mpp)
        spec = with_fitting_sides(
            student_spec(student, specs[0], encoder, options or {}, name, taxonomy=wanted_classes)
        )
        read = DistilData.read(
            folders, taxonomy=spec.classes, teachers=specs, fraction=validation, seed=seed, mpp=mpp, listener=told
        )
        read.notes += untaught_classes(spec.classes, specs, read.training)
        say_unpaired(folders, told)
        say_notes([*read.training, *read.validation], told)
        planned = find_plan(student, plan)
        if planned is None and plan_options:
            raise InputError("--plan-option changes a plan, and there is none. Name one: --plan published.")
        planned = None if planned is None else changed_plan(planned, plan_options or {})
        side = crop_px or read.crop_px(spec, 256 if planned is None else planned.crop_px)
        settings = DistilSettings(way, share, side, how, seed, plan, planned)
        spec = with_class_weights_of_plan(spec, read.training)
        least_um = settings.crop_px * spec.mpp
        read.fill_up(least_um=least_um)
        say_notes(read.add_images(unlabelled, least_um=least_um, mpp=images_mpp), told)
        finest = min(spec.mpp, *(each.mpp for each in specs))
        read.add_slides(whole, mpp=finest, count=places, seed=seed, least_um=least_um)
        run = DistilRun(
            folder,
            sources,
            spec,
            None if encoder_weights is None else str(encoder_weights),
            read,
            settings,
            device=device,
            threads=threads,
            listener=told,
            command=command or called_as(distil, given),
        )
        told.say(f"{read.describe()}. The student learns from {run.lessons.describe()}.")
        for note in read.notes:
            told.say(note)
        answers = run.ask(kept, most_bytes=round(cache_limit_gb * 1e9), stop=asked)
        path = run.train(
            answers,
            steps=steps,
            batch=batch,
            validate_every=validate_every,
            learning_rate=learning_rate,
            stop=asked,
        )
        run.result(path).card(cost=cost, stop=asked)
    if restricted := not_for_commerce(run.spec):
        told.say(f"Not for commercial use, as what it learnt from is not: {', '.join(restricted)}.")
    return DistilledModel(folder)


def _classes(folders: Sequence[Path], classes: str | Sequence[str], *, mpp: float | None) -> Taxonomy:
    """The classes asked for.

    Raises:
        InputError: Those of the data, which has none or several lists.
        UnknownNameError: One word that is not a list.
    """
    from histocyte.core.errors import InputError
    from histocyte.datasets.own_classes import classes_to_learn

    of_data = isinstance(classes, str) and classes.strip().casefold() == "data"
    found = classes_to_learn(folders, classes=None if of_data else classes, mpp=mpp)
    if found is None:
        raise InputError(
            "--classes data: none of the labelled folders has classes. Name some (--classes a,b,c), or leave it out "
            "for the teacher's."
        )
    return found


def _check_alone() -> None:
    """Refuse to be started by torchrun: several processes would each do all of the work.

    Raises:
        InputError: That has happened.
    """
    from histocyte.core.errors import InputError

    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError("`histocyte distil` runs in one process, on one GPU. Start it without torchrun.")
