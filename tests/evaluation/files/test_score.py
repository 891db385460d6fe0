"""Scores of files: the same as of the label maps they came from, and fair to what files can hold more than maps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from histocyte.core.cells import Cells
from histocyte.core.compared import compared_classes
from histocyte.core.errors import InputError
from histocyte.core.instances import Instances, Labels
from histocyte.core.labels import clean_instances, instance_statistics
from histocyte.core.outlines import trace_outlines
from histocyte.core.taxonomies import CELLS, CONSEP, MONUSAC, PANNUKE
from histocyte.core.taxonomy import Taxonomy
from histocyte.datasets.sample import Sample
from histocyte.evaluation.files.classes import ClassMap
from histocyte.evaluation.files.pairs import class_names_of, pair_files, true_images
from histocyte.evaluation.files.score import score_file
from histocyte.evaluation.image_scores import ImageInfo, score_image
from histocyte.evaluation.protocol import evaluate, report_of
from histocyte.formats.foreign.open import open_cells
from histocyte.runs.scoring.score import score

NAMES = CONSEP.names


def grid(shift: int = 0, side: int = 12) -> np.ndarray:
    labels = np.zeros((128, 128), np.int32)
    for i in range(36):
        y, x = 4 + 20 * (i // 6), 4 + 20 * (i % 6) + shift
        labels[y : y + side, x : x + side] = i + 1
    return labels


def types_of(labels: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.arange(labels.max()) % 4 + 1]).astype(np.uint8)


def cells(labels: np.ndarray, probabilities: np.ndarray) -> Cells:
    points, offsets = trace_outlines(labels)
    area, centre = instance_statistics(labels)
    scores = np.ones(len(area), np.float32)
    return Cells(centre, points, offsets, area.astype(np.float32), probabilities, scores, CONSEP, 0.25)


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """One image as a known data set has it."""
    folder = tmp_path / "consep"
    folder.mkdir()
    np.savez(folder / "one.npz", inst=grid(), type=types_of(grid()))
    cv2.imwrite(str(folder / "one.png"), np.full((128, 128, 3), 200, np.uint8))
    return folder


def features(path: Path, *squares: tuple[float, float, float, str | None]) -> Path:
    listed = []
    for x, y, side, name in squares:
        ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
        properties = {"objectType": "detection"} | ({} if name is None else {"classification": {"name": name}})
        listed.append(
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}
        )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": listed}))
    return path


@pytest.mark.parametrize("kind", ["parquet", "geojson"])
def test_the_numbers_are_those_of_evaluate(tmp_path: Path, kind: str, shared: Path) -> None:
    """Real labels, moved, thinned out and with unsure classes, scored as a model's and as a file."""
    folder = tmp_path / "consep"
    folder.mkdir()
    rng = np.random.default_rng(0)
    found: dict[str, Instances] = {}
    samples = []
    for name in ("train_1", "train_2"):
        with np.load(shared / "data" / "consep" / f"{name}.npz") as file:
            inst, types = file["inst"][:400, :400].astype(np.int32), file["type"]
        np.savez(folder / f"{name}.npz", inst=inst, type=types)
        moved = clean_instances(np.where(np.roll(inst, 2, axis=1) % 7 == 0, 0, np.roll(inst, 2, axis=1)))
        # To four places, as GeoJSON has them.
        unsure = (rng.dirichlet(np.ones(4), moved.max()) * 1e4).round().astype(int)
        unsure[:, 0] += 10_000 - unsure.sum(axis=1)
        probabilities = np.round(unsure / 1e4, 4).astype(np.float32)
        found[name] = Instances(moved, probabilities, np.ones(len(probabilities), np.float32))
        cells(moved, probabilities).write(tmp_path / f"{name}.{kind}", kind)
        samples.append(Sample(name, np.empty((400, 400, 3), np.uint8), inst, types, 0.25, "consep", name))
    predict = iter(found.values())
    expected = evaluate(lambda image, mpp: next(predict), samples, NAMES).to_json()
    images = true_images(folder)
    assert class_names_of(images) == NAMES
    files = pair_files(tmp_path, images, folder)
    rows = [score_file(open_cells(f), i, ClassMap(NAMES, {})) for f, i in zip(files, images, strict=True)]
    assert report_of([row.scores for row in rows], NAMES).to_json() == expected
    assert not any(row.n_hidden for row in rows)
    assert expected["sources"]["consep"]["calibration"]


@pytest.mark.parametrize("taxonomy", [CELLS, MONUSAC, PANNUKE], ids=lambda t: t.name)
def test_files_of_another_list_are_scored_as_a_model_of_that_list_is(
    truth: Path, tmp_path: Path, taxonomy: Taxonomy
) -> None:
    labels, rng = grid(), np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(len(taxonomy)), labels.max()).astype(np.float32)
    replace(cells(labels, probabilities), taxonomy=taxonomy).write(tmp_path / "one.parquet", "parquet")
    both = compared_classes(CONSEP, taxonomy)
    sample = Sample(
        "one", np.zeros((128, 128, 3), np.uint8), labels, both.true_types()[types_of(labels)], 0.25, "consep", "one"
    )
    found = Instances(labels, probabilities, np.ones(len(probabilities), np.float32))
    expected = evaluate(lambda image, mpp: found, [sample], taxonomy.names, compared={"consep": both})
    report = score(tmp_path / "one.parquet", truth)
    assert report.class_names == both.names
    assert json.dumps(report.to_json()["sources"]) == json.dumps(expected.to_json()["sources"])
    assert "Classes of the truth are scored so" in report.notes[0]


def test_duplicates_and_what_others_cover_are_false_finds(truth: Path, tmp_path: Path) -> None:
    image = true_images(truth)[0]
    into = ClassMap(NAMES, {})
    right = [(4 + 20 * (i % 6), 4 + 20 * (i // 6), 12, NAMES[i % 4]) for i in range(36)]
    once = score_file(open_cells(features(tmp_path / "once.geojson", *right)), image, into).scores
    assert (once.bpq, once.mpq, once.classes.right) == (pytest.approx(1), pytest.approx(1), 36)
    row = score_file(open_cells(features(tmp_path / "twice.geojson", *right, *right)), image, into)
    twice = row.scores
    assert row.n_hidden == 36
    assert (twice.n_found, twice.detection.fp, twice.most_pairs.fp) == (72, 36, 36)
    assert twice.bpq == pytest.approx(36 / (36 + 18))
    assert twice.classes.n_found.tolist() == [18] * 4
    assert [c.fp for c in twice.classes.panoptic] == [c.fp_unmatched for c in twice.classes.detection] == [9] * 4
    assert twice.classes.confusion[0].tolist() == [0, 9, 9, 9, 9]
    # A copy moved by a little counts the same.
    moved = [(x + 1, y, s, c) for x, y, s, c in right]
    near = score_file(open_cells(features(tmp_path / "near.geojson", *right, *moved)), image, into).scores
    assert (near.n_found, near.panoptic.fp) == (72, 36)


def test_cells_without_class_count_for_detection_alone(truth: Path, tmp_path: Path) -> None:
    image, into = true_images(truth)[0], ClassMap(NAMES, {})
    some = [(4 + 20 * (i % 6), 4 + 20 * (i // 6), 12, NAMES[i % 4] if i < 20 else None) for i in range(36)]
    row = score_file(open_cells(features(tmp_path / "x.geojson", *some)), image, into)
    assert row.n_without_class == 16
    assert (row.scores.bpq, row.scores.detection.f1) == (pytest.approx(1), 1)
    assert row.scores.classes.n_found.sum() == 20
    assert row.scores.classes.confusion[1:, 0].sum() == 16
    assert row.found.class_probabilities.shape == (36, 0)
    none = score_file(open_cells(features(tmp_path / "x.geojson", *[(*s[:3], None) for s in some])), image, into)
    assert not none.has_classes
    assert none.scores.bpq == pytest.approx(1)


def test_a_crop_is_scored_where_it_lies(truth: Path, tmp_path: Path) -> None:
    image, into = true_images(truth)[0], ClassMap(NAMES, {})
    slide = [(1000 + 4 + 20 * (i % 6), 500 + 4 + 20 * (i // 6), 12, "other") for i in range(36)]
    found = open_cells(features(tmp_path / "x.geojson", *slide, (3000, 20, 12, "other")))
    row = score_file(found, image, into, origin=(1000, 500))
    assert (row.scores.bpq, row.n_outside, row.n_hidden) == (pytest.approx(1), 1, 0)
    with pytest.raises(InputError, match=r"37 of 37 cells lie outside.*--origin"):
        score_file(found, image, into)
    whole = np.zeros((300, 400), np.uint16)
    whole[100:228, 200:328] = grid()
    cv2.imwrite(str(tmp_path / "x.png"), whole)
    labels = open_cells(tmp_path / "x.png")
    assert score_file(labels, image, ClassMap((), {}), origin=(200, 100)).scores.bpq == pytest.approx(1)
    with pytest.raises(InputError, match=r"x\.png' is 400 × 300 px, its truth '.*one\.npz' 128 × 128 px.*--origin"):
        score_file(labels, image, ClassMap((), {}))
    with pytest.raises(InputError, match="do not lie within 400 × 300"):
        score_file(labels, image, ClassMap((), {}), origin=(300, 0))


def test_truth_may_be_outlines_if_its_image_is_there(tmp_path: Path) -> None:
    path = features(tmp_path / "t.geojson", (4, 4, 12, "Tumour"), (30, 4, 12, "stroma"), (30, 4, 12, "stroma"))
    image = true_images(path)[0]
    into = ClassMap(class_names_of([image]), {})
    assert into.names == ("Tumour", "stroma")
    found = open_cells(features(tmp_path / "f.geojson", (4, 4, 12, "tumour"), (30, 4, 12, "Stroma")))
    with pytest.raises(InputError, match=r"does not say how large.*t\.png"):
        score_file(found, image, into, mpp=0.5)
    cv2.imwrite(str(tmp_path / "t.png"), np.zeros((40, 60, 3), np.uint8))
    image = true_images(path)[0]
    row = score_file(found, image, into, mpp=0.5)
    assert (row.scores.bpq, row.scores.mpq, row.n_true_hidden) == (pytest.approx(1), pytest.approx(1), 1)
    with pytest.raises(InputError, match="resolution is not known"):
        score_file(found, image, into)
    cv2.imwrite(str(tmp_path / "t.png"), np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(InputError, match="2 of 3 true cells lie outside"):
        score_file(found, image, into, mpp=0.5)


def test_resolutions_must_agree(truth: Path, tmp_path: Path) -> None:
    made = cells(grid(), np.eye(4, dtype=np.float32)[types_of(grid())[1:] - 1])
    object.__setattr__(made, "mpp", 0.5)
    made.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"at 0\.5 µm/px, its truth '.*' at 0\.25"):
        score_file(open_cells(tmp_path / "x.parquet"), true_images(truth)[0], ClassMap(NAMES, {}))


def test_files_go_together_by_name_and_single_files_whatever_theirs(truth: Path, tmp_path: Path) -> None:
    images = true_images(truth)
    other = features(tmp_path / "two.geojson")
    assert pair_files(other, images, truth / "one.npz") == [other]
    assert pair_files(truth, images, truth) == [truth / "one.npz"]
    folder = tmp_path / "found"
    folder.mkdir()
    features(folder / "two.geojson")
    with pytest.raises(InputError, match="no file for 1 of 1 image: one. It has two"):
        pair_files(folder, images, truth)


def test_classes_go_where_they_are_said_to(truth: Path, tmp_path: Path) -> None:
    path = features(
        tmp_path / "x.geojson", (0, 0, 5, "Tumour"), (9, 0, 5, "OTHER"), (20, 0, 5, "dead"), (30, 0, 5, None)
    )
    found = open_cells(path)
    into = ClassMap.parse("epithelial=tumour, unknown=Dead", NAMES)
    assert into.classes_of(found).tolist() == [3, 1, 0, 0]
    with pytest.raises(InputError, match="has classes Tumour; the truth has other"):
        ClassMap.parse("unknown=dead", NAMES).classes_of(found)
    for wrong in ("tumour=epithelial", "other=", "other"):
        with pytest.raises(InputError, match="needed is true=found"):
            ClassMap.parse(wrong, NAMES)
    codes = truth / "one.npz"  # without names of its own
    assert set(ClassMap.parse("a=1,a=2,b=3,b=4", ("a", "b")).classes_of(open_cells(codes)).tolist()) == {1, 2}


def test_a_probability_of_one_class_is_kept_and_the_rest_shared() -> None:
    shapes = open_cells_of([0.7, 0.2, 1, 0.9])
    found = ClassMap.parse("a=1,b=2,c=3", ("a", "b", "c"))
    got = found.probabilities(shapes, np.array([1, 2, 3, 0]))
    np.testing.assert_allclose(got, [[0.7, 0.15, 0.15], [0, 1, 0], [0, 0, 1], [0, 0, 0]], atol=1e-6)


def open_cells_of(probabilities: list[float]):  # noqa: ANN201
    from histocyte.formats.foreign.contents import CellFile
    from histocyte.formats.foreign.contours import Contours

    outline = np.array([[0, 0], [3, 0], [3, 3]], np.int32)
    count = len(probabilities)
    types = np.array([1, 2, 3, 0])
    return CellFile(Path("x"), Contours((outline,) * count), types, np.array(probabilities, np.float32), {})


def test_an_image_without_true_cells_counts_false_finds_of_classes(tmp_path: Path, truth: Path) -> None:
    np.savez(truth / "one.npz", inst=np.zeros((128, 128), np.int32), type=np.zeros(1, np.uint8))
    found = open_cells(features(tmp_path / "x.geojson", (4, 4, 12, "other")))
    row = score_file(found, true_images(truth)[0], ClassMap(NAMES, {}))
    expected = score_image(
        Labels(np.zeros((128, 128), np.int32), np.zeros(1, np.uint8)),
        Instances((grid() == 1).astype(np.int32), np.eye(4, dtype=np.float32)[:1], np.ones(1, np.float32)),
        ImageInfo("one", "consep", "one", 0.25),
        n_classes=4,
    )
    assert row.scores.classes.n_found.tolist() == expected.classes.n_found.tolist() == [1, 0, 0, 0]


def test_a_table_of_the_images_gives_tissue_and_patient(tmp_path: Path) -> None:
    truth, found = tmp_path / "truth", tmp_path / "found"
    truth.mkdir(), found.mkdir()
    names = "abcdefghij"
    for i, name in enumerate(names):
        np.savez(truth / f"{name}.npz", inst=grid())
        np.savez(found / f"{name}.npz", inst=grid(shift=i % 5))
    rest = "".join(f"{name},Skin,P{i // 2}\n" for i, name in enumerate(names[4:], 6))
    table = "name,tissue,patient\na,Colon,P1\nb,Skin,P1\nc,Skin,P2\nd.png,Skin,P2\n"
    (truth / "images.csv").write_text(table + rest)
    images = true_images(truth)
    none = ClassMap.parse(None, ())
    pairs = zip(pair_files(found, images, truth), images, strict=True)
    rows = [score_file(open_cells(path), image, none, mpp=0.25).scores for path, image in pairs]
    assert [(row.info.group, row.info.stratum) for row in rows[:4]] == [
        *[("P1", "Colon"), ("P1", "Skin"), ("P2", "Skin"), ("P2", "Skin")]
    ]
    summary = report_of(rows, ()).sources["truth"]
    assert list(summary.strata) == ["Colon", "Skin"]
    assert (summary.n_images, summary.n_groups) == (10, 5)
    patients = [np.mean([row.bpq for row in rows[i : i + 2]]) for i in range(0, 10, 2)]
    assert min(patients) < summary.scores["bpq"].low < summary.scores["bpq"].high < max(patients)
    assert np.isnan(report_of(rows[:8], ()).sources["truth"].scores["bpq"].low)  # four patients


def test_one_file_of_true_cells_is_looked_up_in_the_table_beside_it(truth: Path) -> None:
    (truth / "images.csv").write_text("name,tissue,case\none,Colon,C7\nother,Skin,C8\n")
    (image,) = true_images(truth / "one.npz")
    assert (image.info(None).group, image.info(None).stratum) == ("C7", "Colon")


def test_a_single_file_of_no_known_set_is_a_set_of_its_own(tmp_path: Path) -> None:
    np.savez(tmp_path / "Block 7.npz", inst=grid())
    (alone,) = true_images(tmp_path / "Block 7.npz")
    (of_folder,) = true_images(tmp_path)
    assert alone.info(0.25).source == "Block 7"
    assert of_folder.info(0.25).source == tmp_path.name
