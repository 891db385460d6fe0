"""What all writers of cells have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from histocyte.core.cells import Cells

__all__ = ["CellWriter"]


class CellWriter(ABC):
    """Writes cells as they stream by; a context manager at whose end the file appears, whole."""

    @abstractmethod
    def write(self, cells: Cells) -> None:
        """Append cells.

        Raises:
            DiskError: The disk is full.
        """

    @abstractmethod
    def _opened(self) -> AbstractContextManager[object]:
        """From the file's first bytes to its last."""

    def __enter__(self) -> Self:
        self._context = self._opened()
        self._context.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.__exit__(kind, error, trace)
