"""The default model on fixed real crops must be no worse than stored (scripts/accuracy_baseline.py renews that).

Rule: the score of each quarter of a crop is compared with its stored one. It fails when the drop is larger than chance
among the quarters (the whole 95 % interval of the paired bootstrap mean is below minus the tolerance) or when the mean
drop alone is beyond `LARGE`. The tolerance is for CPUs that compute in another precision.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from histocyte.statistics.bootstrap import bootstrap_weights, estimate, weighted_mean

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
TOLERANCE, LARGE = 0.005, 0.02


def verdict(now, stored, key):
    """The mean change with its interval, and whether it is a failure."""
    change = np.array([now[name][key] - stored[name][key] for name in stored])
    mean = estimate(weighted_mean(change), bootstrap_weights([""] * len(change)))
    return mean, bool(mean.high < -TOLERANCE or mean.value < -LARGE)


def test_a_drop_everywhere_and_a_large_drop_fail_but_noise_does_not():
    rng = np.random.default_rng(0)
    stored = {str(i): {"bpq": v} for i, v in enumerate(rng.uniform(0.4, 0.7, 16))}
    changed = [
        {name: {"bpq": s["bpq"] + d} for (name, s), d in zip(stored.items(), drops, strict=True)}
        for drops in (np.full(16, -0.01), np.r_[-0.5, np.zeros(15)], rng.normal(0, 0.01, 16))
    ]
    assert [verdict(now, stored, "bpq")[1] for now in changed] == [True, True, False]


@pytest.mark.skipif(not (DATA / "consep").exists(), reason="the real images are not here")
def test_default_model_is_as_accurate_as_stored():
    spec = importlib.util.spec_from_file_location("accuracy_baseline", ROOT / "scripts" / "accuracy_baseline.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    stored, now = json.loads(script.BASELINE.read_text()), script.score_crops(runtime="openvino")
    assert stored["model"] == script.DEFAULT_MODEL, "renew the baseline: python scripts/accuracy_baseline.py"
    assert now.keys() == stored["quarters"].keys(), "renew the baseline: python scripts/accuracy_baseline.py"
    for key in ("bpq", "f1"):
        change, worse = verdict(now, stored["quarters"], key)
        assert not worse, (
            f"{key} fell by {-change.value:.4f} ({change.low:.4f} to {change.high:.4f}, n = {change.n}). If that "
            "is meant: python scripts/accuracy_baseline.py"
        )
