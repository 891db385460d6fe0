"""Whether an encoder's weights can be had now: here, or from the hub with this token, into this disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from histocyte.core.errors import HistocyteError, InputError, MissingExtraError
from histocyte.core.installation import how_to_add
from histocyte.encoders.catalog.card import EncoderCard
from histocyte.encoders.networks.timm_import import import_timm
from histocyte.encoders.weights.hub import cached, hub_files, is_pipeline, refusal, shards, weights_in

__all__ = ["Availability", "Step", "check"]

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at.

    Attributes:
        name: "weights here", "token", "access", "disk" or "fit".
        ok: None where it does not matter.
        note: What was found, and what to do where it is not ok.
    """

    name: str
    ok: bool | None
    note: str


@dataclass(frozen=True, slots=True)
class Availability:
    """What `check` found.

    Attributes:
        available: Training could start with these weights now.
        path: Where they lie on this machine; None where they would have to be downloaded.
        steps: In the order in which they were taken.
    """

    available: bool
    path: Path | None
    steps: tuple[Step, ...]

    @property
    def way_out(self) -> str:
        """What to do about the first thing that is not ok; empty where all is."""
        return next((step.note for step in self.steps if step.ok is False), "")


def check(card: EncoderCard, weights: str | Path | None = None) -> Availability:
    """Look for the weights of a card: given, in the hub's cache, then on the hub by asking for the file's head alone.

    Args:
        card: Card of the encoder.
        weights: A file or folder that is to be used in place of the hub.
    """
    try:
        path = _local(card, weights)
    except HistocyteError as error:
        return Availability(False, None, (Step("weights here", False, str(error)),))
    if path is not None:
        files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else shards(path)
        size = sum(p.stat().st_size for p in files)
        here = Step("weights here", True, f"{path} ({size / _MB:,.0f} MB)")
        fit = _fit(card, path)
        return Availability(fit.ok is not False, path, (here, fit))
    if not card.hub:
        note = f"Get '{card.file}' from {card.page or 'its authors'}, and give it by --weights."
        return Availability(False, None, (Step("weights here", False, note),))
    steps = (Step("weights here", None, "not in the cache on this machine"), *_on_hub(card))
    return Availability(all(s.ok is not False for s in steps), None, steps)


def _local(card: EncoderCard, weights: str | Path | None) -> Path | None:
    if weights is None:
        return cached(card)
    path = Path(weights)
    if not path.exists():
        raise InputError(f"There is no weights file or folder '{path}'.")
    if path.is_dir() and is_pipeline(path):
        return path
    path = weights_in(path) if path.is_dir() else path
    lacking = [p.name for p in shards(path) if not p.is_file()]
    if lacking:
        raise InputError(f"'{path}' lists shards that are not beside it: {', '.join(lacking)}.")
    return path


def _fit(card: EncoderCard, path: Path) -> Step:
    """Whether names and shapes are those of the encoder; only PyTorch can tell."""
    try:
        import_timm()
        count = _names_that_fit(card, path)
    except MissingExtraError:
        return Step("fit", None, f"not looked at: that needs {how_to_add('torch')}")
    except HistocyteError as error:
        return Step("fit", False, str(error))
    return Step("fit", True, f"{count} tensors, all of them this encoder's")


def _names_that_fit(card: EncoderCard, path: Path) -> int:
    """The number of tensors that the encoder takes from a file, which is not built in memory for it.

    Raises:
        ModelError: Missing, left over or of another shape; lists them.
        MissingExtraError: timm is not installed.
    """
    from histocyte.encoders.catalog.measure import build_empty
    from histocyte.encoders.weights.diffusion import diffusion_state
    from histocyte.encoders.weights.files import read_tensors
    from histocyte.encoders.weights.load import encoder_weights

    encoder = build_empty(card.part, card.options)
    if card.part == "diffusion":
        return len(diffusion_state(encoder, path))
    return len(encoder_weights(encoder, read_tensors(path), where=str(path)))


def _on_hub(card: EncoderCard) -> tuple[Step, ...]:
    from huggingface_hub import constants, get_token

    token = get_token()
    if token:
        holds = Step("token", True, "found")
    else:
        holds = Step("token", None, "none, and none needed" if not card.gated else "none; this encoder is gated")
    try:
        name, size = _head(card)
    except InputError as error:
        return holds, Step("access", False, str(error))
    if name.endswith(".index.json"):
        size = 4 * card.facts.parameters  # of the shards: float32 at the most
    access = Step("access", True, f"'{card.hub}' gives {name} ({size / _MB:,.0f} MB)")
    cache = Path(constants.HF_HUB_CACHE)
    existing = next(p for p in (cache, *cache.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    room = f"{free / _MB:,.0f} MB free in {cache}"
    if free < size:
        room = f"{room}, {size / _MB:,.0f} MB needed. Free some, or set HF_HOME to a folder on another disk."
    return holds, access, Step("disk", free >= size, room)


def _head(card: EncoderCard) -> tuple[str, int]:
    """Name and size in bytes of the weights file that the hub has, without the file.

    Raises:
        InputError: It does not give one; says why and what to do.
    """
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    for name in hub_files(card):
        url = huggingface_hub.hf_hub_url(card.hub, name, revision=card.revision)
        try:
            found = huggingface_hub.get_hf_file_metadata(url, timeout=20)
        except EntryNotFoundError:
            continue
        except Exception as error:  # noqa: BLE001 (whatever the network throws is the finding)
            raise InputError(refusal(error, card.hub, card.revision)) from error
        return name, int(found.size or 0)
    raise InputError(f"'{card.hub}' on the hub has none of {', '.join(hub_files(card))}.")
