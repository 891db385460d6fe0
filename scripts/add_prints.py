"""Write prints of the images that bundled models learnt from and held out into their files; weights stay as they are.

    python scripts/add_prints.py --data ../shared/data

A model's file names its sets and the images that were held out; all others of a set's folder taught it. To be run once
for models of a version that did not keep prints, and again whenever prints are made in another way. Ends in an error,
before anything is written, if a folder does not hold as many images as the model says.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from histocyte.core.errors import InputError
from histocyte.datasets.folder import load_folder
from histocyte.datasets.sample import Sample
from histocyte.files.atomic import write_atomically
from histocyte.model.checkpoint import SPEC_KEY, read_spec
from histocyte.model.history import History
from histocyte.model.onnx.metadata import read_onnx_spec
from histocyte.model.spec import ModelSpec
from histocyte.model.zoo import bundled_models


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets' folders")
    parser.add_argument("models", nargs="*", help="all bundled ones by default")
    arguments = parser.parse_args()
    read: dict[str, list[Sample]] = {}
    for name in arguments.models or bundled_models():
        files = bundled_models()[name]
        assert files.safetensors is not None
        assert files.onnx is not None
        before = read_spec(files.safetensors)
        assert before == read_onnx_spec(files.onnx)
        for entry in before.history.sets:
            if entry.name not in read:
                read[entry.name] = load_folder(arguments.data / entry.name)
        spec = before.with_changes(history=with_prints(before.history, read))
        rewrite_safetensors(files.safetensors, spec)
        rewrite_onnx(files.onnx, spec)
        print(f"{name}: {len(spec.history.model_dump_json()) / 1e3:.1f} kB of history")


def with_prints(history: History, read: dict[str, list[Sample]]) -> History:
    """A history with the prints of all images of its sets."""
    held, left = history.held_out, history.left_out
    training, validation, apart = [], [], []
    for name in dict.fromkeys(entry.name for entry in history.sets):
        images = next(entry.images for entry in history.sets if entry.name == name)
        if len(read[name]) != images:
            raise InputError(f"A model learnt from {images} images of {name}, and its folder holds {len(read[name])}.")
        for sample in read[name]:
            if sample.name in left.get(name, ()):
                apart.append(sample)
            elif sample.name in held.get(name, ()):
                validation.append(sample)
            else:
                training.append(sample)
    made = History.of(training, validation, apart)
    facts = {entry.name: entry for entry in reversed(history.sets)}
    sets = [
        facts[new.name].model_copy(update={"learnt": new.learnt, "held_out": new.held_out, "left_out": new.left_out})
        for new in made.sets
    ]
    return history.model_copy(update={"sets": tuple(sets)})


def rewrite_safetensors(path: Path, spec: ModelSpec) -> None:
    """Exchange the spec in a file's header; the bytes of its tensors stay."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"][SPEC_KEY] = spec.model_dump_json()
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # as the format wants it
    with write_atomically(path) as file:
        file.write(len(text).to_bytes(8, "little") + text + content[8 + size :])


def rewrite_onnx(path: Path, spec: ModelSpec) -> None:
    """Exchange the spec in a file's metadata; its graph stays."""
    import onnx

    model = onnx.load(str(path))
    graph = model.graph.SerializeToString(deterministic=True)
    (entry,) = (e for e in model.metadata_props if e.key == SPEC_KEY)
    entry.value = spec.model_dump_json()
    with write_atomically(path) as file:
        file.write(model.SerializeToString())
    assert onnx.load(str(path)).graph.SerializeToString(deterministic=True) == graph


if __name__ == "__main__":
    main()
