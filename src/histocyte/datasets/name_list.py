"""A list of images in a text file, as published test sets are given: a name in each line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from histocyte.core.errors import InputError
from histocyte.datasets.sample import Sample
from histocyte.slides.picture import picture_name

__all__ = ["named_samples", "read_name_list"]

_MOST_BYTES = 16 << 20


def read_name_list(path: Path) -> tuple[str, ...]:
    """Names of images, a line each, in the file's order; empty lines and those after # do not count.

    A suffix of an image file is dropped. SET/NAME names the image of one data set.

    Raises:
        InputError: It cannot be read, is no text, or holds no name, or one twice.
    """
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise InputError(f"'{path}' has {size:,} bytes; a list of image names has {_MOST_BYTES:,} at most.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise InputError(
            f"The list of images '{path}' cannot be read: {reason}. Pass a text file with a name in each line."
        ) from error
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    names = [picture_name(line) for line in lines if line]
    if not names:
        raise InputError(f"'{path}' names no image. Write the name of one in each line.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"'{path}' names '{twice}' twice. Keep one.")
    return tuple(names)


def named_samples(samples: Sequence[Sample], names: Sequence[str], *, where: str) -> list[Sample]:
    """The samples of a list, in their own order.

    Args:
        samples: From one or more data sets.
        names: As `read_name_list` gives them.
        where: What the list is called in messages.

    Raises:
        InputError: A name that no sample has, or samples of several sets.
    """
    chosen: set[int] = set()
    for name in names:
        fits = [s for s in samples if name in (s.name, f"{s.source}/{s.name}")]
        sources = sorted({s.source for s in fits})
        if not fits:
            sets = ", ".join(sorted({s.source for s in samples}))
            raise InputError(f"{where} names '{name}', and there is no such image in {sets}.")
        if len(sources) > 1:
            raise InputError(
                f"{where} names '{name}', which is an image of {' and of '.join(sources)}. Write {sources[0]}/{name} "
                "for one of them."
            )
        chosen |= {id(s) for s in fits}
    return [s for s in samples if id(s) in chosen]
