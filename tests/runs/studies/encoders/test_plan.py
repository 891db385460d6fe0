"""The encoder study: its plan, its table and page, and runs that fail, are interrupted or gone on with."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.instances import Instances
from histocyte.core.listener import Stopped
from histocyte.core.taxonomies import CELLS, CONSEP
from histocyte.datasets.sample import Sample
from histocyte.encoders.catalog.find import CARDS, find_card
from histocyte.evaluation.image_json import image_to_json
from histocyte.evaluation.image_scores import ImageInfo, score_image
from histocyte.model.build import build_segmenter
from histocyte.model.checkpoint import save_model
from histocyte.recipes.hover_unet import hover_unet
from histocyte.runs.studies.encoders.network import starting_network, study_spec
from histocyte.runs.studies.encoders.page import write_study_page
from histocyte.runs.studies.encoders.plan import (
    Budget,
    Choice,
    Run,
    parse_encoders,
    parse_normalisations,
    plan_runs,
    pyramid_levels,
    settings_of,
    split,
)
from histocyte.runs.studies.encoders.plots import write_plots
from histocyte.runs.studies.encoders.run import Failure, check_folder, run_study
from histocyte.runs.studies.encoders.scores import ALL
from histocyte.runs.studies.encoders.study import EncoderStudy
from histocyte.runs.studies.encoders.table import Table, read_results, table_of
from histocyte.runs.studies.encoders.weights import Ready, check_unseen, lacking_weights
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

torch.set_num_threads(1)

BUDGET = Budget(steps=3, batch=1, crops=2, crop_px=64, mpp=0.25, decoder="small", held_out=0.5, classes=CONSEP.names)
CONTROL = Choice("resnet10t", random=True)


def sample(number: int, source: str = "synthetic") -> Sample:
    labels = packed_ellipses((64, 64), 6, seed=number)
    return Sample(
        *(f"s{number}", paint_truth(labels, CONSEP), labels.instances, labels.types, 0.25, source, f"g{number}")
    )


# --- the plan


def test_encoders_are_read_as_typed(tmp_path: Path) -> None:
    weights = tmp_path / "mine.safetensors"
    weights.touch()
    chosen = parse_encoders([f"uni, resnet18={weights}", "resnet18=random"], {"resnet18": (0.5, 0.25)})
    assert [c.label for c in chosen] == ["uni", "resnet18 (mine)", "resnet18 (random)"]
    assert chosen[1].weights == weights
    assert chosen[2].random
    assert [c.normalisation for c in chosen] == [None, (0.5, 0.25), (0.5, 0.25)]
    assert chosen[1].argument == f"resnet18={weights}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("uni,,sam-b", "names no encoder"),
        ("uni=", "names no encoder"),
        ("uni=nowhere.bin", "no weights file or folder 'nowhere.bin'"),
        ("uni,uni", "named twice"),
    ],
)
def test_encoders_that_cannot_be_meant_are_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_encoders([text])


def test_normalisations_are_read_and_checked() -> None:
    assert parse_normalisations(["a=0.5/0.25"]) == {"a": (0.5, 0.25)}
    for wrong in ("a=0.5", "a=x/1", "a=0/0"):
        with pytest.raises(InputError):
            parse_normalisations([wrong])
    with pytest.raises(InputError, match="names no encoder of this study: b"):
        parse_encoders(["a"], {"b": (0.0, 1.0)})


def test_runs_that_share_features_follow_each_other_and_have_folders_of_their_own() -> None:
    choices = (Choice("a/b"), Choice("a:b"), Choice("a", random=True))
    runs = plan_runs(choices, ("shallow", "mixed"), (0, 1))
    keys = [run.features_key for run in runs]
    assert keys == [key for key in dict.fromkeys(keys) for _ in range(2)]
    assert len({run.key for run in runs}) == 12
    assert all("/" not in key and ":" not in key for key in keys)
    with pytest.raises(UnknownNameError, match="deeper"):
        plan_runs(choices, ("deeper",), (0,))
    with pytest.raises(InputError, match="none of them twice"):
        plan_runs(choices, ("deep",), (0, 0))


def test_taps_choose_levels_of_pyramids_and_blocks_of_transformers() -> None:
    levels = {taps: pyramid_levels(CARDS["resnet18"], taps) for taps in ("shallow", "deep", "mixed")}
    assert levels == {"shallow": (0, 1, 2, 3), "deep": (1, 2, 3, 4), "mixed": (0, 1, 2, 3, 4)}
    assert pyramid_levels(CARDS["convnext-b-22k"], "deep") == (1, 2, 3)
    blocks = {t: study_spec(CARDS["virchow2"], t, BUDGET).encoder.options["taps"] for t in ("shallow", "deep", "mixed")}
    assert blocks == {"shallow": [4, 8, 12, 16], "deep": [8, 16, 24, 32], "mixed": [4, 8, 16, 32]}


@pytest.mark.parametrize("name", ["resnet18", "convnext-b-22k", "vit-ti-22k", "dinov2-s"])
@pytest.mark.parametrize("taps", ["shallow", "deep", "mixed"])
def test_the_decoder_fits_every_kind_of_encoder_and_ends_at_the_image(name: str, taps: str) -> None:
    spec = study_spec(CARDS[name], taps, BUDGET)
    with torch.device("meta"):
        model = build_segmenter(spec).eval()
        assert model(torch.empty(1, 3, 64, 64)).shape == (1, 3 + 4 + len(CONSEP) + 1, 64, 64)
    assert model.decoder.width == 16


def test_whole_groups_are_held_out_and_external_sets_refused() -> None:
    samples = [replace(sample(i), group=f"g{i // 2}") for i in range(8)]
    training, held_out = split(samples, BUDGET)
    assert len(held_out) == 4
    assert not {s.group for s in training} & {s.group for s in held_out}
    with pytest.raises(InputError, match="external test set"):
        split([*samples, sample(9, "cpm15")], BUDGET)
    with pytest.raises(InputError, match="nothing can be scored"):
        split([replace(s, separable=False) for s in samples], BUDGET)


def test_a_folder_takes_more_runs_but_no_other_settings(tmp_path: Path) -> None:
    settings = settings_of(BUDGET, [sample(0)], [sample(1)])
    first = plan_runs([Choice("b")], ("mixed",), (0,))
    assert check_folder(tmp_path, settings, first) == [("b", "mixed")]
    more = plan_runs([Choice("a"), Choice("b")], ("mixed",), (0,))
    assert check_folder(tmp_path, settings, more) == [("b", "mixed"), ("a", "mixed")]
    with pytest.raises(InputError, match="steps 3 there, 4 now"):
        check_folder(tmp_path, settings_of(replace(BUDGET, steps=4), [sample(0)], [sample(1)]), first)
    with pytest.raises(InputError, match=r"\(data_sha256\)"):
        check_folder(tmp_path, settings_of(BUDGET, [sample(2)], [sample(1)]), first)
    with pytest.raises(InputError, match="tile_px 512 there, 256 now"):
        check_folder(tmp_path, settings_of(replace(BUDGET, tile_px=256), [sample(0)], [sample(1)]), first)
    with pytest.raises(InputError, match="--tile 100: tiles of encoders of stride 32 are multiples of 32 px"):
        replace(BUDGET, tile_px=100).check()
    earlier = {key: value for key, value in settings.items() if key not in ("tile_px", "margin_px")}
    (tmp_path / "earlier").mkdir()
    check_folder(tmp_path / "earlier", earlier, first)
    check_folder(tmp_path / "earlier", settings, first)
    assert study_spec(CARDS["vit-s-22k"], "shallow", replace(BUDGET, tile_px=256, margin_px=64)).tile_px == 256


# --- the table


def result(label: str, taps: str, share: float, *, seed: int = 0, name: str = "enc") -> dict[str, Any]:
    """A result in which about a share of the nuclei is found, more or less by image."""
    images = []
    for source, count in (("one", 10), ("two", 9)):
        for number in range(count):
            labels = packed_ellipses((64, 64), 12, seed=number)
            ids = np.unique(labels.instances)[1:]
            rng = np.random.default_rng([seed, number])
            kept = ids[rng.random(len(ids)) < share - 0.02 * number]
            table = np.zeros(int(ids.max()) + 1, np.int32)
            table[kept] = np.arange(1, len(kept) + 1)
            found = Instances(table[labels.instances], np.eye(4)[labels.types[kept] - 1], np.ones(len(kept)))
            truth = labels if source == "one" else replace(labels, types=None)
            info = ImageInfo(f"i{number}", source, f"p{number // 2}", 0.25)
            images.append(image_to_json(score_image(truth, found, info, n_classes=4)))
    facts = {"weights_sha256": "", "tapped": [1, 2], "encoder_parameters": 10**6, "decoder_parameters": 10**5}
    facts["crops_per_s"] = 3.0
    chosen = {"label": label, "taps": taps, "seed": seed, "name": name, "random": label.endswith("(random)")}
    return json.loads(json.dumps({**chosen, **facts, "images": images}))


@pytest.fixture(scope="module")
def table() -> Table:
    results = [
        result("enc", "shallow", 0.9),
        result("enc", "mixed", 1.1),
        result("enc", "mixed", 0.8, seed=1),
        result("enc (random)", "mixed", 0.5),
    ]
    return table_of(results, n_classes=4, replicates=200)


def test_scores_are_means_over_sets_and_seeds_with_intervals(table: Table) -> None:
    assert [(row.label, row.taps, row.seeds) for row in table.rows] == [
        ("enc", "shallow", 1),
        ("enc", "mixed", 2),
        ("enc (random)", "mixed", 1),
    ]
    assert table.images == {"one": 10, "two": 9}
    assert table.groups == {"one": 5, "two": 5}
    for row in table.rows:
        bpq = row.scores["bpq"]
        assert bpq[ALL].value == pytest.approx((bpq["one"].value + bpq["two"].value) / 2)
        assert bpq[ALL].low <= bpq[ALL].value <= bpq[ALL].high
        assert bpq[ALL].n == 19
        assert set(row.scores["class_f1"]) == {"one", ALL}  # the other set has no classes
        assert row.scores["class_f1"][ALL].n == 10
    alone = [
        table_of([r], n_classes=4, replicates=10).rows[0].scores["bpq"][ALL].value
        for r in (result("enc", "mixed", 1.1), result("enc", "mixed", 0.8, seed=1))
    ]
    assert table.rows[1].scores["bpq"][ALL].value == pytest.approx(sum(alone) / 2)
    assert table.rows[1].seed_range == pytest.approx((min(alone), max(alone)))


def test_patients_that_are_not_stated_are_not_counted() -> None:
    plain = result("enc", "mixed", 1.0)
    for image in plain["images"]:
        image["group"] = image["name"]
    table = table_of([plain], n_classes=4, replicates=5)
    assert set(table.groups.values()) == {None}
    assert "one: 10 images (patients not stated)" in table.to_markdown([], [])


def test_differences_are_paired_against_the_reference_and_the_control(table: Table) -> None:
    shallow, mixed, control = table.rows
    assert table.reference == ("enc", "shallow")
    assert shallow.against_reference is None
    assert shallow.against_random is None  # there is no control at these taps
    assert control.against_random is None
    assert mixed.against_random is not None
    assert control.against_reference is not None
    values = [row.scores["bpq"][ALL].value for row in table.rows]
    assert mixed.against_random.value == pytest.approx(values[1] - values[2])
    assert control.against_reference.value == pytest.approx(values[2] - values[0])
    # The same images in each resample: a result has no difference from itself, however wide its own interval.
    twice = table_of([result("enc", "deep", 0.7), result("other", "deep", 0.7)], n_classes=4, replicates=50)
    same = twice.rows[1].against_reference
    assert same is not None
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_another_reference_can_be_named() -> None:
    results = [result("a", "deep", 0.5), result("b", "deep", 0.9)]
    assert table_of(results, n_classes=4, reference="b", replicates=5).reference == ("b", "deep")
    with pytest.raises(InputError, match="There is: a, b"):
        table_of(results, n_classes=4, reference="c", replicates=5)


def test_results_on_other_images_do_not_share_a_table() -> None:
    other = result("b", "deep", 0.9)
    other["images"].pop()
    with pytest.raises(InputError, match="different held-out images"):
        table_of([result("a", "deep", 0.5), other], n_classes=4)


def test_the_table_is_written_for_people_and_for_programs(table: Table) -> None:
    lines = list(csv.DictReader(io.StringIO(table.to_csv())))
    picked = [r for r in lines if (r["encoder"], r["taps"], r["data"], r["score"]) == ("enc", "mixed", "one", "bpq")]
    assert float(picked[0]["value"]) == pytest.approx(table.rows[1].scores["bpq"]["one"].value, abs=1e-6)
    assert json.loads(json.dumps(table.to_json()))[0]["bpq_less_reference"] is None
    ready = Ready("uni", "a | token", 1500, True, "its page", "uni")
    text = table.to_markdown([Failure("x", "deep", 0, "broke")], [(ready, "histocyte study …")])
    assert "one: 10 images of 5 patients or slides" in text
    assert "| x | deep | 0 | broke |" in text
    assert r"| uni | 1.5 | a \| token | `histocyte study …` |" in text
    assert "reference" in table.lines()[0]
    least, most = table.rows[1].seed_range
    assert table.lines()[1][-3] == f"2: {least:.3f} to {most:.3f}"
    assert table.lines()[0][-3].startswith("1: 0.")


def test_the_page_is_whole_by_itself_and_escapes_names(table: Table, tmp_path: Path) -> None:
    plots = write_plots(table, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cost.png", "cost.svg", "scores.png", "scores.svg"]
    again = write_plots(table, tmp_path)
    assert again == plots
    settings = {"decoder": "small", "steps": 3, "batch": 1, "crop_px": 64, "mpp": 0.25}
    ready = Ready("<b>uni</b>", "a token", 1500, True, "", "uni")
    failures = [Failure("<script>", "deep", 0, "<img src=x>")]
    write_study_page(tmp_path / "study.html", table, plots, failures, [(ready, "histocyte")], settings)
    text = (tmp_path / "study.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<img src=x>" not in text
    assert "&lt;b&gt;uni&lt;/b&gt;" in text
    assert "http" not in text
    assert text.count("data:image/svg+xml;base64,") == 2
    assert "with none where fewer than 5 patients" in text


def test_controls_are_in_the_legend_where_there_are_some(table: Table, tmp_path: Path) -> None:
    without = table_of([result("enc", "shallow", 0.9)], n_classes=4, replicates=5)
    for which, shown in ((table, True), (without, False)):
        assert (b"random weights" in write_plots(which, tmp_path)["scores"]) is shown


# --- runs


def study(folder: Path, runs: list[Run], **options: Any) -> Any:
    training, held_out = [sample(0)], [sample(1), sample(2)]
    check_folder(folder, settings_of(BUDGET, training, held_out), runs)
    return run_study(runs, BUDGET, training, held_out, CONSEP.names, folder, **options)


def scores(folder: Path) -> list[Mapping[str, Any]]:
    """What must be the same again; speeds need not."""
    found = read_results(folder, [("resnet10t (random)", "shallow"), ("resnet10t (random)", "deep")])
    return [{k: v for k, v in r.items() if k not in ("seconds", "crops_per_s")} for r in found]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    outcome = study(folder, plan_runs([CONTROL], ("shallow",), (0, 1)))
    assert (outcome.done, outcome.failures) == (2, [])
    return folder


def test_seeds_share_features_and_differ_in_their_decoder(undisturbed: Path) -> None:
    first, second = scores(undisturbed)
    assert first["encoder_parameters"] == second["encoder_parameters"] > 10**6
    assert first["tapped"] == [0, 1, 2, 3]
    assert not list((undisturbed / "features").iterdir())  # gone once their runs are done
    runs = plan_runs([CONTROL], ("shallow",), (0, 1))
    losses = [(undisturbed / "runs" / run.key / "log.csv").read_text().splitlines()[1].split(",")[2] for run in runs]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("where", ["steps", "images"])
def test_an_interrupted_study_goes_on_and_ends_in_the_same_scores(
    undisturbed: Path, tmp_path: Path, where: str
) -> None:
    runs = plan_runs([CONTROL], ("shallow",), (0, 1))

    def interrupt(what: str, done: int, total: int) -> None:
        if what == where and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(tmp_path, runs, progress=interrupt)
    assert not list(tmp_path.glob("runs/*/result.json"))
    told: list[tuple[str, str]] = []
    study(tmp_path, runs[:1])
    outcome = study(tmp_path, runs, on_run=lambda run, what, why: told.append((run.key, what)))
    assert outcome.done == 2
    assert (runs[0].key, "there") in told  # not done again
    assert (runs[1].key, "done") in told
    assert scores(tmp_path) == scores(undisturbed)


def test_a_study_told_to_stop_is_no_failure_and_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    runs, asked = plan_runs([CONTROL], ("shallow",), (0, 1)), iter([False, True])
    with pytest.raises(Stopped, match=r"^The training of resnet10t \(random\) is at step 1, in"):
        study(tmp_path, runs, stop=lambda: next(asked, True))
    assert not list(tmp_path.glob("runs/*/result.json"))
    assert study(tmp_path, runs).failures == []
    assert scores(tmp_path) == scores(undisturbed)


def test_a_failing_encoder_stops_no_other_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def network(spec: Any, choice: Choice, *, seed: int) -> Any:
        if spec.encoder.options["depths"] == [0, 1, 2, 3]:
            raise RuntimeError("out of\nmemory")
        return starting_network(spec, choice, seed=seed)

    monkeypatch.setattr("histocyte.runs.studies.encoders.run.starting_network", network)

    runs = plan_runs([Choice("no-such-encoder", random=True), CONTROL], ("shallow", "deep"), (0,))
    told: list[str] = []
    outcome = study(
        *(tmp_path, runs),
        on_run=lambda run, what, why: told.append(what),
    )
    assert told[1::2] == ["failed", "failed", "failed", "done"]
    assert outcome.failures[2] == Failure("resnet10t (random)", "shallow", 0, "RuntimeError: out of memory")
    assert "No encoder called 'no-such-encoder'" in outcome.failures[0].reason
    assert [r["taps"] for r in scores(tmp_path)] == ["deep"]


def test_weights_that_saw_the_held_out_images_are_refused(tmp_path: Path) -> None:
    spec = hover_unet(taxonomy=CONSEP).with_changes(
        data=({"name": "synthetic"},), training={"held_out": {"synthetic": ["s1"]}}
    )
    path = tmp_path / "mine.safetensors"
    save_model(path, spec, {"encoder.x": torch.zeros(1)})
    check_unseen(Choice("resnet18", path), [sample(1), sample(1, "another")])
    with pytest.raises(InputError, match="trained on 1 of the 2 held-out images"):
        check_unseen(Choice("resnet18", path), [sample(1), sample(2)])
    save_file({"x": torch.zeros(1)}, tmp_path / "published.safetensors")
    check_unseen(Choice("resnet18", tmp_path / "published.safetensors"), [sample(2)])  # they do not say


def test_another_weights_file_of_the_same_name_is_noticed(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    save_file({"x": torch.zeros(1)}, weights)
    (run,) = plan_runs([Choice("resnet18", weights)], ("deep",), (0,))
    place = tmp_path / "study" / "runs" / run.key
    place.mkdir(parents=True)
    (place / "result.json").write_text(json.dumps({"weights_sha256": "other"}))
    outcome = study(tmp_path / "study", [run])
    assert outcome.done == 0
    assert "another weights file of this name" in outcome.failures[0].reason


def test_gated_encoders_are_ready_and_not_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("histocyte.encoders.weights.hub.cached", lambda card: None)
    monkeypatch.setattr("histocyte.encoders.weights.availability.cached", lambda card: None)
    outcome = study(tmp_path, plan_runs([Choice("uni")], ("shallow", "deep"), (0,)))
    assert outcome.failures == []
    (ready,) = outcome.ready  # once, whatever the taps
    assert (ready.label, ready.gated, ready.argument) == ("uni", True, "uni")
    assert ready.memory_mb > 1000
    assert "MahmoodLab/UNI" in ready.missing + ready.page
    assert lacking_weights(Choice("uni", random=True), find_card("uni")) is None


def test_an_image_that_is_none_is_told_with_its_run() -> None:
    result = {"label": "a", "taps": "deep", "seed": 3, "images": [{"name": "i"}]}
    with pytest.raises(InputError, match=r"^The result of a, deep, seed 3 is damaged: 'source' is missing\. Delete"):
        table_of([result], n_classes=4)


def test_a_study_has_the_classes_of_its_data_or_those_asked_for(tmp_path):
    folders = []
    for name, classes in (("one", ["tumour", "rest"]), ("other", ["lymphocyte", "other"])):
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        (folders[-1] / "classes.json").write_text(json.dumps(classes))
        for number in range(2):
            labels = sample(number).labels.instances
            kinds = np.append(0, np.arange(labels.max()) % 2 + 1)
            cv2.imwrite(str(folders[-1] / f"i{number}.png"), sample(number).image[..., ::-1])
            np.savez(folders[-1] / f"i{number}.npz", inst=labels, type=kinds)
    how = {"data_mpp": 0.25, "device": "cpu", "threads": 1}
    own = EncoderStudy(tmp_path / "study", replace(BUDGET, classes=()), folders[:1], **how)
    assert own.budget.classes == tuple(own.settings["classes"]) == ("tumour", "rest")
    assert study_spec(CARDS["vit-s-22k"], "shallow", own.budget).classes.names == ("tumour", "rest")
    assert {int(t) for s in own.training for t in s.types[1:]} == {1, 2}
    with pytest.raises(InputError, match="name alike in each classes.json"):
        EncoderStudy(tmp_path / "study", BUDGET, folders, **how)
    asked = EncoderStudy(tmp_path / "study", BUDGET, folders[1:], classes="cells", **how)
    assert asked.budget.classes == CELLS.names
    asked.order, asked.taps, asked.seeds = [], ["shallow"], [0]
    ready = Ready("uni", "a token", 1500, gated=True, page="", argument="uni")
    assert "--classes cells" in asked.command(ready)
    assert "--tile" not in asked.command(ready)
    asked.budget = replace(asked.budget, tile_px=256)
    assert "--tile 256" in asked.command(ready)
    with pytest.raises(InputError, match="none of them can be read as one of"):
        EncoderStudy(tmp_path / "study", BUDGET, folders[:1], classes="pannuke", **how)
