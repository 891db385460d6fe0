"""What is written for users and developers is plain present-day English."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REFUSED = re.compile(
    r"\b(anew|likewise|lest|thereof|therein|thereby|whereof|wherein|whence|thence|hitherto|heretofore|betwixt|"
    r"naught|aught|albeit|so-manieth)\b"
    # The noun comes first: "Model file or bundled name", not "Of the model".
    r'|^\s+[a-z_0-9]+: Of (the|a|an|its|each|that|this|all)\b|help="Of ',
    re.IGNORECASE | re.MULTILINE,
)
FILES = [
    *(path for folder in ("src", "scripts", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("*.md")),
]


def test_words_that_nobody_says_any_more() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match.group().strip()}"
        for path in FILES
        for text in [path.read_text(encoding="utf-8")]
        for match in REFUSED.finditer(text)
    ]
    assert not found


@pytest.mark.parametrize(
    "text", ["Copy it anew.", '    help="Of the recipe"', "        spec: Of the model.", "Likewise,"]
)
def test_they_would_be_found(text: str) -> None:
    assert REFUSED.search(text)
