import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.core.instances import Instances, Labels
from histocyte.datasets.sample import Sample
from histocyte.evaluation.image_scores import ImageInfo, score_image
from histocyte.evaluation.page.gallery import WINDOW_UM, Gallery
from histocyte.evaluation.page.mistakes import Mistake
from histocyte.evaluation.protocol import evaluate

MPP = WINDOW_UM / 32  # a tile is 32 px wide


def grid(*cells, size=96):
    """Label map with an 4 px box at each (row, column) of an 8 px grid."""
    labels = np.zeros((size, size), np.int32)
    for i, (row, column) in enumerate(cells):
        labels[8 * row + 2 : 8 * row + 6, 8 * column + 2 : 8 * column + 6] = i + 1
    return labels


def found(labels):
    n = int(labels.max())
    return Instances(labels, np.tile(np.float32([0.2, 0.8]), (n, 1)), np.ones(n, np.float32))


def add(gallery, true, predicted, *, name="a", source="s", types=None, image=None):
    truth, result = Labels(true, types), found(predicted)
    scores = score_image(truth, result, ImageInfo(name, source, "", MPP), n_classes=2)
    gallery.add(image, truth, result, scores)


def missed(n):
    """An image of which n nuclei were missed."""
    return {"true": grid(*[(i // 4, i % 4) for i in range(n)]), "predicted": grid()}


def test_the_window_with_most_mistakes_is_cut_from_all_maps():
    image = np.arange(96 * 96 * 3, dtype=np.uint32).astype(np.uint8).reshape(96, 96, 3)
    right, wrong = (1, 1), [(9, 9), (9, 10), (10, 9), (11, 11)]
    gallery = Gallery()
    add(gallery, grid((0, 8), right, *wrong), grid(right, (10, 10)), image=image)
    (tile,) = gallery.tiles()
    assert (tile.x, tile.y) == (64, 64)
    assert tile.counts == {Mistake.MISSED: 4, Mistake.FALSE: 1}
    assert (tile.n_mistakes, tile.n_truth) == (5, 4)
    np.testing.assert_array_equal(tile.image, image[64:, 64:])
    assert not np.shares_memory(tile.image, image)
    assert tile.truth.labels.shape == (32, 32)
    assert tile.truth.mistakes.tolist() == [0] + [Mistake.MISSED] * 4
    assert tile.found.mistakes.tolist() == [0, Mistake.FALSE]


def test_classes_follow_their_nuclei_into_the_tile():
    gallery = Gallery()
    add(
        gallery,
        grid((0, 0), (9, 9), (10, 10), (11, 11)),
        grid((9, 9)),
        types=np.array([0, 1, 2, 0, 1], np.uint8),
    )
    (tile,) = gallery.tiles()
    assert tile.truth.types.tolist() == [0, 2, 0, 1]
    assert tile.found.types.tolist() == [0, 2]


def test_an_image_smaller_than_a_tile_is_shown_whole():
    gallery = Gallery()
    add(gallery, grid((0, 0), size=16), grid(size=16))
    (tile,) = gallery.tiles()
    assert (tile.x, tile.y, tile.truth.labels.shape) == (0, 0, (16, 16))


def test_the_worst_are_kept_in_order_and_what_is_right_is_not():
    gallery = Gallery(worst=2)
    for n in (1, 3, 0, 2, 3):
        add(gallery, **missed(n), name=f"{n} missed")
    assert [tile.info.name for tile in gallery.tiles()] == ["3 missed", "3 missed"]
    assert Gallery().tiles() == []


def test_each_data_set_has_its_share_and_the_rest_of_a_short_one():
    gallery = Gallery(worst=5)
    for source, counts in {"a": (1, 2, 3, 4, 5), "b": (1,), "c": (1, 2, 3)}.items():
        for n in counts:
            add(gallery, **missed(n), source=source, name=str(n))
    shown = [(tile.info.source, tile.info.name) for tile in gallery.tiles()]
    assert shown == [("a", "5"), ("a", "4"), ("b", "1"), ("c", "3"), ("c", "2")]


def test_no_place_at_all_is_refused():
    with pytest.raises(InputError, match="at least 1"):
        Gallery(worst=0)


def test_an_evaluation_feeds_the_gallery_with_its_own_images():
    def sample(name, labels, separable=True):
        image = np.full((96, 96, 3), len(np.unique(labels)), np.uint8)
        return Sample(name, image, labels, None, MPP, "s", "", separable)

    gallery = Gallery()
    samples = [
        sample("good", grid((0, 0))),
        sample("skipped", grid((0, 0), (5, 5)), separable=False),
        sample("bad", grid((0, 0), (1, 1), (1, 2))),
    ]

    def see(sample, instances, scores):
        gallery.add(sample.image, sample.labels, instances, scores)

    report = evaluate(lambda image, mpp: found(grid((0, 0))), samples, ("k", "l"), replicates=5, on_found=see)
    assert [row.info.name for row in report.images] == ["good", "bad"]
    (tile,) = gallery.tiles()
    assert tile.info.name == "bad"
    assert (tile.image == 4).all()
    assert tile.counts == {Mistake.MISSED: 2}
