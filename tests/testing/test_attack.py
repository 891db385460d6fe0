"""Each way in which a reader can go wrong is told, and an answer and an error of one line are none."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.testing import attack as attack_module
from histocyte.testing.attack import Target, attack


def refuse(says: str) -> Callable[[Path], object]:
    def use(folder: Path) -> None:
        raise InputError(says.format(folder=folder))

    return use


def warn(folder: Path) -> None:
    warnings.warn("overflow", RuntimeWarning, stacklevel=1)


def hoard(folder: Path) -> None:
    # Far above the limit of 20 MB: what others give back meanwhile is taken off the growth that is seen.
    np.ones(600 << 20, np.uint8)


def fail(folder: Path) -> None:
    raise KeyError("inst")


@pytest.mark.parametrize(
    ("use", "outcome", "says"),
    [
        (lambda folder: (folder / "a.json").read_bytes(), "accepted", ""),
        (refuse("'{folder}/a.json' is not a list."), "refused", "is not a list"),
        (refuse("It is no list."), "broken", "names no file"),
        (refuse("'{folder}/a.json' is\nno list."), "broken", "several lines"),
        (fail, "broken", "KeyError: 'inst'"),
        (warn, "broken", "warns of RuntimeWarning: overflow"),
        (hoard, "large", "GB"),
    ],
)
def test_outcomes(
    use: Callable[[Path], object], outcome: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if outcome == "large" and not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system does not say how much memory is in use")
    monkeypatch.setattr(attack_module, "MOST_BYTES", 20 << 20)
    began: list[Path] = []

    def first_whole(folder: Path) -> object:
        began.append(folder)
        return use(folder) if len(began) > 1 else None

    target = Target("t", lambda folder: (folder / "a.json").write_text("[1, 2]"), ("a.json",), first_whole)  # type: ignore[arg-type, return-value]
    (attempt,) = attack(target, range(3, 4), tmp_path, seconds=20)
    assert (attempt.outcome, attempt.seed, attempt.file) == (outcome, 3, "a.json")
    assert says in attempt.said
    assert attempt.failed == (outcome not in ("accepted", "refused"))


HANG = """
import sys, time
from pathlib import Path
from histocyte.core.errors import InputError
from histocyte.testing.attack import Target, attack

def swallow(folder):  # as a guard around a parser does
    if folder.name != "first":
        try:
            time.sleep(60)
        except Exception as error:
            raise InputError(f"{folder} cannot be read.") from error

target = Target("t", lambda folder: (folder / "a.json").write_text("[1]"), ("a.json",), swallow)
(attempt,) = attack(target, range(1), Path(sys.argv[1]), seconds=0.2)
print(attempt.outcome, attempt.said)
"""


def test_what_hangs_is_interrupted_whatever_it_catches(tmp_path: Path) -> None:
    """In a process of its own, as an alarm is the whole process's."""
    done = subprocess.run([sys.executable, "-c", HANG, tmp_path], capture_output=True, text=True, timeout=50)
    assert done.stdout.startswith("hangs more than 0.2 s"), done.stderr


def test_whole_inputs_have_to_be_accepted(tmp_path: Path) -> None:
    target = Target("t", lambda folder: (folder / "a.json").write_text("[]"), ("a.json",), fail)  # type: ignore[arg-type, return-value]
    with pytest.raises(KeyError):
        list(attack(target, range(1), tmp_path))


def test_the_same_seed_does_the_same_damage_to_one_file_of_a_copy(tmp_path: Path) -> None:
    seen: list[dict[str, bytes]] = []
    texts = {"a.json": '{"a": [1, 2, 3]}', "b.csv": "x,y\n1,2\n"}

    def make(folder: Path) -> None:
        for name, text in texts.items():
            (folder / name).write_text(text)

    def look(folder: Path) -> None:
        seen.append({name: (folder / name).read_bytes() for name in texts})

    target = Target("t", make, tuple(texts), look)
    for place in ("one", "two"):
        list(attack(target, range(20), tmp_path / place))
    assert seen[:21] == seen[21:]
    whole, *damaged = seen[:21]
    assert all(len([name for name in texts if each[name] != whole[name]]) <= 1 for each in damaged)
    assert sum(each != whole for each in damaged) > 15
