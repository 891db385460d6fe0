"""Write the table of docs/encoders.md again from the catalog.

python scripts/encoders_table.py
"""

from __future__ import annotations

from pathlib import Path

from histocyte.encoders.catalog.find import CARDS

PAGE = Path(__file__).parents[1] / "docs" / "encoders.md"
BEGIN, END = "<!-- table: scripts/encoders_table.py -->", "<!-- end of table -->"


def table() -> str:
    """The cards as a Markdown table."""
    columns = (
        *("name", "model", "trained at, µm/px", "stride, px", "weights, millions", "memory at 1024², GB"),
        *("tapped blocks", "licence", "commercial use", "gated"),
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for card in CARDS.values():
        facts = card.facts
        strides = "–".join(dict.fromkeys(map(str, (facts.strides[0], facts.strides[-1]))))
        cells = (
            f"`{card.name}`",
            card.title,
            ", ".join(f"{mpp:g}" for mpp in card.mpp) or "photographs",
            strides,
            f"{facts.parameters / 1e6:,.1f}",
            f"{facts.memory_mb / 1000:.1f}",
            ", ".join(map(str, facts.taps)) or "all stages",
            card.licence,
            card.commercial,
            "yes" if card.gated else "no",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Put the table between its marks."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
