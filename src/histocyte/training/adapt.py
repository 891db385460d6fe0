"""How much of a pre-trained encoder is trained: all of it, none, its last blocks, or low-rank adapters beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from histocyte.core.errors import InputError
from histocyte.core.names import counted
from histocyte.encoders.weights.fingerprint import encoder_sha256
from histocyte.model.adapters import ATTENTION, DOWN, UP, add_adapters
from histocyte.model.segmenter import Segmenter

__all__ = ["Fixed", "adapt", "check_adaptation", "encoder_blocks"]

_HOW = re.compile(r"full|frozen|lora|last-([1-9]\d*)")
_LISTS = ("blocks", "stages", "layers", "layer", "resblocks")
"""What networks call the list of their blocks."""
_NUMBERED = re.compile(r"(layer|layers|stage|stages|block|blocks)_?\d+")
"""What those call them that keep no list (ResNet: layer1, layer2 …)."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """What of a model stays as it is.

    Attributes:
        modules: Whose own weights stay; they are run as at inference: no dropout, no batch statistics.
        names: Names of the tensors that stay, among the model's.
        sha256: SHA-256 of those tensors (`encoders.fingerprint.encoder_sha256`), empty for none.
    """

    modules: tuple[nn.Module, ...] = ()
    names: frozenset[str] = frozenset()
    sha256: str = ""

    def train(self, model: nn.Module) -> None:
        """Put the model into training mode, what stays into that of inference."""
        model.train()
        for module in self.modules:
            module.training = False


def check_adaptation(how: str) -> None:
    """Refuse what `adapt` would not know.

    Raises:
        InputError: No such way.
    """
    if not _HOW.fullmatch(how):
        raise InputError(
            f"There is no way '{how}' to adapt an encoder. There is: full, frozen, lora, and last-N for the last N "
            "blocks, e.g. last-2."
        )


def adapt(
    model: Segmenter,
    how: str = "full",
    *,
    frozen: Sequence[str] = (),
    targets: Sequence[str] = ATTENTION,
    rank: int = 8,
    alpha: float = 16.0,
    seed: int = 0,
) -> Fixed:
    """Make a model ready for training; what stays no longer asks for a gradient, so that none is kept for it.

    Args:
        model: Changed in place: its encoder's weights are marked, and low-rank adapters put in.
        how: "full"; "frozen", the encoder stays; "last-N", its last N blocks (of a CNN: stages) and what follows them
            train; "lora", low-rank adapters alone do (`model.adapters`).
        frozen: Further modules that stay, by name prefix, e.g. "encoder.body.patch_embed".
        targets: Linear layers to put adapters on, by pattern.
        rank: Rank of the adapters.
        alpha: Scale of the adapters.
        seed: Seed of the adapters' start.

    Raises:
        InputError: No such way, no such layers or not as many blocks.
    """
    check_adaptation(how)
    if how == "lora":
        add_adapters(model.encoder, targets, rank=rank, alpha=alpha, seed=seed)
    held = {id(m): m for m in _held(model, how)}
    for name, module in model.named_modules():
        if any(name == prefix or name.startswith(prefix + ".") for prefix in frozen):
            held[id(module)] = module
    names = set()
    for name, module in model.named_modules():
        if id(module) not in held:
            continue
        own = [k for k in module.state_dict(keep_vars=True) if "." not in k and k not in (DOWN, UP)]
        for key, parameter in module.named_parameters(recurse=False):
            if key in own:
                parameter.requires_grad_(False)
        names |= {f"{name}.{key}" if name else key for key in own}
    state = model.state_dict()
    return Fixed(tuple(held.values()), frozenset(names), encoder_sha256({n: state[n] for n in names}) if names else "")


def encoder_blocks(encoder: nn.Module) -> tuple[str, list[str]]:
    """Where the blocks of a vision transformer or the stages of a CNN are.

    Found by what networks call them, in the module nearest to the top: a list (`blocks`, `stages`, `layers`, `layer`),
    else numbered modules (`layer1`, `stages_0`).

    Returns:
        Name of the module that holds them, and their names in it, first to last.

    Raises:
        InputError: There is nothing of that kind.
    """
    for name, module in sorted(encoder.named_modules(), key=lambda item: item[0].count(".") + bool(item[0])):
        children = dict(module.named_children())
        for key in _LISTS:
            found = children.get(key)
            if isinstance(found, (nn.ModuleList, nn.Sequential)) and len(found) > 1:
                return f"{name}.{key}".strip("."), [n for n, _ in found.named_children()]
        numbered = [n for n in children if _NUMBERED.fullmatch(n)]
        if len(numbered) > 1:
            return name, numbered
    raise InputError(
        "This encoder keeps no list of blocks or stages that could be told apart, so its last ones cannot be named. "
        "Train it fully, frozen, or with adapters."
    )


def _held(model: Segmenter, how: str) -> Iterator[nn.Module]:
    encoder = model.encoder
    if how == "full":
        return
    trained: set[int] = set()
    if how.startswith("last-"):
        trained = {id(m) for top in _last(encoder, int(how.removeprefix("last-"))) for m in top.modules()}
    yield from (m for m in encoder.modules() if id(m) not in trained)


def _last(encoder: nn.Module, count: int) -> Iterator[nn.Module]:
    """The last blocks, and at every level what stands after them: norms, necks, heads."""
    holder, blocks = encoder_blocks(encoder)
    if count > len(blocks):
        raise InputError(f"This encoder has {counted(len(blocks), 'block')}; --adapt last-{count} asks for more.")
    parent = encoder.get_submodule(holder)
    after = list(dict(parent.named_children()))
    first = after.index(blocks[-count])
    yield from (parent.get_submodule(n) for n in after[first:])
    while holder:
        holder, _, last = holder.rpartition(".")
        parent = encoder.get_submodule(holder)
        siblings = list(dict(parent.named_children()))
        yield from (parent.get_submodule(n) for n in siblings[siblings.index(last) + 1 :])
