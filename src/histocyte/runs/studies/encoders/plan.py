"""The encoder study's plan: which frozen encoders, tapped where, on which budget, and which images are held out.

After Vadori et al. 2025, Mind the Gap (arXiv 2502.02471): one decoder over encoders that stay as they are, so that what
differs is what their features know. All runs have the same decoder widths, steps, batches, crops and held-out images.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.geometry import check_mpp
from histocyte.core.listener import SILENT, Listener
from histocyte.core.names import counted
from histocyte.core.tiles import check_tiles
from histocyte.datasets.cards import DATASETS
from histocyte.datasets.sample import Sample
from histocyte.encoders.catalog.card import EncoderCard
from histocyte.model.history import History

__all__ = [
    "DECODERS",
    "TAPS",
    "Budget",
    "Choice",
    "Run",
    "parse_encoders",
    "parse_normalisations",
    "plan_runs",
    "pyramid_levels",
    "settings_of",
    "split",
]

STRIDE_PX = 32
"""The coarsest of encoders: the sides of crops and tiles are multiples of it."""
TAPS = ("shallow", "deep", "mixed")
RANDOM = "random"

Taps = Literal["shallow", "deep", "mixed"]


@dataclass(frozen=True, slots=True)
class Decoder:
    """Sizes of the one decoder.

    Attributes:
        widths: Channels after each step up, at the strides 16, 8, 4, 2 and 1.
        convolutions: In each step.
        features: Channels before the heads.
        head_widths: Channels of each head by map.
    """

    widths: tuple[int, ...]
    convolutions: int
    features: int
    head_widths: Mapping[str, int]


DECODERS: Mapping[str, Decoder] = {
    "full": Decoder((512, 256, 128, 64, 32), 2, 256, {"distance": 4}),
    "small": Decoder((64, 32, 16, 16, 16), 1, 16, {"semantic": 8, "distance": 8, "types": 8}),
}
"""full: as CISCA has it (arXiv 2409.04175), for a GPU. small: about a hundredth of its work, for a laptop."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An encoder and its weights.

    Attributes:
        name: As `encoders.catalog.find_card` knows it.
        weights: A file or folder; the card's own where None.
        random: No pre-trained weights at all: a control, what the decoder learns over features that know nothing.
        normalisation: Mean and std of images scaled to 0–1 that these weights expect, where it is not the card's.
    """

    name: str
    weights: Path | None = None
    random: bool = False
    normalisation: tuple[float, float] | None = None

    @property
    def label(self) -> str:
        """What tables call it."""
        if self.random:
            return f"{self.name} (random)"
        return self.name if self.weights is None else f"{self.name} ({self.weights.stem})"

    @property
    def argument(self) -> str:
        """As it is typed."""
        if self.random:
            return f"{self.name}={RANDOM}"
        return self.name if self.weights is None else f"{self.name}={self.weights}"


@dataclass(frozen=True, slots=True)
class Budget:
    """What every run is given; all of it is the same for each.

    Attributes:
        steps: Batches to train the decoder for.
        batch: Crops in a batch.
        crops: Whose features are kept and drawn from, at least.
        crop_px: Side of a crop.
        mpp: Resolution at which everything is seen, µm/px.
        tile_px: Side of the squares that networks are given of a held-out image.
        margin_px: Their margin.
        decoder: One of `DECODERS`.
        learning_rate: Learning rate of the decoder.
        held_out: Share of the patients or slides of each data set that is held out.
        split_seed: Decides which, and the crops.
        classes: Names of the cell classes; none for outlines alone.
    """

    steps: int = 2000
    batch: int = 8
    crops: int = 512
    crop_px: int = 256
    mpp: float = 0.25
    tile_px: int = 512
    margin_px: int = 32
    decoder: str = "full"
    learning_rate: float = 1e-3
    held_out: float = 0.2
    split_seed: int = 0
    classes: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse what cannot be run.

        Raises:
            UnknownNameError: No such decoder.
            InputError: A crop or tiles that not every encoder takes, or an impossible resolution.
        """
        check_mpp(self.mpp, what="the encoders")
        if self.decoder not in DECODERS:
            raise UnknownNameError("decoder", self.decoder, DECODERS)
        if self.crop_px % STRIDE_PX:
            raise InputError(f"Crops of {self.crop_px} px do not fit encoders of stride 32; take a multiple of 32.")
        tiles = {"tile_px": self.tile_px, "margin_px": self.margin_px}
        check_tiles(f"encoders of stride {STRIDE_PX}", **tiles, multiple=STRIDE_PX)


@dataclass(frozen=True, slots=True)
class Run:
    """One training: an encoder, its taps, a seed."""

    choice: Choice
    taps: str
    seed: int

    @property
    def key(self) -> str:
        """Name of its folder."""
        return f"{self.features_key}-seed{self.seed}"

    @property
    def features_key(self) -> str:
        """Key of what runs of several seeds share."""
        plain = re.sub(r"[^A-Za-z0-9.+_-]+", "-", self.choice.label).strip("-.")
        # Two labels may look alike once their special characters are gone.
        mark = hashlib.sha256(self.choice.label.encode()).hexdigest()[:6]
        return f"{plain}-{mark}-{self.taps}"


def parse_encoders(
    texts: Sequence[str], normalisations: Mapping[str, tuple[float, float]] | None = None
) -> tuple[Choice, ...]:
    """Encoders as typed: NAME, NAME=FILE or NAME=random, one or more in a text with commas between.

    Args:
        texts: As typed.
        normalisations: Mean and std by NAME (`parse_normalisations`); for its random control too.

    Raises:
        InputError: An empty name, a file that is not there, the same one twice, or a normalisation for none of them.
    """
    choices: list[Choice] = []
    given = dict(normalisations or {})
    for part in ",".join(texts).split(","):
        name, equals, where = (piece.strip() for piece in part.partition("="))
        if not name or (equals and not where):
            raise InputError(f"'{part}' names no encoder. Write NAME, NAME=WEIGHTS_FILE or NAME={RANDOM}.")
        weights = Path(where) if where and where != RANDOM else None
        if weights is not None and not weights.exists():
            raise InputError(f"There is no weights file or folder '{weights}' for '{name}'.")
        choice = Choice(name, weights, where == RANDOM, given.get(name))
        if choice.label in [c.label for c in choices]:
            raise InputError(f"The encoder '{choice.label}' is named twice; files need different names.")
        choices.append(choice)
    stray = sorted(given.keys() - {c.name for c in choices})
    if stray:
        raise InputError(f"--normalise names no encoder of this study: {', '.join(stray)}.")
    return tuple(choices)


def parse_normalisations(texts: Sequence[str]) -> dict[str, tuple[float, float]]:
    """NAME=MEAN/STD → mean and std by name.

    Raises:
        InputError: Not of this form, or a std that is not positive.

    >>> parse_normalisations(["mobilenetv2=0.5/0.5"])
    {'mobilenetv2': (0.5, 0.5)}
    """
    found = {}
    for text in texts:
        name, _, values = text.partition("=")
        mean, _, std = values.partition("/")
        try:
            found[name.strip()] = (float(mean), float(std))
        except ValueError as error:
            raise InputError(f"'{text}' is no normalisation. Write NAME=MEAN/STD, e.g. mobilenetv2=0.5/0.5.") from error
        if not found[name.strip()][1] > 0:
            raise InputError(f"'{text}': the standard deviation must be positive.")
    return found


def plan_runs(choices: Sequence[Choice], taps: Sequence[str], seeds: Sequence[int]) -> list[Run]:
    """All runs, those that share features one after the other.

    Raises:
        UnknownNameError: No such choice of taps.
        InputError: No seeds, or one twice.
    """
    for preset in taps:
        if preset not in TAPS:
            raise UnknownNameError("choice of taps", preset, TAPS)
    if not seeds or len(set(seeds)) != len(seeds) or len(set(taps)) != len(taps) or not taps:
        raise InputError("A study needs at least one choice of taps and one seed, and none of them twice.")
    return [Run(choice, preset, seed) for choice in choices for preset in taps for seed in seeds]


def pyramid_levels(card: EncoderCard, taps: str) -> tuple[int, ...]:
    """Feature levels of a CNN or a hierarchical transformer that are used, counted from the finest (0).

    It has no blocks to choose from as a vision transformer has, so the choice is which end of its pyramid is left out:
    "shallow" goes without the coarsest level, "deep" without the finest, "mixed" has them all.

    Raises:
        InputError: Fewer than three levels.
    """
    levels = tuple(int(d) for d in card.options.get("depths", range(4)))
    if len(levels) < 3:
        raise InputError(
            f"'{card.name}' has {counted(len(levels), 'feature level')}; to choose among them it needs 3 or more."
        )
    return {"shallow": levels[:-1], "deep": levels[1:], "mixed": levels}[taps]


def split(
    samples: Sequence[Sample], budget: Budget, *, listener: Listener = SILENT
) -> tuple[list[Sample], list[Sample]]:
    """Samples to train on, and those held out: whole patients or slides of each set, and no copy of these.

    Held-out images whose truth does not part touching nuclei are left out, since they cannot be scored.

    Raises:
        InputError: A set that is never to be trained or selected on, one that cannot be split, or nothing to score.
    """
    for source in {s.source for s in samples}:
        card = DATASETS.get(source)
        if card is not None and card.external:
            raise InputError(f"'{source}' is an external test set, never trained or selected on. Leave it out.")
    parts = History().split(samples, fraction=budget.held_out, seed=budget.split_seed, listener=listener)
    training, held_out, *_ = parts
    scored = [s for s in held_out if s.separable]
    if not scored:
        raise InputError("The truth of no held-out image parts touching nuclei, so nothing can be scored.")
    return training, scored


def settings_of(budget: Budget, training: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, Any]:
    """What must be the same for results to stand in one table."""
    return {
        **asdict(budget),
        "training_images": len(training),
        "held_out_images": {
            source: sorted(s.name for s in held_out if s.source == source)
            for source in sorted({s.source for s in held_out})
        },
        "data_sha256": _data_sha256([*training, *held_out]),
    }


def _data_sha256(samples: Sequence[Sample]) -> str:
    digest = hashlib.sha256()
    for sample in sorted(samples, key=lambda s: (s.source, s.name)):
        digest.update(f"{sample.source} {sample.name} {sample.group} {sample.mpp:g}\n".encode())
        digest.update(np.ascontiguousarray(sample.image).data)
        digest.update(np.ascontiguousarray(sample.instances).data)
        digest.update(b"" if sample.types is None else sample.types.tobytes())
    return digest.hexdigest()
