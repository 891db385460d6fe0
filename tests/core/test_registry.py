"""Parts by name, ours and other packages'."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.registry import Registry


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path of imports, as site-packages is."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("their_parts",):
        sys.modules.pop(name, None)


def install(folder: Path, entries: str, code: str = "") -> None:
    (folder / "their_parts.py").write_text(code)
    info = folder / "their_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[histocyte.things]\n{entries}\n")


def things() -> Registry[object]:
    return Registry("thing", {"path": "pathlib:Path"}, group="histocyte.things")


def test_a_part_is_imported_by_name() -> None:
    assert things()["path"] is Path
    assert list(things()) == ["path"]
    assert things().origin("path") == "histocyte"


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="No thing called 'pat'. Did you mean 'path'"):
        things()["pat"]
    with pytest.raises(UnknownNameError):
        things().origin("pat")


def test_another_package_adds_parts(packages: Path) -> None:
    install(packages, "made = their_parts:make", "def make(size): return size * 2")
    assert things()["made"](3) == 6
    assert list(things()) == ["path", "made"]
    assert "made" in things()
    assert things().origin("made") == "their-parts"


def test_ours_cannot_be_taken_over(packages: Path) -> None:
    install(packages, "path = their_parts:make", "def make(): ...")
    assert things()["path"] is Path
    assert len(things()) == 1


def test_a_broken_package_is_named(packages: Path) -> None:
    install(packages, "made = their_parts:nothing")
    with pytest.raises(InputError, match=r"thing 'made' of another package \(their_parts:nothing\)"):
        things()["made"]
