"""How this histocyte was installed, and so the line that adds an extra to it."""

from __future__ import annotations

import json
import os
import shlex
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

__all__ = ["how_to_add", "line_for"]


@cache
def how_to_add(extra: str) -> str:
    """The command that installs what an extra brings, from where histocyte itself came from."""
    try:
        found = distribution("histocyte")
        told, installer = found.read_text("direct_url.json"), found.read_text("INSTALLER")
    except (PackageNotFoundError, OSError, UnicodeDecodeError):
        told = installer = None
    if told is None:
        checkout = Path(__file__).parents[3]
        if (checkout / "pyproject.toml").is_file() and (checkout / "src" / "histocyte").is_dir():  # run as it lies
            told = json.dumps({"url": checkout.as_uri(), "dir_info": {"editable": True}})
    return line_for(extra, told, (installer or "").strip())


def line_for(extra: str, direct_url: str | None, installer: str = "") -> str:
    """The command for an installation of which its own records say this.

    Args:
        extra: Name of the extra.
        direct_url: Content of direct_url.json (PEP 610); None where it came from a package index.
        installer: Which program installed it.

    >>> line_for("torch", None)
    "pip install 'histocyte[torch]'"
    >>> line_for("torch", '{"url": "https://example.org/x.git", "vcs_info": {"vcs": "git", "commit_id": "1f"}}', "uv")
    "uv pip install 'histocyte[torch] @ git+https://example.org/x.git@1f'"
    """
    program = "uv pip" if installer == "uv" else "pip"
    source, editable = f"histocyte[{extra}]", ""
    try:
        told = json.loads(direct_url) if direct_url else {}
        url = str(told["url"]) if told else ""
        editable = "-e " if told.get("dir_info", {}).get("editable") else ""
        vcs = told.get("vcs_info", {})
        parts = urlsplit(url)
        if parts.scheme == "file" and not vcs:
            path = unquote(parts.path)
            source = f"{path.lstrip('/') if os.name == 'nt' else path}[{extra}]"  # /C:/… there
        elif url:
            bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))  # without anybody's password
            at = f"@{vcs['commit_id']}" if vcs.get("commit_id") else ""
            source = f"histocyte[{extra}] @ {vcs['vcs'] + '+' if vcs.get('vcs') else ''}{bare}{at}"
    except (ValueError, KeyError, TypeError, AttributeError):  # records that are damaged say nothing
        source, editable = f"histocyte[{extra}]", ""
    return f"{program} install {editable}{_quoted(source)}"


def _quoted(text: str) -> str:
    return f'"{text}"' if os.name == "nt" else shlex.quote(text)
