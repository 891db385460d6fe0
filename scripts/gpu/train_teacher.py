"""CellViT from a big encoder, as a teacher for the models that run on a laptop.

To improve: the classes of the students, which learn from the teacher's maps (`histocyte distil`); a pathology encoder's
CellViT is the best that is published on PanNuke. With `--adapt frozen` and `--cache` a step costs the decoder alone.

Run: python scripts/gpu/train_teacher.py DATA -o OUT --encoder uni --encoder-weights uni [--adapt lora]
     [--plan published]
"""

from __future__ import annotations

import sys

from _job import SETS, histocyte, parser, small_results


def main() -> int:
    """Do it; gives the exit code."""
    given = parser(__doc__, steps=10_000)
    given.add_argument("--encoder", default="vit256", help="histocyte encoders list")
    given.add_argument("--encoder-weights", help="at random where not given, which needs --adapt full")
    given.add_argument("--adapt", default="full", help="full, frozen, last-N, lora")
    given.add_argument("--plan", default="published")
    given.add_argument("--cache", action="store_true", help="keep a frozen encoder's features in OUT/features")
    arguments = given.parse_args()
    run = arguments.out / "run"
    weights = ["--encoder-weights", arguments.encoder_weights] if arguments.encoder_weights else []
    cache = ["--cache", str(arguments.out / "features")] if arguments.cache else []
    every = max(1, min(1000, arguments.steps // 4))
    code = histocyte(
        [
            *("train", *(str(arguments.data / name) for name in SETS[:3]), "-o", str(run), "--recipe", "cellvit"),
            *("--encoder", arguments.encoder, *weights, "--adapt", arguments.adapt, *cache, "--plan", arguments.plan),
            *("--steps", str(arguments.steps), "--batch", str(arguments.batch), "--device", arguments.device),
            *("--validate-every", str(every), "--name", f"cellvit-{arguments.encoder}"),
        ],
        minutes=arguments.minutes,
    )
    small_results(run, arguments.out)
    return code


if __name__ == "__main__":
    sys.exit(main())
