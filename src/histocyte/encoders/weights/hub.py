"""Weights files: in a local file or folder, in the hub's cache, or from the hub with the user's own token.

Nothing here imports torch, and huggingface_hub only when the hub is asked.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from histocyte.core.digest import file_sha256
from histocyte.core.errors import InputError, ModelError, reason_of
from histocyte.encoders.catalog.card import EncoderCard
from histocyte.files.kind import but_is

__all__ = [
    "WEIGHTS_FILES",
    "cached",
    "download",
    "find_weights",
    "hub_files",
    "is_pipeline",
    "read_json",
    "split_revision",
]

WEIGHTS_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""What the hub's repositories call their weights, in the order in which they are tried."""

_BARE_NAME = re.compile(r"[\w.-][\w. -]{0,200}")
"""A file's name, which leads nowhere else."""
_OFFLINE = "Without a network, download it elsewhere and give the file or folder itself."


def find_weights(where: str | Path, *, revision: str = "main") -> Path:
    """The local path of weights, downloaded if need be.

    Args:
        where: A file; a folder in the hub's layout, or one repository of the hub's cache; the name of a card; or
            "hub:owner/name", with "@revision" behind it if wanted.
        revision: Revision of a repository on the hub, where `where` names none.

    Returns:
        A weights file, or the index.json of a sharded one with its shards beside it; of a diffusion model in
        diffusers' layout the folder itself.

    Raises:
        InputError: There is none, or the hub does not give it; says what to do.
        ModelError: Its hash is another than the card's.
    """
    path = Path(where)
    if path.is_file():
        return path
    if path.is_dir():
        return path if is_pipeline(path) else weights_in(path)
    from histocyte.encoders.catalog.find import CARDS, find_card

    text, named = split_revision(str(where))
    if text.lower() in CARDS:
        return download(find_card(text))
    if text.startswith(("hub:", "hf-hub:")):
        return download(find_card(text, revision=named or revision), revision=named)
    raise InputError(
        f"There is no weights file or folder '{where}'. From the hub they come by a card's name "
        "(histocyte encoders list) or as 'hub:owner/name'."
    )


def is_pipeline(folder: Path) -> bool:
    """Whether a folder is a diffusion model in diffusers' layout, its networks in folders of their own."""
    return (folder / "unet").is_dir()


def split_revision(name: str) -> tuple[str, str | None]:
    """Both parts of "owner/name@revision"; None where there is no revision."""
    text, _, revision = name.partition("@")
    return text, revision or None


def weights_in(folder: Path) -> Path:
    """The weights in a folder: the hub's own names first, else the only weights file there is.

    Raises:
        InputError: None, or several and none with the hub's name.
    """
    snapshots = folder / "snapshots"
    if snapshots.is_dir():
        taken = (folder / "refs" / "main").read_text().strip() if (folder / "refs" / "main").is_file() else ""
        found = sorted(p for p in snapshots.iterdir() if p.is_dir())
        chosen = [p for p in found if p.name == taken] or found
        if len(chosen) != 1:
            raise InputError(f"'{folder}' holds {len(found)} snapshots; give one of the folders in '{snapshots}'.")
        folder = chosen[0]
    for name in WEIGHTS_FILES:
        if (folder / name).is_file():
            return folder / name
    others = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".pth", ".pt", ".bin"))
    if len(others) == 1:
        return others[0]
    listing = ", ".join(p.name for p in others) or "none"
    raise InputError(f"'{folder}' has no {' or '.join(WEIGHTS_FILES[::2])}; weights files there: {listing}.")


def hub_files(card: EncoderCard) -> tuple[str, ...]:
    """The files to try for a card, its own first."""
    return (card.file, *(name for name in WEIGHTS_FILES if name != card.file))


def cached(card: EncoderCard, *, revision: str | None = None) -> Path | None:
    """The weights where the hub's cache on this machine has them whole; nothing is asked over the network."""
    if not card.hub:
        return None
    from huggingface_hub import try_to_load_from_cache

    for name in hub_files(card):
        found = try_to_load_from_cache(card.hub, name, revision=revision or card.revision)
        if isinstance(found, str) and all(p.is_file() for p in shards(Path(found))):
            return Path(found)
    return None


def shards(path: Path) -> list[Path]:
    """The files that hold the tensors: of an index.json those it lists, else the file itself."""
    if not path.name.endswith(".index.json"):
        return [path]
    try:
        listed = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"'{path}' is not an index of sharded weights ({reason_of(error)}).") from error
    if elsewhere := [name for name in listed if not isinstance(name, str) or not _BARE_NAME.fullmatch(name)]:
        raise ModelError(f"'{path}' lists shards that are no files beside it: {elsewhere[0]!r:.80}.")
    return [path.parent / name for name in sorted(listed)]


def download(card: EncoderCard, *, revision: str | None = None) -> Path:
    """The weights of a card from the hub, or from its cache on this machine.

    Raises:
        InputError: They are not on the hub, or cannot be had; says why and what to do.
        ModelError: Their hash is another than the card's.
    """
    if not card.hub:
        raise InputError(
            f"The weights of '{card.name}' are not on the hub: get them from {card.page}, and give the file."
        )
    at = revision or card.revision
    path = cached(card, revision=at)
    if path is None:
        for name in hub_files(card):
            path = fetch(card.hub, name, revision=at)
            if path is not None:
                break
    if path is None:
        raise InputError(f"'{card.hub}' on the hub has none of {', '.join(hub_files(card))} at revision '{at}'.")
    for shard in shards(path):
        if not shard.is_file() and fetch(card.hub, shard.name, revision=at) is None:
            raise InputError(f"'{card.hub}' on the hub lacks '{shard.name}', which its index lists.")
    if card.sha256:
        _check_hash(path, card.sha256)
    return path


def fetch(repository: str, name: str, *, revision: str) -> Path | None:
    """One file from the hub; None where the repository has none of this name.

    Raises:
        InputError: The hub does not give it; says why and what to do.
    """
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(huggingface_hub.hf_hub_download(repository, name, revision=revision))
    except LocalEntryNotFoundError as error:
        raise InputError(refusal(error, repository, revision)) from error
    except EntryNotFoundError:
        return None
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(refusal(error, repository, revision)) from error


def refusal(error: Exception, repository: str, revision: str) -> str:
    """In a sentence why the hub did not give something, and the way out."""
    from huggingface_hub import errors, get_token

    if isinstance(error, errors.GatedRepoError):
        page = f"Accept its conditions on the page of '{repository}' on the Hugging Face hub"
        if get_token():
            return f"'{repository}' is gated, and your token has no access (yet). {page}; some are granted by hand."
        return f"'{repository}' is gated, and there is no token. {page}, then run: hf auth login (or set HF_TOKEN)."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"'{repository}' on the hub has no revision '{revision}'."
    if isinstance(error, errors.RepositoryNotFoundError):
        who = "that your token may see" if get_token() else "that is public (a private one needs: hf auth login)"
        return f"The hub has no repository '{repository}' {who}."
    if isinstance(error, errors.HfHubHTTPError):
        return f"The hub refuses '{repository}': {str(error).splitlines()[0]}"
    if isinstance(error, errors.HFValidationError):
        return f"There is no folder '{repository}', and repositories on the hub are called 'owner/name'."
    return f"The hub cannot be reached for '{repository}', and it is not in the cache on this machine. {_OFFLINE}"


def read_json(where: str, name: str, *, revision: str = "main") -> dict[str, Any] | None:
    """A JSON file of a folder, or of a repository on the hub; None where it has none.

    Raises:
        InputError: The hub does not give it, or it is not a JSON object.
    """
    folder = Path(where)
    path: Path | None = folder / name if folder.is_dir() else fetch(where, name, revision=revision)
    if path is None or not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"'{name}' of '{where}' is not JSON{but_is(path)} ({reason_of(error)}).") from error
    if not isinstance(found, dict):
        raise InputError(f"'{name}' of '{where}' is not a JSON object.")
    return found


def _check_hash(path: Path, wanted: str) -> None:
    found = file_sha256(path)
    if found != wanted:
        raise ModelError(f"'{path}' is another file than the card's: its SHA-256 is {found}, not {wanted}.")
