"""The line that brings an extra works from where histocyte was installed."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

import histocyte
from histocyte.core.errors import MissingExtraError, require
from histocyte.core.installation import how_to_add, line_for

pytestmark = pytest.mark.skipif(os.name == "nt", reason="quoted as in a shell of Unix")


@pytest.mark.parametrize(
    ("direct_url", "installer", "arguments"),
    [
        (None, "pip", ["pip", "install", "histocyte[torch]"]),
        ('{"url": "file:///a/my%20copy", "dir_info": {}}', "pip", ["pip", "install", "/a/my copy[torch]"]),
        ('{"url": "file:///a/b", "dir_info": {"editable": true}}', "pip", ["pip", "install", "-e", "/a/b[torch]"]),
        ('{"url": "file:///w/h-1.whl", "archive_info": {}}', "uv", ["uv", "pip", "install", "/w/h-1.whl[torch]"]),
        (
            '{"url": "https://x.org/h-1.whl", "archive_info": {}}',
            "pip",
            ["pip", "install", "histocyte[torch] @ https://x.org/h-1.whl"],
        ),
        (
            '{"url": "https://me:secret@x.org/h.git", "vcs_info": {"vcs": "git", "commit_id": "1f2e"}}',
            "pip",
            ["pip", "install", "histocyte[torch] @ git+https://x.org/h.git@1f2e"],
        ),
        ('{"url": 3', "", ["pip", "install", "histocyte[torch]"]),
        ('["url"]', "", ["pip", "install", "histocyte[torch]"]),
    ],
)
def test_the_line_names_where_it_came_from(direct_url: str | None, installer: str, arguments: list[str]) -> None:
    assert shlex.split(line_for("torch", direct_url, installer)) == arguments


def test_here_it_is_a_line_that_works() -> None:
    *_, source = shlex.split(how_to_add("torch"))
    path = source.removesuffix("[torch]")
    assert path == "histocyte" or "@" in source or Path(path).exists()


def test_who_lacks_a_package_is_told_that_line() -> None:
    with pytest.raises(MissingExtraError, match=re.escape(how_to_add("tiff"))):
        require("histocyte_no_such_package", extra="tiff")


def test_no_other_line_is_written_anywhere() -> None:
    package = Path(histocyte.__file__).parent
    found = [p.name for p in package.rglob("*.py") if "pip install" in p.read_text()]
    assert found == ["installation.py"]
