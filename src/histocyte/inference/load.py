"""A model ready for use: its spec, a runtime that predicts its maps, a representation that reads them."""

from __future__ import annotations

import platform
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Literal, get_args

from histocyte.core.digest import file_sha256
from histocyte.core.errors import InputError, MissingExtraError, ModelError, UnknownNameError, is_installed
from histocyte.core.installation import how_to_add
from histocyte.core.maps import MapSpec, decoded_maps
from histocyte.core.names import counted
from histocyte.core.notebook import dot
from histocyte.core.plain_text import plain
from histocyte.core.taxonomy import Taxonomy
from histocyte.inference.cpus import available_cpus
from histocyte.inference.runtime import DEFAULT_PRECISION, Precision, Runtime, features_of
from histocyte.inference.views import ViewsRuntime
from histocyte.model.build import build_representation
from histocyte.model.checkpoint import read_spec
from histocyte.model.classifier import CellClassifier
from histocyte.model.onnx.features import features_in
from histocyte.model.onnx.metadata import check_numbers, read_onnx_spec
from histocyte.model.spec import ModelSpec
from histocyte.model.zoo import DEFAULT_MODEL, ModelFiles, find_model
from histocyte.representations.protocol import Representation

__all__ = ["Model", "RuntimeName", "load", "spec_of"]

RuntimeName = Literal["auto", "openvino", "torch", "onnxruntime"]


@dataclass(frozen=True, slots=True, repr=False)
class Model:
    """What the pipeline needs of a model.

    Attributes:
        spec: What it is.
        runtime: Turns images into maps.
        representation: Turns maps into instances.
        sha256: SHA-256 of the file that was loaded, for the record.
        classifier: Gives the cells classes in place of the model's own.
        views: Number of views of each image, over which the runtime averages its maps (`inference.views`).
    """

    spec: ModelSpec
    runtime: Runtime
    representation: Representation
    sha256: str
    classifier: CellClassifier | None = None
    views: int = 1

    def __repr__(self) -> str:
        """What it finds, at which resolution, and where it runs."""
        return f"<Model {self._words()}; {self.runtime.name} on {self.runtime.device}>"

    def _repr_html_(self) -> str:
        """Classes in their colours, resolution, runtime, licence and held-out scores, for notebooks."""
        classes = ", ".join(f"{dot(c.colour)}{escape(plain(c.name))}" for c in self.taxonomy.classes)
        facts = (
            ("finds", classes or "cells without classes"),
            ("at", f"{self.spec.mpp:g} µm/px"),
            ("runs by", escape(plain(f"{self.runtime.name} on {self.runtime.device}"))),
            ("licence", escape(plain(self.spec.licence)) or "not stated"),
            *((f"bPQ on {escape(plain(name))}", f"{value:.3f}") for name, value in self._quality().items()),
        )
        rows = "".join(f"<tr><th>{name}<td>{value}</tr>" for name, value in facts)
        return f"<table><caption>{escape(plain(self.title))}</caption>{rows}</table>"

    def _quality(self) -> dict[str, float]:
        """Panoptic quality on each set of held-out images, as far as the model's file says."""
        found: dict[str, float] = {}
        for source, of in self.spec.metrics.items():
            with suppress(KeyError, TypeError, ValueError):  # metrics of other origin have other forms
                found[source] = float(of["scores"]["bpq"]["value"])
        return found

    def _words(self) -> str:
        classes = ", ".join(self.taxonomy.names) or "cells without classes"
        own = "" if self.classifier is None else f" (of the classifier '{self.classifier.where}')"
        views = f", {self.views} views" if self.views > 1 else ""
        return plain(f"'{self.spec.name}': {classes}{own} at {self.spec.mpp:g} µm/px{views}", one_line=True)

    @property
    def title(self) -> str:
        """For headings: its name, and the classifier's where that gives its cells classes."""
        return (
            self.spec.name if self.classifier is None else f"{self.spec.name} with {Path(self.classifier.where).name}"
        )

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes that its cells get."""
        return self.spec.classes if self.classifier is None else self.classifier.taxonomy

    def classified_by(self, classifier: CellClassifier) -> Model:
        """The same model, whose cells get the classes of a classifier.

        Raises:
            InputError: The runtime gives no vectors of cells, or the classifier is for another model.
        """
        classifier.check_fits(self.spec.name, self.sha256, features_of(self.runtime))
        return replace(self, classifier=classifier)

    def with_tiles(self, *, tile_px: int | None = None, margin_px: int | None = None) -> Model:
        """The same model, given other tiles of an image; what is None stays.

        Args:
            tile_px: Side of a tile, px at the model's resolution.
            margin_px: Border of a tile whose maps do not count where a neighbouring tile has better.

        Raises:
            InputError: Its network cannot be given such tiles; says which it can.
        """
        return replace(self, spec=self.spec.with_tiles(tile_px=tile_px, margin_px=margin_px))

    @property
    def channels(self) -> int:
        """Channels of all maps that the runtime gives."""
        return sum(spec.channels for spec in self.maps)

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """The maps that the runtime gives, in channel order."""
        return decoded_maps(self.representation.maps)


def load(
    model: str | Path = DEFAULT_MODEL,
    *,
    runtime: RuntimeName = "auto",
    device: str = "auto",
    workers: int | None = None,
    precision: Precision | None = None,
    features: bool = False,
    views: int = 1,
    tile_px: int | None = None,
    margin_px: int | None = None,
) -> Model:
    """Load a bundled model by name or a model file by path.

    Args:
        model: Name or path.
        runtime: "auto" takes torch where there is a GPU and torch to drive it, else OpenVINO, else what can run.
        device: For torch: "auto", "cpu", "cuda", "cuda:1", "mps".
        workers: Threads on a CPU; as many as this process may use where None.
        precision: For OpenVINO: "auto", the default, takes "bf16" on CPUs with units for it, which is up to twice as
            fast; "f32" gives the same cells on every CPU.
        features: Vectors of cells are wanted: "auto" takes a runtime that gives them.
        views: Average the maps over 2, 4 or 8 flips and turns of each image: as many times slower, a little better.
        tile_px: Side of the squares that the network is given of an image, px at its resolution; the model's own where
            None.
        margin_px: Border of a tile whose maps do not count where a neighbouring tile has better; the model's own where
            None.

    Raises:
        UnknownNameError: No such model, runtime or precision.
        InputError: No such file, a runtime, device, precision or number of views that is not here, or tiles that the
            network cannot be given.
        ModelError: A file that cannot be used by the runtime.
        MissingExtraError: A runtime that is not installed.
    """
    for kind, name, known in (
        ("runtime", runtime, get_args(RuntimeName)),
        ("precision", precision or DEFAULT_PRECISION, get_args(Precision)),
    ):
        if name not in known:
            raise UnknownNameError(kind, name, known)
    found = find_model(model)
    threads = workers or available_cpus()
    name = _pick(found, device, features=features) if runtime == "auto" else runtime
    path = _file_for(found, name)
    spec = read_onnx_spec(path) if path.suffix == ".onnx" else read_spec(path)
    if path.suffix == ".onnx":
        check_numbers(path)
    spec, digest = spec.with_tiles(tile_px=tile_px, margin_px=margin_px), file_sha256(path)
    started, representation = (
        _start(name, path, device, threads, spec.multiple, precision),
        build_representation(spec.representation),
    )
    _check_fits(started, spec, representation, path)
    seen = started if views == 1 else ViewsRuntime(started, representation, views=views)
    return Model(spec, seen, representation, digest, views=views)


def _check_fits(runtime: Runtime, spec: ModelSpec, representation: Representation, path: Path) -> None:
    """Refuse a network that is another than the spec says.

    Raises:
        ModelError: It gives other channels, or takes images of other sides.
    """
    channels, wanted = runtime.channels, sum(m.channels for m in decoded_maps(representation.maps))
    fault = ""
    if channels not in (None, wanted):
        fault = f"its network gives {counted(channels, 'channel')}, and its spec asks for {wanted}"
    elif spec.multiple % runtime.multiple:
        fault = f"its network takes sides in multiples of {runtime.multiple}, and its spec says {spec.multiple}"
    if fault:
        raise ModelError(f"'{path}' contradicts itself: {fault}. Make it again, or get it again from where it came.")


def spec_of(found: ModelFiles) -> ModelSpec:
    """The spec inside a model's files."""
    if found.safetensors is not None:
        return read_spec(found.safetensors)
    assert found.onnx is not None
    return read_onnx_spec(found.onnx)


def _pick(found: ModelFiles, device: str, *, features: bool) -> RuntimeName:
    torch_here = is_installed("torch") and found.safetensors is not None
    if device == "cpu" or (device == "auto" and not _accelerator()):
        usable = found.onnx is not None and not (features and features_in(found.onnx) is None)
        return "openvino" if usable else "torch"
    return "torch" if torch_here or found.onnx is None or device != "auto" else "openvino"


def _accelerator() -> bool:
    """Whether it is worth asking torch for a GPU; importing it only to hear "no" takes seconds."""
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return apple or shutil.which("nvidia-smi") is not None


def _file_for(found: ModelFiles, runtime: str) -> Path:
    path = found.safetensors if runtime == "torch" else found.onnx
    if path is None:
        needs, way = (
            (".safetensors", "pass that file")
            if runtime == "torch"
            else (".onnx", f"make it with `histocyte models export {found.any}`")
        )
        raise ModelError(
            f"The runtime '{runtime}' needs the {needs} file of '{found.name}', which is not there: {way}."
        )
    return path


def _start(
    name: str, path: Path, device: str, threads: int, multiple: int, precision: Precision | None = None
) -> Runtime:
    if precision is not None and name != "openvino":
        raise InputError(f"The runtime '{name}' has one precision: --precision is for --runtime openvino.")
    if name == "torch":
        if not is_installed("torch"):
            raise MissingExtraError(f"The torch runtime needs torch. Run: {how_to_add('torch')}")
        from histocyte.inference.torch_runtime import TorchRuntime

        return TorchRuntime(path, device=device, threads=threads)
    if device not in ("auto", "cpu"):
        raise InputError(f"The runtime '{name}' runs on the CPU; for device '{device}' pass --runtime torch.")
    if name == "onnxruntime":
        from histocyte.inference.onnx_runtime import OnnxRuntime

        return OnnxRuntime(path, threads=threads, multiple=multiple)
    from histocyte.inference.openvino_runtime import OpenVinoRuntime

    return OpenVinoRuntime(path, threads=threads, multiple=multiple, precision=precision or DEFAULT_PRECISION)
