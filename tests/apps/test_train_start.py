"""`histocyte train` from a whole model, and with weights of the loss terms of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from histocyte.apps.cli.train.train import train
from histocyte.core.errors import InputError, ResolutionError, UnknownNameError
from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.sample import Sample
from histocyte.model.checkpoint import load_model, read_spec, save_model
from histocyte.model.history import History
from histocyte.runs.train.defaults import first_spec, start
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

SMALL = "lcnet_035"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    for number in range(4):
        labels = packed_ellipses((96, 96), 12, seed=number)
        cv2.imwrite(str(folder / f"i{number}.png"), paint_truth(labels, CONSEP)[..., ::-1])
        np.savez(folder / f"i{number}.npz", inst=labels.instances)
    return folder


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "first.safetensors"
    spec = first_spec("hover_unet", SMALL)
    spec = spec.with_changes(name="first", training={"steps": 7, "held_out": {data.name: ["i1", "i2"]}})
    save_model(path, spec, start(spec, None, seed=5).state_dict())
    return path


def run(data: Path, out: Path, **options: object) -> Path:
    given = {"encoder": None, "encoder_weights": None, "start_from": None, "adapt": None, "lora_rank": 2}
    given |= {"lora_mlp": False, "cache": None, "cache_passes": 1, "delta": None, "steps": 1, "batch": 1, "seed": 0}
    given |= {"validation": 0.25, "validate_every": 1, "device": "cpu", "threads": 1, "mpp": 0.25, "name": "mine"}
    given |= {"recipe": None, "learning_rate": 1e-7, "loss_weight": None, **options}
    train([data], out, **given)  # type: ignore[arg-type]
    return out / "model.safetensors"


def test_training_goes_on_from_a_models_own_weights(data: Path, model: Path, tmp_path: Path) -> None:
    path = run(data, tmp_path, start_from=str(model))
    before, after = load_model(model)[1], load_model(path)[1]
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        # AdamW's first step is the learning rate, whatever the gradient.
        assert torch.allclose(old, new, atol=1e-6), name
    training = read_spec(path).training
    assert training["started_from"]["name"] == "first"
    assert training["started_from"]["training"] == {"steps": 7}
    assert read_spec(path).name == "mine"


def test_images_that_the_model_has_not_learnt_from_stay_held_out(
    data: Path, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = run(data, tmp_path, start_from=str(model), seed=3)
    assert read_spec(path).history.held_out == {data.name: ["i1", "i2"]}
    assert "the model has not learnt from" in " ".join(capfd.readouterr().err.split())


def test_a_new_set_is_split_by_the_seed_and_a_set_wholly_seen_is_refused(model: Path) -> None:
    def sample(source: str, name: str) -> Sample:
        nothing = np.zeros((8, 8), np.int32)
        image = np.zeros((8, 8, 3), np.uint8)
        return Sample(name, image, nothing, None, 0.25, source, name)

    spec = read_spec(model).with_changes(training={"held_out": {"old": ["b"]}})
    past = spec.history
    samples = [sample(s, n) for s in ("old", "new") for n in "abcd"]
    training, validation, *_ = past.split(samples, fraction=0.25, seed=0)
    assert [(s.source, s.name) for s in validation if s.source == "old"] == [("old", "b")]
    assert sum(s.source == "new" for s in validation) == 1
    assert len(training) + len(validation) == len(samples)
    with pytest.raises(InputError, match="trained on all of these images"):
        past.split([sample("old", "a"), sample("old", "c")], fraction=0.25, seed=0)


def test_what_the_model_before_has_seen_is_known_to_the_new_one(data: Path, model: Path, tmp_path: Path) -> None:
    spec, network = load_model(model)
    past = {"name": "old", "licence": "CC BY-NC-SA 4.0", "citation": "someone", "images": 3, "nuclei": 9}
    trained = {"held_out": {"old": ["b"]}}
    free = {"licence": "free for all", "description": "What everyone may use."}
    before = spec.with_changes(data=(past,), training=trained, **free)
    save_model(tmp_path / "old.safetensors", before, network.state_dict())
    after = read_spec(run(data, tmp_path / "run", start_from=str(tmp_path / "old.safetensors")))
    assert [entry.name for entry in after.history.sets] == [data.name, "old"]
    assert after.licence == f"as all that it learnt from allows ({data.name}: not stated; old: CC BY-NC-SA 4.0)"
    assert after.description == f"first, trained on {data.name}."
    assert after.history.sets[1].model_dump(include=set(past)) == past
    assert after.history.sets[1].through == "first"
    assert after.history.held_out["old"] == ["b"]
    assert len(after.history.held_out[data.name]) == 1


def test_a_run_goes_on_with_the_images_it_began_with_alone(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path, encoder=SMALL, fold="1/4", validation=None)
    run(data, tmp_path, encoder=SMALL, fold="1/4", validation=None, steps=2)
    with pytest.raises(InputError, match=f"other images of {data.name}"):
        run(data, tmp_path, encoder=SMALL, fold="2/4", validation=None, steps=3)


def test_folds_hold_out_every_image_once(data: Path, tmp_path: Path) -> None:
    held = []
    for number in (1, 2):
        path = run(data, tmp_path / f"{number}", encoder=SMALL, fold=f"{number}/2", validation=None)
        held += read_spec(path).history.held_out[data.name]
    assert sorted(held) == ["i0", "i1", "i2", "i3"]


def listed(path: Path, *names: str) -> Path:
    path.write_text("\n".join(names))
    return path


def test_what_is_left_out_is_neither_learnt_from_nor_chosen_by(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    apart = listed(tmp_path / "test.txt", "i3.png", "i0")
    path = run(data, tmp_path / "run", encoder=SMALL, leave_out=apart)
    images = json.loads((tmp_path / "run" / "data.json").read_text())
    assert {name: list(found) for name, found in images["left_out"].items()} == {data.name: ["i0", "i3"]}
    assert sorted([*images["learnt"][data.name], *images["held_out"][data.name]]) == ["i1", "i2"]
    spec = read_spec(path)
    assert spec.history.left_out == {data.name: ["i0", "i3"]}
    assert sorted(spec.history.held_out[data.name]) == sorted(["i0", "i3", *images["held_out"][data.name]])
    assert spec.history.sets[0].images == 2
    assert "1 image to train on, 1 held out, 2 left out for a test" in " ".join(capfd.readouterr().err.split())
    with pytest.raises(InputError, match=f"other images of {data.name}"):
        run(data, tmp_path / "run", encoder=SMALL, steps=2)


def test_what_was_left_out_stays_left_out_of_a_model_that_goes_on(data: Path, tmp_path: Path) -> None:
    first = run(data, tmp_path / "first", encoder=SMALL, leave_out=listed(tmp_path / "test.txt", "i0"))
    held = [n for n in read_spec(first).history.held_out[data.name] if n != "i0"]
    second = read_spec(run(data, tmp_path / "second", start_from=str(first)))
    assert second.history.left_out == {data.name: ["i0"]}
    assert sorted(second.history.held_out[data.name]) == sorted(["i0", *held])
    learnt = next(n for n in ("i1", "i2", "i3") if n not in held)
    for name in (learnt, held[0]):
        with pytest.raises(
            InputError, match=f"learnt from or was chosen by 1 of the images to leave out .e.g. '{name}'"
        ):
            run(data, tmp_path / "third", start_from=str(first), leave_out=listed(tmp_path / "more.txt", name))


def test_copies_of_what_taught_the_model_before_are_no_test_of_it(data: Path, tmp_path: Path) -> None:
    first = run(data, tmp_path / "first", encoder=SMALL)
    ours = tmp_path / "ours"
    ours.mkdir()
    for number, path in enumerate(sorted(data.glob("*.png"))):
        image = cv2.flip(cv2.imread(str(path)), 1)
        cv2.imwrite(str(ours / f"tile{number}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 85])
        np.savez(ours / f"tile{number}.npz", inst=np.load(path.with_suffix(".npz"))["inst"][:, ::-1])
    (held,) = read_spec(first).history.held_out[data.name]
    learnt = next(number for number in range(4) if f"i{number}" != held)
    with pytest.raises(InputError, match=f"learnt from or was chosen by 1 of the images .* 'tile{learnt}'"):
        run(ours, tmp_path / "second", start_from=str(first), leave_out=listed(tmp_path / "t.txt", f"tile{learnt}"))
    history = read_spec(run(ours, tmp_path / "second", start_from=str(first))).history
    # Whatever the seed would have drawn, the copy of the image held out before is held out again.
    assert history.held_out == {"ours": [f"tile{held[1:]}"], data.name: [held]}
    assert [(entry.name, entry.through) for entry in history.sets] == [("ours", ""), (data.name, "mine")]


def test_something_has_to_be_left_to_learn_from(data: Path, tmp_path: Path) -> None:
    for names, says in ((("i0", "i1", "i2", "i3"), "Every image is to be left out"), (("i0", "i1", "i2"), "one group")):
        with pytest.raises(InputError, match=says):
            run(data, tmp_path / "run", encoder=SMALL, leave_out=listed(tmp_path / "test.txt", *names))
    assert not (tmp_path / "run").exists()


def test_a_patient_is_left_out_whole(tmp_path: Path) -> None:
    def sample(name: str, group: str) -> Sample:
        return Sample(name, np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.int32), None, 0.25, "new", group)

    samples = [sample("a1", "a"), sample("a2", "a"), sample("b1", "b"), sample("c1", "c")]
    with pytest.raises(InputError, match="'a2' is of the same patient or slide .'a'. as an image to leave out"):
        History().leave_out(samples, ["a1"])
    rest, apart = History().leave_out(samples, ["a2", "a1"])
    assert [s.name for s in rest] == ["b1", "c1"]
    assert [s.name for s in apart] == ["a1", "a2"]


@pytest.mark.parametrize("name", ["data.json", "options.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"learnt": 3, "held_out": [], "steps": null}'])
def test_a_run_whose_files_were_damaged_is_refused_in_a_line(
    name: str, content: str, data: Path, tmp_path: Path
) -> None:
    run(data, tmp_path, encoder=SMALL)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=r"is damaged|holds a run"):
        run(data, tmp_path, encoder=SMALL, validate_every=1, learning_rate=1e-6)


@pytest.mark.parametrize("fold", ["0/5", "6/5", "1/1", "2", "a/b", "-1/3", "1/5/2"])
def test_a_wrong_fold_is_refused(fold: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="e.g. 2/5"):
        run(data, tmp_path, encoder=SMALL, fold=fold, validation=None)
    with pytest.raises(InputError, match="choose one of them"):
        run(data, tmp_path, encoder=SMALL, fold="1/2", validation=0.2)


def test_a_model_is_made_to_work_at_another_resolution(data: Path, model: Path, tmp_path: Path) -> None:
    before = read_spec(model)
    after = read_spec(run(data, tmp_path, start_from=str(model), model_mpp=0.5))
    assert (before.mpp, after.mpp) == (0.25, 0.5)
    assert after.representation.options["min_area_px"] == 3
    assert read_spec(run(data, tmp_path / "new", encoder=SMALL, model_mpp=0.5)).mpp == 0.5
    with pytest.raises(ResolutionError):
        run(data, tmp_path / "none", start_from=str(model), model_mpp=-1.0)


def test_crops_are_as_wide_as_the_images_at_the_models_resolution(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(data, tmp_path / "run", encoder=SMALL, model_mpp=0.5)
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["crops"]["crop_px"] == 48
    assert "Crops are 48 px wide in place of 256: at 0.5 µm/px" in " ".join(capfd.readouterr().err.split())
    for options, says in (({"crop_px": 64}, "crop_px 48 there, 64 now"), ({"model_mpp": 0.25}, "mpp 0.5 there")):
        with pytest.raises(InputError, match=says):
            run(data, tmp_path / "run", **{"encoder": SMALL, "model_mpp": 0.5, "steps": 2, **options})
    run(data, tmp_path / "wide", encoder=SMALL, model_mpp=0.5, crop_px=64)
    assert json.loads((tmp_path / "wide" / "recipe.json").read_text())["crops"]["crop_px"] == 64


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"recipe": "hover_unet"}, "--start-from begins with a whole model, --recipe with another"),
        ({"encoder": SMALL, "encoder_weights": "w"}, "--encoder and --encoder-weights"),
        ({"delta": True, "adapt": "frozen"}, "Leave one out"),
    ],
)
def test_what_does_not_go_with_a_whole_model_is_refused(
    data: Path, model: Path, tmp_path: Path, options: dict[str, object], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        run(data, tmp_path, start_from=str(model), **options)
    with pytest.raises(UnknownNameError, match="nosuch"):
        run(data, tmp_path, start_from="nosuch")


def test_the_encoder_of_a_model_can_be_kept_and_the_file_is_whole(data: Path, model: Path, tmp_path: Path) -> None:
    path = run(data, tmp_path, start_from=str(model), adapt="frozen", learning_rate=0.01)
    before, after = load_model(model)[1].state_dict(), load_model(path)[1].state_dict()
    kept = [name for name in before if name.startswith("encoder.")]
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert any(not torch.equal(before[name], after[name]) for name in before if name not in kept)


def test_loss_terms_take_ones_own_weights(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path, encoder=SMALL, loss_weight=["hover_msge=0", "nucleus_focal_tversky=2"])
    weights = json.loads((tmp_path / "options.json").read_text())["loss_weights"]
    assert (weights["hover_msge"], weights["nucleus_focal_tversky"], weights["hover_mse"]) == (0, 2, 2.5)
    columns = (tmp_path / "log.csv").read_text().splitlines()[0].split(",")
    assert "hover_msge" not in columns
    assert "nucleus_focal_tversky" in columns


@pytest.mark.parametrize(
    ("change", "says"),
    [("nosuch=1", "there are nucleus_bce"), ("hover_mse", "with a number"), ("hover_mse=-1", "0 or more")],
)
def test_a_wrong_weight_is_refused(data: Path, tmp_path: Path, change: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        run(data, tmp_path, encoder=SMALL, loss_weight=[change])


def test_a_run_is_computed_in_the_precision_that_is_asked_for_and_may_go_on_in_another(
    data: Path, tmp_path: Path
) -> None:
    def said() -> str:
        return str(json.loads((tmp_path / "run" / "options.json").read_text())["precision"])

    run(data, tmp_path / "run", encoder=SMALL, precision="f32")
    assert said() == "float32"
    run(data, tmp_path / "run", encoder=SMALL, precision="bf16", steps=2)
    assert said() == "bfloat16"
    with pytest.raises(UnknownNameError, match="auto, bf16, f32"):
        run(data, tmp_path / "no", encoder=SMALL, precision="half")
    assert not (tmp_path / "no").exists()
