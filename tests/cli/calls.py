"""Calling the command line, and what its tests have in common."""

import sys
from pathlib import Path

import numpy as np

import experiment
from tests.small_runs import small_run

ROOT = Path(experiment.__file__).parent

SMALL = small_run(
    (96, 24, 40),
    """
training:
  epochs: 3
  batch_size: 16
  average_decay: 0.9
  augmentation: {horizontal_flip: true, rotation_degrees: 20.0, brightness: 0.1}
evaluation: {bootstrap_samples: 100, explained_images: 0}
""",
    processor="{widths: [8], dropout: 0.2}",
    qubits=4,
    layers=2,
)


SMALLEST = """
model:
  backbone: {name: five_layer_cnn, image_size: 16, frozen: true}
  middle: none
  circuit: {name: radhi2025, num_qubits: 2, num_layers: 1}
training: {epochs: 1, batch_size: 8}
evaluation: {bootstrap_samples: 100, explained_images: 0}
"""
"""What a configuration without its dataset needs, trained in no time: one layer on features."""

PYTHON = (sys.executable, "-m", "experiment")


def predictions(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "predictions.npz") as file:
        return dict(file)


def assert_same_predictions(left: Path, right: Path) -> None:
    left, right = predictions(left), predictions(right)
    assert left.keys() == right.keys()
    for name, values in left.items():
        np.testing.assert_array_equal(values, right[name], err_msg=name)


def assert_one_error(result, code, *texts):
    got, _, err = result
    assert got == code, err
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    for text in texts:
        assert text in lines[0]
