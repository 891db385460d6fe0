"""The token study: what the vectors that an encoder gives each nucleus say of its class, and what else they give away.

As CellViT looks at its tokens (Hörst et al. 2024, doi 10.1016/j.media.2024.103143, section 5.4): vectors of true
nuclei, a linear probe of their classes, and a UMAP picture. Beside them stand two checks (does a vector give away its
place in the tile, or its image?) and two controls (the same network with random weights, and the nucleus' mean colour).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError, require
from histocyte.core.listener import Stop, Stopped, never
from histocyte.core.version import __version__
from histocyte.datasets.sample import Sample
from histocyte.runs.folder import RunFolder
from histocyte.runs.studies.tokens.probe import (
    ClassScores,
    ImageCheck,
    PlaceCheck,
    class_probe,
    image_check,
    place_check,
)
from histocyte.runs.studies.tokens.source import TokenSource
from histocyte.runs.studies.tokens.table import TokenTable, embed, tokens_key

__all__ = ["MapOfTokens", "TokenStudy", "Variant", "run_token_study", "umap_of"]

UMAP_NUCLEI = 4000
"""In the picture, at most: more only cover one another."""
UMAP_COMPONENTS = 50
"""Principal components that neighbours are looked for in."""

Step = Callable[[str, int, int], None]
"""What is done, how much of it, of how much."""


@dataclass(frozen=True)
class Variant:
    """One kind of vector and all that was measured on it."""

    name: str
    width: int
    classes: ClassScores
    place: PlaceCheck
    image: ImageCheck | None


@dataclass(frozen=True)
class MapOfTokens:
    """A picture of the vectors in the plane.

    Attributes:
        xy: (M, 2) place of each nucleus.
        types: (M,) class from 1, 0 unknown.
        image: (M,) number of its image.
    """

    xy: NDArray[np.float64]
    types: NDArray[np.uint8]
    image: NDArray[np.int64]


@dataclass(frozen=True)
class TokenStudy:
    """All results.

    Attributes:
        title: The encoder.
        class_names: The cell classes.
        image_names: Names of all images, those learnt from first.
        held_out: Names of those scored.
        seen: Images that the encoder's weights were trained on with their labels, as far as its file says.
        variants: The encoder's vectors first, then the controls.
        picture: Picture of the encoder's vectors; None where not asked for.
        facts: How it was done, for people and for the record.
    """

    title: str
    class_names: tuple[str, ...]
    image_names: tuple[str, ...]
    held_out: tuple[str, ...]
    seen: int
    variants: tuple[Variant, ...]
    picture: MapOfTokens | None
    facts: dict[str, Any]


def run_token_study(
    source: TokenSource,
    samples: Sequence[Sample],
    folder: Path,
    *,
    class_names: Sequence[str],
    device: str = "auto",
    replicates: int = 1000,
    seed: int = 0,
    picture: bool = True,
    step: Step | None = None,
    stop: Stop = never,
) -> TokenStudy:
    """Embed, probe, check, control.

    Args:
        source: The encoder.
        samples: Labelled images; those without classes, or whose truth does not part touching nuclei, are left out.
        folder: Folder of the study; vectors are kept in its `tokens`.
        class_names: The classes that the samples' types are of.
        device: For the encoder.
        replicates: Replicates of the bootstrap over patients or slides.
        seed: Seed of the split, the bootstrap, the shuffles, the random weights and the picture.
        picture: Whether to make the UMAP picture.
        step: Called as work goes on.
        stop: Looked at after each of its calls.

    Raises:
        InputError: No image with classes, or too few to hold any out.
        MissingExtraError: Something of the extra "study" is not installed.
        BusyError: Another process is at work in the folder.
        Stopped: Told to; vectors so far are in the folder.
    """
    require("sklearn", extra="study")
    if picture:
        _umap_module()

    def say(what: str, done: int, total: int) -> None:
        if step is not None:
            step(what, done, total)
        if stop():
            raise Stopped(f"{done:,} of {total:,} {what} are done in '{folder}'")

    usable = [s for s in samples if s.separable and s.types is not None and s.instances.any()]
    if not usable:
        raise InputError(
            "None of these images has nuclei with classes; the token study needs a set that has, e.g. CoNSeP."
        )
    with RunFolder(folder).held():
        return _study(source, usable, class_names, folder, device, replicates, seed, picture=picture, say=say)


def _study(
    source: TokenSource,
    usable: Sequence[Sample],
    names: Sequence[str],
    folder: Path,
    device: str,
    replicates: int,
    seed: int,
    *,
    picture: bool,
    say: Step,
) -> TokenStudy:
    parts = source.history.split(usable, seed=seed)
    learnt, scored = parts.training, [*parts.validation, *parts.left_out]
    images = [*learnt, *scored]
    sides = np.arange(len(images)) < len(learnt)
    variants: list[Variant] = []
    tables: list[TokenTable] = []
    for kind, one in (("tokens", source), ("random weights", source.random_copy(seed))):
        done = iter(range(1, len(images) + 1))
        say(f"images, {kind}", 0, len(images))
        table = embed(
            one,
            images,
            folder / "tokens",
            device=device,
            on_image=lambda _, kind=kind, done=done: say(f"images, {kind}", next(done), len(images)),  # type: ignore[misc]
        )
        tables.append(table)
        variants.append(_measure(kind, table, sides, names, replicates, seed, say))
    colour = tables[0].with_tokens(tables[0].colour)
    variants.append(_measure("colour alone", colour, sides, names, replicates, seed, say))
    say("picture", 0, 1)
    shown = umap_of(tables[0], seed=seed) if picture else None
    say("picture", 1, 1)
    return TokenStudy(
        source.name,
        tuple(names),
        tables[0].names,
        tables[0].names[len(learnt) :],
        len(images) - len(source.history.unseen(images)),
        tuple(variants),
        shown,
        {
            "histocyte": __version__,
            "encoder": source.part.model_dump(),
            "tokens_key": tokens_key(source),
            "mpp": source.mpp,
            "tile_px": source.tile_px,
            "margin_px": source.margin_px,
            "replicates": replicates,
            "seed": seed,
            "images": len(images),
            "nuclei": len(tables[0]),
        },
    )


def _measure(
    name: str,
    table: TokenTable,
    learnt: NDArray[np.bool_],
    class_names: Sequence[str],
    replicates: int,
    seed: int,
    say: Step,
) -> Variant:
    checks = f"probes, {name}"
    say(checks, 0, 3)
    classes = class_probe(table, learnt, class_names, replicates=replicates, seed=seed)
    say(checks, 1, 3)
    place = place_check(table, learnt, replicates=replicates, seed=seed)
    say(checks, 2, 3)
    image = image_check(table, replicates=replicates, seed=seed)
    say(checks, 3, 3)
    return Variant(name, table.tokens.shape[1], classes, place, image)


def umap_of(table: TokenTable, *, seed: int = 0) -> MapOfTokens:
    """A UMAP picture (McInnes et al. 2018, arXiv 1802.03426) of standardised vectors, the same for the same seed.

    Distances in it mean little beyond who is near to whom.

    Raises:
        MissingExtraError: umap-learn is not installed.
    """
    umap = _umap_module()
    decomposition = require("sklearn.decomposition", extra="study")
    preprocessing = require("sklearn.preprocessing", extra="study")
    rng = np.random.default_rng(seed)
    rows = np.arange(len(table))
    if len(rows) > UMAP_NUCLEI:
        rows = np.sort(rng.choice(rows, UMAP_NUCLEI, replace=False))
    x = preprocessing.StandardScaler().fit_transform(table.tokens[rows].astype(np.float64))
    most = min(UMAP_COMPONENTS, *x.shape)
    x = decomposition.PCA(most, svd_solver="full").fit_transform(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a fixed seed runs on one core, and numba's news
        xy = umap.UMAP(n_neighbors=min(15, len(rows) - 1), min_dist=0.1, random_state=seed, n_jobs=1).fit_transform(x)
    return MapOfTokens(np.asarray(xy, np.float64), table.types[rows], table.image[rows])


def _umap_module() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an ImportWarning about a part that needs TensorFlow
        return require("umap.umap_", extra="study")
