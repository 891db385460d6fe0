"""Scoring a model on labelled images as one call, for Python and for `histocyte evaluate`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from histocyte.core.listener import SILENT, Listener, Stop, Stopped, never
from histocyte.core.names import counted
from histocyte.runs.arguments import PathLike, paths

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from histocyte.core.compared import ComparedClasses
    from histocyte.core.instances import Instances
    from histocyte.datasets.sample import Sample
    from histocyte.evaluation.image_scores import ImageScores
    from histocyte.evaluation.perturbed import Perturbation, PerturbedScores
    from histocyte.evaluation.regions import RegionReport
    from histocyte.evaluation.report import Report
    from histocyte.inference.load import Model
    from histocyte.inference.runtime import Precision
    from histocyte.model.history import History, Known
    from histocyte.runs.scoring.reports import ModelReport

__all__ = ["SPLITS", "Split", "evaluate"]

Split = Literal["unseen", "test", "all"]
SPLITS: tuple[Split, ...] = ("unseen", "test", "all")


def evaluate(
    model: PathLike | Model,
    data: PathLike | Iterable[PathLike],
    *,
    split: Split = "unseen",
    images: PathLike | Sequence[str] | None = None,
    mpp: float | None = None,
    runtime: str = "auto",
    device: str = "auto",
    precision: Precision | None = None,
    views: int = 1,
    tile_px: int | None = None,
    margin_px: int | None = None,
    classifier: PathLike | None = None,
    classes: str | Sequence[str] | None = None,
    perturb: bool = False,
    html: PathLike | None = None,
    listener: Listener | None = None,
    stop: Stop | None = None,
) -> ModelReport | RegionReport:
    """Score a model on labelled images, with 95 % intervals.

    >>> import histocyte as hc
    >>> report = hc.evaluate("hover-unet-consep", "data/monuseg")     # doctest: +SKIP
    >>> report.sources["monuseg"].scores["bpq"].value                 # doctest: +SKIP

    Args:
        model: Name of a bundled model, a model file, the folder of a training, or a loaded model.
        data: One or more folders of labelled images.
        split: "unseen": images that the model was not trained on. "test": of these, those that it was not chosen by
            either. "all": every image.
        images: Names of images, or a text file of them: these alone are scored.
        mpp: Resolution of images of a set that is not known by name, µm/px.
        runtime: As for `load`.
        device: As for `load`.
        precision: As for `load`.
        views: As for `load`.
        tile_px: As for `load`.
        margin_px: As for `load`.
        classifier: File of a classifier (`histocyte train classifier`) whose classes take the place of the model's.
        classes: The data's classes 1, 2, … or a list known by name, in place of what the folders say.
        perturb: Also score under other stains, blur, JPEG compression and a wrong resolution (`perturbed` of the
            report), in fourteen times the time.
        html: File to write a page with plots and the worst tiles to.
        listener: Is told how it goes on; nobody where None.
        stop: Asked after each image whether to end there; never where None.

    Returns:
        The report: `sources` with scores and intervals by data set, `table()`, `to_json()`, `write_csv(path)`; of a
        model of tissue a `RegionReport`.

    Raises:
        InputError: Data or options that cannot be used, or a model that has learnt from all of the images.
        UnknownNameError: No such model, split or runtime.
        MissingExtraError: What the runtime or the page needs is not installed.
        Stopped: `stop` said so.
    """
    from histocyte.core.errors import InputError, UnknownNameError
    from histocyte.core.taxonomies import asked_list
    from histocyte.datasets.name_list import named_samples, read_name_list
    from histocyte.datasets.own_classes import load_for_taxonomy, load_to_compare
    from histocyte.evaluation.page.gallery import Gallery
    from histocyte.evaluation.protocol import evaluate as score
    from histocyte.evaluation.summary import TOLD
    from histocyte.inference.tissues import tells_tissues, tissue_of
    from histocyte.model.history import known_by_standing
    from histocyte.pipeline import instances_on
    from histocyte.runs.labelled import are_of_tissue, check_labelled, say_notes, say_unpaired
    from histocyte.runs.scoring.reports import ModelReport

    folders, told, asked = paths(data), (SILENT if listener is None else listener), stop or never
    page = None if html is None else Path(html)
    if split not in SPLITS:
        raise UnknownNameError("split", str(split), SPLITS)
    if page is not None:
        from histocyte.pages.page import check_html

        check_html(page)
    check_labelled(folders, mpp=mpp, learn=False)
    listed, where = None, "The list of images"
    if images is not None and (isinstance(images, str) or not isinstance(images, Sequence)):
        listed, where = read_name_list(Path(images)), f"'{images}'"
    elif images is not None:
        listed = tuple(images)
    names = asked_list(classes).names if isinstance(classes, str) else classes
    loaded = _loaded(
        model,
        classifier=classifier,
        runtime=runtime,
        device=device,
        precision=precision,
        views=views,
        tile_px=tile_px,
        margin_px=margin_px,
    )
    compared: dict[str, ComparedClasses] = {}
    if loaded.spec.of_tissue:
        samples = load_for_taxonomy(folders, loaded.taxonomy, names=names, mpp=mpp)
    else:
        samples, compared = load_to_compare(folders, loaded.taxonomy, names=names, mpp=mpp)
    of_tissue = are_of_tissue(samples, loaded.spec)
    if loaded.classifier is not None:
        _refuse_strangers(compared)
    for source, tells in {s.source: s.centres for s in samples if s.centres}.items():
        told.say(f"{source} {TOLD[tells]}.")
    for source, both in compared.items():
        for sentence in both.sentences(source):
            told.say(sentence)
    say_unpaired(folders, told)
    say_notes(samples, told)
    if listed is not None:
        samples = named_samples(samples, listed, where=where)
    if loaded.spec.tissues and any(s.tissue for s in samples) and not tells_tissues(loaded):
        told.say(f"The model's head for tissues is not scored on {loaded.runtime.name}: --runtime torch runs it.")
    history = _history(loaded)
    known = history.know(samples, listener=told)
    chosen = samples if split == "all" else _unseen(samples, known, loaded, history, test=split == "test")
    left_out = len(samples) - len(chosen)
    facts: dict[str, Any] = {
        "model": loaded.spec.name,
        "model_sha256": loaded.sha256,
        "runtime": loaded.runtime.name,
        "precision": loaded.runtime.precision,
        "views": loaded.views,
        "tile_px": loaded.spec.tile_px,
        "margin_px": loaded.spec.margin_px,
        "split": split,
    }
    left_out_note = f"{_left_out(left_out, split)}{_how(samples, known, chosen, history)}" if left_out else ""
    doubts = (*history.doubts(loaded.spec.name), *history.parts_may_be_missed(samples, known))
    if of_tissue and perturb:
        raise InputError("--perturb changes images for models of cells; leave it out for a model of tissue.")
    if of_tissue:
        about = {
            **facts,
            "trained_on_and_left_out": left_out,
            "known_images": known_by_standing(samples, known),
            "notes": [note for sample in chosen for note in sample.notes],
        }
        return replace(
            _regions(loaded, chosen, page, facts, f"{split}; {_left_out(left_out, split)}", told, asked),
            about=about,
            title=loaded.title,
            left_out_note=left_out_note,
            doubts=doubts,
        )
    gallery = Gallery()
    with told.task("scoring", len(chosen), unit="images") as task:

        def on_found(sample: Sample, found: Instances, scores: ImageScores) -> None:
            if page is not None and scores.info.told == "outlines":
                gallery.add(sample.image, sample.labels, found, scores)
            task.advance()
            if asked():
                raise Stopped("The scores are still to be made")

        report = score(
            lambda image, mpp: instances_on(image, loaded, mpp=mpp),
            chosen,
            loaded.taxonomy.names,
            compared=compared,
            centres=True,
            tissue=(lambda image, mpp: tissue_of(image, loaded, mpp=mpp)) if tells_tissues(loaded) else None,
            tissues=loaded.spec.tissues,
            on_found=on_found,
        )
    perturbed = _perturbed(report, chosen, loaded, compared, told, asked) if perturb else ()
    if page is not None:
        _write_page(report, page, loaded, f"{split}; {_left_out(left_out, split)}", gallery, perturbed)
    if loaded.classifier is not None:
        facts |= {"classifier": loaded.classifier.where, "classifier_sha256": loaded.classifier.sha256}
    return ModelReport.of(
        report,
        title=loaded.title,
        facts=facts,
        left_out=left_out,
        left_out_note=left_out_note,
        known_images=known_by_standing(samples, known),
        doubts=doubts,
        notes=tuple(note for sample in chosen for note in sample.notes),
        perturbed=perturbed,
    )


def _perturbed(
    report: Report,
    samples: Sequence[Sample],
    model: Model,
    compared: Mapping[str, ComparedClasses],
    listener: Listener,
    stop: Stop,
) -> tuple[PerturbedScores, ...]:
    """Scores of the images as they are, and under each change.

    Raises:
        Stopped: Told to.
    """
    from histocyte.evaluation.perturbed import PERTURBATIONS, perturbed_scores
    from histocyte.evaluation.protocol import evaluate as score
    from histocyte.pipeline import instances_on

    rows = perturbed_scores(report)
    scored = [s for s in samples if s.separable or s.centres]
    with listener.task("scoring changed images", len(PERTURBATIONS) * len(scored), unit="images") as task:

        def on_image(_: ImageScores) -> None:
            task.advance()
            if stop():
                raise Stopped("The scores of changed images are still to be made")

        for change in PERTURBATIONS:

            def found(image: NDArray[np.uint8], mpp: float, change: Perturbation = change) -> Instances:
                return instances_on(change.change(image, mpp), model, mpp=mpp * change.mpp_factor)

            of_changed = score(found, scored, model.taxonomy.names, compared=compared, centres=True, on_image=on_image)
            rows += perturbed_scores(of_changed, change)
    return tuple(rows)


def _regions(
    model: Model,
    samples: Sequence[Sample],
    page: Path | None,
    facts: Mapping[str, Any],
    seen: str,
    listener: Listener,
    stop: Stop,
) -> RegionReport:
    """The scores of a model of tissue, and their page."""
    from histocyte.evaluation.page.regions import RegionGallery, write_region_page
    from histocyte.evaluation.regions import FoundRegions, RegionImage, evaluate_regions
    from histocyte.pipeline import regions_on

    gallery = RegionGallery()
    with listener.task("scoring", len(samples), unit="images") as task:

        def on_found(sample: Sample, found: FoundRegions, scores: RegionImage) -> None:
            if page is not None:
                gallery.add(sample, found, scores)
            task.advance()
            if stop():
                raise Stopped("The scores are still to be made")

        report = evaluate_regions(
            lambda image, mpp: regions_on(image, model, mpp=mpp),
            samples,
            model.taxonomy.names,
            background=model.spec.has_background,
            on_found=on_found,
        )
    if page is not None:
        shown = {"Model": model.spec.name, "SHA-256": model.sha256, "Runtime": model.runtime.name, "Images": seen}
        shown["Tiles"] = f"{model.spec.tile_px} px, margin {model.spec.margin_px} px"
        title = f"{model.title} on {', '.join(report.sources)}"
        write_region_page(report, page, model.taxonomy, title=title, facts=shown, gallery=gallery)
    return report


def _refuse_strangers(compared: Mapping[str, ComparedClasses]) -> None:
    """A classifier is scored for its classes and nothing else.

    Raises:
        InputError: A set has none of them.
    """
    from histocyte.core.errors import InputError

    for source, classes in compared.items():
        if not classes.classes:
            raise InputError(
                f"'{source}' has the classes {', '.join(classes.truth.names)}, and these are wanted: "
                f"{', '.join(classes.found.names)}. Name them alike in its classes.json, or pass --classes."
            )


def _loaded(model: PathLike | Model, *, classifier: PathLike | None, **how: Any) -> Model:
    """The model ready for use, with its classifier if one is given.

    Raises:
        InputError: Options that do not go together, or a classifier of another model.
    """
    from histocyte.core.errors import InputError
    from histocyte.inference.load import Model, load
    from histocyte.model.classifier import load_classifier

    other = None if classifier is None else load_classifier(Path(classifier))
    if isinstance(model, Model):
        tiles = {"tile_px": None, "margin_px": None}
        if how != {"runtime": "auto", "device": "auto", "precision": None, "views": 1, **tiles}:
            raise InputError(
                "A loaded model runs as it was loaded: pass runtime, device, precision, views and tiles to load."
            )
        loaded = model
    else:
        if other is not None and how["runtime"] == "auto":
            how["runtime"] = "torch"
        loaded = load(Path(model) if not isinstance(model, str) else model, **how)
    return loaded if other is None else loaded.classified_by(other)


def _write_page(
    report: Any, page: Path, model: Model, seen: str, gallery: Any, perturbed: Sequence[PerturbedScores]
) -> None:
    from histocyte.evaluation.page.html import write_html

    shown = {"Model": model.spec.name, "SHA-256": model.sha256, "Runtime": model.runtime.name, "Images": seen}
    shown["Tiles"] = f"{model.spec.tile_px} px, margin {model.spec.margin_px} px"
    if model.views > 1:
        shown["Views of each tile"] = str(model.views)
    if model.classifier is not None:
        shown |= {"Classifier": model.classifier.where, "SHA-256 of the classifier": model.classifier.sha256}
    if notes := report.truth_notes():
        shown["Truth"] = " ".join(notes)
    title = f"{model.title} on {', '.join(report.sources)}"
    write_html(report, page, title=title, facts=shown, gallery=gallery, perturbed=perturbed)


def _left_out(count: int, split: Split) -> str:
    """How many images were not scored, and why."""
    on = "or chosen on" if split == "test" else "on"
    return (
        f"{counted(count, f'image the model was trained {on} was', f'images the model was trained {on} were')} left out"
    )


def _how(samples: Sequence[Sample], known: Sequence[Known], chosen: Sequence[Sample], history: History) -> str:
    """What told that some images were trained on, where it was not their names."""
    scored, sets = {id(s) for s in chosen}, {entry.name for entry in history.sets}
    away = [(s, k) for s, k in zip(samples, known, strict=True) if id(s) not in scored]
    renamed = sum(k.by == "content" and s.source not in sets for s, k in away)
    counts = (renamed, sum(k.by == "group" for _, k in away))
    said = ("in a folder of another name, known by what they show", "of patients or slides that it was trained on")
    parts = [f"{n} of them {text}" for n, text in zip(counts, said, strict=True) if n]
    return f", {', '.join(parts)}" if parts else ""


def _history(model: Model) -> History:
    """History of a model, and of its classifier."""
    classifier = model.classifier
    return model.spec.history.after([] if classifier is None else [(classifier.where, classifier.spec.history)])


def _unseen(
    samples: Sequence[Sample], known: Sequence[Known], model: Model, history: History, *, test: bool = False
) -> list[Sample]:
    """Images that neither model nor classifier was trained on.

    Args:
        samples: All there are.
        known: What the two have had to do with each.
        model: With its classifier.
        history: History of both.
        test: Those alone that chose no weights.

    Raises:
        InputError: There are none.
    """
    from histocyte.core.errors import InputError
    from histocyte.model.learnt_set import Standing

    most = Standing.LEFT_OUT if test else Standing.HELD_OUT
    chosen = [s for s, k in zip(samples, known, strict=True) if k.standing <= most]
    if not chosen:
        name = f"'{model.spec.name}'{' or its classifier' if model.classifier else ''}"
        if test:
            raise InputError(
                f"Of these images ({len(samples):,}) {name} was trained or chosen on all: none was left out of its "
                "training (`histocyte train --leave-out`). Those it was not trained on: --split unseen."
            )
        how = _how(samples, known, (), history)
        raise InputError(
            f"{name} was trained on all of these images ({len(samples):,}){how}. Score them anyway: --split all."
        )
    return chosen
