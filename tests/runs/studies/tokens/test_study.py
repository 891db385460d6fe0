"""The token study: exact scores under resampling, probes that find what is there and nothing else, files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("torch")

import torch
from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score

from histocyte.core.errors import InputError
from histocyte.core.listener import Stopped
from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.sample import Sample
from histocyte.inference.encoder_runtime import encoder_runtime
from histocyte.inference.torch_runtime import TorchRuntime
from histocyte.model.build import build_segmenter
from histocyte.model.history import History
from histocyte.model.spec import ModelSpec, Part
from histocyte.runs.studies.tokens.probe import class_probe, image_check, place_check
from histocyte.runs.studies.tokens.report import plot_tokens, study_json, table_of, write_token_study
from histocyte.runs.studies.tokens.source import TokenSource, find_source
from histocyte.runs.studies.tokens.study import MapOfTokens, run_token_study
from histocyte.runs.studies.tokens.table import TokenTable, colour_of, embed, tokens_key
from histocyte.statistics.ranked import (
    weighted_auroc,
    weighted_balanced_accuracy,
    weighted_place_r_squared,
)

torch.set_num_threads(1)


def drawn(weights, image, *arrays):
    """Nuclei as a resample has them: those of an image as often as it was drawn."""
    rows = np.repeat(np.arange(len(image)), weights[image].astype(int))
    return [a[rows] for a in arrays]


def test_scores_of_resamples_are_those_of_the_resampled_nuclei():
    rng = np.random.default_rng(0)
    n, images, k = 120, 4, 3
    image, types = rng.integers(0, images, n), rng.integers(0, k, n)
    p = np.round(rng.dirichlet(np.ones(k), n) + 0.3 * np.eye(k)[types], 1)  # rounded: ties
    found, place = p.argmax(axis=1), rng.random(n)
    guess = place + rng.normal(0, 0.3, n)
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 1], [0, 3, 0, 1]], float)
    auroc = weighted_auroc(p, types, image, images)(weights)
    accuracy = weighted_balanced_accuracy(found, types, image, images, k)(weights)
    r2 = weighted_place_r_squared(place, [guess, place], image, images)(weights)
    for row, w in enumerate(weights):
        t, q, f, x, g = drawn(w, image, types, p, found, place, guess)
        each = [roc_auc_score(t == c, q[:, c]) for c in range(k)]
        np.testing.assert_allclose(auroc[row], [*each, np.mean(each)], rtol=1e-12)
        assert accuracy[row] == pytest.approx(balanced_accuracy_score(t, f))
        assert r2[row] == pytest.approx([r2_score(x, g), 1])


def test_a_resample_without_a_class_has_no_score_of_it():
    image, types = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 0])
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
    weights = np.array([[1.0, 0], [0, 1.0]])
    auroc = weighted_auroc(p, types, image, 2)(weights)
    assert (auroc[0] == 1).all()
    assert np.isnan(auroc[1]).all()
    assert np.isnan(weighted_balanced_accuracy(types, types, image, 2, 2)(weights)).tolist() == [False, True]


def table(tokens, types, image, tile_place=None, place=None):
    n, images = len(types), int(image.max()) + 1
    rng = np.random.default_rng(9)
    return TokenTable(
        np.asarray(tokens, np.float32),
        types.astype(np.uint8),
        rng.random((n, 2)) if place is None else place,
        rng.random((n, 2)) if tile_place is None else tile_place,
        np.zeros((n, 6)),
        image,
        tuple(f"s/{i}" for i in range(images)),
        tuple(f"s/{i}" for i in range(images)),
        np.full((images, 2), 250.0),
    )


def nuclei(seed=0, images=8, each=120):
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(images), each)
    return rng, image, rng.integers(1, 4, len(image)), rng.normal(size=(len(image), 12))


LEARNT = np.arange(8) < 5


def test_the_probe_finds_classes_that_are_there_and_none_that_are_not():
    _, image, types, noise = nuclei(images=10)
    told = noise.copy()
    told[:, :3] += 3 * np.eye(3)[types - 1]
    names = ("a", "b", "c", "never seen")
    learnt = np.arange(10) < 5
    good = class_probe(table(told, types, image), learnt, names, replicates=50)
    none = class_probe(table(noise, types, image), learnt, names, replicates=50)
    assert list(good.auroc) == ["a", "b", "c"]
    assert good.macro.value > 0.95
    assert good.macro.low < good.macro.value < good.macro.high
    assert abs(none.macro.value - 0.5) < 0.06
    assert (good.n_learnt, good.images_learnt, good.images_scored) == (600, 5, 5)
    assert sum(good.n_scored.values()) == 600


def test_nuclei_of_unknown_class_and_classes_never_learnt_are_left_out():
    _, image, types, noise = nuclei()
    types[:40] = 0
    types[(image >= 5) & (types == 3)] = 4
    scores = class_probe(table(noise, types, image), LEARNT, tuple("abcd"), replicates=5)
    assert list(scores.auroc) == ["a", "b"]
    assert scores.n_learnt == 560


def test_one_class_is_refused():
    _, image, types, noise = nuclei()
    with pytest.raises(InputError, match="fewer than two classes"):
        class_probe(table(noise, np.ones_like(types), image), LEARNT, ("a",), replicates=5)


def test_a_place_that_leaks_is_found_although_slides_shift_the_vectors():
    rng, image, types, noise = nuclei()
    place = rng.random((len(image), 2))
    leaky = noise + 50 * rng.normal(size=(8, 12))[image]
    leaky[:, 0] += 5 * place[:, 0]
    found = place_check(table(leaky, types, image, tile_place=place), LEARNT, replicates=50)
    assert found.x.value > 0.5
    assert found.y.value < 0.05
    assert max(found.control_x, found.control_y) < 0.1
    assert found.n == 360


def test_an_image_that_leaks_is_found_and_shuffled_ones_are_not():
    rng, image, types, noise = nuclei()
    leaky = noise + 2 * rng.normal(size=(8, 12))[image]
    told = image_check(table(leaky, types, image), replicates=50)
    silent = image_check(table(noise, types, image), replicates=50)
    assert told is not None
    assert silent is not None
    assert told.accuracy.value > 0.9
    assert told.control.value < 0.3
    assert abs(silent.accuracy.value - silent.chance) < 0.06
    assert told.chance == 1 / 8


def test_what_neighbours_share_within_a_half_does_not_tell_the_image():
    # Each half of each image has a mark of its own: drawn at random, the halves would give it away.
    rng, image, types, noise = nuclei()
    place = rng.random((len(image), 2))
    marked = noise + 5 * rng.normal(size=(16, 12))[2 * image + (place[:, 0] > 0.5)]
    checked = image_check(table(marked, types, image, place=place), replicates=50)
    assert checked is not None
    assert checked.accuracy.value < 0.3
    near = np.abs(place[:, 0] - 0.5) * 250 < 8
    assert checked.n == (~near).sum()


def test_images_with_few_nuclei_are_left_out_and_one_image_is_nothing():
    _, image, types, noise = nuclei()
    few = table(noise, types, image).take((image != 3) | (np.arange(len(image)) % 10 == 0))
    checked = image_check(few, replicates=5)
    assert checked is not None
    assert checked.left_out == ("s/3",)
    assert image_check(table(noise, types, image).take(image == 2), replicates=5) is None


def test_the_colour_is_the_mean_of_the_nucleus_pixels():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    labels = np.zeros((8, 8), np.int32)
    labels[1:4, 2:5], labels[6, 6] = 1, 3
    colour = colour_of(image, labels)
    np.testing.assert_allclose(colour[0, :3], image[1:4, 2:5].reshape(-1, 3).mean(axis=0) / 255)
    assert (colour[1] == 0).all()
    assert colour.shape == (3, 6)


def sample(number, *, source="own", types=True, group=None):
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:128, :128]
    image = rng.integers(150, 220, (128, 128, 3)).astype(np.uint8)
    labels, kinds = np.zeros((128, 128), np.int32), [0]
    for row in range(10, 128, 18):
        for column in range(10, 128, 18):
            kind = int(rng.integers(1, 4))
            kinds.append(kind)
            down, right = rng.integers(-2, 3, 2)  # two images are not alike
            inside = (y - row - down) ** 2 + (x - column - right) ** 2 < 40
            labels[inside] = len(kinds) - 1
            image[inside] = np.clip(np.eye(3)[kind - 1] * 90 + 60 + rng.normal(0, 8, 3), 0, 255)
    return Sample(
        f"im{number}", image, labels, np.array(kinds, np.uint8) if types else None, 0.25, source, group or f"g{number}"
    )


PART = Part(name="timm_vit", options={"name": "vit_tiny_patch16_224", "taps": [1]})


@pytest.fixture(scope="module")
def source():
    made = TokenSource("tiny", None, PART, (0.5,) * 3, (0.5,) * 3, 0.25, 64, 16)
    return replace(made.random_copy(1), name="tiny")


def test_vectors_are_those_that_the_whole_model_gives(source, tmp_path):
    spec = ModelSpec(
        name="whole",
        encoder=PART,
        decoder=Part(name="fcn", options={}),
        heads=Part(name="pointwise"),
        representation=Part(name="semantic", options={"classes": 2}),
        taxonomy=CONSEP.to_json(),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )
    network = build_segmenter(spec)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    _, whole = TorchRuntime(network, device="cpu").predict_with_features(images)
    alone = encoder_runtime(network.encoder, mean=spec.mean, std=spec.std, device="cpu")
    np.testing.assert_array_equal(alone.predict_with_features(images)[1], whole)


def test_vectors_are_computed_once_and_a_broken_file_again(source, tmp_path, monkeypatch):
    samples = [sample(0), sample(1)]
    first = embed(source, samples, tmp_path, device="cpu")
    assert first.tokens.shape == (98, 192)
    assert first.names == ("own/im0", "own/im1")
    assert first.tile_place.min() >= 0
    assert first.tile_place.max() <= 1
    files = sorted(tmp_path.rglob("*.npz"))
    assert len(files) == 2
    files[0].write_bytes(files[0].read_bytes()[:500])
    kept = files[1].stat().st_mtime_ns
    second = embed(source, samples, tmp_path, device="cpu")
    np.testing.assert_array_equal(first.tokens, second.tokens)
    assert files[1].stat().st_mtime_ns == kept
    other = source.random_copy(2)
    assert tokens_key(other) != tokens_key(source)
    assert tokens_key(source.random_copy(2)) == tokens_key(other)


def test_a_coarser_image_keeps_its_nuclei_and_their_classes(source, tmp_path):
    fine = sample(0)
    coarse = replace(fine, mpp=0.5, name="coarse")
    found = embed(source, [coarse], tmp_path, device="cpu")
    np.testing.assert_array_equal(found.types, fine.types[1:])
    np.testing.assert_allclose(found.size_um, [[64, 64]])


def seen(source: str, *held_out: str) -> History:
    return History.of_earlier([{"name": source}], {"held_out": {source: list(held_out)}})


def test_a_model_is_scored_on_the_images_that_it_held_out(source):
    samples = [sample(i, source="consep", group=f"g{i // 2}") for i in range(6)]
    model = replace(source, history=seen("consep", "im2", "im5"))
    learnt, scored, *_ = model.history.split(samples)
    assert [s.name for s in scored] == ["im2", "im5"]
    assert [s.name for s in learnt] == ["im0", "im1"]  # the others share a slide with held-out ones
    with pytest.raises(InputError, match="trained on all of these images"):
        model.history.split(samples[:2])
    assert len(source.history.split(samples).validation) == 2


def test_sources_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(InputError, match="neither a model"):
        find_source("no-such-thing")
    with pytest.raises(InputError, match="no weights file"):
        find_source(f"vit-ti-22k={tmp_path / 'none.safetensors'}")
    with pytest.raises(InputError, match="encoder alone"):
        find_source("hover-unet-consep", tap=3)
    with pytest.raises(InputError, match="--tile 100: tiles of 'hover-unet-consep'"):
        find_source("hover-unet-consep", tile_px=100)


def test_a_source_is_shown_the_tiles_asked_for():
    usual = find_source("hover-unet-consep")
    for asked, given in (
        ({}, (768, 32)),
        ({"tile_px": 256}, (256, 32)),
        ({"tile_px": 128}, (128, 16)),  # as suits the tile
        ({"tile_px": 256, "margin_px": 64}, (256, 64)),
        ({"margin_px": 0}, (768, 0)),
    ):
        source = find_source("hover-unet-consep", **asked)
        assert (source.tile_px, source.margin_px) == given
        assert (tokens_key(source) == tokens_key(usual)) == (not asked)


def test_the_study_ends_in_its_files_whole_and_escaped(source, tmp_path):
    samples = [sample(i, source="<b>|") for i in range(5)] + [sample(9, types=False)]
    model = replace(source, name="<script>", history=seen("<b>|", "im1", "im3"))
    steps = []
    with pytest.raises(Stopped, match="^1 of 5 images, tokens are done in"):
        run_token_study(
            model,
            samples,
            tmp_path,
            class_names=CONSEP.names,
            device="cpu",
            picture=False,
            stop=iter([False, True]).__next__,
        )
    study = run_token_study(
        model,
        samples,
        tmp_path,
        class_names=CONSEP.names,
        device="cpu",
        replicates=20,
        picture=False,
        step=lambda *s: steps.append(s),
    )
    assert study.seen == 3
    assert study.held_out == ("<b>|/im1", "<b>|/im3")
    assert [v.name for v in study.variants] == ["tokens", "random weights", "colour alone"]
    assert study.variants[2].classes.macro.value > 0.95  # colour is all there is to tell these nuclei by
    written = write_token_study(study, tmp_path)
    assert [p.name for p in written] == ["study.json", "table.md", "report.html", "auroc.svg"]
    stored = json.loads(written[0].read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(study_json(study)))
    assert stored["variants"][0]["classes"]["macro"]["n"] == 2
    page = written[2].read_text(encoding="utf-8")
    assert not re.search(r"<script|<b>", page)
    assert all(uri.startswith("data:") for uri in re.findall(r'(?:src|href)="([^"]*)', page))
    assert "Leak" in page
    heads, rows = table_of(study)
    assert {len(row) for row in rows} == {len(heads)}
    assert "\\<b\\>\\|" in written[1].read_text(encoding="utf-8")


def test_without_classes_there_is_nothing_to_probe(source, tmp_path):
    with pytest.raises(InputError, match="nuclei with classes"):
        run_token_study(
            source, [sample(0, types=False)], tmp_path, class_names=CONSEP.names, device="cpu", picture=False
        )


def test_the_map_by_image_names_its_images():
    rng, images = np.random.default_rng(0), 32
    image = np.repeat(np.arange(images), 3)
    picture = MapOfTokens(rng.normal(size=(96, 2)), np.ones(96, int), image)
    study = SimpleNamespace(class_names=("a",), image_names=tuple(f"set/im{i}" for i in range(images)))
    svg = plot_tokens(study, picture).svg.decode()
    assert all(f"<!-- set/im{i} -->" in svg for i in range(30))
    assert "<!-- set/im31 -->" not in svg
    assert "<!-- the first 30 of 32 images -->" in svg
