"""classes.json, and that its faults are told with its name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.class_list import read_class_list


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({**CONSEP.to_json(), "classes": [{"name": "a", "colour": [1, 2]}]}, "Not a taxonomy"),
        ({**CONSEP.to_json(), "classes": [{"name": " ", "colour": [1, 2, 3]}]}, "a name of its own"),
        (["a", "a"], "'a, a' is not a list of classes"),
        ({"1": "a", "3": "b"}, "without a gap"),
        (3, "is not a list of classes"),
    ],
)
def test_a_fault_is_told_with_the_files_name(tmp_path: Path, content: object, says: str) -> None:
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"^'\S+classes\.json' .*{says}[^\n]*$"):
        read_class_list(path, "mine")


def test_a_whole_taxonomy_is_read(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text(json.dumps(CONSEP.to_json()))
    assert read_class_list(tmp_path / "classes.json", "mine") == CONSEP
