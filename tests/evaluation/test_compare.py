"""Differences of two results on the same images, their intervals and p-values."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import typer
from typer.testing import CliRunner

from histocyte.apps.cli.compare import compare
from histocyte.core.errors import InputError
from histocyte.evaluation.compare import compare_reports
from histocyte.evaluation.image_json import StoredReport, read_report
from histocyte.evaluation.image_scores import ImageInfo, ImageScores
from histocyte.evaluation.protocol import report_of
from histocyte.metrics.detection import DetectionCounts
from histocyte.metrics.panoptic import PanopticCounts
from histocyte.statistics.paired import holm

from .test_image_json import NAMES, random_rows

APP = typer.Typer()
APP.command()(compare)


def stored(rows, names=NAMES):
    return StoredReport(Path("x.json"), "x", tuple(names), tuple(rows), "hovernet")


def image(k, hits, *, group="", n=50, found=50):
    """An image with so many of its nuclei found."""
    info = ImageInfo(str(k), "set", group, 0.25)
    counts = DetectionCounts(hits, found - hits, n - hits)
    panoptic = PanopticCounts(hits, found - hits, n - hits, 0.8 * hits)
    return ImageScores(info, panoptic, counts, counts, hits / n, hits / n, 0.9, 0.9, None)


def by_key(comparison, source="set"):
    return {(d.subject, d.key): d for d in comparison.sources[source].differences}


def test_a_result_compared_with_itself_differs_by_nothing():
    rows = random_rows(30)
    result = compare_reports(stored(rows), stored(rows), replicates=60)
    differences = result.sources["set"].differences
    assert {d.kind for d in differences} == {"all", "class", "stratum"}
    assert {("", "ece"), ("epithelial", "f1"), ("liver", "bpq"), ("", "bpq_strata")} <= set(by_key(result))
    for d in differences:
        assert (d.difference.value, d.difference.low, d.difference.high, d.p, d.p_holm) == (0, 0, 0, 1, 1), d.title
    assert result.unpaired == ((), ())


def test_scores_of_each_side_are_those_of_its_report():
    rows, others = random_rows(12, seed=1), random_rows(12, seed=1)
    others = [replace(r, aji=r.aji / 2) for r in others]
    report = report_of(rows, NAMES, replicates=80)
    found = by_key(compare_reports(stored(rows), stored(others), replicates=80))
    summary = report.sources["set"]
    for key, score in summary.scores.items():
        assert [found["", key].first.value, found["", key].first.low] == pytest.approx(
            [score.value, score.low], nan_ok=True
        ), key
        assert found["", key].first.n == score.n
    for c in summary.classes:
        assert found[c.name, "pq"].first.value == pytest.approx(c.pq.value)
        assert found[c.name, "pq_mean"].first.n == c.pq_mean.n
        for key in ("dq", "sq", "precision", "recall"):
            score = getattr(c, key)
            theirs = found[c.name, key].first
            assert (theirs.value, theirs.low, theirs.high) == pytest.approx((score.value, score.low, score.high))
    assert found["skin", "f1"].second.value == pytest.approx(summary.strata["skin"].scores["f1"].value)
    assert found["", "aji"].difference.value == pytest.approx(-summary.scores["aji"].value / 2)


def test_a_report_of_an_earlier_version_is_compared_by_scores_that_it_does_not_state(tmp_path):
    data = report_of(random_rows(12, seed=1), NAMES, replicates=10).to_json()
    for one in data["sources"]["set"]["classes"]:
        for key in ("dq", "sq", "precision", "recall"):
            del one[key]
    (tmp_path / "old.json").write_bytes(orjson.dumps(data))
    old = read_report(tmp_path / "old.json")
    found = by_key(compare_reports(old, stored(random_rows(12, seed=1)), replicates=20))
    for key in ("dq", "sq", "precision", "recall"):
        d = found["epithelial", key]
        assert 0 < d.first.value < 1, key
        assert d.difference.value == 0, key


def test_a_known_shift_is_found_and_pairing_narrows_its_interval():
    rng = np.random.default_rng(0)
    hard = rng.integers(10, 40, 24)
    one = [image(k, int(h)) for k, h in enumerate(hard)]
    other = [image(k, int(h) + 3 + k % 3) for k, h in enumerate(hard)]
    d = by_key(compare_reports(stored(one), stored(other)))["", "f1"]
    assert d.difference.value == pytest.approx(4 / 50)
    assert d.difference.low < 0.08 < d.difference.high
    assert d.p == pytest.approx(1 / 1001)
    assert d.p < d.p_holm < 0.05
    assert d.difference.high - d.difference.low < (d.first.high - d.first.low) / 4


def test_patients_not_images_are_swapped():
    one = [image(k, 20, group="ab"[k % 2]) for k in range(20)]
    other = [image(k, 25, group="ab"[k % 2]) for k in range(20)]
    result = compare_reports(stored(one), stored(other))
    assert by_key(result)["", "f1"].p == pytest.approx(0.5, abs=0.06)
    assert (result.sources["set"].n_images, result.sources["set"].n_groups) == (20, 2)
    assert "hardly fall below 0.5" in result.sources["set"].notes[0]
    single = compare_reports(stored([image(0, 20)]), stored([image(0, 25)]))
    d = by_key(single)["", "f1"]
    assert d.p == 1
    assert np.isnan(d.difference.low)


def test_two_equal_models_seldom_differ():
    rng = np.random.default_rng(3)
    p = []
    for seed in range(200):
        groups = [f"p{k // 2}" for k in range(12)]
        base = rng.integers(10, 40, 12)
        sides = [
            [
                image(k, int(np.clip(h + e, 0, 50)), group=g)
                for k, (h, e, g) in enumerate(zip(base, shake, groups, strict=True))
            ]
            for shake in rng.normal(0, 3, (2, 12)).round()
        ]
        p.append(_only_f1(*sides, seed))
    share = np.mean(np.array(p) <= 0.05)
    assert share <= 0.09
    assert np.mean(np.array(p) <= 0.5) == pytest.approx(0.5, abs=0.12)


def _only_f1(one, other, seed):
    from histocyte.evaluation.summary import scores_of
    from histocyte.statistics.paired import PairedResamples

    resamples = PairedResamples.of([r.info.group for r in one], replicates=200, seed=seed)
    return resamples.differences(scores_of([*one, *other])["f1"])[0].p


def test_what_only_one_scored_is_listed_and_left_out():
    rows = [image(k, 20 + k) for k in range(6)]
    result = compare_reports(stored(rows[:4]), stored(rows[2:]), replicates=20)
    assert result.unpaired == ((("set", "0"), ("set", "1")), (("set", "4"), ("set", "5")))
    assert result.sources["set"].n_images == 2
    with pytest.raises(InputError, match="no image in common"):
        compare_reports(stored(rows[:2]), stored(rows[2:]))


def test_other_classes_leave_the_class_scores_out():
    rows = random_rows(6)
    result = compare_reports(stored(rows), stored(rows, ("x", "y")), replicates=20)
    assert {d.kind for d in result.sources["set"].differences} == {"all", "stratum"}
    assert "other classes" in result.sources["set"].notes[0]
    half = [replace(r, classes=None) if k % 2 else r for k, r in enumerate(rows)]
    mixed = compare_reports(stored(rows), stored(half), replicates=20)
    assert by_key(mixed)["epithelial", "f1"].first.n == 3
    assert "leave out 3 images" in mixed.sources["set"].notes[0]


@pytest.mark.parametrize(
    ("info", "says"), [({"mpp": 0.5}, "µm per px"), ({"group": "q"}, "patient"), ({"stratum": "q"}, "stratum")]
)
def test_another_truth_is_refused(info, says):
    rows = random_rows(3)
    other = [replace(r, info=replace(r.info, **info)) for r in rows]
    with pytest.raises(InputError, match=says):
        compare_reports(stored(rows), stored(other))
    with pytest.raises(InputError, match="true nuclei"):
        compare_reports(stored([image(0, 5)]), stored([image(0, 5, n=49)]))


def test_holm_by_hand():
    assert holm([0.01, 0.04, float("nan"), 0.03]) == pytest.approx([0.03, 0.06, float("nan"), 0.06], nan_ok=True)
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


def test_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for seed, path in enumerate(paths):
        rows = [replace(r, aji=r.aji / (1 + seed)) for r in random_rows(8)]
        path.write_bytes(orjson.dumps({"model": f"[red]m{seed}", **report_of(rows, NAMES, replicates=10).to_json()}))
    assert read_report(paths[1]).title == "[red]m1"
    arguments = [*map(str, paths), "--replicates", "50"]
    answer = CliRunner().invoke(APP, [*arguments, "--json", "--csv", str(tmp_path / "c.csv")])
    assert answer.exit_code == 0, answer.exception
    data = json.loads(answer.stdout)
    assert (data["first"], data["format"]) == ("[red]m0", "histocyte-comparison/1")
    aji = next(d for d in data["sources"]["set"]["differences"] if d["key"] == "aji")
    assert aji["difference"]["value"] < 0
    with (tmp_path / "c.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(data["sources"]["set"]["differences"])
    assert float(next(r for r in lines if r["score"] == "aji")["difference"]) == aji["difference"]["value"]
    table = CliRunner().invoke(APP, arguments)
    assert "A = [red]m0, B = [red]m1; 8 images" in table.stdout
    assert "epithelial: F1" in table.stdout


def test_a_comparison_says_who_has_learnt_from_the_images(tmp_path):
    rows = [image(k, 40) for k in range(4)]
    path = tmp_path / "taught.json"
    known = {"learnt": [{"source": "set", "name": n, "by": "content"} for n in ("1", "3", "not compared")]}
    path.write_bytes(orjson.dumps({**report_of(rows, ()).to_json(), "model": "taught", "known_images": known}))
    result = compare_reports(stored(rows, ()), read_report(path), replicates=20)
    assert "taught has learnt from 2 of these 4 images, which favours it" in result.sources["set"].notes[0]
    assert not any(
        "learnt" in note for note in compare_reports(stored(rows, ()), stored(rows, ())).sources["set"].notes
    )
    path.write_bytes(orjson.dumps({**report_of(rows, ()).to_json(), "known_images": {"learnt": [3]}}))
    with pytest.raises(InputError, match="'source' is missing"):
        read_report(path)
