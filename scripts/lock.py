"""Resolve pyproject.toml into the locks: every version pinned, every file by its hash, no address.

Four files, because torch differs by machine: `requirements.lock` (what histocyte runs on, and what builds it),
`requirements-dev.lock` (everything but torch), `requirements-torch.lock` (torch alone, also in builds that only a
machine's own pip settings offer) and `requirements-cuda.lock` (what the registry's Linux build of torch needs).

Versions already locked stay; `--upgrade` takes the newest.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORE, DEV, TORCH, CUDA = (ROOT / f"requirements{part}.lock" for part in ("", "-dev", "-torch", "-cuda"))
CUDA_PACKAGE = re.compile(r"(triton|nvidia-.*|cuda-.*)")
UV = Path(sys.executable).with_name("uv")


def main() -> None:
    """Write the four locks, or none."""
    upgrade = "--upgrade" in sys.argv[1:]
    locked = [lock.read_text() for lock in (DEV, TORCH, CUDA) if lock.exists() and not upgrade]
    everything = compile_lock("".join(locked), "--all-extras", "--group", "build", "--group", "dev")
    dev, torch, cuda = split(everything)
    core = compile_lock(everything, "--group", "build")
    locks = {CORE: core, DEV: dev, TORCH: with_builds_at_hand(torch), CUDA: cuda}
    for lock, text in locks.items():
        if "://" in text or "file:" in text:
            raise SystemExit(f"{lock.name} would name an address: a package is required by its URL.")
    if strays := pins(core) - pins(dev):
        raise SystemExit(f"{CORE.name} pins what {DEV.name} does not: {', '.join(sorted(strays))}.")
    for lock, text in locks.items():
        lock.write_text(text)


def compile_lock(locked: str, *selection: str) -> str:
    """The requirements that a selection of extras and groups resolves to, at locked versions where there are any."""
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "requirements.lock"
        lock.write_text(locked)
        command = f"{UV} pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url"
        options = ["--no-annotate", "--no-header", *selection, "pyproject.toml", "-o", str(lock)]
        subprocess.run([*command.split(), *options], cwd=ROOT, check=True)
        return lock.read_text()


def entries(lock: str) -> list[str]:
    """A lock's entries, each with its hashes."""
    return [entry for entry in re.split(r"^(?=[a-z])", lock, flags=re.MULTILINE) if entry.strip()]


def pins(lock: str) -> set[str]:
    """`name==version` of every entry."""
    return {entry.split()[0] for entry in entries(lock)}


def split(lock: str) -> tuple[str, str, str]:
    """Everything but torch; torch; what the registry's Linux build of torch needs."""
    dev, torch, cuda = [], [], []
    for entry in entries(lock):
        name = entry.split("==")[0]
        (torch if name == "torch" else cuda if CUDA_PACKAGE.fullmatch(name) else dev).append(entry)
    return "".join(dev), "".join(torch), "".join(cuda)


def with_builds_at_hand(torch: str) -> str:
    """Torch's entry with the hashes, too, of the build pip chooses here and of those already known."""
    pin = torch.split()[0]
    hashes = set(re.findall(r"sha256:\w+", torch))
    if TORCH.exists() and TORCH.read_text().startswith(f"{pin} "):
        hashes.update(re.findall(r"sha256:\w+", TORCH.read_text()))
    options = ["-q", "--dry-run", "--no-deps", "--ignore-installed", "--report", "-"]
    command = [sys.executable, "-m", "pip", "install", *options, pin]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    hashes.update(f"sha256:{item['download_info']['archive_info']['hashes']['sha256']}" for item in report["install"])
    return f"{pin} \\\n" + " \\\n".join(f"    --hash={digest}" for digest in sorted(hashes)) + "\n"


if __name__ == "__main__":
    main()
