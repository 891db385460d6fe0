"""The next default model, trained fifty times as long as a laptop can.

To improve: bPQ, and class F1 in organs beside the colon. `hover_fpn` learns outlines, classes and dots of all labelled
sets as one list of classes. To go by: the cards of the bundled models on the same held-out images, which the seed
decides. Call it again until it ends with 0; the state in OUT/run is what it goes on from.

Run: python scripts/gpu/train_default.py DATA -o OUT --encoder-weights tf_efficientnet_lite2_in1k.safetensors
     [--encoder tf_efficientnet_lite0] [--recipe hover_unet] [--seed 1] [--steps 40000]
"""

from __future__ import annotations

import sys

from _job import ALL_SETS, histocyte, parser, small_results


def main() -> int:
    """Do it; gives the exit code."""
    given = parser(__doc__, steps=40_000)
    given.add_argument("--recipe", default="hover_fpn")
    given.add_argument("--encoder", help="in place of the recipe's own")
    given.add_argument("--encoder-weights", help="weights of an ImageNet model; random by default")
    given.add_argument("--learning-rate", type=float, default=1e-3)
    given.add_argument("--seed", type=int, default=0)
    arguments = given.parse_args()
    run = arguments.out / "run"
    options = {"--encoder": arguments.encoder, "--encoder-weights": arguments.encoder_weights}
    every = max(1, min(2000, arguments.steps // 4))
    weights = {"hover_msge": 2, "nucleus_bce": 2, "nucleus_dice": 2, "hover_mse": 5, "types_ce": 1.5, "types_dice": 0.2}
    code = histocyte(
        [
            *("train", *(str(arguments.data / name) for name in ALL_SETS), "-o", str(run), "--classes", "cells"),
            *("--recipe", arguments.recipe, *(part for pair in options.items() if pair[1] for part in pair)),
            *("--steps", str(arguments.steps), "--batch", str(arguments.batch), "--device", arguments.device),
            *("--learning-rate", str(arguments.learning_rate), "--validate-every", str(every)),
            *(part for name, value in weights.items() for part in ("--loss-weight", f"{name}={value}")),
            *("--seed", str(arguments.seed), "--name", f"{arguments.recipe.replace('_', '-')}-long"),
        ],
        minutes=arguments.minutes,
    )
    small_results(run, arguments.out, extra=("model.safetensors",))
    return code


if __name__ == "__main__":
    sys.exit(main())
