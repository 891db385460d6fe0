"""Functions are compiled wherever the package is installed, also where nothing can be kept."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
import pytest

import histocyte
from histocyte.core import compiled as module
from histocyte.core.compiled import compiled

PACKAGE = Path(histocyte.__file__).parent
USES_IT = sorted(p for p in PACKAGE.rglob("*.py") if "@compiled" in p.read_text())


@pytest.fixture
def unwritable(tmp_path: Path) -> dict[str, str]:
    """The environment of a copy of the package whose caches nobody can write, not root either, and without a home."""
    for path in PACKAGE.rglob("*.py"):
        place = tmp_path / "histocyte" / path.relative_to(PACKAGE)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)
        if not (place.parent / "__pycache__").exists():
            (place.parent / "__pycache__").touch()  # a file, where a folder would have to be
    (tmp_path / "tmp").mkdir()
    return {
        "PYTHONPATH": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": os.environ["PATH"],
        "HOME": "/dev/null",
        "XDG_CACHE_HOME": "/dev/null/cache",
        "TMPDIR": str(tmp_path / "tmp"),
    }


@pytest.mark.skipif(os.name == "nt", reason="/dev/null is not a folder")
def test_everything_compiles_where_neither_package_nor_home_can_be_written(
    unwritable: dict[str, str], tmp_path: Path
) -> None:
    names = [".".join(("histocyte", *p.relative_to(PACKAGE).with_suffix("").parts)) for p in USES_IT]
    assert len(names) > 10
    code = (
        f"import importlib\nfor name in {names}: importlib.import_module(name)\n"
        "from histocyte.slides.resample import __file__ as there\n"
        f"assert there.startswith({str(tmp_path)!r}), there\n"
        "from histocyte.core.compiled import compiled\n"
        "print(compiled(lambda x: x + 1)(2))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=unwritable, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "3\n"
    (kept,) = (tmp_path / "tmp").iterdir()  # so that the next run need not compile
    assert kept.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs owners of files")
def test_code_is_run_from_no_folder_that_others_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = tmp_path / f"histocyte-compiled-{os.getuid()}"
    module._own_folder.cache_clear()
    try:
        own.mkdir()
        own.chmod(0o777)
        assert module._own_folder() is None
        own.rmdir()
        (tmp_path / "theirs").mkdir(mode=0o700)
        own.symlink_to(tmp_path / "theirs")
        module._own_folder.cache_clear()
        assert module._own_folder() is None
        own.unlink()
        module._own_folder.cache_clear()
        assert module._own_folder() == str(own)
    finally:
        module._own_folder.cache_clear()


def test_a_function_is_compiled_where_no_cache_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_place(function: object) -> object:
        raise RuntimeError("cannot cache function 'f': no locator available for file 'x.py'")

    before = numba.config.CACHE_DIR
    monkeypatch.setattr(module, "_kept", no_place)
    assert compiled(lambda x: x * 2)(4) == 8
    assert before == numba.config.CACHE_DIR


def test_a_disk_that_is_full_only_costs_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from numba.core.caching import IndexDataCacheFile

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "save", full)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert compiled(lambda x: x * 2)(4) == 8


def test_nothing_is_compiled_in_another_way() -> None:
    used = [p.name for p in PACKAGE.rglob("*.py") if re.search(r"\bnjit\(|@jit|vectorize\(", p.read_text())]
    assert used == ["compiled.py"]
