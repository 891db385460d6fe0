"""What a run tells of itself while it lasts: tables of losses and of scores, and how far it is."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from histocyte.core.errors import DiskError, InputError
from histocyte.core.plain_text import plain
from histocyte.files.atomic import write_atomically

__all__ = ["Table", "difference", "read_json", "steps_done", "write_json"]


_MOST_DIGITS = 15
"""Most digits that the number of a step may have."""

_LONGEST_VALUE = 60


class Table:
    """A CSV file that grows by a row at a time; its first column is the step.

    Rows are not synced to the disk one by one. What a crash or a full disk left of the last one is cut off by `cut`,
    with the rows of steps that are done again.

    Args:
        path: Path of the file, made with the first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []

    def append(self, row: Mapping[str, float]) -> None:
        """Write a row under the columns that the file has; the first row decides on them.

        Raises:
            DiskError: It cannot be written.
        """
        try:
            if not self._columns:
                self._columns = self._header()
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            if not self._columns:
                self._columns = list(row)
                writer.writerow(self._columns)
            writer.writerow([_written(row[name]) if name in row else "" for name in self._columns])
            with self.path.open("a", newline="", encoding="utf-8") as file:
                file.write(text.getvalue())
        except OSError as error:
            raise DiskError(
                f"Cannot write {self.path}: {error.strerror or error}. The last checkpoint is kept; make room and run "
                "the same command again."
            ) from error

    def cut(self, done: int) -> int:
        """Drop the rows after a step, and whole or half rows that are none.

        Returns:
            How many rows of later steps there were.

        Raises:
            DiskError: It cannot be written.
        """
        self._columns = self._header()
        if not self._columns:
            return 0
        rows = self._rows()
        kept = [row for row in rows if int(row[0]) <= done]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self._columns, *kept])
        with write_atomically(self.path) as file:
            file.write(text.getvalue().encode())
        return len(rows) - len(kept)

    def column(self, name: str) -> list[float]:
        """Every value of a column, NaN where a row lacks it; none where there is no such column."""
        header = self._header()
        if name not in header:
            return []
        place = header.index(name)
        return [_number(row[place]) for row in self._rows()]

    def _header(self) -> list[str]:
        rows = self._parsed(self._text().partition("\n")[0])
        return rows[0] if rows else []

    def _rows(self) -> list[list[str]]:
        text = self._text()
        # A last row without its end may lack digits, not only columns.
        whole = text[: text.rfind("\n") + 1]
        columns, *rows = self._parsed(whole) or [[]]
        return [r for r in rows if len(r) == len(columns) and r[0].isdecimal() and len(r[0]) <= _MOST_DIGITS]

    def _text(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise self._damaged(error) from error

    def _parsed(self, text: str) -> list[list[str]]:
        try:
            return list(csv.reader(io.StringIO(text)))
        except csv.Error as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> InputError:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return InputError(f"'{self.path}' is damaged ({reason}). Delete it; what it says of the steps so far is lost.")


def read_json(path: Path) -> dict[str, Any]:
    """What a run wrote of itself, to go on by.

    Raises:
        InputError: The file is damaged or cannot be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
        reason = "no JSON object"
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error)
    raise InputError(
        f"'{path}' is damaged ({reason}), so it cannot be told whether what is in its folder may be gone on with. Use "
        "another folder; a model.safetensors in this one stays of use."
    )


def difference(name: str, theirs: object, mine: object) -> str:
    """What a file says of a run and what is asked now, on one line, whatever the file says.

    >>> difference("crop_px", 64, 96), difference("keep", "a" * 99, None)
    ('crop_px 64 there, 96 now', 'keep aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa… there, None now')
    """
    there, now = (plain(str(value), one_line=True) for value in (theirs, mine))
    there, now = (text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…" for text in (there, now))
    return f"{name} {there} there, {now} now"


def steps_done(run: Path) -> int:
    """How far a run is, as its progress.json says.

    Raises:
        InputError: It is damaged.
    """
    path = run / "progress.json"
    done = read_json(path).get("step") if path.exists() else 0
    if not isinstance(done, int):
        raise InputError(f"'{path}' is damaged: it does not say how many steps are done. Use another folder.")
    return done


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a file of JSON, whole or not at all; numbers that JSON has none for are written as null.

    Raises:
        DiskError: It cannot be written.
    """
    with write_atomically(path) as file:
        file.write(json.dumps(_finite(data), indent=2, allow_nan=False).encode())


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _written(value: float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
