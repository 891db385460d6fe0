"""Each public set, made small in the exact layout that it is distributed in."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.folder import load_folder
from histocyte.datasets.sample import Sample
from histocyte.runs.data.import_data import import_data
from histocyte.runs.data.sets.pannuke import instances_of
from histocyte.runs.data.sets.registry import SETS

SIDE = 32


def picture(seed: int = 0, side: int = SIDE) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (side, side, 3)).astype(np.uint8)


def two_squares() -> NDArray[np.int32]:
    labels = np.zeros((SIDE, SIDE), np.int32)
    labels[2:8, 2:8] = 3
    labels[12:20, 10:22] = 7
    return labels


def png(path: Path, pixels: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def imported(name: str, source: Path, out: Path) -> dict[str, Sample]:
    import_data(name, source, out)
    return {sample.name: sample for sample in load_folder(out)}


def areas(sample: Sample) -> list[int]:
    return np.bincount(sample.instances.ravel())[1:].tolist()


def aperio(path: Path, regions: list[tuple[str, list[tuple[float, float]]]]) -> None:
    """A class may come in several annotations, as MoNuSAC's do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    for name, outline in regions:
        vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in outline)
        parts.append(
            f'<Annotation Id="1"><Attributes><Attribute Name="{name}" Id="0" Value=""/></Attributes>'
            f"<Regions><Region Id='1'><Vertices>{vertices}</Vertices></Region></Regions></Annotation>"
        )
    path.write_text(f'<?xml version="1.0"?><Annotations MicronsPerPixel="0.25">{"".join(parts)}</Annotations>')


def box(x: float, y: float, side: float) -> list[tuple[float, float]]:
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


def test_pannuke_as_arrays_in_folds(tmp_path: Path) -> None:
    for fold, count in ((1, 2), (3, 1)):
        images = tmp_path / "zip" / f"Fold {fold}" / "images" / f"fold{fold}"
        masks = tmp_path / "zip" / f"Fold {fold}" / "masks" / f"fold{fold}"
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        channels = np.zeros((count, SIDE, SIDE, 6))
        channels[0, 2:8, 2:8, 0] = 5
        channels[0, 4:10, 4:10, 4] = 9  # over the first: the later class wins
        channels[..., 5] = channels[..., :5].sum(-1) == 0
        np.save(images / "images.npy", np.stack([picture(i) for i in range(count)]).astype(np.float64))
        np.save(images / "types.npy", np.array(["Bile-duct", "HeadNeck"][:count]))
        np.save(masks / "masks.npy", channels)
    found = imported("pannuke", tmp_path / "zip", tmp_path / "out")
    assert list(found) == ["fold1_0000", "fold1_0001", "fold3_0000"]
    first = found["fold1_0000"]
    assert np.array_equal(first.image, picture(0))
    assert areas(first) == [36 - 16, 36]
    assert first.types is not None
    assert first.types.tolist() == [0, 1, 5]
    assert (first.tissue, found["fold1_0001"].tissue) == ("bile duct", "head and neck")
    assert found["fold1_0001"].instances.max() == 0
    assert [s.name for s in load_folder(Path(f"{tmp_path / 'out'}@fold3"))] == ["fold3_0000"]
    with pytest.raises(InputError, match=r"no part 'fold2'. Its official parts: fold1, fold3"):
        load_folder(Path(f"{tmp_path / 'out'}@fold2"))


def test_a_class_that_others_cover_wholly_is_gone() -> None:
    channels = np.zeros((4, 4, 6), int)
    channels[1, 1, 0] = channels[1:3, 1:3, 2] = 4
    labels, classes = instances_of(channels)
    assert (labels > 0).sum() == 4
    assert classes.tolist() == [3]


def test_pannuke_as_tiles(tmp_path: Path) -> None:
    png(tmp_path / "in" / "fold2" / "images" / "2_7.png", picture())
    (tmp_path / "in" / "fold2" / "masks").mkdir()
    channels = np.zeros((SIDE, SIDE, 6), np.int32)
    channels[..., 1] = two_squares()
    np.save(tmp_path / "in" / "fold2" / "masks" / "2_7.npy", channels)
    (sample,) = imported("pannuke", tmp_path / "in", tmp_path / "out").values()
    assert areas(sample) == [36, 96]
    assert [s.name for s in load_folder(Path(f"{tmp_path / 'out'}@fold2"))] == ["2_7"]


def test_conic_keeps_source_images_together(tmp_path: Path) -> None:
    labels = np.zeros((2, SIDE, SIDE, 2), np.uint16)
    labels[0, ..., 0] = two_squares()
    labels[0, ..., 1] = np.select([two_squares() == 3, two_squares() == 7], [6, 2])
    np.save(tmp_path / "images.npy", np.stack([picture(1), picture(2)]))
    np.save(tmp_path / "labels.npy", labels)
    (tmp_path / "patch_info.csv").write_text("patch_info\nconsep_1-0004\nconsep_1-0005\n")
    found = list(imported("conic", tmp_path, tmp_path / "out").values())
    assert [s.group for s in found] == ["consep_1", "consep_1"]
    assert found[0].types is not None
    assert found[0].types.tolist() == [0, 6, 2]
    assert found[0].mpp == 0.5


def test_lizard_has_classes_by_id(tmp_path: Path) -> None:
    png(tmp_path / "Lizard_Images1" / "glas_3.png", picture())
    (tmp_path / "Lizard_Labels" / "Labels").mkdir(parents=True)
    content = {"inst_map": two_squares(), "id": np.array([[7], [3]]), "class": np.array([[4], [1]])}
    savemat(tmp_path / "Lizard_Labels" / "Labels" / "glas_3.mat", content)
    (tmp_path / "Lizard_Labels" / "info.csv").write_text("Filename,Source,Split\nglas_3,GlaS,2\n")
    (sample,) = imported("lizard", tmp_path, tmp_path / "out").values()
    assert sample.types is not None
    assert sample.types.tolist() == [0, 1, 4]
    assert [s.name for s in load_folder(Path(f"{tmp_path / 'out'}@fold2"))] == ["glas_3"]


def test_consep_has_seven_classes_that_read_as_four(tmp_path: Path) -> None:
    for part, name in (("Train", "train_1"), ("Test", "test_1")):
        png(tmp_path / "CoNSeP" / part / "Images" / f"{name}.png", picture())
        png(tmp_path / "CoNSeP" / part / "Overlay" / f"{name}.png", picture())
        (tmp_path / "CoNSeP" / part / "Labels").mkdir()
        content = {
            "inst_map": two_squares().astype(np.float64),
            "type_map": np.zeros((SIDE, SIDE)),
            "inst_type": np.array([[4], [7]]),
            "inst_centroid": np.array([[5.0, 5.0], [16.0, 16.0]]),
        }
        savemat(tmp_path / "CoNSeP" / part / "Labels" / f"{name}.mat", content)
    found = imported("consep", tmp_path / "CoNSeP", tmp_path / "out")
    assert found["train_1"].types is not None
    assert found["train_1"].types.tolist() == [0, 4, 7]
    assert [s.name for s in load_folder(Path(f"{tmp_path / 'out'}@test"))] == ["test_1"]
    merged = load_folder(tmp_path / "out", taxonomy=CONSEP)[0].types
    assert merged is not None
    assert [CONSEP.names[t - 1] for t in merged[1:]] == ["epithelial", "spindle"]


def test_monuseg_is_outlines_in_the_order_of_the_file(tmp_path: Path) -> None:
    name = "TCGA-18-5592-01Z-00-DX1"
    for folder, xml in (("Tissue Images", "Annotations"),):
        (tmp_path / folder).mkdir()
        Image.fromarray(picture()).save(tmp_path / folder / f"{name}.tif")
        aperio(tmp_path / xml / f"{name}.xml", [("", box(2, 2, 6)), ("", box(5, 5, 6))])
    (sample,) = imported("monuseg", tmp_path, tmp_path / "out").values()
    assert sample.group == "TCGA-18-5592"
    assert sample.types is None
    small, large = sorted(areas(sample))
    assert 35 <= large <= 50  # 6 × 6 px, with the pixels that its edges touch
    assert small < large - 5


def test_monusac_gathers_classes_and_masks_what_is_unclear(tmp_path: Path) -> None:
    patient = tmp_path / "MoNuSAC_images_and_annotations" / "TCGA-5P-A9K0-01Z-00-DX1"
    patient.mkdir(parents=True)
    Image.fromarray(picture()).save(patient / "TCGA-5P-A9K0-01Z-00-DX1_1.tif")
    regions = [("Epithelial", box(1, 1, 5)), ("Lymphocyte", box(10, 1, 5)), ("Epithelial", box(1, 10, 5))]
    aperio(patient / "TCGA-5P-A9K0-01Z-00-DX1_1.xml", [*regions, ("Ambiguous", box(20, 20, 8))])
    (sample,) = imported("monusac", tmp_path, tmp_path / "out").values()
    assert sample.types is not None
    assert sorted(sample.types[1:].tolist()) == [0, 1, 1, 2]
    assert sample.ignored is not None
    assert 64 <= sample.ignored.sum() <= 81
    assert not (sample.instances[sample.ignored] > 0).any()
    assert sample.group == "TCGA-5P-A9K0"
    aperio(patient / "TCGA-5P-A9K0-01Z-00-DX1_1.xml", [("Plasma", box(1, 1, 5))])
    with pytest.raises(InputError, match="has the class 'Plasma'; those of MoNuSAC are epithelial, lymphocyte"):
        imported("monusac", tmp_path, tmp_path / "other")


@pytest.mark.parametrize("content", ["<Annotations><Region>", '<!DOCTYPE a [<!ENTITY b "c">]><Annotations/>'])
def test_broken_annotations_are_refused_in_a_line(tmp_path: Path, content: str) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.tif")
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(InputError, match=r"a\.xml' cannot be read as annotations of Aperio"):
        imported("monuseg", tmp_path, tmp_path / "out")


def test_nuinsseg_and_cryonuseg_have_label_maps(tmp_path: Path) -> None:
    organ = tmp_path / "nuinsseg" / "human liver"
    png(organ / "tissue images" / "human_liver_01.png", picture())
    for folder in ("label masks modify", "label masks"):
        (organ / folder).mkdir()
        cv2.imwrite(str(organ / folder / "human_liver_01.tif"), two_squares().astype(np.uint16))
    (sample,) = imported("nuinsseg", tmp_path / "nuinsseg", tmp_path / "a").values()
    assert (areas(sample), sample.tissue) == ([36, 96], "liver")
    cryo = tmp_path / "cryo"
    for who in ("Annotator 1 (biologist)", "Annotator 2 (bioinformatician)"):
        (cryo / who / "label masks modify").mkdir(parents=True)
        labels = two_squares() if "1" in who else np.zeros((SIDE, SIDE), np.int32)
        cv2.imwrite(str(cryo / who / "label masks modify" / "Human_Colon_01.tif"), labels.astype(np.uint16))
    (cryo / "tissue images").mkdir()
    Image.fromarray(picture()).save(cryo / "tissue images" / "Human_Colon_01.tif")
    (sample,) = imported("cryonuseg", cryo, tmp_path / "b").values()
    assert areas(sample) == [36, 96]


def test_tnbc_is_masks_by_slide(tmp_path: Path) -> None:
    png(tmp_path / "Slide_02" / "02_1.png", picture())
    png(tmp_path / "GT_02" / "02_1.png", ((two_squares() > 0) * 255).astype(np.uint8))
    (sample,) = imported("tnbc", tmp_path, tmp_path / "out").values()
    assert (areas(sample), sample.group) == ([36, 96], "02")


def test_cytodark0_has_folds_and_two_resolutions(tmp_path: Path) -> None:
    for scale in ("20x", "40x"):
        size = tmp_path / scale / "256x256"
        png(size / "image" / "7_0.png", picture())
        (size / "label").mkdir()
        cv2.imwrite(str(size / "label" / "7_0.tiff"), two_squares().astype(np.uint16))
        (tmp_path / scale / "folds.csv").write_text("img_id,fold\n7,2\n")
    for scale, mpp in (("20x", 0.548), ("40x", 0.274)):
        (sample,) = imported("cytodark0", tmp_path / scale / "256x256", tmp_path / scale / "out").values()
        assert (sample.mpp, sample.group, sample.tissue) == (mpp, "7", "brain")
        assert sample.types is not None
        assert sample.types.tolist() == [0, 1, 1]
        assert len(load_folder(Path(f"{tmp_path / scale / 'out'}@test"))) == 1


def test_dsb2018_keeps_stained_images_alone(tmp_path: Path) -> None:
    stained, dark = np.full((SIDE, SIDE, 3), (200, 120, 180), np.uint8), np.full((SIDE, SIDE, 3), 20, np.uint8)
    for name, pixels in (("aa", stained), ("bb", dark)):
        png(tmp_path / name / "images" / f"{name}.png", pixels)
        for number, value in enumerate((3, 7)):
            png(tmp_path / name / "masks" / f"{number}.png", ((two_squares() == value) * 255).astype(np.uint8))
    found = imported("dsb2018", tmp_path, tmp_path / "out")
    assert list(found) == ["aa"]
    assert areas(found["aa"]) == [36, 96]


def test_puma_is_geojson(tmp_path: Path) -> None:
    (tmp_path / "rois").mkdir()
    Image.fromarray(picture()).save(tmp_path / "rois" / "training_set_primary_roi_001.tif")
    ring = [[2, 2], [8, 2], [8, 8], [2, 8], [2, 2]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation", "classification": {"name": "nuclei_tumor", "color": [200, 0, 0]}},
    }
    (tmp_path / "geojson").mkdir()
    path = tmp_path / "geojson" / "training_set_primary_roi_001_nuclei.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    (sample,) = imported("puma", tmp_path, tmp_path / "out").values()
    assert sample.types is not None
    assert sample.types.tolist() == [0, 4]
    assert 36 <= areas(sample)[0] <= 49


def test_nucls_learns_nothing_of_boxes(tmp_path: Path) -> None:
    png(tmp_path / "rgb" / "TCGA-A1-A0SK-DX1_id-1.png", picture())
    columns = ("main_classification", "type", "xmin", "ymin", "xmax", "ymax", "coords_x", "coords_y")
    (tmp_path / "csv").mkdir()
    with (tmp_path / "csv" / "TCGA-A1-A0SK-DX1_id-1.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerow(["lymphocyte", "polyline", 2, 2, 8, 8, "2,8,8,2", "2,2,8,8"])
        table.writerow(["macrophage", "rectangle", 20, 20, 26, 26, "", ""])
    (sample,) = imported("nucls", tmp_path, tmp_path / "out").values()
    assert sample.types is not None
    assert sample.types.tolist() == [0, 5]
    assert sample.ignored is not None
    assert sample.ignored[22, 22]
    assert not sample.ignored[4, 4]
    assert sample.group == "TCGA-A1-A0SK"


def test_tissue_sets_are_imported(tmp_path: Path) -> None:
    bcss = tmp_path / "bcss"
    name = "TCGA-OL-A5RW-DX1_xmin1_ymin2_"
    codes = np.zeros((SIDE, SIDE), np.uint8)
    codes[4:, :], codes[10:, :], codes[20:, 5:] = 2, 19, 10
    png(bcss / "rgbs_colorNormalized" / f"{name}.png", picture())
    png(bcss / "masks" / f"{name}.png", codes)
    found = import_data("bcss", bcss, tmp_path / "a")
    assert (found.images, found.by_split) == (1, {"test": 1})
    glas = tmp_path / "glas"
    glas.mkdir()
    Image.fromarray(picture()).save(glas / "train_1.bmp")
    Image.fromarray(two_squares().astype(np.uint8)).save(glas / "train_1_anno.bmp")
    (glas / "Grade.csv").write_text("name,patient ID, grade (GlaS)\ntrain_1, 5, benign\n")
    (sample,) = imported("glas", glas, tmp_path / "b").values()
    assert (areas(sample), sample.group) == ([36, 96], "5")
    lung = tmp_path / "lung" / "2.validation"
    png(lung / "img" / "00.png", picture())
    png(lung / "mask" / "00.png", np.full((SIDE, SIDE), 3, np.uint8))
    assert import_data("wsss4luad", tmp_path / "lung", tmp_path / "c").by_split == {"validation": 1}


@pytest.mark.parametrize("name", SETS)
def test_another_folder_is_refused_with_what_was_expected(tmp_path: Path, name: str) -> None:
    (tmp_path / "holiday.txt").write_text("sea")
    with pytest.raises(InputError, match=r"as it is distributed\. Expected: .*Found: holiday\.txt\.$") as caught:
        import_data(name, tmp_path, tmp_path.parent / "out")
    assert "\n" not in str(caught.value)


BROKEN: dict[str, Callable[[Path], None]] = {
    "pannuke": lambda folder: np.save(folder / "images.npy", np.zeros((1, 4, 4, 3))),
    "conic": lambda folder: [np.save(folder / f"{n}.npy", np.zeros((2, 3))) for n in ("images", "labels")],  # type: ignore[dict-item, return-value]
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_set_is_refused_in_a_line(tmp_path: Path, name: str) -> None:
    BROKEN[name](tmp_path)
    with pytest.raises(InputError, match=r"Expected|expected") as caught:
        import_data(name, tmp_path, tmp_path.parent / "out")
    assert "\n" not in str(caught.value)
