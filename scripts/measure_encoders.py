"""Measure every encoder of the catalog on tensors without data, and write what `encoders list` and the docs show.

    python scripts/measure_encoders.py [NAME ...]

Run it after adding or changing a card; a giant needs no memory and takes seconds.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from histocyte.encoders.catalog.find import CARDS
from histocyte.encoders.catalog.measure import build_empty, facts_of

FACTS = Path(__file__).parents[1] / "src" / "histocyte" / "encoders" / "catalog" / "facts.json"


def main(names: list[str]) -> None:
    """Measure the named ones, or all."""
    stored = json.loads(FACTS.read_text(encoding="utf-8")) if FACTS.exists() else {}
    for name in names or list(CARDS):
        card = CARDS[name]
        facts = dataclasses.asdict(facts_of(build_empty(card.part, card.options)))
        stored[name] = {key: value for key, value in facts.items() if value not in (None, ())}
        print(f"{name}: {facts['parameters']:,} parameters, {facts['activations_mb']} MB of activations", flush=True)
    lines = [f"  {json.dumps(name)}: {json.dumps(stored[name])}" for name in CARDS if name in stored]
    FACTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
