"""Keeping what a finished run found in `experiments/results`, where README's figures are read from,
and the model it trained in `hqnn_jax/zoo`.

    python -m hqnn_jax.experiments.stored run RUN NAME          # -> results/runs/NAME
    python -m hqnn_jax.experiments.stored paper FOLDER NAME     # -> results/papers/NAME
    python -m hqnn_jax.experiments.stored hardware FOLDER NAME  # -> results/hardware/NAME
    python -m hqnn_jax.experiments.stored model RUN NAME        # -> hqnn_jax/zoo/NAME

Kept are the figures, the configuration without the place of the data, the environment and, of a
run, every predicted class, so that others can recompute the figures; not images, weights or
probabilities.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hqnn_jax.ablation.predictions import small_integers
from hqnn_jax.errors import ConfigurationError, HqnnError, RunFolderError
from hqnn_jax.files import read_json, write_arrays, write_atomically, write_json
from hqnn_jax.runs.finished import FinishedRun, load_run
from hqnn_jax.trained.folder import read_model, write_model
from hqnn_jax.trained.layout import CARD
from hqnn_jax.trained.sources import find_model
from hqnn_jax.trained.zoo import ZOO

RESULTS = Path(__file__).resolve().parent / "results"
SOURCES = {"paper": "results.json", "hardware": "hardware.json"}
"""The file with the figures, by what has written it."""
FOLDERS = {
    "run": RESULTS / "runs",
    "paper": RESULTS / "papers",
    "hardware": RESULTS / "hardware",
    "model": ZOO,
}


def store_run(run: FinishedRun, folder: Path) -> None:
    """Write `metrics.json`, `config.yaml`, `environment.json` and `predictions.npz` of a run.

    `predictions.npz` holds `seeds` and, for validation and test, `SPLIT_predicted` of shape
    [seeds, images] and `SPLIT_labels` of shape [images].
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = run.config.model_copy(
        update={"dataset": run.config.dataset.model_copy(update={"data_dir": None})}
    )
    write_json(folder / "metrics.json", run.metrics)
    write_json(folder / "environment.json", run.environment)
    write_atomically(folder / "config.yaml", config.to_yaml().encode())
    arrays: dict[str, np.ndarray] = {"seeds": run.predictions.seeds}
    for split in ("validation", "test"):
        predicted = run.predictions.probabilities[split].argmax(axis=2)
        arrays[f"{split}_predicted"] = small_integers(predicted)
        arrays[f"{split}_labels"] = small_integers(run.predictions.labels[split])
    write_arrays(folder / "predictions.npz", arrays)


def store_results(source: Path, destination: Path) -> None:
    """Write `results.json` with the figures of a paper or of an evaluation on a backend.

    Without the curves of the loss, which are most of it.

    Raises:
        RunFolderError: if there is none.
    """
    content: dict[str, Any] = read_json(
        source, RunFolderError, "expected the folder of a paper or an evaluation"
    )
    for cell in content.get("cells", ()):
        cell.pop("losses", None)
    destination.mkdir(parents=True, exist_ok=True)
    write_json(destination / "results.json", content)


def store_model(source: Path, destination: Path) -> None:
    """Write the model of a run; one that is there is replaced.

    Raises:
        ModelFolderError: if the run has left none, or it is damaged.
    """
    found = find_model(source)
    card = (found / CARD).read_text(encoding="utf-8")
    model = read_model(found)
    write_model(destination, model.record, model.variables, model.validation, card)


def main(arguments: Sequence[str]) -> int:
    """Store what the command line names; return the exit code."""
    try:
        if len(arguments) != 3 or arguments[0] not in FOLDERS:
            raise ConfigurationError(
                f"expected {'|'.join(FOLDERS)} FOLDER NAME, got {' '.join(arguments) or 'nothing'}"
            )
        kind, folder, name = arguments[0], Path(arguments[1]), arguments[2]
        destination = FOLDERS[kind] / name
        if kind == "run":
            store_run(load_run(folder), destination)
        elif kind == "model":
            store_model(folder, destination)
        else:
            store_results(folder / SOURCES[kind], destination)
    except HqnnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
