"""Score the default model on a few fixed real crops and store the result that tests/test_accuracy_gate.py holds it to.

    python scripts/accuracy_baseline.py

Run it when a change is meant to move the accuracy, look at the printed scores, and commit the new file with the change.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from histocyte.core.instances import Labels, relabel_sequential
from histocyte.datasets.folder import load_folder
from histocyte.inference.load import load
from histocyte.metrics.detection import centroids, detection_radius_px, match_centroids
from histocyte.metrics.panoptic import panoptic_counts
from histocyte.model.zoo import DEFAULT_MODEL
from histocyte.pipeline import instances_on

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
BASELINE = ROOT / "tests" / "accuracy_baseline.json"
CROP_PX, QUARTER_PX = 512, 256
PER_SET = {"consep": 2, "monuseg": 1, "tnbc": 1}


def score_crops(**options: object) -> dict[str, dict[str, float]]:
    """BPQ and detection F1 of every quarter of the crops' upper left 512 px, by "set/image/quarter"."""
    model = load(DEFAULT_MODEL, **options)
    held_out = model.spec.history.held_out
    scores = {}
    for source, count in PER_SET.items():
        samples = {sample.name: sample for sample in load_folder(DATA / source)}
        for name in sorted(held_out[source])[:count]:
            sample = samples[name]
            truth = Labels(sample.instances[:CROP_PX, :CROP_PX]).instances
            image = np.ascontiguousarray(sample.image[:CROP_PX, :CROP_PX])
            found = instances_on(image, model, mpp=sample.mpp).labels
            for row in (0, QUARTER_PX):
                for column in (0, QUARTER_PX):
                    box = np.s_[row : row + QUARTER_PX, column : column + QUARTER_PX]
                    (a, _), (b, _) = (relabel_sequential(m[box].astype(np.int32)) for m in (truth, found))
                    radius_px = detection_radius_px(sample.mpp)
                    match = match_centroids(centroids(a)[1], centroids(b)[1], radius_px=radius_px)
                    scores[f"{source}/{name}/{row}-{column}"] = {
                        "bpq": float(panoptic_counts(a, b).pq),
                        "f1": match.counts().f1,
                    }
    return scores


if __name__ == "__main__":
    found = score_crops(runtime="openvino")
    for key in ("bpq", "f1"):
        print(f"mean {key} of {len(found)} quarters: {np.nanmean([s[key] for s in found.values()]):.4f}")
    BASELINE.write_text(json.dumps({"model": DEFAULT_MODEL, "quarters": found}, indent=1) + "\n")
