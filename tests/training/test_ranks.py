"""Two processes that train one model: the same crops as one, the same weights in both, and exact resume."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch import distributed as dist

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.sample import Sample
from histocyte.model.build import build_segmenter
from histocyte.recipes.hover_unet import hover_unet
from histocyte.runs.train.defaults import crop_sampler
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses
from histocyte.training.crops import Batch
from histocyte.training.fit import TrainingOptions, fit
from histocyte.training.journal import Table
from histocyte.training.ranks import LostProcessError, Ranks, first_to_speak, joined, ranks, step_seed

torch.set_num_threads(1)
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_ranks
test_ranks.work(Path(sys.argv[1]))
"""
SPEC = hover_unet().with_changes(
    encoder={"name": "timm_pyramid", "options": {"name": "resnet10t", "depths": [0, 1]}},
    decoder={"name": "unet", "options": {"widths": [8], "depths": [1]}},
)


def work(folder: Path) -> None:
    """What each process does."""
    with joined(torch.device("cpu")) as mine:
        for name, stops in (("heads", [4]), ("whole", [4]), ("again", [2, 4])):
            for stop in stops:
                weights = train(folder / name, stop, heads_alone=name == "heads")
            save_file(weights, folder / f"{name}-{mine.rank}.safetensors")


def train(run: Path, stop: int, *, heads_alone: bool) -> dict[str, Tensor]:
    """Four steps of four crops, or the first of them; gives the weights that this process has then."""
    torch.manual_seed(0)
    labels = packed_ellipses((96, 96), 12, seed=0)
    sample = Sample("a", paint_truth(labels, CONSEP), labels.instances, labels.types, 0.25, "synthetic", "a")
    mine, model = ranks(), build_segmenter(SPEC)
    sampler = crop_sampler(SPEC, [sample], seed=1, share=(mine.rank, mine.world))
    sampler.crop_px = 32
    changes: dict[str, object] = {"optimiser": "sgd", "learning_rate": 0.01, "schedule": {"name": "constant"}}
    if heads_alone:  # nothing that goes by the statistics of a batch, and nothing rounded
        changes |= {"frozen": ("encoder", "decoder"), "precision": "float32"}
    done: list[int] = []
    fit(
        *(model, SPEC, sampler, run, TrainingOptions(steps=4, batch=4, **changes)),  # type: ignore[arg-type]
        losses=_by_pixel if heads_alone else None,
        progress=lambda step, _: done.append(step),
        stop=lambda: mine.rank == 0 and done[-1] == stop,  # told to one of them alone
        validate=lambda _: {"bpq": 0.5},
    )
    return {k: v.clone(memory_format=torch.contiguous_format) for k, v in model.state_dict().items()}


def _by_pixel(raw: Tensor, batch: Batch) -> Mapping[str, Tensor]:
    return {"nucleus_bce": (raw[:, :1] - torch.from_numpy(batch.maps["nucleus"])).square().mean()}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    port = free_port()
    common = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder), str(Path(__file__).parent)],
            env={**common, "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=900) for process in processes] == [0, 0]  # a busy machine imports for minutes
    finally:
        for process in processes:
            process.kill()
    return folder


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_both_have_the_same_weights_and_statistics(folder: Path) -> None:
    first, second = (load_file(folder / f"whole-{rank}.safetensors") for rank in range(2))
    assert equal(first, second)
    assert Table(folder / "whole" / "log.csv").column("step") == [1, 2, 3, 4]


def test_they_take_the_step_that_one_would(folder: Path, tmp_path: Path) -> None:
    alone = train(tmp_path, 4, heads_alone=True)
    together = load_file(folder / "heads-0.safetensors")
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-5, atol=1e-6, msg=name)
    for step in range(4):
        ours, theirs = (Table(run / "log.csv").column("loss")[step] for run in (tmp_path, folder / "heads"))
        assert theirs == pytest.approx(ours, rel=1e-4)


def test_with_batch_statistics_of_their_own_they_stay_close(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = {k: v.detach() for k, v in build_segmenter(SPEC).named_parameters()}
    alone, together = train(tmp_path, 4, heads_alone=False), load_file(folder / "whole-0.safetensors")
    moved = sum(float((alone[k] - v).square().sum()) for k, v in before.items()) ** 0.5
    apart = sum(float((alone[k] - together[k]).square().sum()) for k in before) ** 0.5
    assert 0 < apart < 0.5 * moved


def test_they_go_on_exactly(folder: Path) -> None:
    whole, again = (load_file(folder / name / "last.safetensors") for name in ("whole", "again"))
    assert equal(whole, again)


def test_a_batch_that_cannot_be_shared_is_refused_and_one_process_needs_nobody() -> None:
    with pytest.raises(InputError, match="5 crops a batch cannot be shared by 2 processes"):
        Ranks(0, 2).check_batch(5)
    with joined(torch.device("cpu")) as mine:
        assert mine == Ranks()
        assert mine.tell(3) == 3
        assert mine.any(True, torch.device("cpu"))
    assert len({step_seed(s, i, r) for s in range(3) for i in range(3) for r in range(3)}) == 27


def test_the_first_of_them_says_why_all_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_to_speak()
    port = free_port()
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("histocyte.training.ranks._STORE_PATIENCE", timedelta(milliseconds=200))
    assert first_to_speak()  # nobody to ask: better twice than not at all
    store = dist.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    assert [first_to_speak(), first_to_speak(), first_to_speak()] == [True, False, False]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert first_to_speak()
    del store


def test_another_process_that_is_gone_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise RuntimeError("Connection closed by peer\nmore of it")

    for name in ("all_reduce", "barrier", "broadcast_object_list"):
        monkeypatch.setattr(dist, name, gone)
    together, cpu = Ranks(0, 2), torch.device("cpu")
    linear = torch.nn.Linear(1, 1)
    linear(torch.ones(1)).backward()
    speak: list[Callable[[], object]] = [
        *(lambda: together.mean(torch.ones(1)), lambda: together.any(True, cpu), together.wait),
        *(lambda: together.tell(1), lambda: together.average_gradients(linear)),
    ]
    for each in speak:
        with pytest.raises(
            LostProcessError, match=r"has ended or cannot be reached.*run the same command again"
        ) as said:
            each()
        assert "\n" not in str(said.value)


@pytest.mark.slow
def test_torchrun_runs_the_command_line_and_an_error_is_told_once(tmp_path: Path) -> None:
    code = "from histocyte.apps.cli.main import run; run()"
    torchrun = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--no-python",
        "--master-port",
        str(free_port()),
    ]
    command = [sys.executable, *torchrun, sys.executable, "-c", code, "train", str(tmp_path / "none"), "-o", "out"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)
    assert ended.returncode
    assert ended.stderr.count("histocyte: ") == 1, ended.stderr
    assert "There is no folder" in ended.stderr
    assert not (tmp_path / "out").exists()
