"""The ways in which published figures were made: several trainings on official parts of a set, and their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.listener import SILENT, Listener, Stop
from histocyte.runs.arguments import PathLike

if TYPE_CHECKING:
    from histocyte.evaluation.folds import Folds

__all__ = ["PROTOCOLS", "Parts", "train_protocol"]


class Parts(NamedTuple):
    """Official parts of a set in one training."""

    learn: str
    choose: str
    test: str


PROTOCOLS: Mapping[str, Sequence[Parts]] = {
    "pannuke": (
        Parts("fold1", "fold2", "fold3"),
        Parts("fold2", "fold1", "fold3"),
        Parts("fold3", "fold2", "fold1"),
    ),
}
"""By name; PanNuke's as its authors and CellViT have it (Gamper et al. 2020; Hörst et al. 2024)."""


def train_protocol(
    protocol: str,
    data: PathLike,
    output: PathLike,
    *,
    listener: Listener | None = None,
    stop: Stop | None = None,
    device: str = "auto",
    **given: Any,
) -> Folds:
    """Train once for each of a protocol's splits, score each model on the part that is kept for it, and average.

    Each split has a folder `split1`, … in the output, with its run and the report `fold3.json`; `report.json` beside
    them has the means. A finished split is not done again.

    Args:
        protocol: "pannuke".
        data: A set that `histocyte data import` made, with the protocol's parts.
        output: Folder of the runs.
        listener: Is told how it goes on; nobody where None.
        stop: Asked between two steps whether to end there.
        device: To train and to score on.
        given: Further arguments of `train`.

    Returns:
        The scores of each split and their means over splits, with deviations (`evaluation.folds`).

    Raises:
        UnknownNameError: No such protocol.
        InputError: The set lacks a part, or what `train` refuses.
        Stopped: `stop` said so; the same call goes on.
    """
    from histocyte.datasets.folder import labelled_card
    from histocyte.evaluation.folds import merge_folds
    from histocyte.evaluation.image_json import read_report
    from histocyte.runs.scoring.evaluate import evaluate
    from histocyte.runs.train.train import train

    if protocol not in PROTOCOLS:
        raise UnknownNameError("protocol", protocol, PROTOCOLS)
    if fixed := [name for name in ("validation", "fold", "held_out") if given.get(name) is not None]:
        raise InputError(f"The protocol '{protocol}' says what is held out: leave out --{fixed[0].replace('_', '-')}.")
    given.pop("held_out", None)
    splits = PROTOCOLS[protocol]
    folder, told = Path(output), (SILENT if listener is None else listener)
    labelled_card(Path(f"{data}@{','.join(sorted({part for split in splits for part in split}))}"))
    _same_settings(folder / "protocol.json", {"protocol": protocol, "data": str(data), **given})
    reports = []
    for number, parts in enumerate(splits, 1):
        run = folder / f"split{number}"
        report = run / f"{parts.test}.json"
        reports.append(report)
        if report.is_file():
            continue
        told.say(f"Split {number} of {len(splits)}: learns from {parts.learn}, chooses by {parts.choose}.")
        done = train(
            [f"{data}@{parts.learn}"],
            run,
            held_out=[f"{data}@{parts.choose}"],
            device=device,
            listener=listener,
            stop=stop,
            **given,
        )
        found = evaluate(done.model, [f"{data}@{parts.test}"], split="test", device=device, listener=told, stop=stop)
        _write_json(report, found.to_json())
    result = merge_folds([read_report(path) for path in reports])
    _write_json(folder / "report.json", {"protocol": protocol, **result.to_json()})
    return result


def _same_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Trainings with other settings are not to be averaged with those that are there.

    Raises:
        InputError: Those of an earlier call differ.
    """
    import json

    stated = {key: value for key, value in settings.items() if key != "command" and value not in (None, {}, ())}
    stated = json.loads(json.dumps(stated, default=str))
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        if other := sorted(key for key in {*stated, *before} if stated.get(key) != before.get(key)):
            raise InputError(
                f"'{path.parent}' was begun with another {other[0]} ({before.get(other[0])}). Name another folder."
            )
    else:
        _write_json(path, stated)


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    import orjson

    from histocyte.files.atomic import write_atomically

    with write_atomically(path) as file:
        file.write(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
