"""Evaluations that are killed or begun twice: nothing is lost, nothing sent twice."""

import functools
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.circuits import radhi2025
from hqnn_jax.cli.hardware import HardwareRequest
from hqnn_jax.errors import RunFolderError
from hqnn_jax.experiments import hardware
from hqnn_jax.files import write_json
from hqnn_jax.hardware import execution
from hqnn_jax.hardware_evaluation.trained import Samples, TrainedCircuit
from hqnn_jax.progress import Progress
from tests.kills import Killer, held_elsewhere, leftovers

QUIET = Progress(terminal=False)
SETTINGS = ("backend=statevector", "images.count=null", "interval_samples=100")


def trained_circuit() -> TrainedCircuit:
    """A circuit as a run leaves it, with four images."""
    circuit, rng = radhi2025(2, 1), np.random.default_rng(3)
    return TrainedCircuit(
        name="tiny",
        description="",
        circuit=circuit,
        weights=rng.normal(size=circuit.weights_shape),
        classify=lambda values: jnp.stack([values[:, 0], values[:, 1]], axis=1),
        evaluated=Samples(rng.normal(size=(1, 4, 2)), np.array([0, 1, 1, 0]), np.arange(4)),
        training=None,
        class_names=("a", "b"),
        dataset={
            "name": "synthetic_cells",
            "fingerprint": "0f",
            "split": "test",
            "synthetic": True,
            "images": 4,
        },
    )


@pytest.fixture
def quick(monkeypatch):
    """No run is needed, and no figure is drawn."""
    models = [trained_circuit()]
    monkeypatch.setattr(hardware, "load_models", lambda *_: models)
    monkeypatch.setattr(
        hardware, "write_hardware_report", lambda path, results, _: write_json(path, {})
    )


def evaluate(out: Path, *, resume: bool) -> None:
    """Do what the command does with SETTINGS."""
    settings, folder = HardwareRequest(out.parent, overrides=SETTINGS, out=out).settings(
        resume=resume
    )
    prepared = functools.partial(hardware.prepare, out.parent, settings, folder, QUIET)
    hardware.evaluate(prepared, settings, folder, resume=resume, wait=True)


def evaluate_to_the_end(out: Path) -> None:
    """Run the same command until it has ended, with --resume where it says so."""
    try:
        evaluate(out, resume=False)
    except RunFolderError as error:
        if "--resume" not in str(error):
            raise
        evaluate(out, resume=True)


def results(out: Path) -> dict:
    content = json.loads((out / "hardware.json").read_text())
    accuracies = [arm["accuracy"] for model in content["models"] for arm in model["arms"]]
    return {"accuracies": accuracies, **dict(np.load(out / "hardware.npz"))}


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_an_evaluation_killed_at_any_write_goes_on(quick, tmp_path, step):
    killer = Killer()
    with killer.killing(tmp_path / "whole", 0):
        evaluate_to_the_end(tmp_path / "whole")
    expected, count = results(tmp_path / "whole"), killer.count
    # Settings, models, calibration; two files of the compiled circuit; a simulated arm; an entry
    # three times and its values; results and report.
    assert count > 24
    for at in range(1, count + 1, step):
        out = tmp_path / str(at)
        killer.kill(out, at, lambda out=out: evaluate_to_the_end(out))
        evaluate_to_the_end(out)
        assert leftovers(out) == []
        found = results(out)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, err_msg=f"{name}, change {at}")


@pytest.mark.parametrize("resume", [False, True])
def test_an_evaluation_beside_a_live_one_is_refused(quick, tmp_path, monkeypatch, resume):
    monkeypatch.setattr(
        execution.JobRequest, "submit", lambda *_, **__: pytest.fail("sent by a second process")
    )
    out = tmp_path / "o"
    with (
        held_elsewhere(out),
        pytest.raises(RunFolderError, match="o: another process is working in") as error,
    ):
        evaluate(out, resume=resume)
    assert "\n" not in str(error.value)
    assert not out.exists()
