"""Sets of labelled images as they are distributed, own data, imported sets, and models of tissue on slides."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat

from fuzzing.commands import result_regions
from fuzzing.inputs import IMAGE, LABELS, RING, SIDE, command, write_json
from fuzzing.training import LABELLED, labelled
from histocyte.core.errors import HistocyteError
from histocyte.datasets.folder import load_folder
from histocyte.runs.data.import_data import import_data
from histocyte.testing.attack import Target
from histocyte.testing.pyramid import write_pyramid

INSTANCES = LABELS.instances.astype(np.int32)
COUNT = int(INSTANCES.max())


def public(folder: Path) -> None:
    """PanNuke, CoNIC, CoNSeP, Lizard, MoNuSAC and GlaS, an image of each."""
    for name in ("pannuke", "conic", "consep/Train/Images", "consep/Train/Labels", "lizard", "monusac/p", "glas"):
        (folder / name).mkdir(parents=True)
    channels = np.zeros((1, SIDE, SIDE, 6), np.int32)
    channels[0, ..., 1] = INSTANCES
    np.save(folder / "pannuke" / "images.npy", IMAGE[None].astype(np.float32))
    np.save(folder / "pannuke" / "masks.npy", channels)
    np.save(folder / "pannuke" / "types.npy", np.array(["Breast"]))
    np.save(folder / "conic" / "images.npy", IMAGE[None])
    np.save(folder / "conic" / "labels.npy", np.stack([INSTANCES, INSTANCES > 0], -1)[None].astype(np.uint16))
    (folder / "conic" / "patch_info.csv").write_text("patch_info\nglas_1-0001\n")
    cv2.imwrite(str(folder / "consep" / "Train" / "Images" / "t.png"), IMAGE[..., ::-1])
    types = np.ones((COUNT, 1))
    savemat(folder / "consep" / "Train" / "Labels" / "t.mat", {"inst_map": INSTANCES * 1.0, "inst_type": types})
    cv2.imwrite(str(folder / "lizard" / "l.png"), IMAGE[..., ::-1])
    ids = np.arange(1, COUNT + 1)[:, None]
    savemat(folder / "lizard" / "l.mat", {"inst_map": INSTANCES, "id": ids, "class": np.ones_like(ids)})
    cv2.imwrite(str(folder / "monusac" / "p" / "m.tif"), IMAGE[..., ::-1])
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in RING)
    (folder / "monusac" / "p" / "m.xml").write_text(
        '<Annotations><Annotation><Attributes><Attribute Name="Lymphocyte"/></Attributes><Regions><Region><Vertices>'
        f"{vertices}</Vertices></Region></Regions></Annotation></Annotations>"
    )
    cv2.imwrite(str(folder / "glas" / "train_1.bmp"), IMAGE[..., ::-1])
    cv2.imwrite(str(folder / "glas" / "train_1_anno.bmp"), INSTANCES.astype(np.uint8))
    (folder / "glas" / "Grade.csv").write_text("name,patient ID\ntrain_1,3\n")


PUBLIC = (
    *("pannuke/images.npy", "pannuke/masks.npy", "pannuke/types.npy", "conic/labels.npy", "conic/patch_info.csv"),
    *("consep/Train/Labels/t.mat", "lizard/l.mat", "monusac/p/m.xml", "glas/train_1_anno.bmp", "glas/Grade.csv"),
)


def import_public(folder: Path) -> None:
    """Import each; one that is refused hides none of the others."""
    refused: list[HistocyteError] = []
    for name in ("pannuke", "conic", "consep", "lizard", "monusac", "glas"):
        try:
            import_data(name, folder / name, folder / "out" / name)
        except HistocyteError as error:
            refused.append(error)
    if refused:
        raise refused[0]


def own(folder: Path) -> None:
    """A plain folder, COCO, and images with files of cells."""
    labelled(folder)
    (folder / "coco").mkdir()
    cv2.imwrite(str(folder / "coco" / "a.png"), IMAGE[..., ::-1])
    ring = [float(v) for point in RING for v in point]
    annotations = [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [ring]}]
    data = {"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "a"}]}
    write_json(folder / "coco" / "c.json", data | {"annotations": annotations})
    (folder / "labels" / "images").mkdir(parents=True)
    cv2.imwrite(str(folder / "labels" / "images" / "a.png"), IMAGE[..., ::-1])
    shape = {"type": "Polygon", "coordinates": [RING]}
    properties = {"objectType": "detection", "classification": {"name": "a"}}
    feature = {"type": "Feature", "geometry": shape, "properties": properties}
    write_json(folder / "labels" / "labels" / "a.geojson", {"type": "FeatureCollection", "features": [feature]})


OWN = (*LABELLED, "coco/c.json", "labels/labels/a.geojson", "labels/images/a.png")


def import_own(folder: Path) -> None:
    """Import each in the command that a user types."""
    for form, name in (("folder", "mine"), ("coco", "coco"), ("labels", "labels")):
        command("data", "import", form, folder / name, "-o", folder / "out" / form, "--mpp", "0.25", "--json")


def imported(folder: Path) -> None:
    """A set in the uniform form."""
    labelled(folder)
    import_data("folder", folder / "mine", folder / "set", mpp=0.25)


def read_imported(folder: Path) -> None:
    """Show and read it."""
    json.loads(command("data", "show", folder / "set", "--json"))
    load_folder(folder / "set")


def tissue_inputs(folder: Path) -> None:
    """A slide, where to look, and a small model of tissue."""
    import torch

    from histocyte.model.build import build_segmenter
    from histocyte.model.checkpoint import save_model
    from histocyte.recipes.tissue import tissue_fcn

    write_pyramid(folder / "s.tif", IMAGE, 1.0)
    result_regions(folder / "roi.geojson")
    torch.manual_seed(0)
    spec = tissue_fcn("mobilenetv2_050", widths=(16, 8), levels=3)
    save_model(folder / "m.safetensors", spec, build_segmenter(spec).state_dict())


def tissue(folder: Path) -> None:
    """Tell its tissue apart."""
    given = ("--model", folder / "m.safetensors", "--roi", folder / "roi.geojson", "--workers", "1", "--json")
    command("tissue", folder / "s.tif", "-o", folder / "out", "--mpp", "1.0", "--device", "cpu", *given)


TARGETS = (
    Target("data import, public sets", public, PUBLIC, import_public, share=0.3),
    Target("data import, own data", own, OWN, import_own, share=0.3),
    Target("data show", imported, ("set/dataset.json", "set/shard-00000.parquet"), read_imported, share=0.5),
    Target("tissue", tissue_inputs, ("s.tif", "roi.geojson", "m.safetensors"), tissue, share=0.1, needs="torch"),
)
