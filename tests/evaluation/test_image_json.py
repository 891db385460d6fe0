"""A report that is written and read back says the same; broken ones are refused in one line."""

import json

import numpy as np
import orjson
import pytest

from histocyte.core.errors import InputError
from histocyte.core.instances import Instances, Labels
from histocyte.evaluation.image_json import _whole, read_report
from histocyte.evaluation.image_scores import ImageInfo, score_image
from histocyte.evaluation.protocol import report_of
from histocyte.evaluation.summary import summarise

NAMES = ("epithelial", "inflammatory")


def random_rows(n=6, *, seed=0, typed=True):
    """Images of squares on a lattice, found with some lost, moved and miscalled."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        truth, found = np.zeros((2, 48, 48), np.int32)
        types, probabilities = [0], []
        for r, c in np.ndindex(4, 4):
            if rng.random() < 0.2:
                continue
            truth[r * 12 + 2 : r * 12 + 9, c * 12 + 2 : c * 12 + 9] = len(types)
            types.append(int(rng.integers(0, 3)))
            if rng.random() < 0.8:
                top, left = r * 12 + 2 + int(rng.integers(0, 3)), c * 12 + 2 + int(rng.integers(0, 3))
                probabilities.append(rng.dirichlet([1, 1]))
                found[top : top + 7, left : left + 7] = len(probabilities)
        labels = Labels(truth, np.array(types, np.uint8) if typed else None)
        p = np.array(probabilities, np.float32).reshape(-1, 2)
        info = ImageInfo(f"i{k}", "set", "ab"[k % 2] if k % 3 else "", 0.25, ("liver", "skin")[k % 2])
        rows.append(score_image(labels, Instances(found, p, np.ones(len(p), np.float32)), info, n_classes=2))
    return rows


@pytest.fixture
def stored(tmp_path):
    """A report on disk and the object it was parsed from."""
    path = tmp_path / "a.json"
    data = {"model": "m", **report_of(random_rows(), NAMES, replicates=20).to_json()}
    path.write_bytes(orjson.dumps(data))
    return path, json.loads(path.read_text())


@pytest.mark.parametrize("typed", [True, False])
def test_what_was_written_gives_the_same_summary(tmp_path, typed):
    rows = random_rows(typed=typed)
    report = report_of(rows, NAMES, replicates=50)
    for text in (orjson.dumps(report.to_json()), json.dumps(report.to_json(), allow_nan=False).encode()):
        (tmp_path / "a.json").write_bytes(text)
        back = read_report(tmp_path / "a.json")
        again = report_of(back.images, back.class_names, replicates=50)
        assert back.title == "a"
        assert again.to_json() == report.to_json()
        assert repr(summarise(back.images, NAMES).scores) == repr(summarise(rows, NAMES).scores)  # NaN is not itself


def change(data, path, value):
    *front, last = path
    for key in front:
        data = data[key]
    if value is KeyError:
        del data[last]
    else:
        data[last] = value


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["format"], "other", "not a report of an evaluation"),
        (["images"], [], "no images"),
        (["images"], 3, "'images' is not a list"),
        (["images", 0], 3, "an image is not an object"),
        (["images", 1, "name"], "i0", "it lists an image twice"),
        (["images", 0, "name"], 7, "'name' is no text"),
        (["images", 0, "tp"], -1, "image 'i0': 'tp' is not a count: -1"),
        (["images", 0, "tp"], True, "'tp' is not a count"),
        (["images", 0, "tp"], 1e300, "'tp' is not a count"),
        (["images", 0, "fn"], 500, "do not add up to its true nuclei"),
        (["images", 0, "fp"], 500, "do not add up to its found nuclei"),
        (["images", 0, "iou_sum"], 1e6, "'iou_sum' is above"),
        (["images", 0, "aji"], 1.5, "'aji' is 1.5"),
        (["images", 0, "mpp"], 0, "'mpp' is 0"),
        (["images", 0, "detected_most_pairs"], KeyError, "'detected_most_pairs' is missing"),
        (["images", 0, "detected_most_pairs"], 99, "above the number of nuclei"),
        (["images", 0, "classes"], [], "it has 0 classes, the report 2"),
        (["images", 0, "classes", 0, "detection"], KeyError, "'detection' is missing"),
        (["images", 0, "confusion"], [[0]], "'confusion' does not fit"),
        (["images", 0, "class_right"], 999, "right class than were detected"),
        (["images", 0, "calibration", "bins", 0], [120, 1, 1, 1], "a bin 120"),
        (["images", 0, "calibration", "bins", 0], [0, 1, 1, 5], "more right nuclei"),
        (["images", 0, "calibration", "squared_error"], [1], "'squared_error' does not fit"),
        (["class_names"], ["a", "a"], "named twice"),
        (["settings", "detection_mode"], "magic", "'detection_mode' is 'magic'"),
    ],
)
def test_broken_reports_are_refused_in_one_line(stored, path, value, says):
    file, data = stored
    change(data, path, value)
    file.write_text(json.dumps(data))
    with pytest.raises(InputError) as error:
        read_report(file)
    assert says in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b'{"format": NaN}'])
def test_what_is_no_report_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(InputError, match="valid JSON|not a report"):
        read_report(tmp_path / "a.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_report(tmp_path / "gone.json")


def test_what_is_no_count_is_quoted_on_one_line() -> None:
    with pytest.raises(InputError, match=r"'confusion' is not a count: a\\nb$"):
        _whole("a\nb", "confusion")
