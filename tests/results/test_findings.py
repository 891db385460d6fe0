"""What is said beside a result."""

from __future__ import annotations

import subprocess
import sys

import pytest

from histocyte.core.taxonomies import PANNUKE
from histocyte.model.spec import ModelSpec
from histocyte.recipes.hover_unet import hover_unet
from histocyte.results import findings

CHILD = "from histocyte.results.findings import peak_memory_mb; print(peak_memory_mb())"
PARENT = f"""
import subprocess, sys
held = b"x" * 700_000_000
print(subprocess.run([sys.executable, "-c", {CHILD!r}], check=True, capture_output=True, text=True).stdout)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system is asked otherwise")
def test_peak_memory_is_that_of_this_process_and_not_of_the_one_that_started_it() -> None:
    said = subprocess.run([sys.executable, "-c", PARENT], check=True, capture_output=True, text=True).stdout
    assert 20 < float(said) < 600


@pytest.fixture
def specs(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModelSpec]:
    specs = {
        "fine": hover_unet().with_changes(name="fine"),
        "coarse": hover_unet(mpp=0.5).with_changes(name="coarse"),
        "others": hover_unet(mpp=1.0, taxonomy=PANNUKE).with_changes(name="others"),
    }
    monkeypatch.setattr(findings, "bundled_models", lambda: {name: name for name in specs})
    monkeypatch.setattr(findings, "spec_of", lambda name: specs[name])
    return specs


@pytest.mark.parametrize(
    ("mpp", "model", "nearest"),
    [
        (0.5, "fine", "coarse"),
        (0.46, "fine", "coarse"),
        (0.9, "fine", "coarse"),
        (0.25, "fine", None),
        (0.35, "fine", None),
        (0.37, "fine", None),  # the other is nearer, but hardly
        (0.5, "coarse", None),
        (0.25, "coarse", "fine"),
        (1.0, "coarse", None),  # the one that is nearer has other classes
        (1.0, "others", None),
    ],
)
def test_the_nearest_model_of_the_same_classes_is_named_where_it_is_clearly_nearer(
    mpp: float, model: str, nearest: str | None, specs: dict[str, ModelSpec]
) -> None:
    found = findings.nearest_in_resolution(mpp, specs[model])
    assert (found and found.name) == nearest


def test_of_models_at_one_resolution_the_default_is_named(
    specs: dict[str, ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "DEFAULT_MODEL", "usual")
    specs["usual"] = hover_unet().with_changes(name="usual")
    found = findings.nearest_in_resolution(0.25, specs["coarse"])
    assert found is not None
    assert found.name == "usual"
