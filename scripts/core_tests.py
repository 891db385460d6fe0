"""Install the core in an environment of its own, segment the bundled slide, and run the tests that need no torch.

    python scripts/core_tests.py [--environment .venv-core] [--workers 2]

Standard library only, and the same on Linux, macOS and Windows. The locked versions are installed, with their hashes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")


def main() -> int:
    """Do it; gives the exit code."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--environment", type=Path, default=ROOT / ".venv-core", help="folder of the environment")
    given.add_argument("--workers", type=int, default=2, help="processes that run tests")
    arguments = given.parse_args()
    python = prepared(arguments.environment)
    with tempfile.TemporaryDirectory() as folder:
        run(python, "-m", "histocyte", "demo", "-o", str(Path(folder) / "demo"))
    tests = ("-m", "pytest", "-q", "-n", str(arguments.workers), "-m", "not slow")
    return subprocess.run([python, *tests], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode


def prepared(environment: Path) -> str:
    """The interpreter of the environment, which is made or brought up to date first."""
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = environment / "core_tests.stamp"
    wanted = "".join((ROOT / name).read_text(encoding="utf-8") for name in (*LOCKS, "pyproject.toml"))
    if not (stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted):
        venv.EnvBuilder(with_pip=True, clear=environment.exists()).create(environment)
        pip = (str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps")
        for name in LOCKS:
            run(*pip, "--only-binary", ":all:", "--require-hashes", "-r", str(ROOT / name))
        run(*pip, "--no-build-isolation", "--no-index", "-e", str(ROOT))
        stamp.write_text(wanted, encoding="utf-8")
    return str(python)


def run(*command: str) -> None:
    """Run a command, and end where it fails."""
    code = subprocess.run(command, cwd=ROOT).returncode
    if code:
        sys.exit(code)


if __name__ == "__main__":
    sys.exit(main())
