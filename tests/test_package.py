"""The package as a whole: what importing it costs, that the core runs without the extras, that pins are complete."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import histocyte

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

SLOW_TO_IMPORT = {"cv2", "numba", "onnxruntime", "openslide", "openvino", "pyarrow", "scipy", "shapely", "torch"}
EXTRAS = {"imagecodecs", "jinja2", "matplotlib", "onnx", "onnxruntime", "onnxscript", "skimage", "sklearn"}
EXTRAS |= {"geopandas", "pandas", "tensorboard", "timm", "torch", "torchvision", "umap"}


def python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_importing_the_package_loads_nothing_slow() -> None:
    loaded = python("import sys, histocyte; print(*sys.modules)").split()
    assert not SLOW_TO_IMPORT & set(loaded)


def test_the_public_names_are_listed_before_they_are_used_and_nothing_else_is() -> None:
    used = "[getattr(histocyte, name) for name in dir(histocyte)]"
    code = f"import histocyte; print(*dir(histocyte)); {used}; print(*dir(histocyte))"
    before, after = (line.split() for line in python(code).splitlines())
    assert before == after == sorted(histocyte.__all__)
    assert {"Cells", "HistocyteError", "load", "open_slide", "read_cells", "segment", "train"} <= set(before)


def test_no_program_of_others_reports_home() -> None:
    code = "import histocyte, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert python(code).strip() == "1"


def test_loading_the_command_line_loads_nothing_slow() -> None:
    loaded = python("import sys, histocyte.apps.cli.main; print(*sys.modules)").split()
    assert not SLOW_TO_IMPORT & set(loaded)


def test_the_core_imports_without_any_extra(need_torch: tuple[str, ...]) -> None:
    code = """
import importlib, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

absent = sys.argv[1].split()
sys.meta_path.insert(0, NotInstalled())
for name in sys.argv[2].split():
    importlib.import_module(name)
"""
    files = [path.relative_to(ROOT / "src").with_suffix("") for path in (ROOT / "src").rglob("*.py")]
    names = sorted(".".join(path.parts).removesuffix(".__init__") for path in files)
    core = [name for name in names if not name.startswith(need_torch)]
    assert len(core) > 50
    python(code, " ".join(EXTRAS), " ".join(core))


def test_every_extra_that_an_error_names_is_declared() -> None:
    declared = PROJECT["project"]["optional-dependencies"]
    for path in (ROOT / "src").rglob("*.py"):
        for extra in re.findall(r'require\("\w+", extra="(\w+)"\)', path.read_text()):
            assert extra in declared, f"{path.name} names the extra '{extra}'"


def test_locks_pin_by_hash_and_name_no_address() -> None:
    locks = sorted(ROOT.glob("requirements*.lock"))
    assert len(locks) == 4
    for lock in locks:
        text = lock.read_text()
        assert "://" not in text
        assert "file:" not in text
        entries = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
        assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
