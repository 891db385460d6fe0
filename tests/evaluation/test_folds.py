"""Folds averaged as published figures on PanNuke are."""

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import typer
from typer.testing import CliRunner

from histocyte.apps.cli.compare import folds
from histocyte.core.errors import InputError, UnknownNameError
from histocyte.evaluation.folds import merge_folds
from histocyte.evaluation.image_json import StoredReport
from histocyte.evaluation.protocol import report_of
from histocyte.statistics.averages import mean_over_groups, nan_mean

from .test_image_json import NAMES, random_rows

NUMBER = itertools.count()
APP = typer.Typer()
APP.command()(folds)


def stored(rows, name=None, names=NAMES):
    name = name or f"x{next(NUMBER)}"
    return StoredReport(Path(f"{name}.json"), name, tuple(names), tuple(rows), "hovernet")


def renamed(rows, k):
    return [replace(r, info=replace(r.info, name=f"{k}/{r.info.name}", group="")) for r in rows]


def by_key(result):
    return {(s.subject, s.key): s for s in result.scores}


def test_the_order_of_averages_is_that_of_pannuke():
    parts = [renamed(random_rows(n, seed=n), n) for n in (7, 9, 10)]
    found = by_key(merge_folds([stored(rows, str(k)) for k, rows in enumerate(parts)], replicates=60))
    strata = [[r.info.stratum for r in rows] for rows in parts]
    for key in ("bpq", "mpq"):
        by_hand = [
            mean_over_groups([getattr(r, key) for r in rows], names) for rows, names in zip(parts, strata, strict=True)
        ]
        score = found["", f"{key}_strata"]
        assert [fold.value for fold in score.folds] == pytest.approx([mean for mean, _ in by_hand])
        assert score.mean.value == pytest.approx(np.mean([mean for mean, _ in by_hand]))
        assert score.std_folds == pytest.approx(np.std([mean for mean, _ in by_hand], ddof=1))
        tissues = {name: np.mean([means[name] for _, means in by_hand]) for name in ("liver", "skin")}
        assert score.std_strata == pytest.approx(np.std(list(tissues.values()), ddof=1))
        assert {name: found[name, key].mean.value for name in tissues} == pytest.approx(tissues)
        assert score.mean.low < score.mean.value < score.mean.high
    by_class = [nan_mean([r.classes.pq[1] for r in rows]) for rows in parts]
    assert found["inflammatory", "pq_mean"].mean.value == pytest.approx(np.mean(by_class))
    assert found["", "f1"].mean.n == 26
    assert np.isnan(found["", "f1"].std_strata)


def test_a_fold_s_own_scores_are_those_of_its_report():
    parts = [random_rows(6, seed=1), renamed(random_rows(6, seed=2), 2)]
    found = by_key(merge_folds([stored(rows) for rows in parts], replicates=40))
    report = report_of(parts[0], NAMES, replicates=40).sources["set"]
    for key, score in report.scores.items():
        assert repr(found["", key].folds[0]) == repr(score), key  # NaN is not itself
    assert repr(found["epithelial", "f1"].folds[0]) == repr(report.classes[0].f1)
    assert repr(found["skin", "bpq"].folds[0]) == repr(report.strata["skin"].scores["bpq"])


def test_an_image_in_two_folds_is_drawn_for_both():
    rows = renamed(random_rows(8), 0)
    both = merge_folds([stored(rows), stored(renamed(rows[:3], 1) + rows[3:], "y")], replicates=5)
    (note,) = both.notes
    assert note.startswith("5 images stand in more than one report (set/0/")
    assert both.to_json()["notes"] == [note]
    twice = by_key(merge_folds([stored(rows), stored(rows)], replicates=400))["", "f1"]
    apart = by_key(merge_folds([stored(rows), stored(renamed(rows, 1))], replicates=400))["", "f1"]
    width = twice.folds[0].high - twice.folds[0].low
    assert twice.mean.high - twice.mean.low == pytest.approx(width)
    assert apart.mean.high - apart.mean.low < 0.85 * width
    assert (twice.std_folds, twice.mean.value) == (0, twice.folds[0].value)


def test_a_tissue_or_classes_may_be_missing_in_a_fold():
    parts = [renamed(random_rows(6, seed=k), k) for k in range(2)]
    parts[1] = [replace(r, info=replace(r.info, stratum="skin"), classes=None) for r in parts[1]]
    found = by_key(merge_folds([stored(rows) for rows in parts], replicates=20))
    assert np.isnan(found["liver", "bpq"].folds[1].value)
    assert found["liver", "bpq"].mean.value == found["liver", "bpq"].folds[0].value
    assert np.isnan(found["epithelial", "f1"].std_folds)
    assert found["", "mpq"].mean.n == sum(not np.isnan(r.mpq) for r in parts[0])


def test_the_divisor_of_the_deviation_is_named():
    parts = [stored(renamed(random_rows(5, seed=k), k)) for k in range(3)]
    sample, population = (
        by_key(merge_folds(parts, std=std, replicates=5))["", "f1"] for std in ("sample", "population")
    )
    assert population.std_folds == pytest.approx(sample.std_folds * np.sqrt(2 / 3))
    with pytest.raises(UnknownNameError, match="sample"):
        merge_folds(parts, std="other")


def test_what_does_not_go_together_is_refused():
    rows = random_rows(4)
    with pytest.raises(InputError, match="two reports or more"):
        merge_folds([stored(rows)])
    with pytest.raises(InputError, match="scored alike"):
        merge_folds([stored(rows), stored(rows, names=("x", "y"))])
    with pytest.raises(InputError, match="'same.json' is given twice"):
        merge_folds([stored(rows, "same"), stored(renamed(rows, 1), "same")])


def test_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    paths = [str(tmp_path / f"fold{k}.json") for k in range(3)]
    for k, path in enumerate(paths):
        report = report_of(renamed(random_rows(6, seed=k), k), NAMES, replicates=5)
        Path(path).write_bytes(orjson.dumps(report.to_json()))
    answer = CliRunner().invoke(APP, [*paths, "--replicates", "20", "--json", "--csv", str(tmp_path / "f.csv")])
    assert answer.exit_code == 0, answer.exception
    data = json.loads(answer.stdout)
    assert [fold["title"] for fold in data["folds"]] == ["fold0", "fold1", "fold2"]
    with (tmp_path / "f.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["score"] for line in lines] == [score["key"] for score in data["scores"]]
    assert float(lines[0]["mean"]) == data["scores"][0]["mean"]["value"]
    table = CliRunner().invoke(APP, [*paths, "--replicates", "20"]).stdout
    assert "fold2 (6 images)" in table
    assert "bPQ, stratum mean" in table
    assert "skin: mPQ" in table
