"""Large arrays go back to the system when they are freed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from histocyte.apps.cli.memory import return_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

changed = return_freed_memory()
np.ones(30_000_000, np.uint8)  # from this, glibc learns to keep what is freed of this size
kept = [np.ones(5_000_000, np.uint8) for _ in range(8)]
before = resident()
del kept[:-1]
print(changed, round((before - resident()) / 1e6))
"""

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def freed_mb(**environment: str) -> tuple[str, int]:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, env={**os.environ, **environment}
    )
    changed, freed = ended.stdout.split()
    return changed, int(freed)


@needs_glibc
def test_what_is_freed_goes_back_although_something_behind_it_stays() -> None:
    assert freed_mb() == ("True", 35)


@needs_glibc
def test_what_the_user_set_stays() -> None:
    changed, freed = freed_mb(MALLOC_MMAP_THRESHOLD_="33554432")
    assert changed == "False"
    assert freed < 5


HEAPS = """
import ctypes, threading
from histocyte.apps.cli.memory import return_freed_memory
return_freed_memory()
libc, together = ctypes.CDLL(None), threading.Barrier(8)
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p

def work():
    together.wait()
    libc.malloc(100_000)
    together.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


@needs_glibc
@pytest.mark.parametrize(("environment", "most"), [({}, 2), ({"MALLOC_ARENA_MAX": "5"}, 5)])
def test_threads_share_few_heaps(environment: dict[str, str], most: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HEAPS], check=True, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert ended.stdout.count("<heap nr=") == most
