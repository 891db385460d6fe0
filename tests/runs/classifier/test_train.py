"""From labelled cells to a scored classifier: who is matched with whom, what is drawn, and exact scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.instances import Instances
from histocyte.datasets.sample import Sample
from histocyte.runs.classifier.cells import LabelledCells, collect_cells
from histocyte.runs.classifier.scores import score_classifier, weighted_class_f1
from histocyte.runs.classifier.train import (
    MOST_FREQUENT,
    OWN,
    images_to_stop_by,
    train_classifier,
)


def squares(places: Sequence[tuple[int, int]]) -> NDArray[np.int32]:
    labels = np.zeros((100, 100), np.int32)
    for number, (row, column) in enumerate(places, 1):
        labels[row : row + 6, column : column + 6] = number
    return labels


def sample(name: str = "a", group: str = "g", *, types: Sequence[int] = (0, 1, 2, 0, 1)) -> Sample:
    image = np.random.default_rng(0).integers(0, 255, (100, 100, 3)).astype(np.uint8)
    labels = squares([(10, 10), (30, 30), (50, 50), (80, 80)])
    return Sample(name, image, labels, np.array(types, np.uint8), 0.25, "mine", group)


def detect(image: NDArray[np.uint8], mpp: float) -> tuple[Instances, NDArray[np.float32]]:
    # The first near, the second nearest of two, the third of unknown class, the fourth not found, one on nothing.
    labels = squares([(70, 20), (33, 33), (31, 30), (10, 13), (50, 50)])
    probabilities = np.eye(3, dtype=np.float32)[[0, 0, 1, 2, 2]]
    return Instances(labels, probabilities, np.ones(5, np.float32)), np.arange(10, dtype=np.float32).reshape(5, 2)


def test_detections_get_the_class_of_the_cell_they_lie_on_one_to_one() -> None:
    cells = collect_cells(detect, [sample()])
    assert cells.types.tolist() == [0, 1]
    assert cells.vectors.tolist() == [[6, 7], [4, 5]]
    assert cells.own.argmax(axis=1).tolist() == [2, 1]
    assert cells.labelled.tolist() == [3]
    assert cells.groups == ("mine/g",)


def test_three_micrometres_are_as_many_pixels_as_the_image_has() -> None:
    coarse = replace(sample(), mpp=1.0)  # 3 px: the nearest found cells are 3 px and 1 px off
    assert collect_cells(detect, [coarse]).types.tolist() == [0, 1]
    assert collect_cells(detect, [replace(coarse, mpp=1.1)]).types.tolist() == [1]


def test_cells_that_were_found_are_kept_in_the_folder(tmp_path: Path) -> None:
    calls: list[float] = []

    def counted(image: NDArray[np.uint8], mpp: float) -> tuple[Instances, NDArray[np.float32]]:
        calls.append(mpp)
        return detect(image, mpp)

    samples = [sample("a"), sample("b"), sample("c", types=(0, 2, 2, 0, 1))]
    first = collect_cells(counted, samples, folder=tmp_path)
    (tmp_path / sorted(p.name for p in tmp_path.iterdir())[0]).write_bytes(b"cut off")
    second = collect_cells(counted, samples, folder=tmp_path)
    assert len(calls) == 4
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert second.image.tolist() == [0, 0, 1, 1, 2, 2]
    assert second.types.tolist() == [0, 1, 0, 1, 1, 1]


def table(images: int = 6, each: int = 80, *, seed: int = 0, classes: int = 3) -> LabelledCells:
    rng = np.random.default_rng(seed)
    types = rng.integers(0, classes, images * each)
    vectors = rng.normal(size=(len(types), 8))
    vectors[:, :3] += 2.5 * np.eye(3)[types]
    own = rng.dirichlet(np.ones(3), len(types))
    return LabelledCells(
        vectors.astype(np.float32),
        types,
        own.astype(np.float32),
        np.repeat(np.arange(images), each),
        np.full(images, each + 3),
        tuple(f"mine/{i // 2}" for i in range(images)),
    )


def test_scores_are_those_of_the_resampled_cells() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    cells = table(4, 30)
    told = np.where(np.random.default_rng(1).random(120) < 0.6, cells.types, 0)
    confusions = np.zeros((4, 3, 3))
    np.add.at(confusions, (cells.image, cells.types, told), 1)
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 1], [0, 3, 0, 1]], float)
    values = weighted_class_f1(confusions, np.arange(3))(weights)
    for row, w in enumerate(weights):
        drawn = np.repeat(np.arange(120), w[cells.image].astype(int))
        each = sklearn.f1_score(cells.types[drawn], told[drawn], average=None)
        np.testing.assert_allclose(values[row], [*each, each.mean()])


def test_a_class_that_no_held_out_cell_has_is_not_scored() -> None:
    cells = table(classes=2)
    p = np.random.default_rng(1).dirichlet(np.ones(3), len(cells))
    scores = score_classifier(cells, {"classifier": p}, ("a", "b", "c"), replicates=50)
    (variant,) = scores.variants
    assert np.isnan(variant.f1[2].value)
    assert np.isnan(variant.auroc[2].value)
    assert variant.macro_f1.value == pytest.approx(np.mean([e.value for e in variant.f1[:2]]))
    assert abs(variant.macro_auroc.value - 0.5) < 0.06
    assert (scores.n_images, scores.n_groups, scores.n_cells[2], scores.n_labelled) == (6, 3, 0, 6 * 83)
    assert scores.confusion.sum() == len(cells)
    heads, rows = scores.table()
    assert {len(row) for row in rows} == {len(heads)}
    assert rows[5][1] == "–"
    assert scores.to_json()["variants"][0]["f1"]["c"]["value"] is None


@pytest.fixture(scope="module")
def options() -> object:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from histocyte.training.classifier import HeadOptions

    return HeadOptions(epochs=10, learning_rate=0.01)  # eight numbers a cell need larger steps than hundreds


def test_a_classifier_is_learnt_and_set_beside_the_model_and_the_most_frequent_class(options: object) -> None:
    stopping = np.arange(6) >= 4
    epochs: list[int] = []
    trained = train_classifier(
        *(table(), stopping, table(seed=1)),
        "abc",
        options=options,  # type: ignore[arg-type]
        own_names="abc",
        replicates=20,
        on_epoch=epochs.append,
    )
    ours, own, frequent = trained.scores.variants
    assert [v.name for v in trained.scores.variants] == ["classifier", OWN, MOST_FREQUENT]
    assert ours.accuracy.value > 0.85
    assert own.macro_auroc.value < 0.6
    assert frequent.macro_auroc.value == 0.5
    assert sum(e.value > 0 for e in frequent.f1) == 1
    assert sum(trained.facts["cells_fitted"].values()) == 320
    assert trained.facts["cells_to_stop_by"] == 160
    assert epochs == list(range(1, trained.facts["epochs"] + 1))
    other = train_classifier(
        *(table(), stopping, table(seed=1)),
        "abc",
        options=options,  # type: ignore[arg-type]
        own_names="abx",
        replicates=20,
    )
    assert [v.name for v in other.scores.variants] == ["classifier", MOST_FREQUENT]


def test_a_few_cells_are_drawn_of_all(options: object) -> None:
    trained = train_classifier(
        *(table(), np.arange(6) >= 4, table(seed=1)),
        "abc",
        options=options,  # type: ignore[arg-type]
        cells=100,
        replicates=20,
    )
    assert sum(trained.facts["cells_fitted"].values()) + trained.facts["cells_to_stop_by"] == 100
    assert trained.facts["cells_drawn_of"] == 480
    assert trained.facts["images"] == 6


def test_what_cannot_be_learnt_or_scored_is_refused(options: object) -> None:
    stopping = np.zeros(6, np.bool_)
    one = table()
    one = one.take(one.types == 1)
    with pytest.raises(InputError, match="of b; two classes are needed"):
        train_classifier(one, stopping, table(seed=1), "abc", options=options)  # type: ignore[arg-type]
    nothing = table().take(np.zeros(480, np.bool_))
    with pytest.raises(InputError, match="nothing to score"):
        train_classifier(table(), stopping, nothing, "abc", options=options)  # type: ignore[arg-type]


def test_images_to_stop_by_are_whole_groups_and_none_of_a_single_one() -> None:
    samples = [sample(f"i{i}", f"g{i // 2}") for i in range(10)]
    chosen = images_to_stop_by(samples)
    assert chosen.sum() == 2
    assert len({s.group for s, c in zip(samples, chosen, strict=True) if c}) == 1
    assert not images_to_stop_by(samples[:2]).any()
