"""A run's folder: whose it is, what it says of another, and what it says of what is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from histocyte.core.errors import BusyError, InputError
from histocyte.runs.folder import RunFolder

MINE = {"steps": 4, "images": "0" * 64, "loss": {"alpha": 0.3, "beta": 0.7}, "teachers": [{"name": "a"}]}


def test_the_same_run_goes_on_and_another_is_told_in_what_it_differs(tmp_path: Path) -> None:
    here = RunFolder(tmp_path / "run")
    here.check("run.json", MINE)  # nothing there yet
    here.settle("run.json", MINE)
    here.settle("run.json", MINE)
    other = {"steps": 8, "images": "1" * 64, "loss": {"alpha": 0.3, "beta": 1.0}, "teachers": []}
    with pytest.raises(InputError) as refused:
        here.settle("run.json", other)
    assert str(refused.value) == (
        f"'{tmp_path / 'run'}' holds a run with other settings (steps 4 there, 8 now, images, loss: beta 0.7 there, "
        "1.0 now, teachers). Use the same, or another folder."
    )
    here.settle("run.json", MINE)  # what was refused has changed nothing


@pytest.mark.parametrize("content", ["[]", "{", '{"steps": 4}'])
def test_a_damaged_or_older_file_is_no_run_to_go_on_with(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"is damaged|holds a study with other settings \(images"):
        RunFolder(tmp_path, "study").check("run.json", MINE)


def test_one_process_is_in_it_at_a_time(tmp_path: Path) -> None:
    here = RunFolder(tmp_path)
    with here.held():
        with pytest.raises(BusyError), here.held():
            pass
        with here.held(leads=False):  # of several processes that share the work one holds it
            pass
    with here.held():
        assert here.steps_done == 0
