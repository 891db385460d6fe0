"""Parts by name: ours by where they stand, others' by the entry points of their packages."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from histocyte.core.errors import InputError, UnknownNameError

__all__ = ["Registry", "check_options"]

T = TypeVar("T")

_LARGEST_OPTION, _MOST_LAYERS, _LONGEST_LIST = 2**20, 1000, 4096


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse sizes that no part can have, before one is built of them: they would fill the memory.

    What an option means otherwise, its part knows.

    Raises:
        ValueError: A number that is none or too large, or a list that is too long.

    >>> check_options({"arch_options": {"depth": 12}, "widths": [64, 128]})
    >>> check_options({"arch_options": {"depth": 10**9}})
    Traceback (most recent call last):
        ...
    ValueError: the option 'depth' cannot be 1000000000
    """
    todo: list[tuple[str, Any]] = [("options", options)]
    while todo:
        name, value = todo.pop()
        if isinstance(value, Mapping):
            todo += [(str(key), inner) for key, inner in value.items()]
        elif isinstance(value, list | tuple):
            if len(value) > _LONGEST_LIST:
                raise ValueError(f"the option '{name:.40}' cannot have {len(value):,} values")
            todo += [(name, inner) for inner in value]
        elif isinstance(value, int | float):
            most = _MOST_LAYERS if "depth" in name or "layers" in name else _LARGEST_OPTION
            if not abs(value) <= most:  # NaN is not, too
                raise ValueError(f"the option '{name:.40}' cannot be {value!r:.20}")


class Registry(Mapping[str, Callable[..., T]], Generic[T]):
    """Factories by name, each imported when it is asked for.

    A package of someone else's adds a part of its own by an entry point, without any change here:

        [project.entry-points."histocyte.encoders"]
        my_encoder = "my_package.encoder:MyEncoder"

    Args:
        kind: What it holds, for errors: "encoder".
        builtin: Name → "module:attribute".
        group: Group of the entry points: "histocyte.encoders". A built-in name cannot be taken over by one.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str], *, group: str) -> None:
        self.kind, self.group = kind, group
        self._builtin = dict(builtin)

    def __getitem__(self, name: str) -> Callable[..., T]:
        """The factory of a name.

        Raises:
            UnknownNameError: Nothing has this name.
            InputError: Another package's part that cannot be imported.
        """
        if name in self._builtin:
            module, _, attribute = self._builtin[name].partition(":")
            factory: Callable[..., T] = getattr(importlib.import_module(module), attribute)
            return factory
        foreign = self._foreign()
        if name not in foreign:
            raise UnknownNameError(self.kind, name, list(self))
        try:
            found: Any = foreign[name].load()
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"The {self.kind} '{name}' of another package ({foreign[name].value}) cannot be imported: {error}. "
                "Repair or uninstall that package."
            ) from error
        checked: Callable[..., T] = found
        return checked

    def __contains__(self, name: object) -> bool:
        """Whether something has this name; nothing is imported."""
        return name in self._builtin or name in self._foreign()

    def __iter__(self) -> Iterator[str]:
        """Names, ours first."""
        yield from self._builtin
        yield from self._foreign()

    def __len__(self) -> int:
        """Number of names."""
        return len(self._builtin) + len(self._foreign())

    def origin(self, name: str) -> str:
        """Where a part comes from: "histocyte", or the distribution that adds it.

        Raises:
            UnknownNameError: Nothing has this name.
        """
        if name in self._builtin:
            return "histocyte"
        foreign = self._foreign()
        if name not in foreign:
            raise UnknownNameError(self.kind, name, list(self))
        distribution = foreign[name].dist
        return distribution.name if distribution is not None else foreign[name].value

    def _foreign(self) -> dict[str, EntryPoint]:
        return {e.name: e for e in entry_points(group=self.group) if e.name not in self._builtin}
