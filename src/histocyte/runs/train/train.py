"""Training as one call, for Python and for `histocyte train`; the work itself is `runs.train.run`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from histocyte.core.listener import SILENT, Listener, Stop, never
from histocyte.runs.arguments import FRACTION, POSITIVE, SEED, Limit, PathLike, called_as, check_limits, paths

if TYPE_CHECKING:
    from histocyte.model.spec import ModelSpec
    from histocyte.runs.train.run import OnData
    from histocyte.training.precision import Precision

__all__ = ["LIMITS", "TrainingResult", "train"]

LIMITS: Mapping[str, Limit] = {
    **dict.fromkeys(("steps", "batch", "validate_every", "lora_rank", "cache_passes", "threads"), POSITIVE),
    "learning_rate": Limit(1e-7, 1, whole=False),
    "seed": SEED,
    "validation": FRACTION,
    "crop_px": Limit(32, 4096),
}
"""Limits of the numbers that `train` takes."""

_PRECISIONS: Mapping[str, Precision] = {"auto": "auto", "f32": "float32", "bf16": "bfloat16"}
"""Torch's names of those that `histocyte segment` knows too."""


_OF_THE_CALL = ("check_data", "on_data", "command", "listener", "stop")
"""What makes no difference to the model."""


class TrainingResult:
    """A training that is done.

    Args:
        folder: Folder of the run.

    Attributes:
        folder: Folder of the run: model, curves, log, recipe.
        model: The model file, as `histocyte.segment` and `histocyte.load` take it.
    """

    def __init__(self, folder: Path) -> None:
        from histocyte.runs.folder import RunFolder

        self.folder = folder
        self.model: Path = RunFolder(folder).model

    @property
    def spec(self) -> ModelSpec:
        """What the file says of the model: classes, resolution, history, licence."""
        from histocyte.model.checkpoint import read_spec

        return read_spec(self.model)

    @property
    def scores(self) -> dict[str, dict[str, float | None]]:
        """On the held-out images: data set → name of a score → its value, None where it is undefined."""
        return {
            source: {name: estimate["value"] for name, estimate in found["scores"].items()}
            for source, found in self.spec.metrics.items()
        }

    def __repr__(self) -> str:
        """The file and its panoptic quality on each set."""
        titles = {"bpq": "bPQ", "mean_dice": "Dice"}
        said = ", ".join(
            f"{title} {scores[key]:.3f} on {name}"
            for name, scores in self.scores.items()
            for key, title in titles.items()
            if scores.get(key) is not None
        )
        return f"<TrainingResult: {self.model}{f'; {said}' if said else ''}>"

    def _repr_html_(self) -> str:
        """The scores as a table, for notebooks."""
        from histocyte.core.notebook import html_table

        rows = [
            (source, name, "–" if value is None else f"{value:.3f}")
            for source, scores in self.scores.items()
            for name, value in scores.items()
        ]
        told = html_table("on held-out images", ("data set", "score", "value"), rows)
        return f"<p><b>{escape(self.spec.name)}</b>: {escape(str(self.model))}</p>{told}"


def train(
    data: PathLike | Iterable[PathLike],
    output: PathLike = "runs/model",
    *,
    recipe: PathLike | None = None,
    encoder: str | None = None,
    encoder_weights: PathLike | None = None,
    start_from: PathLike | None = None,
    adapt: str | None = None,
    lora_rank: int | None = None,
    lora_mlp: bool = False,
    cache: PathLike | None = None,
    cache_passes: int | None = None,
    delta: bool | None = None,
    plan: str | None = None,
    options: Mapping[str, Any] | None = None,
    plan_options: Mapping[str, Any] | None = None,
    steps: int | None = None,
    batch: int | None = None,
    learning_rate: float | None = None,
    loss_weights: Mapping[str, float] | None = None,
    seed: int | None = None,
    validation: float | None = None,
    fold: str | tuple[int, int] | None = None,
    held_out: PathLike | Iterable[PathLike] | None = None,
    leave_out: PathLike | Sequence[str] | None = None,
    crop_px: int | None = None,
    validate_every: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    precision: str | None = None,
    mpp: float | None = None,
    model_mpp: float | None = None,
    classes: str | Sequence[str] | None = None,
    name: str | None = None,
    check_data: bool = False,
    on_data: OnData | None = None,
    command: str | None = None,
    listener: Listener | None = None,
    stop: Stop | None = None,
) -> TrainingResult:
    """Train a model on labelled images, or go on with the training in a folder.

    Whole patients or slides are held out, and the weights that score best on them are kept. What is not given is the
    recipe's, its plan's, or as documented (docs/training.md); a training that was stopped goes on by the same call.

    >>> import histocyte as hc
    >>> result = hc.train("data/mine", "runs/mine", mpp=0.25, recipe="hover_small", steps=200)  # doctest: +SKIP
    >>> cells = hc.segment("slide.svs", model=result.model)                                     # doctest: +SKIP

    Args:
        data: One or more folders of labelled images: NAME.png (or .webp, .jpg, .tif) beside NAME.npz, or beside
            NAME_mask.png of tissue.
        output: Folder of the run.
        recipe: What to train, by name: hover_unet where None. Or the recipe.json of a run, which says everything but
            the data, weights that are files of your own, and the device.
        encoder: In place of the recipe's own, by name.
        encoder_weights: Pre-trained weights of the encoder: a file or folder, or a name that histocyte knows; at random
            where None.
        start_from: A model to go on from, by name or file; its network and classes stay.
        adapt: What of the encoder is trained: "full", "frozen", "last-N" or "lora".
        lora_rank: Rank of the adapters: 8 where None.
        lora_mlp: Adapters on the MLPs too, not on attention alone.
        cache: Folder to keep a frozen encoder's features in.
        cache_passes: How often the images' area is kept there: 8 where None.
        delta: Write the model without its encoder's published weights; so unless all of it is trained, if None.
        plan: How to train, by name: "ours" where None, or "published".
        options: Options of the recipe, by name, e.g. {"taps": [3, 6, 9, 12]} (`histocyte recipes show` lists them).
        plan_options: What is to be otherwise than the plan says, e.g. {"sampling": "area", "augmentation": "none"}.
        steps: Batches to train for: 4,000 where None, or the plan's.
        batch: Crops in a batch: as suits the machine where None, or the plan's.
        learning_rate: Its peak: 0.001 where None, or the plan's.
        loss_weights: Weights of loss terms in place of the recipe's.
        seed: Seed of everything random, the split included: 0 where None.
        validation: Share of the patients or slides held out: 0.2 where None.
        fold: Hold out one of several parts instead: its number and how many there are, (2, 5) or "2/5".
        held_out: Folders whose images are held out in place of a share.
        leave_out: Names of images, or a text file of them, that are neither learnt from nor chosen by.
        crop_px: Side of a crop at the model's resolution: 256 where None, or the plan's.
        validate_every: Steps between validations: 500 where None, or the plan's.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        threads: On a CPU; all there are where None.
        precision: To compute in: "f32", "bf16" or "auto", the quicker of them; the recipe's, or auto, where None.
        mpp: Resolution of images of a set that is not known by name, µm/px.
        model_mpp: Resolution that the model is to work at, µm/px, in place of the recipe's.
        classes: Cell classes to tell apart, by their names or by the name of a known list; those of the data if None.
        name: Name of the model: "my-model" where None.
        check_data: Look at the data alone, write data_check.json and data_check.png into the folder, and do not train.
        on_data: Called before the first step with the images and cells there are, and what will not be learnt.
        command: How the model's file says it was made; this call where None.
        listener: Is told how it goes on; nobody where None.
        stop: Asked between two steps whether to end there; never where None.

    Returns:
        The model file, its spec and its scores on the held-out images; with `check_data` the folder alone is there.

    Raises:
        InputError: Data, options or a folder that cannot be used or do not go together; says which and the way out.
        UnknownNameError: No such recipe, encoder, plan, model or list of classes.
        MissingExtraError: torch is not installed.
        TrainingError: The loss has left for good; the last good checkpoint is kept.
        BusyError: Another process trains in the folder.
        DiskError: The folder cannot be written.
        Stopped: `stop` said so; the same call goes on.
    """
    given = {key: value for key, value in locals().items() if key not in _OF_THE_CALL}
    from histocyte.core.errors import InputError, UnknownNameError, require, require_installed
    from histocyte.datasets.name_list import read_name_list
    from histocyte.files.writable import check_folder
    from histocyte.runs.labelled import check_labelled, check_readable, parse_fold

    require_installed("torch", extra="torch")
    folders, folder = paths(data), Path(output)
    kept = None if cache is None else Path(cache)
    for place in (folder, kept):
        check_folder(place)
    check_limits(given, LIMITS)
    if precision is not None and precision not in _PRECISIONS:
        raise UnknownNameError("precision", precision, _PRECISIONS)
    computed_in = None if precision is None else _PRECISIONS[precision]
    part = parse_fold(fold) if isinstance(fold, str) else fold
    if part is not None:
        part = parse_fold(f"{part[0]}/{part[1]}")
        if validation is not None:
            raise InputError("--fold and --validation both say what is held out: choose one of them.")
    held = [] if held_out is None else paths(held_out)
    if held and (part is not None or validation is not None):
        raise InputError("--held-out says what is held out: leave out --fold and --validation.")
    check_labelled([*folders, *held], mpp=mpp)
    file = Path(recipe) if recipe is not None and str(recipe).endswith(".json") else None
    left_out: tuple[str, ...] = ()
    if leave_out is not None and file is None:
        listed = isinstance(leave_out, Sequence) and not isinstance(leave_out, str)
        left_out = tuple(leave_out) if listed else read_name_list(Path(leave_out))  # type: ignore[arg-type]
    check_readable(file)
    require("torch", extra="torch")
    from histocyte.core.taxonomy import NO_CLASSES
    from histocyte.datasets.own_classes import classes_to_learn
    from histocyte.recipes.plans import OURS, find_plan
    from histocyte.runs.threads import threads_as_before
    from histocyte.runs.train.options import Adaptation, refuse_beside_a_recipe
    from histocyte.runs.train.resolved import ResolvedRecipe
    from histocyte.runs.train.run import TrainingRun
    from histocyte.runs.train.start import Start

    fitting = {"steps": steps, "batch": batch, "validate_every": validate_every, "learning_rate": learning_rate}
    weights, before = _text(encoder_weights), _text(start_from)
    wishes: dict[str, Any] = {}
    again: ResolvedRecipe | None = None
    if file is not None:
        others: dict[str, object] = {
            **{"--encoder": encoder, "--adapt": adapt, "--lora-rank": lora_rank, "--lora-mlp": lora_mlp},
            **{"--cache-passes": cache_passes, "--delta": delta or None, "--whole": delta is False, "--plan": plan},
            **{"--loss-weight": loss_weights or None, "--seed": seed, "--validation": validation, "--fold": fold},
            **{"--model-mpp": model_mpp, "--leave-out": leave_out, "--crop-px": crop_px, "--classes": classes},
            **{"--option": options or None, "--plan-option": plan_options or None},
            **{f"--{option.replace('_', '-')}": value for option, value in fitting.items()},
        }
        refuse_beside_a_recipe(file, others)
        again = ResolvedRecipe.read(file)
        beginning = Start.again(again, file, weights, before)
        ways = Adaptation.again(again, file, kept)
        seed, share, plan, name = again.training.seed, again.validation, again.plan, name or again.model.name
        part, left_out = again.fold, again.left_out
    else:
        if before is not None and classes is not None:
            raise InputError("--start-from goes on with the classes of that model. Leave out --classes.")
        taxonomy = None if before is not None else classes_to_learn(folders, classes=classes, mpp=mpp)
        beginning = Start.of(_text(recipe), encoder, weights, before, model_mpp, taxonomy or NO_CLASSES, options)
        chosen = find_plan(beginning.spec.recipe, OURS if plan is None else plan)
        how = adapt or (beginning.way_to_adapt if chosen is None else chosen.adapt)
        ways = Adaptation(how, lora_rank or 8, lora_mlp, kept, cache_passes or 8, delta)
        share, wishes = validation or 0.2, {**fitting, "loss_weights": loss_weights or {}}
    with threads_as_before():
        run = TrainingRun(
            folder,
            beginning,
            name=name or "my-model",
            ways=ways,
            seed=seed or 0,
            device=device,
            threads=threads,
            plan=plan or OURS,
            recipe=again,
            crop_px=crop_px,
            listener=SILENT if listener is None else listener,
            command=command or called_as(train, given),
            plan_options=None if again is not None else plan_options,
        )
        run.load_data(folders, share=share, mpp=mpp, fold=part, held_out=held, left_out=left_out)
        if check_data:
            run.look(on_data)
        else:
            run.fit(stop=stop or never, precision=computed_in, on_data=on_data, **wishes)
    return TrainingResult(folder)


def _text(given: PathLike | None) -> str | None:
    return None if given is None else str(given)
