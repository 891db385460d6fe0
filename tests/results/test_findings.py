"""What is said beside a result."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
