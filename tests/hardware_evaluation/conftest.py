"""Two finished runs on the same images: a circuit, and its matched classical layer."""

import contextlib
import io
import os
import sys
from pathlib import Path

import pytest

import experiment

SMALL = """
dataset:
  name: synthetic_cells
  resolution: 28
  synthetic: {train_images: 96, validation_images: 24, test_images: 60}
model:
  backbone: {name: five_layer_cnn, image_size: 16}
  processor: {widths: [8]}
  circuit: {name: radhi2025, num_qubits: 3, num_layers: 2}
  feature_scaling: standardised_tanh
training: {epochs: 2, batch_size: 16, learning_rate: {classical: 2e-2, circuit: 2e-1}}
evaluation: {bootstrap_samples: 100, explained_images: 0, test_time_augmentation: dihedral}
"""


def call(*arguments):
    """Run the command line: exit code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    previous, sys.argv = sys.argv, ["experiment", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = experiment.main()
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        sys.argv = previous
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="package")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Folders of the finished runs `quantum` (two seeds) and `matched`."""
    folder = tmp_path_factory.mktemp("runs")
    config = folder / "small.yaml"
    config.write_text(SMALL)
    kept = {name: os.environ.get(name) for name in ("HQNN_CACHE_DIR", "HQNN_DATA_DIR")}
    os.environ["HQNN_CACHE_DIR"] = str(folder / "cache")
    os.environ.pop("HQNN_DATA_DIR", None)
    try:
        for arguments in (
            ("quantum", "seeds=2"),
            ("matched", "model.middle=matched"),
        ):
            code, _, err = call("run", config, *arguments[1:], "--out", folder / arguments[0])
            assert code == 0, err
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    return {name: folder / name for name in ("quantum", "matched")}
