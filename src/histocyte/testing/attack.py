"""What becomes of damaged inputs: each is to be read as what it is, or refused in one line that names it."""

from __future__ import annotations

import random
import shutil
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from histocyte.core.errors import HistocyteError
from histocyte.testing.mutations import mutated_file

__all__ = ["Attempt", "Outcome", "Target", "attack", "attempted", "damaged", "prepared"]

Outcome = Literal["accepted", "refused", "broken", "hangs", "large"]
"""Only the first two are right: an answer, or a `HistocyteError` of one line that names the file. Broken is any other
error, or a warning in the midst of an answer; large is a call that takes more memory than it may."""

SECONDS = 20.0
"""Longest that a call may take; on a busy machine the quickest ones take a tenth of that."""

MOST_BYTES = 1 << 30
"""Most memory that a call may take beside what was in use."""


@dataclass(frozen=True, slots=True)
class Target:
    """A reader or a command, and the inputs it is attacked with.

    Attributes:
        name: For people; the same one gives the same damage.
        make: Writes whole inputs into an empty folder.
        files: Those that are damaged, one at a time, as paths in that folder.
        use: Is given a folder of such inputs.
        share: Relative share of the cases, compared with others; less where a call is slow.
        needs: A package without which there is nothing to attack.
    """

    name: str
    make: Callable[[Path], None]
    files: tuple[str, ...]
    use: Callable[[Path], object]
    share: float = 1.0
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One damaged input and what became of it.

    Attributes:
        target: Name of the reader or command.
        seed: Seed of the damage.
        file: Which was damaged.
        outcome: See `Outcome`.
        said: The error, or what is wrong with it.
        seconds: How long it took.
    """

    target: str
    seed: int
    file: str
    outcome: Outcome
    said: str = ""
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether it is none of the two right outcomes."""
        return self.outcome not in ("accepted", "refused")


def prepared(target: Target, folder: Path) -> Path:
    """The whole inputs of a target in a folder of their own."""
    whole = folder / "whole"
    whole.mkdir(parents=True)
    target.make(whole)
    return whole


def damaged(target: Target, seed: int, whole: Path, folder: Path) -> str:
    """Put a copy of the whole inputs into a folder, one of them damaged; the name of that one."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    draw = random.Random(f"{target.name} {seed}")  # noqa: S311 (to be drawn alike again)
    name = draw.choice(target.files)
    path = folder / name
    path.write_bytes(mutated_file(path.name, path.read_bytes(), draw))
    return name


def attack(target: Target, seeds: range, folder: Path, *, seconds: float = SECONDS) -> Iterator[Attempt]:
    """Give a reader or command one damaged input after the other.

    Args:
        target: What is attacked.
        seeds: One a case.
        folder: To work in; the last input that was damaged is left in "damaged".
        seconds: Longest that a call may take.

    Raises:
        Exception: The whole inputs are not accepted.
    """
    whole = prepared(target, folder)
    shutil.copytree(whole, folder / "first")
    target.use(folder / "first")  # whole, they are accepted; and what is compiled and loaded once, is
    for seed in seeds:
        name = damaged(target, seed, whole, folder / "damaged")
        yield attempted(target, seed, name, folder / "damaged", seconds=seconds)


def attempted(target: Target, seed: int, name: str, folder: Path, *, seconds: float = SECONDS) -> Attempt:
    """What becomes of a folder of inputs of which one is damaged."""
    began, before = time.monotonic(), _reset_peak()
    outcome, said = _outcome(target, folder, seconds)
    took, grown = time.monotonic() - began, _peak_bytes() - before
    if outcome == "refused":
        line = said.partition(": ")[2]
        if "\n" in line.strip():
            outcome, said = "broken", f"several lines: {said!r}"
        elif not _names(line, target, folder):
            outcome, said = "broken", f"names no file: {said}"
    if outcome in ("accepted", "refused") and grown > MOST_BYTES:
        outcome, said = "large", f"{grown / 1e9:.1f} GB; {said}"
    return Attempt(target.name, seed, name, outcome, said[:600], took)


def _outcome(target: Target, folder: Path, seconds: float) -> tuple[Outcome, str]:
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with _in_time(seconds):
                target.use(folder)
    except HistocyteError as error:
        return "refused", f"{type(error).__name__}: {error}"
    except _TooLong as error:
        return "hangs", f"more than {seconds:g} s; {_place(error)}"
    except Exception as error:  # noqa: BLE001 (that is what is looked for)
        return "broken", f"{type(error).__name__}: {str(error)[:300]}; {_place(error)}"
    shown = [w for w in told if issubclass(w.category, UserWarning | RuntimeWarning)]
    if shown:
        return "broken", f"warns of {shown[0].category.__name__}: {shown[0].message} ({shown[0].filename})"
    return "accepted", ""


def _names(line: str, target: Target, folder: Path) -> bool:
    """Whether a message names one of the inputs, or the folder they lie in."""
    return any(Path(name).name.partition(".")[0] in line for name in target.files) or folder.name in line


class _TooLong(BaseException):
    """No `Exception`, as a guard around a parser would take it for the parser's."""


@contextmanager
def _in_time(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer, where the system can; needs the main thread."""
    if not hasattr(signal, "pthread_kill"):
        yield
        return

    def ring(*_: object) -> None:
        raise _TooLong

    # An alarm of the process may wake any of its threads, also one of a library's own; this one wakes ours.
    alarm = threading.Timer(seconds, signal.pthread_kill, (threading.get_ident(), signal.SIGALRM))
    alarm.daemon = True
    before = signal.signal(signal.SIGALRM, ring)
    try:
        alarm.start()
        try:
            yield
        finally:
            alarm.cancel()
            alarm.join()
    finally:
        signal.signal(signal.SIGALRM, before)


def _place(error: BaseException) -> str:
    """The last of our own lines that an error came through, and the last of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "histocyte" in Path(f.filename).parts and "testing" not in Path(f.filename).parts]
    places = dict.fromkeys(f"{Path(f.filename).name}:{f.lineno}" for f in (*own[-1:], *frames[-1:]))
    return "at " + ", ".join(places)


def _reset_peak() -> int:
    """Begin to watch the highest use of memory again; what is in use now, bytes."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak_bytes()


def _peak_bytes() -> int:
    """The highest use of memory, bytes; 0 where the system does not say."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) << 10
    return 0
