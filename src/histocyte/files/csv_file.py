"""Tables as CSV files, whole or not at all, of which a spreadsheet takes nothing for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from histocyte.files.atomic import write_atomically

__all__ = ["csv_text", "write_rows"]

_FORMULA = ("=", "+", "-", "@", "\t", "\n")
"""What Excel, LibreOffice and Google Sheets may take the rest of a field for a formula after."""


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table (see `csv_text`).

    Raises:
        DiskError: The file could not be written.
    """
    text = csv_text(header, rows)
    with write_atomically(path) as file:
        # A name of a file may hold bytes that are no Unicode.
        file.write(text.encode("utf-8", "backslashreplace"))


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as text; None is an empty field.

    Names of slides, classes and regions come from files of others. One that a spreadsheet would take for a formula has
    an apostrophe before it; numbers stay as they are.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_field, header))
    writer.writerows(map(_field, row) for row in rows)
    return text.getvalue()


def _field(value: object) -> object:
    if value is None or isinstance(value, int | float):
        return value
    # The writer puts quotation marks around lines that end in \n, and not around those that end in \r.
    text = str(value).replace("\r\n", "\n").replace("\r", "\n")
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text.strip()
