"""Weights are known by their tensors, not by their file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from histocyte.encoders.weights.fingerprint import encoder_sha256, weights_sha256

WEIGHTS = {"b.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3), "a": torch.tensor(7)}


def test_the_hash_is_that_of_what_is_written_here() -> None:
    a = hashlib.sha256(b"int64 \n" + (7).to_bytes(8, "little")).hexdigest()
    b = hashlib.sha256(b"float32 2x3\n" + WEIGHTS["b.weight"].numpy().tobytes()).hexdigest()
    assert weights_sha256(WEIGHTS) == hashlib.sha256(f"a\t{a}\nb.weight\t{b}\n".encode()).hexdigest()


def test_both_kinds_of_file_and_any_order_give_the_same(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "w.safetensors")
    torch.save(dict(reversed(WEIGHTS.items())), tmp_path / "w.pth")
    same = {
        weights_sha256(WEIGHTS),
        weights_sha256(load_file(tmp_path / "w.safetensors")),
        weights_sha256(torch.load(tmp_path / "w.pth", weights_only=True)),
        weights_sha256({**WEIGHTS, "b.weight": WEIGHTS["b.weight"].T.contiguous().T}),
    }
    assert len(same) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"b.bias": WEIGHTS["b.weight"], "a": WEIGHTS["a"]},
        {**WEIGHTS, "b.weight": WEIGHTS["b.weight"].reshape(3, 2)},
        {**WEIGHTS, "a": WEIGHTS["a"].view(torch.float64)},
        {**WEIGHTS, "b.weight": WEIGHTS["b.weight"] + 1e-7},
        {"a": WEIGHTS["a"]},
    ],
    ids=["name", "shape", "dtype", "value", "one less"],
)
def test_any_difference_shows(other: dict[str, torch.Tensor]) -> None:
    assert weights_sha256(other) != weights_sha256(WEIGHTS)


def test_half_precision_has_a_hash_too() -> None:
    assert weights_sha256({"a": torch.ones(3, dtype=torch.bfloat16)}) != weights_sha256({"a": torch.ones(3).half()})


def test_positions_and_counters_do_not_count_for_an_encoder() -> None:
    """They are resampled or recomputed when they are read."""
    more = {"body.pos_embed": torch.ones(1, 5, 2), "body.bn1.num_batches_tracked": torch.tensor(3)}
    assert encoder_sha256({**WEIGHTS, **more}) == encoder_sha256(WEIGHTS) == weights_sha256(WEIGHTS)
    assert encoder_sha256({**WEIGHTS, "body.pos_embedding_of_ours": torch.ones(1)}) != encoder_sha256(WEIGHTS)
