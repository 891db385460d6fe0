"""Has this model seen this image?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np
import pytest

from histocyte.core.errors import InputError, ModelError
from histocyte.datasets.sample import Sample
from histocyte.model.history import History, Known
from histocyte.model.learnt_set import LearntSet, Standing
from histocyte.model.spec import ModelSpec
from histocyte.recipes.hover_unet import hover_unet

LEARNT, HELD_OUT, LEFT_OUT, NEW = Standing.LEARNT, Standing.HELD_OUT, Standing.LEFT_OUT, Standing.NEW


def sample(name: str, seed: int, source: str = "mine", group: str = "") -> Sample:
    """An image of smooth noise, a new one for each seed."""
    small = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), np.uint8)
    image = np.asarray(cv2.resize(small, (192, 192), interpolation=cv2.INTER_CUBIC), np.uint8)
    labels = np.zeros((192, 192), np.int32)
    labels[0, :2] = 1, 2
    return Sample(name, image, labels, None, 0.25, source, group or name)


def copy(original: Sample, name: str, source: str = "renamed") -> Sample:
    """Mirrored, as JPEG, under another name in another folder."""
    _, content = cv2.imencode(".jpg", original.image[:, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    image = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)
    return replace(original, name=name, source=source, group=name, image=image)


def standings(history: History, *samples: Sample) -> list[Standing]:
    return [known.standing for known in history.know(samples)]


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [sample(f"i{n}", n) for n in range(8)]


@pytest.fixture(scope="module")
def history(samples: list[Sample]) -> History:
    """Learnt from 0 to 3, chosen by 4, 5 left out; 6 and 7 are new."""
    made = History.of(samples[:4], samples[4:5], samples[5:6])
    spec = hover_unet().with_changes(history=made)
    return ModelSpec.parse(spec.model_dump_json(), where="a file").history


def test_a_renamed_mirrored_and_compressed_copy_is_what_its_original_is(
    samples: list[Sample], history: History
) -> None:
    expected = [LEARNT] * 4 + [HELD_OUT, LEFT_OUT, NEW, NEW]
    assert standings(history, *samples) == expected
    copies = [copy(s, f"tile{n}") for n, s in enumerate(samples)]
    assert standings(history, *copies) == expected
    assert history.know(copies[:1]) == [Known(LEARNT, "content")]
    assert [s.name for s in history.unseen(copies)] == ["tile4", "tile5", "tile6", "tile7"]
    assert [s.name for s in history.unseen(copies, test=True)] == ["tile5", "tile6", "tile7"]


def test_a_folder_that_shows_what_was_learnt_from_is_doubted(samples: list[Sample], history: History) -> None:
    ours = [copy(s, s.name, "ours") for s in (*samples[:2], *samples[6:])]
    (doubt,) = history.parts_may_be_missed(ours, history.know(ours))
    assert doubt.startswith("Of the 4 images of ours, 2 show what was learnt from.")
    assert "the 2 that are taken for new" in doubt
    for sure in (ours[:2], ours[2:], samples):
        assert history.parts_may_be_missed(sure, history.know(sure)) == []


def test_sets_are_described_with_their_licence(samples: list[Sample]) -> None:
    history = History.of([samples[0], sample("a", 20, "tnbc")], [samples[1]])
    assert [(e.name, e.licence, e.images, e.nuclei) for e in history.sets] == [
        ("mine", "not stated", 2, 4),
        ("tnbc", "CC BY 4.0", 1, 2),
    ]


def test_an_altered_image_of_a_known_name_counts_as_learnt(history: History) -> None:
    altered = replace(sample("i1", 77), source="mine")
    assert history.know([altered]) == [Known(LEARNT, "name")]
    assert standings(history, replace(altered, source="others"), replace(altered, name="new")) == [NEW, NEW]


def test_a_new_image_of_a_patient_who_is_known_is_known_too(samples: list[Sample], history: History) -> None:
    same = [replace(samples[0], group="patient"), replace(samples[6], group="patient")]
    assert history.know(same)[1] == Known(LEARNT, "group")


def test_what_taught_a_model_has_taught_all_after_it(samples: list[Sample], history: History) -> None:
    """Fine-tuned on a renamed copy of a held-out image, then a student of that on others."""
    tuned = History.of([copy(samples[4], "a")], [samples[6]], before=[("first", history)])
    student = History.of([samples[7]], before=[("tuned", tuned)])
    assert standings(student, *samples) == [LEARNT] * 5 + [LEFT_OUT, HELD_OUT, LEARNT]
    assert {entry.through for entry in student.sets} == {"", "tuned", "first"}
    with pytest.raises(InputError, match=r"learnt from or was chosen by 1 of the images to leave out .e.g. 'b'"):
        student.leave_out([copy(samples[2], "b"), sample("c", 30)], ["b"])
    rest, apart = student.leave_out([copy(samples[5], "kept"), sample("c", 30), sample("d", 31)], ["d"])
    assert [s.name for s in rest] == ["c"]
    assert [s.name for s in apart] == ["kept", "d"]


def test_a_generation_on_the_same_images_adds_nothing_to_the_file(samples: list[Sample], history: History) -> None:
    again = History.of(samples[:4], samples[4:5], samples[5:6], before=[("first", history)])
    assert again == history
    more = History.of(samples[:4], samples[6:7], samples[5:6], before=[("first", history)])
    assert [e.through for e in more.sets] == ["", "first"]
    assert list(more.sets[1].held_out) == ["i4"]
    assert (more.sets[1].learnt, more.sets[1].left_out) == ({}, {})


def test_the_same_name_may_stand_for_two_images(samples: list[Sample], history: History) -> None:
    other = sample("i0", 50)
    after = History.of([other], before=[("first", history)])
    assert standings(after, copy(other, "a"), copy(samples[0], "b")) == [LEARNT, LEARNT]
    same_set = History.of([sample("x", 51), sample("x", 52)])
    assert standings(same_set, copy(sample("", 51), "a"), copy(sample("", 52), "b")) == [LEARNT, LEARNT]


def test_what_was_held_out_is_held_out_again_whatever_it_is_called(samples: list[Sample], history: History) -> None:
    copies = [copy(s, f"tile{n}") for n, s in enumerate(samples)]
    parts = history.split(copies, fraction=0.5, seed=1)
    assert [s.name for s in parts.validation] == ["tile4"]
    assert [s.name for s in parts.left_out] == ["tile5"]
    assert [s.name for s in parts.training] == [f"tile{n}" for n in (0, 1, 2, 3, 6, 7)]
    with pytest.raises(InputError, match="trained on all of these images"):
        history.split(copies[:4])


def test_a_copy_of_a_held_out_image_is_not_learnt_from() -> None:
    originals = [sample(f"i{n}", n) for n in range(4)]
    plain = History().split(originals, fraction=0.25, seed=0)
    (held,) = plain.validation
    parts = History().split([*originals, copy(held, "again", "mine")], fold=(1, 5))
    names = {s.name for s in (*parts.training, *parts.validation)}
    twins = {held.name, "again"}
    assert len(parts.training) in (3, 4)
    for number in range(1, 6):
        parts = History().split([*originals, copy(held, "again", "mine")], fold=(number, 5))
        if twins & {s.name for s in parts.validation}:
            assert not twins & {s.name for s in parts.training}
            assert "the same as others that are held out or left out: 1 image, e.g. " in parts.notes[0]
    assert names
    parts = History().split(originals, fraction=0.25, apart=[copy(s, "t") for s in plain.training[:1]])
    assert plain.training[0] not in parts.training


def test_a_file_of_an_earlier_version_is_read_by_names_and_says_so() -> None:
    old = hover_unet().model_dump()
    del old["history"]
    old |= {
        "data": [{"name": "mine", "licence": "a", "citation": "b", "images": 4, "nuclei": 9, "through": "first"}],
        "training": {
            "steps": 3,
            "held_out": {"mine": ["i1", "i2"], "old": ["z"]},
            "left_out": {"mine": ["i2"]},
            "bound_by": {"encoder x": "terms"},
        },
    }
    spec = ModelSpec.model_validate(old)
    assert spec.training == {"steps": 3}
    assert spec.history.bound_by == {"encoder x": "terms"}
    assert (spec.history.held_out, spec.history.left_out) == (
        {"mine": ["i1", "i2"], "old": ["z"]},
        {"mine": ["i2"]},
    )
    asked = [sample(name, 0) for name in ("i0", "i1", "i2")]
    assert standings(spec.history, *asked) == [LEARNT, HELD_OUT, LEFT_OUT]
    assert standings(spec.history, replace(asked[0], source="renamed")) == [NEW]
    assert "names its images of mine, old alone" in spec.history.doubts("x")[0]
    assert "does not say what it has learnt from" in History().doubts("x")[0]
    assert spec.with_changes(name="again").history == spec.history


@pytest.mark.parametrize("data", [3, [3], [{}], [{"name": 3}], "x"])
def test_nonsense_in_a_file_of_an_earlier_version_is_refused(data: object) -> None:
    with pytest.raises(ModelError):
        hover_unet().with_changes(data=data)


def test_a_file_with_a_damaged_print_is_refused(history: History) -> None:
    text = hover_unet().with_changes(history=history).model_dump_json()
    (first, _), *_ = [(p, n) for n, p in (history.sets[0].learnt or {}).items()]
    for damaged in (first[:-8], first[:40] + "!" + first[41:], "AAAA"):
        with pytest.raises(ModelError, match=r"history.*learnt.*is damaged"):
            ModelSpec.parse(text.replace(first, damaged), where="a file")


def test_a_set_of_which_only_some_images_are_known_is_told_by_their_names() -> None:
    history = History(sets=(LearntSet(name="mine", learnt={"a": ""}, held_out={"b": ""}),))
    blank = np.zeros((8, 8, 3), np.uint8)
    named = [replace(sample(name, 0), image=blank, instances=np.zeros((8, 8), np.int32)) for name in "abc"]
    assert standings(history, *named) == [LEARNT, HELD_OUT, NEW]


class Told:
    """A listener that keeps names of tasks, how many steps each was to have, and how many it had."""

    def __init__(self) -> None:
        self.tasks: list[list[str | int | None]] = []

    def say(self, text: str) -> None:
        raise AssertionError(text)

    @contextmanager
    def task(self, name: str, total: int | None, *, unit: str = "steps", done: int = 0) -> Iterator[Told]:
        self.tasks.append([name, total, done])
        yield self

    def advance(self, steps: int = 1, *, note: str | None = None) -> None:
        last = self.tasks[-1]
        assert isinstance(last[2], int)
        last[2] += steps


def test_the_wait_for_comparing_images_is_told(samples: list[Sample], history: History) -> None:
    told = Told()
    history.split(samples, listener=told)
    assert told.tasks[0] == ["comparing with what was learnt from", 8, 8]
    name, total, done = told.tasks[1]
    # Those that were learnt from and are to be again, against the rest.
    assert (name, total) == ("comparing with held-out images", done)
    assert total == 8
    new = Told()
    History().split(samples, listener=new)
    assert [task[0] for task in new.tasks] == ["comparing with held-out images"]
