"""Attack every reader and command with damaged inputs, and tell what is neither an answer nor an error of one line.

Each reader or command runs in a process of its own, so that one that ends the program, hangs or fills the memory is
told like the others. The same seed does the same damage. Exit code 1 where anything failed.

Run: python scripts/fuzz.py [--cases 1000] [--seconds 600] [--seed 0] [--only models] [-o failures]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fuzzing import TARGETS

from histocyte.testing.attack import SECONDS, Attempt, Outcome, Target, attack

START_SECONDS = 240.0
"""What a process may take to import and compile before its first case."""

LEAST_SECONDS = 90.0
"""For each target, while there is time: a process takes some of it to begin."""

GRACE_SECONDS = 20.0
"""A case that its own alarm does not end, as it hangs within a library, is killed so much later."""


@dataclass
class Row:
    """What became of a target."""

    target: str
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    failures: list[Attempt] = field(default_factory=list)

    def count(self, attempt: Attempt) -> None:
        """Count one more."""
        self.outcomes[attempt.outcome] += 1
        self.slowest = max(self.slowest, attempt.seconds)
        if attempt.failed:
            self.failures.append(attempt)


def work(target: Target, seeds: range, folder: Path) -> None:
    """In a process of its own: attack one target, and tell of each case in a line of JSON."""
    out = sys.stdout
    sys.stdout = sys.stderr
    for attempt in attack(target, seeds, folder):
        print(json.dumps(asdict(attempt)), file=out, flush=True)
        if attempt.failed:
            shutil.copytree(folder / "damaged", folder / "failed" / str(attempt.seed), dirs_exist_ok=True)


def attacked(target: Target, seeds: range, until: float, kept: Path | None) -> Row:
    """Attack one target in processes: a new one after each case that ended the one before."""
    row, seed = Row(target.name), seeds.start
    while seed < seeds.stop and time.monotonic() < until:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
            place = Path(name)
            with (place / "stderr").open("w") as stderr:
                process = subprocess.Popen(
                    [sys.executable, __file__, "--work", target.name, str(seed), str(seeds.stop), name],
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                )
                for attempt in _told(process, until):
                    row.count(attempt)
                    seed = attempt.seed + 1
                ended = _ended(process, until)
            if kept is not None:
                for failed in place.glob("failed/*"):
                    shutil.copytree(failed, kept / f"{target.name} {failed.name}", dirs_exist_ok=True)
            if ended is None:
                break
            outcome, said = ended
            if not (place / "damaged").exists():
                last = (place / "stderr").read_text(errors="replace").strip().splitlines()[-1:]
                row.count(Attempt(target.name, seed, "", outcome, f"whole, they are not accepted: {''.join(last)}"))
                break
            row.count(Attempt(target.name, seed, "", outcome, said))
            if kept is not None:
                shutil.copytree(place / "damaged", kept / f"{target.name} {seed}", dirs_exist_ok=True)
            seed += 1
    return row


def _ended(process: subprocess.Popen[str], until: float) -> tuple[Outcome, str] | None:
    """What was wrong with how a process ended, or that it did not; None where it is done or its time is up."""
    if process.poll() is None:
        process.kill()
        process.wait()
        return ("hangs", "it does not even stop when told to") if time.monotonic() < until else None
    return ("broken", f"the program ends with {process.returncode}") if process.returncode else None


def _told(process: subprocess.Popen[str], until: float) -> list[Attempt]:
    """What a process tells of its cases, until it ends, is silent for too long, or the time is up."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    attempts: list[Attempt] = []
    while True:
        most = SECONDS + GRACE_SECONDS if attempts else START_SECONDS
        try:
            line = lines.get(timeout=max(0.0, min(most, until - time.monotonic())))
        except queue.Empty:
            return attempts
        if line is None:
            process.wait()
            return attempts
        attempts.append(Attempt(**json.loads(line)))


def kinds(failures: list[Attempt]) -> list[str]:
    """A line for each kind of failure: the first of those that say the same but for numbers and names."""
    alike: dict[str, list[Attempt]] = {}
    for attempt in failures:
        alike.setdefault(attempt.outcome + re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "…", attempt.said)[-120:], []).append(
            attempt
        )
    return [
        f"  {first.target} {first.seed} ({first.file}): {first.outcome}: {first.said}"
        + (f" [and {len(others)} alike]" if others else "")
        for first, *others in alike.values()
    ]


def table(rows: list[Row]) -> str:
    """For people."""
    heads = ("target", "cases", "refused", "accepted", "broken", "hangs", "large", "slowest s")
    lines = [f"{heads[0]:24}" + "".join(f"{head:>11}" for head in heads[1:])]
    for row in rows:
        counts = [
            row.outcomes.total(),
            *(row.outcomes[key] for key in ("refused", "accepted", "broken", "hangs", "large")),
        ]
        lines.append(f"{row.target:24}" + "".join(f"{count:>11,}" for count in counts) + f"{row.slowest:>11.1f}")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, attack, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000, help="cases of each target; fewer of slow ones")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="most that all may take")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first case; the others follow it")
    parser.add_argument("--only", nargs="*", default=[""], help="targets whose name begins so")
    parser.add_argument("-o", "--out", type=Path, help="folder for the inputs that failed")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        name, first, last, place = asked.work
        (target,) = (each for each in TARGETS if each.name == name)
        work(target, range(int(first), int(last)), Path(place))
        return
    chosen = [t for t in TARGETS if any(t.name.startswith(name) for name in asked.only)]
    chosen = [t for t in chosen if not t.needs or importlib.util.find_spec(t.needs)]
    until, rows = time.monotonic() + asked.seconds, []
    for number, target in enumerate(chosen):
        left = until - time.monotonic()
        share = target.share / sum(each.share for each in chosen[number:])
        count = max(1, round(asked.cases * target.share))
        most = max(left * share, LEAST_SECONDS)
        row = attacked(target, range(asked.seed, asked.seed + count), min(until, time.monotonic() + most), asked.out)
        print(*kinds(row.failures), sep="\n", end="\n" * bool(row.failures))
        rows.append(row)
        print(table([row]).splitlines()[1], flush=True)
    print(table(rows))
    print(f"{sum(row.outcomes.total() for row in rows):,} cases, {sum(len(row.failures) for row in rows)} failed.")
    sys.exit(any(row.failures for row in rows))


if __name__ == "__main__":
    main()
