"""An HTML page that needs no other file: checked for before the work, rendered from a template, written whole."""

from __future__ import annotations

import base64
from importlib import resources
from pathlib import Path

from histocyte.core.errors import require
from histocyte.core.plain_text import as_utf8
from histocyte.files.atomic import write_atomically
from histocyte.files.writable import check_file
from histocyte.pages.drawing import Plot

__all__ = ["check_html", "embedded", "write_page"]

_BROAD_PX = 700
"""A plot that is wider has a row of the page to itself."""


def check_html(path: Path) -> None:
    """See before hours of work whether its page can be written in the end.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        InputError: The path is a folder.
        DiskError: Its folder cannot be made or written.
    """
    require("jinja2", extra="report")
    require("matplotlib", extra="report")
    check_file(path, example="report.html")


def embedded(plot: Plot) -> dict[str, object]:
    """A plot as a template shows it: the picture itself as `uri`, and `alt`, `caption`, `width_px`, `broad`."""
    uri = "data:image/svg+xml;base64," + base64.b64encode(plot.svg).decode()
    broad = plot.width_px > _BROAD_PX
    return {"uri": uri, "alt": plot.alt, "caption": plot.caption, "width_px": plot.width_px, "broad": broad}


def write_page(path: Path, room: str, template: str, **values: object) -> None:
    """Write a page, whole or not at all. Values are escaped, and a name that the template lacks is an error.

    Args:
        path: The page.
        room: Package in which the template lies.
        template: Its file name.
        values: What the template shows.

    Raises:
        MissingExtraError: jinja2 is not installed.
        DiskError: The page cannot be written.
    """
    jinja2 = require("jinja2", extra="report")
    text = resources.files(room).joinpath(template).read_text(encoding="utf-8")
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(text)
    html = page.render(**values)
    with write_atomically(path) as file:
        file.write(as_utf8(html))
