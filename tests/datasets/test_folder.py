"""Reading labelled folders and holding out whole groups."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import NO_CLASSES
from histocyte.datasets.cards import DATASETS
from histocyte.datasets.folder import load_folder, unpaired
from histocyte.datasets.own_classes import load_to_learn
from histocyte.datasets.sample import Sample
from histocyte.datasets.splits import split_by_group


def write(folder: Path, name: str, instances: np.ndarray, types: np.ndarray | None = None) -> None:
    folder.mkdir(exist_ok=True)
    image = np.zeros((*instances.shape, 3), np.uint8)
    image[..., 0] = 200  # red, so that a swapped channel order would show
    cv2.imwrite(str(folder / f"{name}.png"), image[..., ::-1])
    np.savez(folder / f"{name}.npz", inst=instances, **({} if types is None else {"type": types}))


def test_a_known_set_brings_its_resolution_classes_and_groups(tmp_path: Path) -> None:
    instances = np.array([[0, 1], [2, 2]], np.int32)
    write(tmp_path / "consep", "train_1", instances, np.array([0, 3, 1], np.uint8))
    (sample,) = load_folder(tmp_path / "consep")
    assert (sample.mpp, sample.source, sample.group) == (0.25, "consep", "train_1")
    assert sample.types is not None
    assert [CONSEP.names[t - 1] for t in sample.types[1:]] == ["epithelial", "other"]
    assert tuple(sample.image[0, 0]) == (200, 0, 0)


def test_own_data_needs_its_resolution(tmp_path: Path) -> None:
    write(tmp_path / "mine", "a", np.ones((4, 4), np.int32))
    with pytest.raises(InputError, match="--mpp 0.25"):
        load_folder(tmp_path / "mine")
    assert load_folder(tmp_path / "mine", mpp=0.4)[0].mpp == 0.4


def test_bad_folders_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        load_folder(tmp_path / "none")
    (tmp_path / "tnbc").mkdir()
    with pytest.raises(InputError, match="no labelled image"):
        load_folder(tmp_path / "tnbc")
    write(tmp_path / "tnbc", "a", np.ones((4, 4), np.int32))
    np.savez(tmp_path / "tnbc" / "a.npz", inst=np.ones((5, 4), np.int32))
    with pytest.raises(InputError, match="must agree"):
        load_folder(tmp_path / "tnbc")
    (tmp_path / "tnbc" / "a.npz").write_bytes(b"not a zip")
    with pytest.raises(InputError, match="no label file"):
        load_folder(tmp_path / "tnbc")


@pytest.mark.parametrize(
    ("instances", "says"),
    [
        (np.full((4, 4), np.nan), "holds float64"),
        (np.full((4, 4), 0.5), "holds float64"),
        (np.full((4, 4), -1), "negative ids"),
        (np.full((4, 4), 1 << 40), "Renumber its cells"),
        (np.full((4, 4), "a"), "whole numbers"),
        (np.array([{}]), "Python objects, which are never read"),
    ],
)
def test_what_are_no_ids_of_cells_is_refused_in_a_line(tmp_path: Path, instances: np.ndarray, says: str) -> None:
    write(tmp_path / "tnbc", "a", np.ones((4, 4), np.int32))
    np.savez(tmp_path / "tnbc" / "a.npz", inst=instances)
    with pytest.raises(InputError, match=says):
        load_folder(tmp_path / "tnbc")


def test_whole_numbers_may_come_as_floats(tmp_path: Path) -> None:
    write(tmp_path / "consep", "a", np.full((4, 4), 1.0), np.array([0.0, 3.0]))
    (sample,) = load_folder(tmp_path / "consep")
    assert sample.instances.dtype == np.int32
    assert sample.types is not None
    assert sample.types.tolist() == [0, CONSEP.names.index("epithelial") + 1]


@pytest.mark.parametrize("types", [np.array([0, -1]), np.array([0, 9]), np.array([[0, 1]]), np.array([0, np.nan])])
def test_types_that_are_no_codes_are_refused(tmp_path: Path, types: np.ndarray) -> None:
    write(tmp_path / "consep", "a", np.ones((4, 4), np.int32), types)
    with pytest.raises(InputError, match="'type' must have an entry for each of 1 instances"):
        load_folder(tmp_path / "consep")


def test_a_label_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "tnbc", "a", np.ones((64, 64), np.int32))
    labels = tmp_path / "tnbc" / "a.npz"
    content = labels.read_bytes()
    labels.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="no label file"):
        load_folder(tmp_path / "tnbc")


@pytest.mark.parametrize("mpp", [0.0, -1.0, float("nan"), float("inf"), 40.0])
def test_impossible_resolutions_are_refused(tmp_path: Path, mpp: float) -> None:
    write(tmp_path / "mine", "a", np.ones((4, 4), np.int32))
    with pytest.raises(InputError, match="outside 0.05–10 µm/px"):
        load_folder(tmp_path / "mine", mpp=mpp)


def test_a_folder_is_given_once(tmp_path: Path) -> None:
    write(tmp_path / "tnbc", "a", np.ones((4, 4), np.int32))
    assert len(load_to_learn([tmp_path / "tnbc"], NO_CLASSES)) == 1
    with pytest.raises(InputError, match="is given twice"):
        load_to_learn([tmp_path / "tnbc", tmp_path / "tnbc" / ".." / "tnbc"], NO_CLASSES)


def sample(source: str, group: str, name: str) -> Sample:
    return Sample(name, np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.int32), None, 0.25, source, group)


def test_no_group_is_on_both_sides() -> None:
    samples = [sample("a", f"patient{i // 3}", f"{i}") for i in range(30)] + [
        sample("b", f"{i}", f"{i}") for i in range(5)
    ]
    training, validation = split_by_group(samples, fraction=0.2, seed=4)
    assert {(s.source, s.group) for s in training}.isdisjoint({(s.source, s.group) for s in validation})
    assert len({s.group for s in validation if s.source == "a"}) == 2
    assert len([s for s in validation if s.source == "b"]) == 1
    assert len(training) + len(validation) == len(samples)
    assert split_by_group(samples, seed=4)[1] == validation
    assert split_by_group(samples, seed=5)[1] != validation


def test_one_group_cannot_be_split() -> None:
    with pytest.raises(InputError, match="one group"):
        split_by_group([sample("a", "p", "1"), sample("a", "p", "2")])


def test_folds_hold_each_group_out_once() -> None:
    samples = [sample("set", f"patient{p}", f"{p}-{k}") for p in range(7) for k in range(2)]
    samples += [sample("other", f"p{p}", f"o{p}") for p in range(5)]
    held = []
    for number in range(1, 6):
        training, validation = split_by_group(samples, fold=(number, 5), seed=1)
        assert not {(s.source, s.group) for s in training} & {(s.source, s.group) for s in validation}
        assert {s.source for s in validation} == {"set", "other"}
        assert len(training) + len(validation) == len(samples)
        held += [s.name for s in validation]
    assert sorted(held) == sorted(s.name for s in samples)
    with pytest.raises(InputError, match="'other' has 5 groups, too few for 6 folds"):
        split_by_group(samples, fold=(1, 6))


def test_patients_of_tcga_are_the_first_twelve_characters() -> None:
    assert DATASETS["monuseg"].group("train_TCGA-18-5592-01Z-00-DX1") == "TCGA-18-5592"


@pytest.mark.parametrize(
    ("name", "images", "nuclei"), [("consep", 27, 15_500), ("monuseg", 30, 16_956), ("tnbc", 50, 4028)]
)
def test_real_sets_are_read_whole(shared: Path, name: str, images: int, nuclei: int) -> None:
    samples = load_folder(shared / "data" / name)
    assert len(samples) == images
    assert sum(len(np.unique(s.instances)) - 1 for s in samples) == pytest.approx(nuclei, rel=0.01)


def test_a_table_states_the_tissue_of_an_image(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / "mine", name, np.ones((4, 4), np.int32))
    table = tmp_path / "mine" / "images.csv"
    table.write_text("\ufeffname,tissue\nb.png, Colon \na,Bile-duct\nother,Skin\n", encoding="utf-8")
    assert [s.tissue for s in load_folder(tmp_path / "mine", mpp=0.25)] == ["Bile-duct", "Colon", ""]
    table.write_text("name,grade\na,2\n", encoding="utf-8")
    assert {s.tissue for s in load_folder(tmp_path / "mine", mpp=0.25)} == {""}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"picture,tissue\na,Skin\n", "none .name'"),
        (b"name,tissue\na,Skin\na,Colon\n", "two tissues of 'a': 'Skin' and 'Colon'"),
        (b"name,tissue\na,\xff\n", "cannot be read as a table"),
        (b'name,tissue\na,"x" y\n', "cannot be read as a table"),
    ],
)
def test_a_broken_table_of_tissues_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    write(tmp_path / "mine", "a", np.ones((4, 4), np.int32))
    (tmp_path / "mine" / "images.csv").write_bytes(content)
    with pytest.raises(InputError, match=says):
        load_folder(tmp_path / "mine", mpp=0.25)


@pytest.mark.parametrize("column", ["patient", "patient_id", "case", "case_id"])
def test_a_table_states_what_must_not_be_split(tmp_path: Path, column: str) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / "mine", name, np.ones((4, 4), np.int32))
    table = tmp_path / "mine" / "images.csv"
    table.write_text(f"name,tissue,{column}\na,Colon,P1\nb.png,Skin, P1 \nc,Skin,\n", encoding="utf-8")
    samples = load_folder(tmp_path / "mine", mpp=0.25)
    assert [s.group for s in samples] == ["P1", "P1", "c"]
    assert [s.tissue for s in samples] == ["Colon", "Skin", "Skin"]


def test_a_table_goes_before_what_names_of_a_known_set_say(tmp_path: Path) -> None:
    for name in ("01_1", "02_1"):
        write(tmp_path / "tnbc", name, np.ones((4, 4), np.int32))
    assert [s.group for s in load_folder(tmp_path / "tnbc")] == ["01", "02"]
    (tmp_path / "tnbc" / "images.csv").write_text("name,case,patient\n01_1,9,P1\n02_1,8,P1\n")
    assert [s.group for s in load_folder(tmp_path / "tnbc")] == ["P1", "P1"]


def test_two_patients_of_one_image_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "mine", "a", np.ones((4, 4), np.int32))
    (tmp_path / "mine" / "images.csv").write_text("name,patient\na,P1\na.png,P2\n")
    with pytest.raises(InputError, match="two values of patient of 'a': 'P1' and 'P2'"):
        load_folder(tmp_path / "mine", mpp=0.25)


def test_images_without_labels_and_labels_without_an_image_are_told(tmp_path: Path) -> None:
    for name in ("a.png", "a.npz", "b.webp", "c.npz", "images.csv", "SOURCE.md"):
        (tmp_path / name).touch()
    (tmp_path / "d.png").mkdir()
    assert unpaired(tmp_path) == [tmp_path / "b.webp", tmp_path / "c.npz"]


def test_pixels_and_labels_are_both_as_they_are_stored(tmp_path: Path) -> None:
    """A camera that was held upright says so, and the file's pixels lie: labels are of the pixels."""
    folder = tmp_path / "tnbc"
    write(folder, "a", np.ones((20, 30), np.int32))
    (folder / "a.png").unlink()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20), "red").save(folder / "a.JPG", exif=exif)
    (sample,) = load_folder(folder)
    assert sample.image.shape == (20, 30, 3)
    assert "asks viewers to turn it (EXIF orientation 6)" in sample.notes[0]
    assert unpaired(folder) == []
    np.savez(folder / "a.npz", inst=np.ones((30, 20), np.int32))
    with pytest.raises(InputError, match=r"is \(30, 20\), its image \(20, 30\); they must agree.*EXIF orientation 6"):
        load_folder(folder)


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "tnbc"
    write(folder, "a", np.ones((20, 30), np.int32))
    for name in ("a.png", "a.npz"):
        kept = (folder / name).rename(folder / "kept")
        (folder / name).symlink_to(tmp_path / "nowhere")
        with pytest.raises(InputError, match=rf"{name}' is a link to '.*nowhere', which is not there"):
            load_folder(folder)
        (folder / name).unlink()
        kept.rename(folder / name)
