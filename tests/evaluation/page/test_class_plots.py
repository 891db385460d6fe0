import numpy as np
import pytest

from histocyte.core.instances import Instances, Labels
from histocyte.evaluation.image_scores import ImageInfo, score_image
from histocyte.evaluation.page.class_plots import plot_confusion, plot_reliability
from histocyte.evaluation.summary import summarise

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def summary():
    """Six images of two nuclei each: one right and sure, one of the other class and less so; one false find."""
    truth = np.zeros((48, 48), np.int32)
    truth[2:10, 2:10], truth[14:22, 14:22], truth[38:46, 2:10] = 1, 2, 3
    predicted = np.where(truth == 3, 0, truth).astype(np.int32)
    predicted[38:46, 38:46] = 3
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]], np.float32)
    rows = [
        score_image(
            Labels(truth, np.array([0, 1, 2, 2], np.uint8)),
            Instances(predicted, p, np.ones(3, np.float32)),
            ImageInfo(name, "s", "", 0.25),
            n_classes=2,
        )
        for name in "abcdef"
    ]
    return summarise(rows, ("k", "l"), replicates=20)


def test_the_confusion_has_the_missed_and_the_false_at_its_end(summary):
    plot = plot_confusion(summary.confusion, ("k", "l"), 6)
    assert "k: 6 k, 0 l, 0 missed; l: 6 k, 0 l, 6 missed; no nucleus: 0 k, 6 l, 0 missed." in plot.alt
    assert "n = 6 images" in plot.caption
    assert plot.svg.startswith(b"<?xml")


def test_the_reliability_curve_says_what_was_stated_and_what_was_right(summary):
    plot = plot_reliability(summary.calibration, 6)
    assert "stated 0.70, right 0.00 (0.00 to 0.00), n = 6; stated 0.90, right 1.00 (1.00 to 1.00), n = 6." in plot.alt
    assert "15 bins" in plot.caption


def test_there_is_no_plot_without_classes():
    assert plot_confusion(None, (), 1) is None
    assert plot_reliability(None, 1) is None
