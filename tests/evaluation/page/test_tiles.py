import base64
import re

import cv2
import numpy as np
import pytest

from histocyte.evaluation.image_scores import ImageInfo
from histocyte.evaluation.page.gallery import Side, Tile
from histocyte.evaluation.page.mistakes import Mistake
from histocyte.evaluation.page.tiles import class_legend, mistake_legend, picture_of

NAMES = tuple("abcdefgh")


def tile(*, types=(0, 1, 7), image=None):
    labels = np.zeros((20, 30), np.int32)
    labels[2:8, 3:9], labels[10:14, 12:22] = 1, 2
    truth = Side(labels, None if types is None else np.array(types), np.array([0, 0, Mistake.MISSED], np.int8))
    found = Side(np.where(labels == 1, 1, 0).astype(np.int32), None, np.array([0, Mistake.POOR_OUTLINE], np.int8))
    counts = {Mistake.MISSED: 1, Mistake.POOR_OUTLINE: 1}
    return Tile(ImageInfo("one", "set", "", 0.25), 5, 6, image, truth, found, 2, counts)


def area(path):
    """Pixels within a closed path of steps across and down."""
    x, y = (int(v) for v in re.match(r"M(\d+) (\d+)", path).groups())
    points = [(x, y)]
    for way, step in re.findall(r"([hv])(-?\d+)", path):
        x, y = (x + int(step), y) if way == "h" else (x, y + int(step))
        points.append((x, y))
    xs, ys = np.array(points).T
    return abs(np.dot(xs, np.roll(ys, 1)) - np.dot(ys, np.roll(xs, 1))) / 2


def test_outlines_go_around_the_pixels_and_are_grouped_by_class():
    panels = picture_of(tile(), NAMES).panels
    assert [p.title for p in panels] == ["image", "truth", "found", "mistakes"]
    truth = panels[1].layers
    assert [layer.title for layer in truth] == ["a", "g"]
    assert [area(layer.path) for layer in truth] == [36, 40]
    assert truth[0].path.startswith("M3 2h6v6h-6")
    assert [layer.title for layer in panels[2].layers] == ["nucleus"]
    # The seventh class has the first one's colour, and another dash.
    assert truth[0].colour == truth[1].colour
    assert truth[0].dash != truth[1].dash


def test_mistakes_have_a_letter_in_their_middle_and_a_look_of_their_own():
    *_, mistakes = picture_of(tile(), NAMES).panels
    assert [(m.text, m.x, m.y) for m in mistakes.letters] == [("M", 17, 12), ("O", 6, 5)]
    assert "1 missed, 1 poorly outlined" in mistakes.alt
    legend = mistake_legend()
    assert len(legend) == len(Mistake) - 1
    for key in ("letter", "colour"):
        assert len({entry[key] for entry in legend}) == len(legend)


def test_the_caption_says_where_and_what():
    assert picture_of(tile(), NAMES).caption == (
        "one, from x 5, y 6 px: 2 mistakes around 2 true nuclei: 1 missed, 1 poorly outlined."
    )


def test_the_legend_names_the_classes_there_are():
    assert [entry["text"] for entry in class_legend([tile()], NAMES)] == ["a", "g", "class not known"]
    assert class_legend([tile(types=None)], NAMES) == []


@pytest.mark.parametrize(("height", "width"), [(20, 30), (400, 1280)])
def test_the_image_is_embedded_in_its_colours_and_not_larger_than_shown(height, width):
    image = np.full((height, width, 3), (220, 30, 60), np.uint8)
    uri = picture_of(tile(image=image), NAMES).uri
    kind, data = uri.split(",")
    assert kind == "data:image/webp;base64"
    back = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert max(back.shape) == min(max(height, width), 640)
    np.testing.assert_allclose(back.reshape(-1, 3).mean(axis=0), (220, 30, 60), atol=6)


def test_without_an_image_there_is_none():
    assert picture_of(tile(), NAMES).uri == ""


def test_no_class_looks_like_a_mistake():
    classes = class_legend([tile(types=(0, 1, 2)), tile(types=(0, 3, 4)), tile(types=(0, 5, 0))], NAMES)
    assert len(classes) == 6
    assert not {entry["colour"] for entry in classes} & {entry["colour"] for entry in mistake_legend()}
