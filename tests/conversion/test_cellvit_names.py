"""The network of CellViT-256 against outputs of the published code for weights that anyone can regenerate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from histocyte.conversion.cellvit_names import cellvit_weights, load_cellvit, load_exactly, read_pth
from histocyte.core.errors import InputError, ModelError
from histocyte.model.build import build_segmenter
from histocyte.model.segmenter import Segmenter
from histocyte.recipes.cellvit import cellvit
from histocyte.testing.regenerated import read_shapes, regenerated

torch.set_num_threads(1)
ORACLES = Path(__file__).parents[2].parent / "shared" / "oracles" / "networks"
needs_oracles = pytest.mark.skipif(not ORACLES.is_dir(), reason="the published outputs are not here")


def published_weights(name: str) -> dict[str, torch.Tensor]:
    shapes = read_shapes(ORACLES / f"{name}.keys.tsv")
    return {key: torch.from_numpy(regenerated(key, shape)) for key, shape in shapes.items()}


def empty_model(*, shared: bool, compatible: bool = True) -> Segmenter:
    with torch.device("meta"):
        return build_segmenter(cellvit(shared=shared, compatible=compatible)).eval()


def model_with_published_weights(name: str, *, compatible: bool = True) -> Segmenter:
    model = build_segmenter(cellvit(shared="shared" in name, compatible=compatible)).eval()
    load_exactly(model, cellvit_weights(published_weights(name)), where=name)
    return model


def outputs(model: Segmenter, side: int) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(side).standard_normal((1, 3, side, side)).astype("float32")
    image = (torch.from_numpy(noise) * 0.5 + 0.5) * 255
    with torch.inference_mode():
        raw, tissue = model.forward_with_tissue(image)
        tokens = model.encoder(model.normalise(image)).tokens
    maps = raw[:, :, ::8, ::8].split([spec.channels for spec in model.specs], dim=1)
    return {
        "tissue_types": tissue.numpy(),
        "nuclei_binary_map": maps[0].numpy(),
        "hv_map": maps[1].numpy(),
        "nuclei_type_map": maps[2].numpy(),
        "tokens": tokens[:, :, ::2, ::2].numpy(),
    }


def disagreement(ours: dict[str, np.ndarray], name: str, side: int) -> dict[str, float]:
    """Largest difference of each output, relative to the output's own largest value."""
    with np.load(ORACLES / f"{name}.npz") as stored:
        truth = {key.split("/")[1]: stored[key] for key in stored if key.startswith(f"{side}/")}
    return {key: float(np.abs(ours[key] - value).max() / np.abs(value).max()) for key, value in truth.items()}


@pytest.mark.slow
@needs_oracles
@pytest.mark.parametrize("name", ["cellvit_256", "cellvit_256_shared"])
def test_logits_are_those_of_the_published_code(name: str) -> None:
    model = model_with_published_weights(name)
    for side in (256, 320) if name == "cellvit_256" else (256,):
        found = disagreement(outputs(model, side), name, side)
        assert len(found) >= 4
        # Positions resampled timm's way miss by 4e-4.
        assert max(found.values()) < 2e-5, (side, found)


@needs_oracles
def test_every_published_name_has_a_place() -> None:
    for name, shared in (("cellvit_256", False), ("cellvit_256_shared", True)):
        shapes = read_shapes(ORACLES / f"{name}.keys.tsv")
        weights = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
        ours = cellvit_weights(weights)
        state = empty_model(shared=shared).state_dict()
        assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in state.items()}


@pytest.mark.parametrize(("shared", "count"), [(False, 46_750_349), (True, 33_159_085)])
def test_parameter_counts_are_those_of_the_paper(shared: bool, count: int) -> None:
    # Logged by the published runs, tissue head included.
    assert sum(p.numel() for p in empty_model(shared=shared).parameters()) == count


def test_whatever_does_not_fit_is_listed() -> None:
    model = torch.nn.Linear(3, 2)
    weights = {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)}
    with pytest.raises(ModelError, match=r"missing: bias; left over: extra; of another shape: weight \(2, 4\)"):
        load_exactly(model, weights, where="there")


def test_a_nested_pth_is_read_as_plain_data(tmp_path: Path) -> None:
    torch.save({"model_state_dict": {"weight": torch.ones(2)}, "epoch": 3}, tmp_path / "nested.pth")
    assert torch.equal(read_pth(tmp_path / "nested.pth")["weight"], torch.ones(2))


class Harmful:
    """Would run code on loading."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def test_code_in_a_pth_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model_state_dict": Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(ModelError, match="never run"):
        load_cellvit(torch.nn.Linear(1, 1), tmp_path / "harmful.pth")
    assert capsys.readouterr().out == ""


def test_pth_faults_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no weights file"):
        read_pth(tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(ModelError, match="holds no plain weights"):
        read_pth(tmp_path / "text.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(ModelError, match="without weights"):
        read_pth(tmp_path / "empty.pth")
