"""The state of a training that is not what was written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from histocyte.core.errors import ModelError
from histocyte.testing.mutations import safetensors_header, with_safetensors_header
from histocyte.training.ema import WeightAverage
from histocyte.training.state import load_state, save_state


def go_on(path: Path, *, first: bool = False) -> dict[str, Any]:
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    average, optimiser = WeightAverage(network, 0.9), torch.optim.AdamW(network.parameters())
    found = {} if first else load_state(path, network, average, optimiser)
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    if first:
        save_state(path, network, average, optimiser, {"step": 1, "best": None, "note": "x"})
    return found


def progress(**changes: object) -> Callable[[dict[str, Any]], object]:
    def change(header: dict[str, Any]) -> None:
        facts = {**json.loads(header["__metadata__"]["progress"]), **changes}
        header["__metadata__"]["progress"] = json.dumps({k: v for k, v in facts.items() if v != "gone"})

    return change


def test_a_whole_one_is_gone_on_with(tmp_path: Path) -> None:
    go_on(tmp_path / "last.safetensors", first=True)
    assert go_on(tmp_path / "last.safetensors") == {"step": 1, "best": None, "note": "x"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (progress(average_updates="gone"), "average_updates"),
        (progress(step="1"), "step: Input should be a valid integer"),
        (progress(best=[]), "best"),
        (lambda h: h.update({"optimiser.1.exp": h.pop("optimiser.1.exp_avg")}), "kept something else"),
        (lambda h: h.update({"optimiser.7.exp_avg": h.pop("optimiser.1.exp_avg")}), "kept something else"),
        (lambda h: h["optimiser.0.exp_avg"].update(shape=[3, 2]), "kept something else of parameter 0"),
        (lambda h: h.update({"generators": h.pop("generator")}), "generator"),
    ],
)
def test_what_was_never_written_is_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    path = tmp_path / "last.safetensors"
    go_on(path, first=True)
    header = safetensors_header(path.read_bytes())
    change(header)
    path.write_bytes(with_safetensors_header(path.read_bytes(), header))
    with pytest.raises(ModelError, match=rf"^'\S+last\.safetensors' is not a checkpoint .*{says}.*Delete it[^\n]*$"):
        go_on(path)
