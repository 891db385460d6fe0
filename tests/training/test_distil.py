"""Distillation: windows, lessons, answers kept on disk, batches, losses, and runs that go on exactly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from histocyte.core.errors import DiskError, InputError
from histocyte.core.instances import Instances, Labels
from histocyte.core.maps import decoded_maps
from histocyte.core.taxonomies import CELLS, CONSEP
from histocyte.datasets.augment.steps import Augmentation, noise
from histocyte.datasets.sample import Sample
from histocyte.datasets.unlabelled import list_unlabelled
from histocyte.losses.distillation import softened_binary_divergence, softened_divergence
from histocyte.model.build import build_representation, build_segmenter
from histocyte.model.spec import ModelSpec, Part
from histocyte.representations.maps.logits import to_logits
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses
from histocyte.training.distil.cache import Answer, Ask, Teacher, TeacherCache
from histocyte.training.distil.crops import DistilBatch, DistilSampler
from histocyte.training.distil.fields import Field, image_field, labelled_field, slide_fields
from histocyte.training.distil.lessons import Way, lessons_of
from histocyte.training.distil.losses import (
    DistilLosses,
    DistilOptions,
    add_projection,
    drop_projection,
    loss_weights,
)
from histocyte.training.distil.windows import Window, cut, cut_nearest, whole
from histocyte.training.fit import TrainingOptions, fit

torch.set_num_threads(1)


def spec(scheme: str = "hover", *, width: int = 4, mpp: float = 0.25, **options: object) -> ModelSpec:
    return ModelSpec(
        name=f"small-{scheme}",
        encoder=Part(name="plain", options={"width": width, "depth": 2, "convolutions": 1}),
        decoder=Part(name="unet", options={"widths": [8, 4], "depths": [1, 1]}),
        heads=Part(name="pointwise"),
        representation=Part(name=scheme, options={"classes": len(CONSEP), **options}),
        taxonomy=CONSEP.to_json(),
        mpp=mpp,
        tile_px=64,
        margin_px=8,
        multiple=4,
    )


def samples(count: int = 2, *, size: tuple[int, int] = (96, 128), mpp: float = 0.25) -> list[Sample]:
    """Images of `size` (width, height)."""
    found = []
    for seed in range(count):
        labels = packed_ellipses(size, 18, seed=seed)
        types = np.array([0, *(1 + np.arange(labels.instances.max()) % len(CONSEP))], np.uint8)
        image = paint_truth(labels, CONSEP)
        found.append(Sample(f"s{seed}", image, labels.instances, types, mpp, "painted", f"s{seed}"))
    return found


def fields(of: Sequence[Sample], *, least_um: float = 16.0) -> list[Field]:
    return [labelled_field(sample, least_um=least_um) for sample in of]


def knowing(teacher: Teacher, asked: list[str] | None = None) -> Ask:
    """A teacher that writes the true labels as its maps, at its resolution; its features are the numbers of steps."""
    specs = decoded_maps(teacher.representation.maps)

    def ask(field: Field) -> Answer:
        if asked is not None:
            asked.append(field.name)
        assert field.sample is not None
        labels = at(field, teacher.spec.mpp)
        maps = teacher.representation.encode(Labels(labels, field.sample.types))
        logits = to_logits(np.concatenate([maps[s.name] for s in specs]), specs).astype(np.float16)
        assert field.sample.types is not None
        present = np.unique(labels[labels > 0])
        order = np.zeros(labels.max() + 1, np.int32)
        order[present] = 1 + np.arange(len(present))
        classes = np.eye(len(CONSEP), dtype=np.float32)[field.sample.types[present] - 1]
        features = None
        if teacher.features:
            width, stride = teacher.feature_shape
            grid = tuple(-(-length // stride) for length in labels.shape)
            features = np.broadcast_to(np.arange(grid[0] * grid[1]).reshape(grid), (width, *grid)).astype(np.float16)
        return Answer(logits, Instances(order[labels], classes, np.ones(len(present), np.float32)), features)

    return ask


def at(field: Field, mpp: float) -> NDArray[np.int32]:
    """The true labels of a whole field at a resolution."""
    assert field.sample is not None
    height, width = field.frame(mpp)
    scale = mpp / field.mpp
    side = max(height, width)
    read = whole(field.sample.instances)
    return cut_nearest(read, field.size, Window(0, 0, side * scale), side)[:height, :width].astype(np.int32)


PLAIN = Augmentation([])


def sampler(
    folder: Path,
    student: ModelSpec,
    teachers: list[Teacher],
    *,
    way: Way = "auto",
    given: list[Field] | None = None,
    **more: object,
) -> DistilSampler:
    given = given or fields(samples())
    cache = TeacherCache(folder)
    for teacher in teachers:
        cache.fill(teacher, given, knowing(teacher))
    lessons = lessons_of(student, [t.spec for t in teachers], way=way)
    options: dict[str, object] = {"colour": PLAIN, "crop_px": 64, "seed": 3, **more}
    return DistilSampler(student, lessons, teachers, cache, given, **options)  # type: ignore[arg-type]


def test_a_whole_window_is_its_pixels() -> None:
    array = np.random.default_rng(0).normal(size=(2, 20, 30)).astype(np.float32)
    assert np.array_equal(cut(whole(array), (20, 30), Window(3, 5, 12), 12), array[:, 3:15, 5:17])
    assert np.array_equal(cut_nearest(whole(array), (20, 30), Window(3, 5, 12), 12), array[:, 3:15, 5:17])


def test_a_ramp_stays_a_ramp_at_any_scale() -> None:
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32) + 0.5, (1, 40, 40))
    for top, left, side, out in ((4.3, 6.7, 12.5, 25), (5, 5, 24, 12), (6.0, 4.5, 20, 17)):
        found = cut(whole(ramp), (40, 40), Window(top, left, side), out)
        expected = left + (np.arange(out) + 0.5) * side / out
        near = 1e-3 if side <= out or side % out == 0 else 0.1  # a triangle of that width is not quite a mean
        assert np.allclose(found, expected, atol=near)
        across = cut(whole(ramp.transpose(0, 2, 1)), (40, 40), Window(left, top, side), out)
        assert np.allclose(across, expected[:, None], atol=near)


def test_beyond_the_edge_the_border_goes_on() -> None:
    array = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    found = cut(whole(array), (3, 4), Window(-0.5, 0, 4), 8)
    assert found.shape == (1, 8, 8)
    assert np.isfinite(found).all()
    assert cut_nearest(whole(array), (3, 4), Window(-0.5, 0, 4.4), 8)[0, 0, 0] == 0
    assert cut_nearest(whole(array), (3, 4), Window(-0.5, 0, 4.4), 8)[0, -1, -1] == 11


def test_what_can_be_learnt_from_maps() -> None:
    hover, half, flow = spec("hover"), spec("hover", mpp=0.5), spec("flow")
    same = lessons_of(hover, [hover])
    assert [lesson.name for lesson in same.maps] == ["nucleus", "hover", "types"]
    assert (same.labels, same.zoom) == (False, (1.0, 1.0))
    for teacher in (half, flow, spec("star"), spec("distance")):
        other = lessons_of(hover, [teacher])
        assert [lesson.name for lesson in other.maps] == ["nucleus", "types"], "probabilities are shared"
        assert other.labels
        assert other.zoom[0] < 1 < other.zoom[1]
        with pytest.raises(InputError, match="No teacher has the student's map hover"):
            lessons_of(hover, [teacher], way="maps")
    assert lessons_of(hover, [hover], way="labels").maps == ()
    both = lessons_of(hover, [flow, hover])
    assert {lesson.name: lesson.teachers for lesson in both.maps} == {"nucleus": (0, 1), "hover": (1,), "types": (0, 1)}
    assert not both.labels
    assert lessons_of(spec("flow", foreground="types"), [flow]).labels is False
    strange = hover.with_changes(taxonomy={"name": "x", "classes": [{"name": n, "colour": [0, 0, 0]} for n in "abcd"]})
    apart = lessons_of(hover, [strange])
    assert (apart.maps[-1].name, apart.maps[-1].groups, apart.labels) == ("types", (), False)


def test_teachers_of_other_classes_teach_what_both_lists_say() -> None:
    coarse, fine = spec("hover"), spec("hover", classes=len(CELLS)).with_changes(taxonomy=CELLS.to_json())
    up = lessons_of(coarse, [fine]).maps[-1]
    assert dict(map(reversed, up.groups)) == {(3,): (1,), (2,): (2, 3, 4), (4,): (5,), (1,): (6,)}
    down = lessons_of(fine, [coarse]).maps[-1]
    assert {tuple(reversed(group)) for group in down.groups} == set(up.groups)
    assert lessons_of(coarse, [fine, coarse]).maps[-1].teachers == (1,), "one of the student's own list is preferred"
    assert lessons_of(coarse, [fine, fine]).maps[-1].teachers == (0, 1)
    assert "groups" not in lessons_of(coarse, [coarse]).to_json()["maps"][-1]
    assert lessons_of(coarse, [fine]).to_json()["maps"][-1]["groups"] == up.groups


def test_labels_of_a_teacher_are_read_as_the_students_classes(tmp_path: Path) -> None:
    fine = spec("hover", classes=len(CELLS)).with_changes(taxonomy=CELLS.to_json())
    drawn = sampler(tmp_path, fine, [Teacher(spec("flow"), "flow")])
    assert drawn.lessons.labels
    batch = drawn.batch(0, 4)
    assert batch.pseudo is not None
    assert batch.soft is not None
    said, may_be = batch.soft["types"].argmax(1), batch.pseudo["types"]
    lymphoid = CONSEP.names.index("inflammatory") + 1
    assert (said == lymphoid).sum() > 100
    inflammatory = np.median(np.moveaxis(may_be, 1, -1)[said == lymphoid], axis=0)
    assert inflammatory.tolist() == [0, 0, 1, 1, 1, 0, 0]
    spindle = np.median(np.moveaxis(may_be, 1, -1)[said == CONSEP.names.index("spindle") + 1], axis=0)
    assert spindle.tolist() == [0, 0, 0, 0, 0, 1, 0]


def test_a_way_that_there_is_not_is_refused() -> None:
    hover = spec("hover")
    with pytest.raises(InputError, match="auto, maps, labels"):
        lessons_of(hover, [hover], way="both")  # type: ignore[arg-type]


def interior(instances: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels of nuclei that a crop does not cut."""
    border = np.zeros(instances.shape, bool)
    border[[0, -1], :] = border[:, [0, -1]] = True
    return ~np.isin(instances, np.unique(instances[border])) & (instances > 0)


def test_a_crop_of_the_maps_is_the_map_of_the_crop(tmp_path: Path) -> None:
    """Image, labels and maps are cut and turned alike: what the knowing teacher says is what the labels say."""
    for scheme in ("hover", "flow", "star", "distance"):
        drawn = sampler(tmp_path / scheme, spec(scheme), [Teacher(spec(scheme), scheme)])
        batch = drawn.batch(0, 6)
        assert batch.images.shape == (6, 3, 64, 64)
        assert batch.soft is not None
        assert np.array_equal(batch.soft["types"].argmax(1), batch.maps["types"].argmax(1))
        geometry = {"hover": "hover", "flow": "flow", "star": "rays", "distance": "distance"}[scheme]
        nucleus = batch.maps["types"][:, 0] == 0
        assert np.array_equal((batch.images < 255).any(1), nucleus), "the painted nuclei lie where the labels do"
        seen = 0
        for i in range(6):
            found, true = batch.soft[geometry][i], batch.maps[geometry][i]
            instances = np.asarray(cv2.connectedComponents(nucleus[i].astype(np.uint8))[1], np.int32)
            apart = interior(instances)
            seen += int(apart.sum())
            # The centre of heat of an even nucleus is one of two pixels, a choice that does not turn with it.
            away = np.abs(found - true)[:, apart].max(axis=0)
            assert np.quantile(away, 0.5 if scheme == "flow" else 0.99) < 0.01 if len(away) else True, (scheme, i)
        assert seen > 500


def test_labels_of_a_teacher_are_written_as_the_student_writes(tmp_path: Path) -> None:
    teacher = Teacher(spec("flow"), "flow")
    drawn = sampler(tmp_path, spec("hover"), [teacher])
    batch = drawn.batch(1, 4)
    assert batch.pseudo is not None
    for name, maps in batch.maps.items():
        assert np.array_equal(batch.pseudo[name], maps), name
    assert batch.soft is not None
    assert set(batch.soft) == {"nucleus", "types"}
    near = np.abs(1 / (1 + np.exp(-batch.soft["nucleus"])) - batch.maps["nucleus"])
    assert np.median(near) < 1e-3


@pytest.mark.parametrize(("theirs", "images"), [(0.5, 0.25), (0.2, 0.25), (0.25, 0.4)])
def test_resolutions_may_differ(tmp_path: Path, theirs: float, images: float) -> None:
    """Teacher, student and images each at its own: the same places are learnt from."""
    teacher = Teacher(spec("hover", mpp=theirs), "hover")
    given = fields(samples(mpp=images, size=(128, 144)))
    drawn = sampler(tmp_path, spec("hover"), [teacher], given=given)
    batch = drawn.batch(0, 4)
    assert batch.soft is not None
    said = batch.soft["nucleus"] > 0
    assert (said == (batch.maps["nucleus"] > 0.5)).mean() > 0.93
    if theirs != 0.25:
        assert batch.pseudo is not None
        assert ((batch.pseudo["nucleus"] > 0.5) == (batch.maps["nucleus"] > 0.5)).mean() > 0.93


def test_several_teachers_are_averaged_as_probabilities(tmp_path: Path) -> None:
    student = spec("hover")
    sure, unsure = Teacher(spec("hover"), "sure"), Teacher(spec("hover"), "unsure")
    given = fields(samples(1))
    cache = TeacherCache(tmp_path)
    cache.fill(sure, given, knowing(sure))

    def doubting(field: Field) -> object:
        answer = knowing(unsure)(field)
        answer.logits[:] = 0
        return answer

    cache.fill(unsure, given, doubting)  # type: ignore[arg-type]
    lessons = lessons_of(student, [sure.spec, unsure.spec])
    drawn = DistilSampler(student, lessons, [sure, unsure], cache, given, colour=PLAIN, crop_px=64)
    batch = drawn.batch(0, 1)
    assert batch.soft is not None
    p = 1 / (1 + np.exp(-batch.soft["nucleus"]))
    assert np.allclose(p, np.where(batch.maps["nucleus"] > 0, 0.75, 0.25), atol=1e-3)
    assert np.allclose(np.exp(batch.soft["types"]).sum(1), 1, atol=1e-3)
    assert np.allclose(np.exp(batch.soft["types"]), np.where(batch.maps["types"] > 0, 0.6, 0.1), atol=1e-3)


def test_a_step_decides_its_batch_and_extra_images_come_last(tmp_path: Path) -> None:
    student, teacher = spec("hover"), Teacher(spec("hover"), "hover")
    extra = [Field(f.source, f.name, f.mpp, f.size, f.sha256, f.read, f.sample) for f in fields(samples(2))]
    drawn = sampler(tmp_path, student, [teacher], extra=extra, share=0.5, colour=Augmentation([(1.0, noise)]))
    one, again = drawn.batch(5, 5), drawn.batch(5, 5)
    assert isinstance(one, DistilBatch)
    assert np.array_equal(one.images, again.images)
    assert one.soft is not None
    assert again.soft is not None
    assert all(np.array_equal(one.soft[k], again.soft[k]) for k in one.soft)
    assert not np.array_equal(one.images, drawn.batch(6, 5).images)
    assert (len(one.images), len(one.soft["hover"]), len(one.separable), len(one.maps["hover"])) == (5, 5, 3, 3)
    assert len(drawn.batch(0, 1).separable) == 1, "one crop at least has labels"
    streamed = list(drawn.batches(4, 7, 5))
    assert np.array_equal(streamed[1].images, one.images)
    with pytest.raises(InputError, match="no labelled image"):
        DistilSampler(student, drawn.lessons, [teacher], drawn.cache, [], colour=PLAIN)


def test_features_come_from_the_same_place(tmp_path: Path) -> None:
    """Features number the steps of 4 px; a crop that starts on a step, unturned, shows consecutive numbers."""
    teacher = Teacher(spec("hover"), "hover", features=True)
    assert teacher.feature_shape == (16, 4)
    drawn = sampler(tmp_path, spec("hover"), [teacher], feature_grid=8)
    batch = drawn.batch(0, 8)
    assert batch.teacher_features is not None
    assert batch.teacher_features.shape == (8, 16, 8, 8)
    slopes = set()
    for grid in batch.teacher_features[:, 0]:
        steps = {round(float(np.median(np.diff(grid, axis=axis)))) for axis in (0, 1)}
        slopes.add(frozenset(abs(s) for s in steps))
    assert slopes == {frozenset({2, 48})}, "8 px across are 2 numbers on, 8 px down two rows of 24"


def test_answers_are_kept_found_again_and_bounded(tmp_path: Path) -> None:
    teacher, given = Teacher(spec("hover"), "hover"), fields(samples(3))
    cache, asked = TeacherCache(tmp_path), list[str]()
    every, still = cache.bytes_needed([teacher], given)
    assert every == still == 3 * 96 * 128 * (8 * 2 + 4)
    cache.fill(teacher, given[:2], knowing(teacher, asked))
    assert [f.name for f in cache.missing(teacher, given)] == ["s2"]
    size = sum(p.stat().st_size for p in tmp_path.iterdir())
    assert size == pytest.approx(every * 2 / 3, rel=0.05), "as large as was said"
    other = TeacherCache(tmp_path)
    other.fill(teacher, given, knowing(teacher, asked))
    assert asked == ["s0", "s1", "s2"]
    assert other.bytes_needed([teacher], given)[1] == 0
    for changed in (Teacher(spec("hover"), "another"), Teacher(spec("hover"), "hover", views=8)):
        assert len(other.missing(changed, given)) == 3
    damaged = next(tmp_path.glob("*.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert len(TeacherCache(tmp_path).missing(teacher, given)) == 1
    with pytest.raises(DiskError, match=r"more than the 0\.0 GB allowed.*--cache-limit"):
        TeacherCache(tmp_path, most_bytes=1000).check_room([teacher], given)
    with pytest.raises(DiskError, match="gone or damaged"):
        TeacherCache(tmp_path / "empty").read(teacher, given[0])


def test_a_killed_filling_loses_one_image(tmp_path: Path) -> None:
    teacher, given = Teacher(spec("hover"), "hover"), fields(samples(3))
    ask = knowing(teacher)

    def killed(field: Field) -> object:
        if field.name == "s1":
            raise KeyboardInterrupt
        return ask(field)

    with pytest.raises(KeyboardInterrupt):
        TeacherCache(tmp_path).fill(teacher, given, killed)  # type: ignore[arg-type]
    assert [f.name for f in TeacherCache(tmp_path).missing(teacher, given)] == ["s1", "s2"]
    assert len(list(tmp_path.iterdir())) == 1


def test_small_images_are_filled_up_with_white(tmp_path: Path) -> None:
    sample = samples(1, size=(128, 40))[0]
    field = labelled_field(sample, least_um=16.0)
    assert field.size == (64, 128)
    assert (field.read()[40:] == 255).all()
    assert field.sample is not None
    assert not field.sample.instances[40:].any()
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((50, 70, 3), np.uint8))
    image = image_field(list_unlabelled(tmp_path, mpp=0.5)[0], least_um=32.0)
    assert image.size == (64, 70)
    assert image.read().shape == (64, 70, 3)
    assert image.frame(0.25) == (128, 140)
    assert image.sha256 != image_field(list_unlabelled(tmp_path, mpp=0.25)[0], least_um=16.0).sha256


@pytest.mark.parametrize("mpp", [0.25, 0.5, 0.75])
def test_a_nucleus_keeps_its_size_at_any_resolution_of_the_student(tmp_path: Path, mpp: float) -> None:
    y, x = np.mgrid[:96, :96] - 48
    instances = (y**2 + x**2 < 32**2).astype(np.int32)
    image = np.full((96, 96, 3), (150, 80, 160), np.uint8)
    one = Sample("a", image, instances, np.array([0, 1], np.uint8), 0.25, "own", "a")
    given = fields([one], least_um=64 * mpp)
    student = spec(mpp=mpp)
    drawn = sampler(tmp_path, student, [Teacher(spec(), "hover")], given=given, crop_px=64)
    batch = drawn.batch(0, 4)
    true_um2 = instances.sum() * 0.25**2
    assert batch.soft is not None
    for nuclei in (batch.maps["nucleus"][:, -1] > 0.5, batch.soft["nucleus"][:, -1] > 0):
        areas = nuclei.sum(axis=(1, 2)) * mpp**2
        zoom = drawn.lessons.zoom
        assert (areas >= 0.9 * true_um2 * min(1, zoom[0]) ** 2).all() or mpp == 0.25  # which cuts it
        assert (areas <= 1.1 * true_um2 * zoom[1] ** 2).all()
    with pytest.raises(InputError, match="smaller than a crop of 640 px"):
        DistilSampler(student, drawn.lessons, drawn.teachers, drawn.cache, given, colour=PLAIN, crop_px=640)


def test_places_of_a_slide_lie_in_its_tissue(shared: Path) -> None:
    path = shared / "data" / "wsi" / "CMU-1-Small-Region.svs"
    found = slide_fields(path, mpp=0.6, count=3, seed=1)
    assert [f.name for f in found] == [f.name for f in slide_fields(path, mpp=0.6, count=3, seed=1)]
    assert 1 <= len(found) <= 3
    pixels = found[0].read()
    assert pixels.shape == (640, 640, 3)
    assert pixels.min() < 200
    assert {f.mpp for f in found} == {0.6}
    assert slide_fields(path, mpp=0.05, count=1)[0].mpp == pytest.approx(0.499)
    assert slide_fields(path, mpp=0.6, count=1, least_um=720 * 0.6)[0].size == (720, 720)
    with pytest.raises(InputError, match="no tissue 640 px wide"):
        slide_fields(path, mpp=9.0, count=1)


def taught(
    folder: Path, student: ModelSpec, *, scheme: str = "hover", steps: int = 4, features: bool = True
) -> dict[str, torch.Tensor]:
    """Train a student of a knowing teacher for a few steps; gives the state."""
    torch.manual_seed(0)
    teacher = Teacher(spec(scheme, width=6), scheme, features=features)
    drawn = sampler(folder / "answers", student, [teacher], feature_grid=16 if features else 0, crop_px=32)
    options = DistilOptions(features="cosine" if features else "none")
    model, representation = build_segmenter(student), build_representation(student.representation)
    if features:
        add_projection(model, teacher.feature_shape[0])
    losses = DistilLosses(model, representation, drawn.lessons, options)
    weights = loss_weights(options, drawn.lessons, representation)
    training = TrainingOptions(steps=steps, batch=2, checkpoint_every=2, loss_weights=weights)
    fit(model, student, drawn, folder / "run", training, losses=losses)
    drop_projection(model)
    assert not hasattr(model, "projection")
    return load_file(folder / "run" / "last.safetensors")


def test_a_run_that_stopped_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    student = spec("hover")
    undisturbed = taught(tmp_path / "a", student)
    taught(tmp_path / "b", student, steps=2)
    gone_on = taught(tmp_path / "b", student)
    assert undisturbed.keys() == gone_on.keys()
    assert all(torch.equal(undisturbed[k], gone_on[k]) for k in undisturbed)
    assert any("projection" in k for k in undisturbed), "the projection is trained, and goes on too"
    head = (tmp_path / "a" / "run" / "log.csv").read_text().splitlines()[0]
    for term in ("distil_nucleus", "distil_hover", "distil_types", "distil_features", "hover_mse"):
        assert term in head


def test_each_term_is_weighed_as_documented() -> None:
    hover = build_representation(spec("hover").representation)
    maps = lessons_of(spec("hover"), [spec("hover")])
    weights = loss_weights(DistilOptions(), maps, hover)
    assert weights["distil_types"] == weights["distil_nucleus"] == weights["distil_hover"] == 0.3
    assert weights["types_ce"] == pytest.approx(0.7)
    assert weights["hover_mse"] == pytest.approx(0.7 * 2.5)
    assert not any(name.startswith("pseudo_") for name in weights)
    swapped = loss_weights(DistilOptions(reading="swapped"), maps, hover)
    assert (swapped["distil_types"], swapped["types_ce"]) == (0.7, 0.3)
    other = loss_weights(DistilOptions(features="mse"), lessons_of(spec("hover"), [spec("flow")]), hover)
    assert other["pseudo_hover_msge"] == pytest.approx(0.3 * 8)
    assert (other["distil_features"], "distil_hover" in other) == (1.0, False)
    for wrong in (
        DistilOptions(temperature=0),
        DistilOptions(alpha=-1),
        DistilOptions(alpha=0, beta=0),
        DistilOptions(reading="other"),  # type: ignore[arg-type]
        DistilOptions(features="all"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError):
            wrong.check()


@pytest.mark.parametrize("channels", [1, 2])
def test_the_terms_of_a_batch_are_the_formulas(tmp_path: Path, channels: int) -> None:
    student = spec("hover", nucleus_channels=channels)
    drawn = sampler(tmp_path, student, [Teacher(spec("hover"), "hover")], extra=fields(samples(1)))
    batch, hover = drawn.batch(0, 4), build_representation(student.representation)
    raw = torch.randn(4, channels + 7, 64, 64, generator=torch.manual_seed(1))
    terms = DistilLosses(build_segmenter(student), hover, drawn.lessons, DistilOptions(temperature=5))(raw, batch)
    assert batch.soft is not None
    soft = {name: torch.from_numpy(array) for name, array in batch.soft.items()}
    logit = raw[:, 1:2] - raw[:, :1] if channels == 2 else raw[:, :1]
    expected = {
        "distil_nucleus": softened_binary_divergence(logit, soft["nucleus"], temperature=5),
        "distil_hover": ((raw[:, channels : channels + 2] - soft["hover"]) ** 2).mean(),
        "distil_types": softened_divergence(raw[:, channels + 2 :], soft["types"], temperature=5),
    }
    assert {k: float(terms[k]) for k in expected} == pytest.approx({k: float(v) for k, v in expected.items()}, rel=1e-5)
    true = {name: torch.from_numpy(array) for name, array in batch.maps.items()}
    own = hover.loss_terms(raw[:2], true, torch.ones(2))
    assert float(terms["hover_mse"]) == pytest.approx(float(own["hover_mse"])), "of labelled crops alone"
    perfect = torch.cat([soft["nucleus"], soft["hover"], soft["types"]], 1)
    if channels == 1:
        silent = DistilLosses(build_segmenter(student), hover, drawn.lessons, DistilOptions())(perfect, batch)
        assert all(float(silent[k]) < 1e-4 for k in expected)


def test_rays_count_where_a_nucleus_is_and_labels_of_another_scheme_everywhere(tmp_path: Path) -> None:
    star = spec("star")
    drawn = sampler(tmp_path / "star", star, [Teacher(star, "star")])
    representation, batch = build_representation(star.representation), drawn.batch(0, 2)
    assert batch.soft is not None
    soft = {name: torch.from_numpy(array) for name, array in batch.soft.items()}
    raw = torch.cat([soft["nucleus"], soft["rays"], soft["types"]], 1)
    outside = raw.clone()
    outside[:, 1:33] += 100.0 * (soft["nucleus"] < -10)
    losses = DistilLosses(build_segmenter(star), representation, drawn.lessons, DistilOptions())
    assert float(losses(outside, batch)["distil_rays"]) < 1
    assert float(losses(raw + 1, batch)["distil_rays"]) > 0.9
    hover = spec("hover")
    crossed = sampler(tmp_path / "crossed", hover, [Teacher(spec("flow"), "flow")], extra=fields(samples(1)))
    own, other = build_representation(hover.representation), crossed.batch(0, 4)
    assert other.pseudo is not None
    guess = torch.randn(4, 8, 64, 64, generator=torch.manual_seed(0))
    terms = DistilLosses(build_segmenter(hover), own, crossed.lessons, DistilOptions())(guess, other)
    pseudo = {name: torch.from_numpy(array) for name, array in other.pseudo.items()}
    expected = own.loss_terms(guess, pseudo, torch.ones(4))
    assert float(terms["pseudo_hover_mse"]) == pytest.approx(float(expected["hover_mse"]))
    assert set(loss_weights(DistilOptions(), crossed.lessons, own)) <= set(terms)


def test_a_student_learns_from_its_teacher_alone(tmp_path: Path) -> None:
    """With β = 0 nothing but the teacher's maps is learnt from, and the student comes nearer to them."""
    student = spec("hover", width=8)
    drawn = sampler(tmp_path / "answers", student, [Teacher(spec("hover"), "hover")], crop_px=32)
    torch.manual_seed(0)
    model, hover = build_segmenter(student), build_representation(student.representation)
    options = DistilOptions(alpha=1, beta=0)
    losses = DistilLosses(model, hover, drawn.lessons, options)
    training = TrainingOptions(
        steps=60, batch=4, learning_rate=1e-2, loss_weights=loss_weights(options, drawn.lessons, hover)
    )
    seen: list[float] = []
    fit(
        model,
        student,
        drawn,
        tmp_path / "run",
        training,
        losses=losses,
        progress=lambda _, t: seen.append(t["distil_nucleus"]),
    )
    assert np.mean(seen[-5:]) < 0.95 * np.mean(seen[:5])
