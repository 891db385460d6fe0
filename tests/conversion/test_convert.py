"""Checkpoints in the layouts that were published become models that give the published outputs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from histocyte.apps.cli.main import app
from histocyte.conversion.cellvit_names import check_exactly
from histocyte.conversion.convert import convert
from histocyte.conversion.facts import Facts
from histocyte.conversion.file import ForeignFile
from histocyte.conversion.kinds import KINDS
from histocyte.core.errors import InputError, ModelError, ResolutionError, UnknownNameError
from histocyte.core.taxonomies import CONSEP, MONUSAC, PANNUKE, taxonomy_of
from histocyte.decoders import hover_branches
from histocyte.model.build import build_representation, build_segmenter
from histocyte.model.checkpoint import load_model
from histocyte.model.segmenter import Segmenter
from histocyte.recipes.cellvit import cellvit
from histocyte.recipes.cellvit_stardist import cellvit_stardist
from histocyte.representations.hover.scheme import Hover
from histocyte.representations.star.scheme import Star
from histocyte.testing.regenerated import read_shapes, regenerated

torch.set_num_threads(1)
ORACLES = Path(__file__).parents[2].parent / "shared" / "oracles" / "networks"
needs_oracles = pytest.mark.skipif(not ORACLES.is_dir(), reason="the published layouts are not here")
DOUBLING = "upsample2x.unpool_mat"
Weights = dict[str, torch.Tensor]


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    return read_shapes(ORACLES / f"{name}.keys.tsv")


def hollow(name: str) -> Weights:
    """Ones in the published shapes, a single number each in a file."""
    return {key: torch.ones(1).expand(shape) if shape else torch.tensor(1) for key, shape in shapes(name).items()}


def published(name: str) -> Weights:
    weights = {key: torch.from_numpy(regenerated(key, shape)) for key, shape in shapes(name).items()}
    if DOUBLING in weights:
        weights[DOUBLING] = torch.ones(2, 2)  # as in every real file; see `doubling`
    return weights


def doubling(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The oracle's doubling: its weights, these 2 × 2 included, are noise; real files double by ones."""
    factors = torch.from_numpy(regenerated(DOUBLING, shapes(name)[DOUBLING]))

    def double(x: torch.Tensor) -> torch.Tensor:
        return torch.kron(x, factors)

    return double


def noise(side: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(side).standard_normal((1, 3, side, side)).astype("float32"))


def disagreement(ours: dict[str, torch.Tensor], name: str, side: int) -> float:
    """Largest difference relative to the output's own largest value."""
    with np.load(ORACLES / f"{name}.npz") as stored:
        truth = {key: stored[f"{side}/{key}"] for key in ours}
    return max(float(np.abs(ours[key].numpy() - t).max() / np.abs(t).max()) for key, t in truth.items())


def by_command(*arguments: object) -> dict[str, Any]:
    answer = CliRunner().invoke(app, ["models", "convert", *map(str, arguments), "--json"], catch_exceptions=False)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


@pytest.mark.slow
@needs_oracles
@pytest.mark.parametrize(("mode", "side", "step"), [("fast", 256, 8), ("original", 270, 2)])
def test_a_converted_hovernet_gives_the_published_logits(
    mode: str, side: int, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"hovernet_{mode}"
    torch.save({"desc": published(name)}, tmp_path / f"{name}.tar", _use_new_zipfile_serialization=mode == "fast")
    said = by_command(tmp_path / f"{name}.tar", "-o", tmp_path / "out.safetensors")
    assert said["classes"] == list((PANNUKE if mode == "fast" else CONSEP).names)
    model: Any = load_model(tmp_path / "out.safetensors")[1]
    monkeypatch.setattr(hover_branches, "double", doubling(name))
    with torch.inference_mode():
        # Without the mirrored border: the published network takes it off, and answers for what is left.
        pyramid = model.encoder.pyramid(model.normalise(noise(side)))
        raw = model.heads(model.decoder.climb(pyramid))
    parts = raw[:, :, ::step, ::step].split([spec.channels for spec in model.specs], dim=1)
    # Measured: 2e-6 at most.
    assert disagreement(dict(zip(("np", "hv", "tp"), parts, strict=True)), name, side) < 1e-4


@pytest.mark.slow
@needs_oracles
def test_a_converted_cellvit_gives_the_published_logits(tmp_path: Path) -> None:
    name = "cellvit_256_shared"
    torch.save({"arch": "CellViT256", "model_state_dict": published(name)}, tmp_path / "x20.pth")
    said = by_command(tmp_path / "x20.pth", "--classes", "a,b,c,d,e", "--name", "mine")
    assert (said["mpp"], said["classes"], said["name"]) == (0.5, list("abcde"), "mine")
    spec, model = load_model(tmp_path / "x20.safetensors")
    assert spec.representation.options["sobel_px"] == 11
    with torch.inference_mode():
        raw, tissue = model.forward_with_tissue((noise(256) * 0.5 + 0.5) * 255)
    parts = raw[:, :, ::8, ::8].split([spec.channels for spec in model.specs], dim=1)
    ours = dict(zip(("nuclei_binary_map", "hv_map", "nuclei_type_map"), parts, strict=True))
    assert disagreement({**ours, "tissue_types": tissue}, name, 256) < 1e-4


@pytest.mark.slow
@needs_oracles
@pytest.mark.parametrize("name", ["stardist", "cppnet"])
def test_a_converted_star_model_gives_the_published_logits(name: str, tmp_path: Path) -> None:
    torch.save({"model_state_dict": published(f"cellvit_256_{name}")}, tmp_path / "x40.pth")
    said = by_command(tmp_path / "x40.pth")
    assert (said["name"], said["classes"]) == (f"cellvit-{name}-256", list(PANNUKE.names))
    spec, model = load_model(tmp_path / "x40.safetensors")
    assert spec.representation.options == {"classes": 5, "compat": True} | (
        {"refined": True} if name == "cppnet" else {}
    )
    with torch.inference_mode():
        raw = model((noise(256) * 0.5 + 0.5) * 255)
    parts = raw[:, :, ::8, ::8].split([spec.channels for spec in model.specs], dim=1)
    named = dict(zip([spec.name for spec in model.specs], parts, strict=True))
    ours = {"dist_map": named["nucleus"], "nuclei_type_map": named["types"]}
    if name == "cppnet":  # its first guess is published before the ReLU
        ours |= {"stardist_map_refined": named["rays"].relu(), "stardist_map": named["rays_initial"]}
    else:
        ours["stardist_map"] = named["rays"].relu()
    assert disagreement(ours, f"cellvit_256_{name}", 256) < 1e-4


CONFIG = {
    "data.num_nuclei_classes": 6,
    "transformations.normalize.mean": [0.1, 0.2, 0.3],
    "transformations.normalize.std": [0.4, 0.5, 0.6],
    "dataset_config.nuclei_types": {"Background": 0, "B_cell": 2, "A_cell": 1, "C": 3, "D": 4, "E": 5},
}


@needs_oracles
def test_a_files_configuration_counts(tmp_path: Path) -> None:
    stored = {"arch": "CellViT256", "config": CONFIG, "epoch": 130, "best_metric": np.float64(0.5)}
    torch.save({**stored, "model_state_dict": hollow("cellvit_256")}, tmp_path / "CellViT-256-x40.pth")
    spec, _ = convert(tmp_path / "CellViT-256-x40.pth")
    assert spec.classes.names == ("a cell", "b cell", "c", "d", "e")
    assert (spec.mean, spec.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert spec.name == "cellvit-256"
    assert len(spec.tissues) == 19
    converted = spec.training["converted"]
    assert (converted["kind"], converted["file"]) == ("cellvit", "CellViT-256-x40.pth")
    assert len(converted["sha256"]) == 64
    assert converted["notes"] == ["0.25 µm/px is assumed, for the file name says 40×; --mpp sets it"]
    assert spec.mpp == 0.25
    wished, _ = convert(tmp_path / "CellViT-256-x40.pth", mpp=0.5, taxonomy=PANNUKE, compat=False)
    assert build_representation(wished.representation) == Hover.at(0.5, classes=5, nucleus_channels=2)
    assert wished.classes == PANNUKE
    assert wished.training["converted"]["notes"] == []
    for magnification, mpp in ((20, 0.5), ("40", 0.25)):
        file = ForeignFile(Path("x20.pth"), {}, {"data": {"magnification": magnification}})
        facts = Facts(file)
        assert (facts.resolution(), facts.notes) == (mpp, [])


@needs_oracles
def test_a_converted_model_decodes_as_published(tmp_path: Path) -> None:
    torch.save(hollow("hovernet_original"), tmp_path / "x20.tar")
    spec, _ = convert(tmp_path / "x20.tar")
    wanted = Hover.at(0.5, classes=4, nucleus_channels=2, compat=True)
    assert build_representation(spec.representation) == wanted
    assert (wanted.sobel_px, wanted.min_area_px, wanted.compat) == (11, 3, True)
    assert spec.classes == CONSEP
    assert (spec.mean, spec.std) == ((0, 0, 0), (1, 1, 1))


@needs_oracles
def test_classes_by_number_of_outputs(tmp_path: Path) -> None:
    weights = hollow("hovernet_fast")
    for outputs, names in ((5, MONUSAC.names), (6, PANNUKE.names), (3, ("class 1", "class 2")), (0, ())):
        for kind in ("weight", "bias"):
            shape = shapes("hovernet_fast")[f"decoder.tp.u0.conv.{kind}"][1:]
            weights[f"decoder.tp.u0.conv.{kind}"] = torch.ones(1).expand(outputs, *shape)
        kept = {k: v for k, v in weights.items() if outputs or not k.startswith("decoder.tp.")}
        torch.save({"desc": kept}, tmp_path / "hovernet.tar")
        spec, ours = convert(tmp_path / "hovernet.tar")
        assert spec.classes.names == names
        assert spec.decoder.options["branches"] == (3 if outputs else 2)
        assert len(ours) == len(kept) - 1
    with pytest.raises(InputError, match="tells 0 classes apart.*given were 1: a"):
        convert(tmp_path / "hovernet.tar", taxonomy=taxonomy_of(["a"]))
    with pytest.raises(ResolutionError):
        convert(tmp_path / "hovernet.tar", mpp=40)


def in_published_layout(model: Segmenter) -> Weights:
    """The state of a CellViT under published names: the encoder's are timm's, the decoder's those of CellViT-256."""
    state = model.state_dict()
    weights = {f"encoder.{k.removeprefix('encoder.body.')}": v for k, v in state.items() if k.startswith("encoder.")}
    for theirs in shapes("cellvit_256"):
        if not theirs.startswith("encoder."):
            (ours,) = KINDS["cellvit"].weights({theirs: torch.empty(0)})
            weights[theirs] = state[ours]
    width = state["encoder.body.patch_embed.proj.weight"].shape[0]
    with torch.device("meta"):
        return {**weights, "encoder.head.weight": torch.empty(19, width), "encoder.head.bias": torch.empty(19)}


@needs_oracles
@pytest.mark.parametrize("encoder", ["uni", "virchow", "virchow2"])
def test_encoders_of_cellvit_plus_plus_are_told_apart(encoder: str) -> None:
    with torch.device("meta"):
        model = build_segmenter(cellvit(encoder, tissues=(), compatible=True))
    weights = in_published_layout(model)
    facts = Facts(ForeignFile(Path("CellViT.pth"), weights))
    assert KINDS["cellvit"].fits(weights)
    spec = KINDS["cellvit"].spec(facts)
    assert spec.name == f"cellvit-{encoder}"
    assert spec.encoder.options["position_resampling"] == "timm"
    assert spec.encoder.options["taps"] == ([6, 12, 18, 24] if encoder == "uni" else [8, 16, 24, 32])
    with torch.device("meta"):
        check_exactly(build_segmenter(spec).state_dict(), KINDS["cellvit"].weights(weights), where="here")
    assert any("tissues is left out" in note for note in facts.notes)


@needs_oracles
def test_star_models_may_have_sams_encoder() -> None:
    # Their decoders' names with SAM's encoder, whose layers have names of their own.
    with torch.device("meta"):
        state = build_segmenter(cellvit_stardist("sam-b", compatible=True)).state_dict()
        weights = {k: torch.empty(s) for k, s in shapes("cellvit_sam_b").items() if k.startswith("encoder.")}
        weights["classifier_head.weight"], weights["classifier_head.bias"] = torch.empty(19, 256), torch.empty(19)
    for theirs in shapes("cellvit_256_stardist"):
        if not theirs.startswith(("encoder.", "classifier_head.")):
            (ours,) = KINDS["cellvit-star"].weights({theirs: torch.empty(0)})
            weights[theirs] = state[ours]
    assert [name for name, kind in KINDS.items() if kind.fits(weights)] == ["cellvit-star"]
    spec = KINDS["cellvit-star"].spec(Facts(ForeignFile(Path("SAM-B-x20.pth"), weights)))
    assert (spec.name, spec.mpp, len(spec.tissues)) == ("cellvit-stardist-sam-b", 0.5, 19)
    assert build_representation(spec.representation) == Star.at(0.5, classes=5, compat=True)
    with torch.device("meta"):
        check_exactly(build_segmenter(spec).state_dict(), KINDS["cellvit-star"].weights(weights), where="here")


@needs_oracles
def test_sam_is_told_by_its_grid_of_positions(tmp_path: Path) -> None:
    torch.save({"model_state_dict": hollow("cellvit_sam_b")}, tmp_path / "sam.pth")
    spec, _ = convert(tmp_path / "sam.pth")
    assert spec.name == "cellvit-sam-b"
    assert spec.encoder.options["position_resampling"] == "crop"
    assert (spec.mean, spec.std) == ((0.5,) * 3, (0.5,) * 3)


@needs_oracles
def test_missing_and_left_over_weights_are_listed(tmp_path: Path) -> None:
    weights = hollow("hovernet_fast")
    weights["extra.weight"] = torch.ones(1)
    del weights["decoder.np.u3.conva.weight"], weights["d3.shortcut.weight"]
    torch.save({"desc": weights}, tmp_path / "broken.tar")
    with pytest.raises(ModelError) as caught:
        convert(tmp_path / "broken.tar")
    said = str(caught.value)
    assert "missing: encoder.stages.3.shortcut.weight, decoder.branches.0.steps.0.enter.weight;" in said
    assert "left over: extra.weight" in said
    torch.save({"desc": {**hollow("hovernet_fast"), DOUBLING: torch.eye(2)}}, tmp_path / "odd.tar")
    with pytest.raises(ModelError, match="instead of ones"):
        convert(tmp_path / "odd.tar")


def test_what_cannot_be_converted_is_named(tmp_path: Path) -> None:
    classifier = {"fc1.weight": torch.ones(100, 1280), "fc1.bias": torch.ones(100)}
    classifier |= {"fc2.weight": torch.ones(4, 100), "fc2.bias": torch.ones(4)}
    torch.save({"arch": "LinearClassifier", "model_state_dict": classifier}, tmp_path / "classifier.pth")
    with pytest.raises(
        ModelError, match=r"classifier of cell tokens \(1280 numbers → 4 classes\).*cannot be converted"
    ):
        convert(tmp_path / "classifier.pth")
    torch.save({"layer.weight": torch.ones(1)}, tmp_path / "unknown.pth")
    with pytest.raises(
        ModelError, match=r"no kind.*begin with layer.weight\. Kinds that are: hovernet, cellvit, cellvit-star"
    ):
        convert(tmp_path / "unknown.pth")
    with pytest.raises(UnknownNameError, match="Did you mean 'cellvit'"):
        convert(tmp_path / "unknown.pth", kind="celvit")
    with pytest.raises(InputError, match="There is no weights file"):
        convert(tmp_path / "absent.pth")
    with pytest.raises(ModelError, match="encoder that is not known here"):
        KINDS["cellvit"].spec(Facts(ForeignFile(Path("x.pth"), {"encoder.pos_embed": torch.ones(1, 5, 7)})))


class Harmful:
    """Would leave a file behind on loading."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_the_command_says_in_a_line_what_is_wrong_and_writes_nothing(tmp_path: Path) -> None:
    torch.save({"model_state_dict": Harmful(tmp_path / "left behind")}, tmp_path / "harmful.pth")
    start = [sys.executable, "-c", "from histocyte.apps.cli.main import run; run()", "models", "convert"]
    answer = subprocess.run([*start, "harmful.pth"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr.startswith("histocyte: 'harmful.pth' holds no plain weights (it asks to run ")
    assert len(answer.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["harmful.pth"]
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        by_command(tmp_path / "harmful.pth", "-o", tmp_path / "model.pth")


def test_classes_have_a_name_each() -> None:
    assert taxonomy_of(list(CONSEP.names)) == CONSEP
    assert taxonomy_of(["x", "y"]).names == ("x", "y")
    for names in (["a", "a"], ["a", ""]):
        with pytest.raises(InputError, match="a name of its own"):
            taxonomy_of(names)
