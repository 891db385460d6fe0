"""Names of files: shown to people and programs, and made such that a file can be called so everywhere."""

from __future__ import annotations

from pathlib import Path

__all__ = ["safe_name", "shown"]


def shown(path: Path | str) -> str:
    r"""A path as text that can be written in any file: bytes that are no Unicode as escapes.

    >>> shown(Path("caf\udce9.svs"))
    'caf\\udce9.svs'
    """
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def safe_name(name: str) -> str:
    r"""A name for a file or folder like this one: in Unicode, without signs that mean something in a path.

    >>> [safe_name(n) for n in ("CMU-1 (2)", "..", "", "a/b", "caf\udce9", "a\x1b[31m\nb")]
    ['CMU-1 (2)', '__', '_', 'a_b', 'caf%E9', 'a%1B[31m%0Ab']
    """
    escaped = "".join(_sign(sign) for sign in name)
    return "_" * max(1, len(escaped)) if not escaped.strip(". ") else escaped


def _sign(sign: str) -> str:
    if sign in "/\\":
        return "_"
    if "\udc80" <= sign <= "\udcff":  # a byte that is not UTF-8, as Python hands it on
        return f"%{ord(sign) - 0xDC00:02X}"
    if "\ud800" <= sign <= "\udfff" or not sign.isprintable():
        return f"%{ord(sign):02X}"
    return sign
