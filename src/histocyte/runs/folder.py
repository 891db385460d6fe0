"""The folder of a run: one process at a time is in it, and it is one run's for good.

Every run that can be stopped says there what makes it the run it is, once; whoever comes later has to want the same:

    folder = RunFolder(Path("runs/mine"))
    with folder.held():
        folder.settle("distil.json", identity)     # InputError: holds a run with other settings (…)
        ...                                        # training.fit: recipe, options, environment, state, logs
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from histocyte.core.errors import InputError
from histocyte.files.atomic import write_atomically
from histocyte.files.lock import FolderLock
from histocyte.training.journal import difference, read_json, steps_done

__all__ = ["Identity", "RunFolder"]

Identity = Mapping[str, object]
"""What makes a run what it is, in values that JSON knows; another value makes another run."""

Images = Mapping[str, Mapping[str, Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run is at work.

    Attributes:
        path: The folder, which need not be there yet.
        what: It holds, for messages: "run", "study".
    """

    path: Path
    what: str = "run"

    @property
    def model(self) -> Path:
        """The model file at the end of a training."""
        return self.path / "model.safetensors"

    @property
    def best(self) -> Path:
        """Weights of the best validation so far."""
        return self.path / "best.safetensors"

    @property
    def steps_done(self) -> int:
        """How far its training is.

        Raises:
            InputError: progress.json is damaged.
        """
        return steps_done(self.path)

    def held(self, *, leads: bool = True) -> AbstractContextManager[object]:
        """A `with` block in which no other process works here.

        Args:
            leads: Whether this process holds the folder; of several that share the work one does.

        Raises:
            BusyError: Another one does; the message names it.
            DiskError: The folder cannot be made or written.
        """
        return FolderLock(self.path) if leads else nullcontext()

    def stored(self, file: str) -> dict[str, Any] | None:
        """What a file of this folder says; None where there is none.

        Raises:
            InputError: It is damaged.
        """
        path = self.path / file
        return read_json(path) if path.exists() else None

    def refuse_another(self, theirs: object, mine: Identity) -> None:
        """See that the folder's run is the one that is asked for.

        Args:
            theirs: What the folder says of its run; a value that it lacks is another.
            mine: What is asked for.

        Raises:
            InputError: It is another; says in what.
        """
        before = theirs if isinstance(theirs, Mapping) else {}
        if other := list(_differences(before, plain_json(mine))):
            raise InputError(
                f"'{self.path}' holds a {self.what} with other settings ({', '.join(other)}). Use the same, or another "
                "folder."
            )

    def check(self, file: str, mine: Identity) -> None:
        """`refuse_another` by what a file here says; nothing is wrong where there is none.

        Raises:
            InputError: The folder's run is another, or the file is damaged.
        """
        if (theirs := self.stored(file)) is not None:
            self.refuse_another(theirs, mine)

    def settle(self, file: str, mine: Identity) -> None:
        """`check`, and write the file.

        Raises:
            InputError: The folder's run is another, or the file is damaged.
            DiskError: It cannot be written.
        """
        self.check(file, mine)
        self.write(file, plain_json(mine))

    def write(self, file: str, data: object) -> None:
        """Write a file of JSON here, whole or not at all.

        Raises:
            DiskError: It cannot be written.
        """
        with write_atomically(self.path / file) as out:
            out.write(json.dumps(data, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace"))

    def settle_images(self, images: Images, *, write: bool = True) -> None:
        """Write data.json, or see that the run learns from, and holds out, the images that it began with.

        Args:
            images: Under "learnt", "held_out" and "left_out", by data set, the prints of images (`ImagePrint.to_text`)
                by name.
            write: Write the file where there is none; of several processes one does.

        Raises:
            InputError: The folder holds a run on other images, or the file is damaged.
            DiskError: It cannot be written.
        """
        stored = self.stored("data.json")
        if stored is None:
            if write:
                self.write("data.json", images)
            return
        before = {part: _sets(sets, self.path / "data.json") for part, sets in stored.items()}
        names = {source for part in (*images.values(), *before.values()) for source in part}
        other = sorted(
            name
            for name in names
            if any(_differ(sets.get(name, {}), before.get(part, {}).get(name, {})) for part, sets in images.items())
        )
        if other:
            raise InputError(
                f"'{self.path}' holds a run that learns from, or holds out, other images of {', '.join(other)}. Give "
                "it the same data, --seed, --leave-out and --validation or --fold, or another folder."
            )


def plain_json(data: Identity) -> dict[str, Any]:
    """The same values as they read back from a file."""
    return cast(dict[str, Any], json.loads(json.dumps(data)))


def _differences(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> Iterator[str]:
    """'steps 4 there, 8 now' of each plain value that differs; of lists and hashes the name alone."""
    for key, value in mine.items():
        before = theirs.get(key)
        if before == value:
            continue
        if isinstance(value, dict) and isinstance(before, dict) and set(before) == set(value):
            yield from (f"{key}: {each}" for each in _differences(before, value))
        elif isinstance(value, dict | list) or isinstance(before, dict | list) or _is_digest(value):
            yield key
        else:
            yield difference(key, before, value)


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _sets(part: object, path: Path) -> dict[str, dict[str, str]]:
    """Prints by name and set, empty where an earlier version wrote names alone.

    Raises:
        InputError: The file is damaged.
    """
    try:
        sets = dict(part)  # type: ignore[call-overload]
        return {
            s: dict.fromkeys(images, "") if isinstance(images, list) else dict(images) for s, images in sets.items()
        }
    except (TypeError, ValueError) as error:
        raise InputError(f"'{path}' is damaged. Begin a new run in another folder.") from error


def _differ(now: Mapping[str, str], before: Mapping[str, str]) -> bool:
    return list(now) != list(before) or any(before[name] not in ("", text) for name, text in now.items())
