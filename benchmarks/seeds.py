"""What several seeds in one program cost, compared with one seed, side by side.

    python -m hqnn_jax.benchmarks.seeds configs/ablation_bloodmnist.yaml --seeds 1,8

Every turn trains each number of seeds for some epochs from their initial states; turns alternate,
so that other programs on the machine disturb all alike. Compilation is apart.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hqnn_jax.ablation.file import load_ablation
from hqnn_jax.benchmarks import machine
from hqnn_jax.config import Config
from hqnn_jax.config.loading import load_config, read_yaml
from hqnn_jax.files import write_atomically
from hqnn_jax.malloc import keep_large_buffers
from hqnn_jax.progress import Progress
from hqnn_jax.runs.setup import Setup, load_setup
from hqnn_jax.training.program import Program, TrainingData, compile_program
from hqnn_jax.training.seeds import fit_seeds


@dataclasses.dataclass(frozen=True)
class SeedsTogether:
    """A number of seeds, ready to be trained."""

    setup: Setup
    seeds: tuple[int, ...]
    data: TrainingData
    program: Program

    @classmethod
    def of(cls, setup: Setup, count: int) -> SeedsTogether:
        """Compile the training of the first `count` seeds."""
        seeds = tuple(range(count))
        task = setup.task(*setup.initial_model(0))
        data = setup.training_data_of_seeds(seeds)
        states = setup.initial_states(task, seeds)
        size = setup.config.evaluation.batch_size
        return cls(setup, seeds, data, compile_program(task, states, data, size))

    def train(self) -> float:
        """Train all epochs and return the seconds, for all seeds together."""
        states = self.setup.initial_states(self.program.task, self.seeds)
        return fit_seeds(
            self.program, states, self.data, self.seeds,
            choose="best", progress=Progress(terminal=False), stop=lambda: False,
        ).seconds  # fmt: skip


def measure(config: Config, counts: Sequence[int], rounds: int) -> dict[str, Any]:
    """Return the median seconds of every number of seeds, and their ratios to the first."""
    setup = load_setup(config, Progress())
    contenders = [SeedsTogether.of(setup, count) for count in counts]
    for contender in contenders:
        contender.train()  # warm-up
    seconds = [[contender.train() for contender in contenders] for _ in range(rounds)]
    medians = [statistics.median(column) for column in zip(*seconds, strict=True)]
    ratios = [
        statistics.median(turn[index] / turn[0] for turn in seconds) for index in range(len(counts))
    ]
    return {
        "machine": machine.describe(),
        "epochs": config.training.epochs,
        "rounds": rounds,
        "rows": [
            {
                "seeds": count,
                "seconds": median,
                "ratio": ratio,
                "compile_seconds": contender.program.compile_seconds,
                "memory_bytes": contender.program.memory,
            }
            for count, median, ratio, contender in zip(
                counts, medians, ratios, contenders, strict=True
            )
        ],
    }


def main() -> None:
    """Measure a configuration and write what was found."""
    parser = argparse.ArgumentParser(prog="python -m hqnn_jax.benchmarks.seeds")
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--seeds", default="1,8")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    keep_large_buffers()
    if "ablation" in read_yaml(options.config):
        config = load_ablation(options.config, options.overrides).base()
    else:
        config = load_config(options.config, options.overrides)
    counts = [int(count) for count in options.seeds.split(",")]
    found = {"config": options.config.stem, **measure(config, counts, options.rounds)}
    for row in found["rows"]:
        print(
            f"{row['seeds']:3} seeds: {row['seconds']:.2f} s, {row['ratio']:.2f} times "
            f"{counts[0]}; compiled in {row['compile_seconds']:.1f} s"
        )
    if options.out is not None:
        write_atomically(options.out, (json.dumps(found, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
