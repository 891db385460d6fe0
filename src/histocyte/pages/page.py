"""What every HTML page that we write needs before it is written."""

from __future__ import annotations

from pathlib import Path

from histocyte.core.errors import require
from histocyte.files.writable import check_file

__all__ = ["check_html"]


def check_html(path: Path) -> None:
    """See before hours of scoring whether a report can be written in the end.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        InputError: The path is a folder.
        DiskError: Its folder cannot be made or written.
    """
    require("jinja2", extra="report")
    require("matplotlib", extra="report")
    check_file(path, example="report.html")
