import math
import re

import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.core.instances import Instances, Labels
from histocyte.evaluation.image_scores import ImageInfo, score_image
from histocyte.evaluation.page.gallery import Gallery
from histocyte.evaluation.page.html import write_html
from histocyte.evaluation.protocol import report_of
from histocyte.pages.drawing import draw, draw_intervals
from histocyte.statistics.bootstrap import Estimate

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")


def row(name, source, *, classes, nuclei=True, tissue="", group=""):
    labels = np.zeros((32, 32), np.int32)
    if nuclei:
        labels[2:10, 2:10], labels[14:22, 14:22] = 1, 2
    n = 2 * nuclei
    found = Instances(labels, np.eye(2, dtype=np.float32)[:n], np.ones(n, np.float32))
    truth = Labels(labels, np.array([0, 1, 1][: n + 1], np.uint8) if classes else None)
    return score_image(truth, found, ImageInfo(name, source, group, 0.25, tissue), n_classes=2)


def test_the_page_is_whole_escaped_and_has_class_parts_where_there_are_classes(tmp_path):
    rows = [
        row("a", "typed", classes=True),
        row("b", "<b>$x", classes=False),
        row("c", "e", classes=False, nuclei=False),
    ]
    path = tmp_path / "r.html"
    write_html(
        report_of(rows, ("<i>", "k$"), replicates=20), path, title="<script>", facts={"Model": "<u>\x1b[31m \udce9"}
    )
    page = path.read_text(encoding="utf-8")
    assert not re.search(r"<script|<b>|<i>|<u>", page)
    assert "&lt;script&gt;" in page
    assert r"\x1b[31m \udce9" in page  # no file holds the one, and no browser shows the other
    assert all(uri.startswith("data:") for uri in re.findall(r'(?:src|href)="([^"]*)', page))
    assert all(re.findall(r'alt="([^"]*)', page))
    typed, untyped = page.split("<h2>")[-3:-1]
    assert "Nuclei by true class" in typed
    assert all(f"<th>{title}</th>" in typed for title in ("DQ, pooled", "SQ, pooled", "Precision", "Recall"))
    assert "Nuclei by true class" not in untyped
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="folder"):
        write_html(report_of([row("a", "s", classes=False)], ("a", "b"), replicates=5), tmp_path, title="x")


def test_worst_tiles_stand_on_the_page_with_legend_and_measure(tmp_path):
    labels = np.zeros((32, 32), np.int32)
    labels[2:10, 2:10], labels[14:22, 14:22] = 1, 2
    truth = Labels(labels, np.array([0, 1, 2], np.uint8))
    found = Instances(np.where(labels == 1, 1, 0).astype(np.int32), np.float32([[0.1, 0.9]]), np.ones(1, np.float32))
    scores = score_image(truth, found, ImageInfo("<img>", "<s>", "", 0.25), n_classes=2)
    gallery = Gallery()
    gallery.add(np.full((32, 32, 3), 200, np.uint8), truth, found, scores)
    path = tmp_path / "r.html"
    write_html(report_of([scores], ("<k>", "l"), replicates=5), path, title="x", gallery=gallery)
    page = path.read_text(encoding="utf-8")
    part = page[page.index("Worst tiles") :]
    assert "window of 64 µm with most mistakes" in part
    assert part.count('role="img"') == 4
    assert part.count("data:image/webp") == 1
    assert re.findall(r"<text[^>]*>(\w)</text>", part) == ["M", "C"]
    assert "&lt;img&gt;, from x 0, y 0 px: 2 mistakes" in part
    assert not re.search(r"<img>|<s>|<k>", part)
    targets = re.findall(r'href="#([^"]*)', part)
    assert targets == ["tile-1-1"] * 3
    assert part.count('id="tile-1-1"') == 1


def test_a_gallery_without_mistakes_says_so(tmp_path):
    path = tmp_path / "r.html"
    report = report_of([row("a", "s", classes=False)], ("a", "b"), replicates=5)
    write_html(report, path, title="x", gallery=Gallery())
    assert "Not one mistake" in path.read_text(encoding="utf-8")


def test_tissues_and_patients_are_told_where_they_are_known(tmp_path):
    rows = [row(name, "known", classes=True, tissue=t, group=g) for name, t, g in ("aSP", "bSP", "cLQ")]
    rows += [row(name, "unknown", classes=False, group=name) for name in "ab"]
    path = tmp_path / "r.html"
    write_html(report_of(rows, ("k", "l"), replicates=5), path, title="x")
    page = path.read_text(encoding="utf-8")
    assert "within each tissue" in page
    assert "S, n = 2 images: bPQ 1.00" in page
    assert "L, n = 1 image: bPQ 1.00" in page
    cells = {
        name: re.findall(r"<td>([^<]*)</td>", page[page.index(f">{name}</th>") :])[:2] for name in ("known", "unknown")
    }
    assert cells == {"known": ["3", "2"], "unknown": ["2", "–"]}
    assert "each image is drawn by itself" in page


def test_plots_of_many_classes_have_the_width_of_the_page(tmp_path):
    side, k = 64, 9
    labels = np.zeros((side, side), np.int32)
    for i in range(k):
        labels[2 + 20 * (i // 3) : 12 + 20 * (i // 3), 2 + 20 * (i % 3) : 12 + 20 * (i % 3)] = i + 1
    found = Instances(labels, np.eye(k, dtype=np.float32), np.ones(k, np.float32))
    truth = Labels(labels, np.arange(k + 1).astype(np.uint8))
    rows = [score_image(truth, found, ImageInfo(name, "s", "", 0.25), n_classes=k) for name in "ab"]
    path = tmp_path / "r.html"
    write_html(report_of(rows, [f"c{i}" for i in range(k)], replicates=5), path, title="x")
    page = path.read_text(encoding="utf-8")
    assert len(re.findall(r'class="broad"><div class="wide"><img', page)) == 2  # confusion and counts


def test_every_image_has_its_line_the_worst_first(tmp_path):
    rows = [row("good <b>", "s", classes=True, group="P1"), row("none", "s", classes=True, nuclei=False)]
    poor = Instances(np.zeros((32, 32), np.int32), np.zeros((0, 2), np.float32), np.zeros(0, np.float32))
    labels = np.zeros((32, 32), np.int32)
    labels[2:10, 2:10] = 1
    rows.append(score_image(Labels(labels, np.array([0, 1])), poor, ImageInfo("bad", "s", "", 0.25), n_classes=2))
    path = tmp_path / "r.html"
    write_html(report_of(rows, ("a", "b"), replicates=5), path, title="x")
    part = path.read_text(encoding="utf-8").split("Image by image")[1]
    heads = re.findall(r"<th>([^<]*)</th>", part)
    assert heads == ["image", "patient or slide", "true", "found", "bPQ", "AJI", "Dice", "mPQ", "detection F1"]
    assert re.findall(
        r'class="name">([^<]*)</th><td>([^<]*)</td><td>([^<]*)</td><td>([^<]*)</td><td>([^<]*)', part
    ) == [
        ("bad", "–", "1", "0", "0.000"),
        ("good &lt;b&gt;", "P1", "2", "2", "1.000"),
        ("none", "–", "0", "0", "–"),
    ]


def test_tiles_can_be_zoomed_without_a_script_and_say_when_there_is_no_picture(tmp_path):
    labels = np.zeros((32, 32), np.int32)
    labels[2:10, 2:10] = 1
    nothing = Instances(np.zeros((32, 32), np.int32), np.zeros((0, 2), np.float32), np.zeros(0, np.float32))
    truth, gallery, rows = Labels(labels, np.array([0, 1])), Gallery(), []
    for name, picture in (("seen", np.zeros((32, 32, 3), np.uint8)), ("bare", None)):
        rows.append(score_image(truth, nothing, ImageInfo(name, "s", "", 0.25), n_classes=2))
        gallery.add(picture, truth, nothing, rows[-1])
    path = tmp_path / "r.html"
    write_html(report_of(rows, ("a", "b"), replicates=5), path, title="x", gallery=gallery)
    page = path.read_text(encoding="utf-8")
    assert len(re.findall(r'<label><input type="checkbox" aria-label="Zoom: [a-z]+"><svg ', page)) == 8
    assert "input:checked + svg { position: fixed;" in page
    assert "<script" not in page
    assert "There was no picture beside the true cells of &#39;bare&#39;: outlines stand on grey." in page


def test_a_caption_speaks_of_intervals_only_where_there_are_some(tmp_path):
    few, many = (
        report_of([row(str(i), "s", classes=True) for i in range(n)], ("a", "b"), replicates=5) for n in (2, 6)
    )
    captions = []
    for report in (few, many):
        write_html(report, tmp_path / "r.html", title="x")
        page = (tmp_path / "r.html").read_text(encoding="utf-8")
        captions.append(" ".join(re.findall(r"<figcaption>(.*?)</figcaption>", page)))
    assert "Panoptic quality of each data set, mean over images." in captions[0]
    assert "Panoptic quality of each data set, mean over images, with 95 % interval." in captions[1]
    assert "their 95 % interval" not in captions[0]
    assert "their 95 % interval" in captions[1]


def test_a_series_without_values_is_not_in_the_legend():
    known, none = Estimate(0.5, 0.4, 0.6, 9), Estimate(math.nan, math.nan, math.nan, 0)
    for series, shown in (([known], True), ([none], False)):

        def paint(figure, series=series):
            draw_intervals(figure.subplots(), ["x"], [("PQ", [known]), ("F1", [known]), ("mine", series)], xlabel="")

        svg = draw(paint, size_in=(3, 2), alt="", caption="").svg.decode()
        assert ("<!-- mine -->" in svg) is shown
        assert "<!-- F1 -->" in svg
