import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from histocyte.core.compared import compared_classes
from histocyte.core.errors import DiskError, InputError
from histocyte.core.instances import Instances
from histocyte.core.taxonomies import CELLS, CONSEP, MONUSAC
from histocyte.datasets.sample import Sample
from histocyte.evaluation.compare import compare_reports
from histocyte.evaluation.folds import merge_folds
from histocyte.evaluation.image_json import StoredReport, read_report
from histocyte.evaluation.protocol import evaluate, report_of
from histocyte.statistics.bootstrap import bootstrap_weights

NAMES = ("epithelial", "inflammatory")
ORACLES = Path(__file__).parents[2].parent / "shared" / "oracles" / "metrics"


def squares(*corners, side=8, shape=(64, 64)):
    labels = np.zeros(shape, np.int32)
    for i, (row, column) in enumerate(corners, 1):
        labels[row : row + side, column : column + side] = i
    return labels


def sample(name, labels, types, **fields):
    """A labelled image that hides its number in its first pixel, for predictors to know it by."""
    image = np.full((*labels.shape, 3), 255, np.uint8)
    image[0, 0, 0] = int(name)
    fields = {"mpp": 0.25, "source": "set", "group": ""} | fields
    return Sample(name, image, labels, None if types is None else np.array(types, np.uint8), **fields)


def instances(labels, classes, n_classes=2):
    """Found instances with the given class (from 1) each."""
    probabilities = np.eye(n_classes, dtype=np.float32)[np.array(classes, int) - 1] if n_classes else None
    if probabilities is None or not len(classes):
        probabilities = np.zeros((len(classes), n_classes), np.float32)
    return Instances(labels, probabilities, np.ones(len(classes), np.float32))


def answers(*found):
    """A predictor that gives image k the k-th answer."""
    return lambda image, mpp: found[image[0, 0, 0]]


GRID = [(4, 4), (4, 24), (24, 4), (24, 24)]
LABELS = squares(*GRID)
NOTHING = np.zeros((64, 64), np.int32)


def value(report, key, source="set"):
    return report.sources[source].scores[key].value


def test_a_perfect_model_scores_1_everywhere():
    report = evaluate(
        answers(*[instances(LABELS, [1, 2, 2, 1]), instances(squares((9, 9)), [2])] * 3),
        [sample(str(i), *((LABELS, [0, 1, 2, 2, 1]), (squares((9, 9)), [0, 2]))[i % 2]) for i in range(6)],
        NAMES,
        replicates=50,
    )
    summary = report.sources["set"]
    assert {key: pytest.approx(score.value, abs=1e-6) for key, score in summary.scores.items()} == dict.fromkeys(
        summary.scores, 1
    )
    assert (summary.n_images, summary.n_truth, summary.n_found) == (6, 15, 15)
    assert [(c.name, c.n_truth, c.f1.value) for c in summary.classes] == [("epithelial", 6, 1), ("inflammatory", 9, 1)]
    told = {key: s.low for key, s in summary.scores.items() if not key.startswith("r2")}
    assert told == {key: pytest.approx(1, abs=1e-6) for key in told}


def test_scores_by_hand():
    # Image 0: one hit of the right class, one of the wrong class, two missed, one invented. Image 1: one invented.
    found = squares((4, 4), (4, 24), (50, 50))
    report = evaluate(
        answers(instances(found, [1, 1, 2]), instances(squares((9, 9)), [1])),
        [sample("0", LABELS, [0, 1, 2, 2, 1]), sample("1", NOTHING, [0])],
        NAMES,
    )
    assert value(report, "bpq") == pytest.approx(2 / 3.5, abs=1e-6)
    assert report.sources["set"].scores["bpq"].n == 1
    assert value(report, "pq_pooled") == 2 / (2 + 0.5 * 2 + 0.5 * 2)
    assert (value(report, "precision"), value(report, "recall"), value(report, "f1")) == (0.5, 0.5, 0.5)
    assert value(report, "f1_mean") == pytest.approx((4 / 7 + 0) / 2)
    assert value(report, "aji") == pytest.approx((128 / (5 * 64) + 0) / 2)
    assert value(report, "accuracy") == 0.5
    # Epithelial: 1 hit, 1 miss, 2 false (the wrong class, image 1); inflammatory: 2 missed, 1 invented.
    assert value(report, "mpq") == pytest.approx((1 / 2 + 0) / 2, abs=1e-5)
    assert value(report, "mpq_plus") == pytest.approx((1 / 2.5 + 0) / 2, abs=1e-5)
    epithelial, inflammatory = report.sources["set"].classes
    assert epithelial.f1.value == 2 / (2 + 2 * 1 + 1 + 1)
    assert inflammatory.f1.value == 0
    assert (epithelial.n_truth, epithelial.n_found, inflammatory.n_truth, inflammatory.n_found) == (2, 3, 2, 1)
    assert epithelial.r2.value == 1 - 1 / 2
    assert value(report, "r2_total") == 1 - 2 / 8


def tissue(seed):
    """Truth and result of one image: 9 nuclei on a grid, some of them missed, shifted or of the wrong class."""
    rng = np.random.default_rng(seed)
    corners = [(r, c) for r in (2, 24, 46) for c in (2, 24, 46)]
    kept = [k for k in range(9) if rng.random() < 0.8]
    shifts = {k: int(rng.integers(0, 6)) for k in kept}
    moved = squares(*[(corners[k][0] + shifts[k], corners[k][1]) for k in kept], side=10)
    types = rng.integers(1, 3, 9)
    called = [int(types[k]) if rng.random() < 0.7 else 3 - int(types[k]) for k in kept]
    return squares(*corners, side=10), types, moved, called, {k: (shifts[k], called[i]) for i, k in enumerate(kept)}


def by_the_formulas(images, c):
    """DQ, SQ, precision and recall of class c from what was done to each nucleus, without label maps."""
    ious, false, missed = [], 0, 0
    hits = wrong = unlike = lost = 0
    for _, types, _, _, kept in images:
        for k, true in enumerate(types):
            shift, called = kept.get(k, (None, None))
            iou = 0 if shift is None else (10 - shift) / (10 + shift)
            paired = iou > 0.5 and called == true == c
            ious += [iou] if paired else []
            false += called == c and not paired
            missed += true == c and not paired
            hits += true == called == c
            wrong += called == c != true
            unlike += called is not None and true == c != called
            lost += called is None and true == c
    dq = len(ious) / (len(ious) + false / 2 + missed / 2)
    return dq, float(np.mean(ious)), hits / (hits + 2 * wrong), hits / (hits + 2 * unlike + lost)


def test_scores_of_classes_are_those_of_the_formulas_with_intervals_of_resampled_images():
    images = [tissue(seed) for seed in range(12)]
    samples = [sample(str(i), truth, [0, *types]) for i, (truth, types, *_) in enumerate(images)]
    found = [instances(moved, called) for _, _, moved, called, _ in images]
    report = evaluate(answers(*found), samples, NAMES, replicates=40, seed=3)
    drawn = bootstrap_weights([""] * 12, replicates=40, seed=3).astype(int)
    keys = ("dq", "sq", "precision", "recall")
    for c, summary in enumerate(report.sources["set"].classes, 1):
        estimates = [getattr(summary, key) for key in keys]
        np.testing.assert_allclose([e.value for e in estimates], by_the_formulas(images, c), atol=1e-6)
        replicates = [by_the_formulas([images[i] for i in np.repeat(range(12), row)], c) for row in drawn]
        np.testing.assert_allclose(
            [(e.low, e.high) for e in estimates], np.quantile(replicates, [0.025, 0.975], axis=0).T, atol=1e-6
        )
        assert summary.pq.value == pytest.approx(summary.dq.value * summary.sq.value)
        assert summary.f1.value == pytest.approx(2 / (1 / summary.precision.value + 1 / summary.recall.value))
    shown = {row.score: row.value for row in report.table()}
    assert shown["epithelial: DQ, pooled"] == f"{by_the_formulas(images, 1)[0]:.3f}"
    stored = report.to_json()["sources"]["set"]["classes"][1]
    assert [stored[key]["value"] for key in keys] == pytest.approx(by_the_formulas(images, 2), abs=1e-6)


def test_a_class_that_is_nowhere_is_left_out_of_mpq_plus_or_scores_0_as_conic_has_it():
    report = evaluate(answers(instances(LABELS, [1] * 4)), [sample("0", LABELS, [0, 1, 1, 1, 1])], NAMES)
    assert value(report, "mpq_plus") == pytest.approx(1, abs=1e-6)
    assert value(report, "mpq_plus_absent_0") == pytest.approx(0.5, abs=1e-6)
    absent = report.sources["set"].classes[1]
    assert all(np.isnan(getattr(absent, key).value) for key in ("pq", "dq", "sq", "precision", "recall"))


def test_swapped_classes_cost_only_the_class_scores():
    report = evaluate(answers(instances(LABELS, [2, 1, 1, 2])), [sample("0", LABELS, [0, 1, 2, 2, 1])], NAMES)
    assert value(report, "bpq") == pytest.approx(1, abs=1e-6)
    assert (value(report, "mpq"), value(report, "mpq_plus"), value(report, "accuracy")) == (0, 0, 0)


def test_nuclei_of_unknown_class_count_for_detection_only():
    report = evaluate(answers(instances(LABELS, [1, 1, 2, 2])), [sample("0", LABELS, [0, 1, 0, 2, 0])], NAMES)
    summary = report.sources["set"]
    assert value(report, "f1") == value(report, "accuracy") == 1
    assert value(report, "mpq") == pytest.approx(1, abs=1e-5)
    assert [(c.n_truth, c.n_found, c.f1.value) for c in summary.classes] == [(1, 1, 1), (1, 1, 1)]


@pytest.mark.parametrize(("types", "n_classes"), [(None, 2), ([0, 1, 2, 2, 1], 0)])
def test_without_classes_on_one_side_there_are_no_class_scores(types, n_classes):
    report = evaluate(answers(instances(LABELS, [1, 1, 1, 1], n_classes)), [sample("0", LABELS, types)], NAMES)
    assert "mpq" not in report.sources["set"].scores
    assert report.sources["set"].classes == ()
    assert value(report, "bpq") == pytest.approx(1, abs=1e-6)


def test_nothing_found_in_images_without_nuclei_is_undefined_not_an_error():
    report = evaluate(answers(instances(NOTHING, [])), [sample("0", NOTHING, [0])], NAMES, replicates=20)
    score = report.sources["set"].scores["bpq"]
    assert np.isnan(score.value)
    assert (score.n, score.dropped) == (0, 20)
    assert {row.value for row in report.table() if row.score != "R² of all nuclei"} == {"–"}


def test_detection_radius_is_physical():
    moved = instances(squares(*[(r, c + 7) for r, c in GRID]), [1, 2, 2, 1])
    near = evaluate(answers(moved), [sample("0", LABELS, None)], NAMES)
    far = evaluate(answers(moved), [sample("0", LABELS, None, mpp=0.5)], NAMES)
    assert (value(near, "f1"), value(far, "f1")) == (1, 0)


def test_two_ways_of_pairing_stand_beside_each_other():
    # 60 px are 3 µm here. Together the near pair (5 px) and a far one (67 px) are shorter than 60 and 13 px.
    truth, found = (squares(*corners, side=2, shape=(64, 96)) for corners in ([(10, 10), (28, 6)], [(15, 8), (10, 70)]))
    report = evaluate(answers(instances(found, [1, 1])), [sample("0", truth, None, mpp=0.05)], NAMES, replicates=20)
    assert (value(report, "f1"), value(report, "f1_most_pairs")) == (0.5, 1)
    image = report.to_json()["images"][0]
    assert (image["f1"], image["f1_most_pairs"]) == (0.5, 1)
    assert [(row.score, row.value) for row in report.table() if "F1" in row.score] == [
        ("Detection F1", "0.500"),
        ("Detection F1, most pairs", "1.000"),
        ("Detection F1, image mean", "0.500"),
    ]


def test_data_sets_are_summarised_apart_and_intervals_rest_on_patients():
    found = [instances(LABELS, [1, 2, 2, 1])] * 2 + [instances(NOTHING, [])] * 8
    samples = [sample(str(i), LABELS, [0, 1, 2, 2, 1], group="abcde"[i // 2]) for i in range(10)]
    others = [sample(str(i), LABELS, None, source="other") for i in range(4)]
    report = evaluate(answers(*found), [*samples, *others], NAMES)
    assert list(report.sources) == ["set", "other"]
    summary = report.sources["set"]
    assert (summary.n_images, summary.n_groups) == (10, 5)
    # Of five patients the one with 1 is drawn up to 3 times in 97.5 % of the resamples; of ten images 5 would be 1.
    bpq = summary.scores["bpq"]
    assert (bpq.low, bpq.high) == (0, pytest.approx(3 / 5, abs=1e-5))
    assert np.isnan(report.sources["other"].scores["bpq"].low)


def test_class_intervals_rest_on_the_images_with_classes():
    found = [instances(NOTHING, []), *[instances(LABELS, [1, 2, 2, 1]), instances(NOTHING, [])] * 5]
    patients = [(None, "a"), *(([0, 1, 2, 2, 1], group) for group in "bbccddeeff")]
    samples = [sample(str(i), LABELS, types, group=group) for i, (types, group) in enumerate(patients)]
    mpq = evaluate(answers(*found), samples, NAMES).sources["set"].scores["mpq"]
    # Each patient with classes has one image found and one not: the mean is the same, whoever is drawn.
    assert [mpq.value, mpq.low, mpq.high] == pytest.approx([0.5] * 3, abs=1e-5)
    assert mpq.n == 10
    four = evaluate(answers(*found), samples[:-2], NAMES).sources["set"].scores
    assert (np.isnan(four["mpq"].low), np.isnan(four["bpq"].low)) == (True, False)  # a has nuclei, but no classes


def test_strata_are_averaged_first():
    found = [instances(LABELS, [1, 2, 2, 1]), instances(NOTHING, []), instances(LABELS, [1, 2, 2, 1])]
    samples = [sample(str(i), LABELS, [0, 1, 2, 2, 1]) for i in range(3)]
    report = evaluate(answers(*found), samples, NAMES, stratum=lambda s: "liver" if s.name == "0" else "skin")
    assert value(report, "bpq") == pytest.approx(2 / 3, abs=1e-5)
    strata_means = [value(report, "bpq_strata"), value(report, "mpq_strata")]
    assert strata_means == pytest.approx([0.75, 0.75], abs=1e-5)
    assert report.sources["set"].strata["skin"].n_images == 2


def test_truth_that_does_not_part_nuclei_is_skipped():
    blurred = replace(sample("0", LABELS, None), separable=False)
    report = evaluate(answers(instances(LABELS, [1] * 4)), [blurred, sample("0", LABELS, None)], NAMES)
    assert report.sources["set"].n_images == 1
    assert report.to_json()["sources"]["set"]["skipped"] == ["0"]
    with pytest.raises(InputError, match="all 1 does not part"):
        evaluate(answers(), [blurred], NAMES)


@pytest.mark.parametrize(
    ("found", "types", "says"),
    [
        (instances(LABELS[:32], [1, 1]), [0, 1, 2, 2, 1], "Image '0' of set: The label maps .* differ in shape"),
        (instances(LABELS, [1, 1, 1, 1], 3), [0, 1, 2, 2, 1], "result has 3 classes, but 2"),
        (instances(LABELS, [1, 1, 1, 1]), [0, 1, 2, 3, 1], "truth has a class 3"),
        (instances(LABELS, [1, 1, 1, 1]), [0, 1, 2], "truth names 2 instances"),
    ],
)
def test_what_does_not_fit_is_refused(found, types, says):
    with pytest.raises(InputError, match=says):
        evaluate(answers(found), [sample("0", LABELS, types)], NAMES)


def test_an_empty_data_set_is_refused():
    with pytest.raises(InputError, match="data set is empty"):
        evaluate(answers(), [], NAMES)


def test_report_goes_to_json_table_and_csv(tmp_path):
    seen = []
    report = evaluate(
        answers(instances(LABELS, [1, 2, 2, 1]), instances(NOTHING, [])),
        [sample("0", LABELS, [0, 1, 2, 2, 1]), sample("1", NOTHING, None, source="plain")],
        NAMES,
        on_image=seen.append,
    )
    assert [row.info.name for row in seen] == ["0", "1"]
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert data["format"] == "histocyte-evaluation/1"
    assert set(data["sources"]["set"]["scores"]) <= set(data["about"])
    assert data["sources"]["set"]["classes"][0]["name"] == "epithelial"
    assert data["images"][0]["classes"][1]["tp"] == 2
    assert ("set", "bPQ", "1.000", "–", "1") in report.table()
    report.write_csv(tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["bpq"][:6], first["n_truth epithelial"], second["bpq"], second["pq epithelial"]) == (
        "0.9999", "2", "", ""
    )  # fmt: skip
    assert [first[f"{key} epithelial"] for key in ("dq", "precision", "recall")] == ["1.0", "1.0", "1.0"]
    with pytest.raises(DiskError, match="'.*scores.csv' is a file and no folder"):
        report.write_csv(tmp_path / "scores.csv" / "scores.csv")


def test_the_same_seed_gives_the_same_report():
    found = [instances(squares(*GRID[:k]), [1] * k) for k in range(4)]
    samples = [sample(str(i), LABELS, [0, 1, 2, 2, 1]) for i in range(4)]
    first, again, other = (
        evaluate(answers(*found), samples, NAMES, seed=seed).to_json()["sources"] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


@pytest.mark.skipif(not ORACLES.exists(), reason="the reference answers are not here")
def test_report_holds_the_reference_programs_figures():
    """PanNuke's means and class scores, CoNIC's mPQ+ and HoVer-Net's detection, through the whole protocol."""
    expected = json.loads((ORACLES / "expected.json").read_text())
    with np.load(ORACLES / "pairs.npz") as archive:
        pairs = dict(archive)
    samples = [sample(str(k), pairs[f"{k}/true"], pairs[f"{k}/true_type"]) for k in range(15)]
    found = [instances(pairs[f"{k}/pred"].astype(np.int32), pairs[f"{k}/pred_type"][1:], 4) for k in range(15)]
    report = evaluate(answers(*found), samples, ("other", "inflammatory", "epithelial", "spindle"), replicates=100)
    assert value(report, "bpq") == pytest.approx(expected["pannuke_mean_over_images"]["bpq"], abs=1e-9)
    assert value(report, "mpq") == pytest.approx(expected["pannuke_mean_over_images"]["mpq"], abs=1e-9)
    assert value(report, "mpq_plus") == pytest.approx(expected["conic_mpq_plus"]["mean"], abs=1e-9)
    classes = report.sources["set"].classes
    np.testing.assert_allclose([c.r2.value for c in classes], expected["r2_per_class_sklearn"], atol=1e-9)
    np.testing.assert_allclose([c.pq.value for c in classes], expected["conic_mpq_plus"]["per_class"], atol=1e-9)
    first_twelve = evaluate(answers(*found), samples[:12], report.class_names, replicates=10)
    figures = [value(first_twelve, "f1"), value(first_twelve, "accuracy")]
    figures += [c.f1.value for c in first_twelve.sources["set"].classes]
    line = expected["hovernet_run_nuclei_type_stat_images_0_to_11"][0]
    np.testing.assert_allclose(figures, [float(v) for v in line.strip("[]").split()], atol=5e-6)


def test_confusion_and_calibration_by_hand():
    # Found: an epithelial nucleus rightly (0.9), one inflammatory as epithelial (0.7), two missed, one invented.
    labels = squares((4, 4), (4, 24), (50, 50))
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]], np.float32)
    found = Instances(labels, probabilities, np.ones(3, np.float32))
    samples = [sample(str(i), LABELS, ([0, 1, 2, 2, 1], [0, 1, 2, 0, 1])[i % 2]) for i in range(6)]
    report = evaluate(answers(*[found] * 6), samples, NAMES, replicates=50)
    confusion = report.sources["set"].confusion
    np.testing.assert_array_equal(confusion.counts, [[0, 0, 6], [6, 6, 0], [3, 6, 0]])
    assert [share.value for share in confusion.shares[2]] == [1 / 3, 2 / 3, 0]
    assert 0.5 <= confusion.shares[2][1].low < 2 / 3 < confusion.shares[2][1].high <= 1
    calibration = report.sources["set"].calibration
    assert calibration.n == 12
    assert [(b.n, b.accuracy.value) for b in calibration.bins if b.n] == [(6, 0), (6, 1)]
    assert value(report, "ece") == pytest.approx((0.7 + 0.1) / 2)
    assert value(report, "ece_mass") == pytest.approx((0.7 + 0.1) / 2)
    assert value(report, "brier") == pytest.approx((2 * 0.1**2 + 2 * 0.7**2) / 2)
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))["sources"]["set"]
    assert data["confusion"]["counts"][2] == [3, 6, 0]
    assert data["confusion"]["shares"][0][2]["value"] == 1
    assert sum(b["n"] for b in data["calibration"]["bins"]) == 12


def test_what_one_image_has_gets_no_interval_however_many_images_there_are():
    # Of six images one has a class of its own and one nucleus of another probability.
    sure, unsure = (np.array([[1 - p, p], [p, 1 - p]], np.float32) for p in (0.1, 0.3))
    two = squares(*GRID[:2])
    found = [Instances(two, sure, np.ones(2, np.float32))] * 5 + [Instances(two, unsure, np.ones(2, np.float32))]
    samples = [sample(str(i), two, [0, 1, 1 + (i == 5)]) for i in range(6)]
    summary = evaluate(answers(*found), samples, NAMES, replicates=50).sources["set"]
    assert [np.isnan(c.f1.low) for c in summary.classes] == [False, False]  # both are found in all
    assert [np.isnan(c.pq_mean.low) for c in summary.classes] == [False, True]
    assert [np.isnan(row[1].low) for row in summary.confusion.shares[1:]] == [False, True]
    assert {round(b.confidence, 1): np.isnan(b.accuracy.low) for b in summary.calibration.bins if b.n} == {
        0.7: True,
        0.9: False,
    }


def test_classes_without_probabilities_are_not_calibrated():
    report = evaluate(answers(instances(LABELS, [1, 2, 2, 1])), [sample("0", LABELS, [0, 1, 2, 2, 1])], NAMES)
    assert report.sources["set"].calibration is None
    assert "ece" not in report.sources["set"].scores
    assert report.sources["set"].confusion.counts.sum() == 4


def test_strata_have_intervals():
    whole, none = instances(LABELS, [1, 2, 2, 1]), instances(NOTHING, [])
    samples = [sample(str(i), LABELS, [0, 1, 2, 2, 1]) for i in range(6)]
    report = evaluate(
        answers(whole, none, whole, none, whole, whole),
        samples,
        NAMES,
        stratum=lambda s: "liver" if s.name == "0" else "skin",
    )
    skin, liver = (report.sources["set"].strata[name].scores for name in ("skin", "liver"))
    assert (skin["f1"].value, skin["bpq"].n) == (pytest.approx(3 / 4), 5)
    assert 0 <= skin["bpq"].low < skin["bpq"].value < skin["bpq"].high
    assert np.isnan(liver["bpq"].low)
    assert report.to_json()["sources"]["set"]["strata"]["skin"]["scores"]["f1"]["n"] == 5


def test_the_tissue_of_a_sample_is_its_stratum():
    found = [instances(LABELS, [1, 2, 2, 1]), instances(NOTHING, []), instances(LABELS, [1, 2, 2, 1])]
    samples = [sample(str(i), LABELS, [0, 1, 2, 2, 1], tissue=("liver", "skin")[i > 0]) for i in range(3)]
    report = evaluate(answers(*found), samples, NAMES, replicates=20)
    assert value(report, "bpq_strata") == pytest.approx(0.75, abs=1e-5)
    assert ("liver: Detection F1", "1.000") in [(row.score, row.value) for row in report.table()]


def test_what_is_found_where_nobody_said_what_there_is_does_not_count():
    unclear = np.zeros((64, 64), bool)
    unclear[40:, 40:] = True
    found = instances(squares(*GRID, (48, 48)), [1, 2, 2, 1, 2])
    plain, with_unclear = (sample("0", LABELS, [0, 1, 2, 2, 1], ignored=i) for i in (None, unclear))
    assert value(evaluate(answers(found), [plain], NAMES, replicates=10), "bpq") < 0.9
    assert value(evaluate(answers(found), [with_unclear], NAMES, replicates=10), "bpq") == pytest.approx(1)
    mostly_outside = instances(squares(*GRID, (35, 44)), [1, 2, 2, 1, 2])  # 3 of its 8 rows lie in it
    assert value(evaluate(answers(mostly_outside), [with_unclear], NAMES, replicates=10), "bpq") < 0.9


def found_as(labels, probabilities):
    return Instances(labels, np.array(probabilities, np.float32), np.ones(len(probabilities), np.float32))


def test_classes_of_another_list_are_merged_before_the_most_probable_is_taken():
    # other, inflammatory, epithelial, spindle on a truth of epithelial, lymphocyte, macrophage, neutrophil.
    both = compared_classes(MONUSAC, CONSEP)
    types = [0, *both.true_types()[[1, 2, 3, 4]]]  # epithelial, and three leukocytes that are inflammatory
    labels = LABELS + 5 * squares((50, 50))  # and one where there is nothing
    said = [
        [0.1, 0.2, 0.6, 0.1],
        [0.1, 0.6, 0.2, 0.1],
        [0.3, 0.4, 0.0, 0.3],
        [0.4, 0.0, 0.2, 0.4],
        [0.5, 0.0, 0.0, 0.5],
    ]
    found = found_as(labels, said)
    report = evaluate(answers(found), [sample("0", LABELS, types)], CONSEP.names, compared={"set": both})
    assert report.class_names == ("inflammatory", "epithelial")
    leukocytes, epithelial = report.sources["set"].classes
    assert (leukocytes.n_truth, leukocytes.n_found, epithelial.n_found) == (3, 1, 1)  # two are other or spindle
    assert report.images[0].classes.confusion.tolist() == [[0, 0, 0], [2, 1, 0], [0, 0, 1]]
    assert value(report, "accuracy") == 0.5
    assert report.to_json()["sources"]["set"]["compared"]["found_alone"] == ["other", "spindle"]


def test_sets_of_different_lists_have_scores_of_their_own_classes(tmp_path):
    both = {"monusac": compared_classes(MONUSAC, CONSEP), "consep": compared_classes(CONSEP, CONSEP)}
    samples = [
        sample("0", LABELS, [0, 1, 2, 2, 1], source="monusac"),
        sample("0", LABELS, [0, 1, 2, 3, 4], source="consep"),
    ]
    report = evaluate(answers(instances(LABELS, [1, 2, 3, 4], 4)), samples, CONSEP.names, compared=both)
    assert [c.name for c in report.sources["monusac"].classes] == ["inflammatory", "epithelial"]
    assert [c.name for c in report.sources["consep"].classes] == list(CONSEP.names)
    (tmp_path / "r.json").write_text(json.dumps(report.to_json()))
    back = read_report(tmp_path / "r.json")
    assert {source: back.names_of(source) for source in both} == {s: b.names for s, b in both.items()}
    assert [row.classes.n_truth.tolist() for row in back.images] == [[2, 2], [1, 1, 1, 1]]
    result = compare_reports(back, back, replicates=10)
    assert {d.subject for d in result.sources["monusac"].differences if d.kind == "class"} == {
        "inflammatory",
        "epithelial",
    }
    report.write_csv(tmp_path / "r.csv")
    assert "pq spindle" in (tmp_path / "r.csv").read_text().splitlines()[0]
    with pytest.raises(InputError, match="so must their data sets"):
        merge_folds([back, replace(back, path=Path("other"))])


def test_results_are_compared_by_the_classes_that_both_have():
    truth = [0, 1, 2, 3, 4]  # epithelial, lymphocyte, macrophage, neutrophil
    stored = []
    for list_ in (CONSEP, CELLS):
        both = compared_classes(MONUSAC, list_)
        known = sample("0", LABELS, both.true_types()[truth])
        report = evaluate(answers(instances(LABELS, [1] * 4, len(list_))), [known], list_.names, compared={"set": both})
        names = {(source, each.name): each.truth for source, c in report.compared.items() for each in c.classes}
        stored.append(
            StoredReport(
                Path("x"), "x", report.class_names, report.images, report.mode, frozenset(), report.own_names, names
            )
        )
    (source,) = compare_reports(*stored, replicates=10).sources.values()
    assert {d.subject for d in source.differences if d.kind == "class"} == {"epithelial"}
    assert not {d.key for d in source.differences if d.kind == "all"} & {"mpq", "accuracy", "r2"}
    assert "compared are epithelial, which both have" in " ".join(source.notes)


def test_truth_of_centres_gives_detection_and_classes_and_no_outlines():
    dots = replace(sample("0", LABELS, [0, 1, 2, 2, 1]), separable=False, dots=True, centres="centres")
    dots = replace(dots, ignored=LABELS == 0)  # as dots come: beside them nobody said what there is
    found = squares((5, 4), (4, 24), (24, 24), (50, 50), side=10)
    report = evaluate(answers(instances(found, [1, 1, 1, 2])), [dots], NAMES, centres=True)
    assert not {"bpq", "aji", "dice", "mpq", "mpq_plus"} & set(report.sources["set"].scores)
    assert [value(report, key) for key in ("precision", "recall", "f1")] == [0.75, 0.75, 0.75]
    assert value(report, "accuracy") == pytest.approx(2 / 3)
    assert not [row for row in report.table() if "PQ" in row.score]
    assert "tells the centres of nuclei" in report.truth_notes()[0]
    assert "outlines" not in repr(report)
    with pytest.raises(InputError, match="does not part"):
        evaluate(answers(), [dots], NAMES)


def test_where_some_nuclei_have_a_centre_what_is_found_elsewhere_is_not_judged(tmp_path):
    some = replace(sample("0", LABELS, [0, 1, 2, 2, 1]), separable=False, centres="some centres")
    found = squares((4, 4), (4, 24), (50, 50))
    report = evaluate(answers(instances(found, [1, 1, 2])), [some], NAMES, centres=True)
    scores = report.sources["set"].scores
    assert not {"precision", "f1", "r2", "r2_total", "bpq"} & set(scores)
    assert scores["recall"].value == 0.5
    epithelial, inflammatory = report.sources["set"].classes
    assert (inflammatory.n_found, epithelial.n_found) == (0, 2)
    assert epithelial.f1.value == pytest.approx(2 / (2 + 2 + 1))  # 1 hit, 1 of another class, 1 missed
    assert np.isnan(epithelial.r2.value)
    (tmp_path / "r.json").write_text(json.dumps(report.to_json()))
    back = read_report(tmp_path / "r.json")
    assert back.images[0].info.told == "some centres"
    assert report_of(back.images, NAMES).to_json()["sources"] == report.to_json()["sources"]
