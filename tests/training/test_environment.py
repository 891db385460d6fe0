"""What a run was done with, without names of people, machines or folders."""

from __future__ import annotations

import getpass
import json
import socket
from pathlib import Path

import torch

from histocyte.training.environment import environment, record_environment


def test_versions_and_hardware_are_named_and_nobody_is(tmp_path: Path) -> None:
    facts = environment(torch.device("cpu"), ranks=2)
    assert facts["packages"]["torch"] == torch.__version__
    assert facts["ranks"] == 2
    assert facts["threads"] >= 1
    assert facts["processor"]
    record_environment(tmp_path / "environment.json", facts, step=0)
    text = (tmp_path / "environment.json").read_text()
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text
    assert str(tmp_path) not in text
    if len(getpass.getuser()) > 4:  # "root" is also a part of words
        assert getpass.getuser() not in text


def test_a_run_that_goes_on_elsewhere_names_both_places(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    for step, threads in ((0, 2), (40, 2), (60, 8), (60, 4)):
        record_environment(path, {"threads": threads}, step=step)
    sessions = json.loads(path.read_text())["sessions"]
    assert sessions == [{"from_step": 0, "threads": 2}, {"from_step": 60, "threads": 4}]
    path.write_text("{")
    record_environment(path, {"threads": 1}, step=70)
    assert json.loads(path.read_text())["sessions"] == [{"from_step": 70, "threads": 1}]
