"""Circuits that grow: when, what stays, and that a stopped run grows as it would have."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

import hqnn_jax.runs.run
from hqnn_jax.config import CircuitConfig, Config
from hqnn_jax.models.middles import build_circuit
from hqnn_jax.progress import Progress
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.setup import load_setup
from hqnn_jax.runs.stages import Stage
from hqnn_jax.training.growth import circuit_size, enlarge, saved_circuit_size
from hqnn_jax.training.interrupt import Interrupted

GROWTH = {"axis": "layers", "maximum": 3, "patience": 2, "min_improvement": 0.1}
CONFIG = """
dataset: {synthetic: {train_images: 64, validation_images: 24, test_images: 24}}
model:
  backbone: {name: five_layer_cnn, image_size: 28, frozen: true}
  processor: {widths: []}
  circuit:
    {name: radhi2025, num_qubits: 2, num_layers: 1,
     growth: {axis: AXIS, maximum: 3, patience: 1, min_improvement: 9.0}}
  classifier: {widths: [5]}
training: {epochs: 4, batch_size: 16, average_decay: 0.9}
evaluation: {bootstrap_samples: 100, explained_images: 0}
"""


def records(*losses: float) -> list[dict]:
    return [{"validation_loss": loss} for loss in losses]


@pytest.mark.parametrize(
    ("losses", "size"),
    [
        ((), 1),
        ((2.0, 1.0), 1),  # it learns
        ((2.0, 1.95), 1),  # one epoch too little better
        ((2.0, 1.95, 1.95), 2),
        ((2.0, 1.95, 1.95, 1.95), 2),  # patience starts again
        ((2.0, 1.95, 1.95, 1.95, 1.95), 3),
        ((2.0, *[1.95] * 9), 3),  # not beyond the maximum
        ((2.0, 1.95, 1.5, 1.45, 1.3, 1.25), 1),
    ],
)
def test_a_circuit_grows_when_validation_stalls(losses, size):
    config = CircuitConfig(num_layers=1, growth=GROWTH)
    assert circuit_size(config, records(*losses)) == size


def test_without_a_rule_the_size_is_the_configured_one():
    assert circuit_size(CircuitConfig(num_layers=5), records(1.0, 1.0, 1.0, 1.0)) == 5


def test_a_checkpoint_at_the_end_of_an_epoch_has_the_size_of_that_epoch():
    config = CircuitConfig(num_layers=1, growth=GROWTH)
    history = records(2.0, 1.95, 1.95)
    assert saved_circuit_size(config, history, 3.0) == 1
    assert saved_circuit_size(config, history, 3.25) == 2


@pytest.mark.parametrize("growth", [{**GROWTH, "maximum": 4}, {**GROWTH, "axis": "width"}])
def test_a_rule_that_cannot_be_followed_is_refused(growth):
    with pytest.raises(ValueError, match=r"expected more than the first 4 layers|Input should be"):
        CircuitConfig(num_layers=4, growth=growth)
    with pytest.raises(ValueError, match="needs middle: quantum"):
        Config.model_validate(
            {
                "model": {
                    "backbone": {"name": "compact"},
                    "middle": "none",
                    "circuit": {"num_layers": 1, "growth": GROWTH},
                }
            }
        )


def config_of(axis: str) -> Config:
    return Config.model_validate(yaml.safe_load(CONFIG.replace("AXIS", axis)))


@pytest.fixture
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.usefixtures("_cache")
@pytest.mark.parametrize("axis", ["layers", "qubits"])
def test_the_enlarged_state_keeps_what_was_learned(axis):
    setup = load_setup(config_of(axis), Progress(terminal=False))
    size = setup.config.model.circuit.size
    small, large = Stage.of(setup, size), Stage.of(setup, size + 1)
    marked = jax.tree.map(
        lambda x: x if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x + 1,
        small.initial_state(0),
    )
    fresh = large.initial_state(0)
    grown = enlarge(marked, fresh)
    jax.tree.map(lambda a, b: np.testing.assert_equal(a.shape, b.shape), grown, fresh)
    old, new = (state.variables.params["middle"]["weights"] for state in (marked, grown))
    block = tuple(slice(extent) for extent in old.shape)
    np.testing.assert_array_equal(new[block], old)
    assert np.sum(np.asarray(new) != 0) == np.sum(np.asarray(old) != 0)  # what is new is zero
    assert int(grown.step) == 1
    logits = grown.variables.params["logits"]["kernel"]
    np.testing.assert_array_equal(logits, marked.variables.params["logits"]["kernel"])
    if axis == "qubits":
        # The head's weights for the new qubit are those of a new model.
        added, _ = (
            s.variables.params["classifier"]["linears"][0]["kernel"] for s in (grown, fresh)
        )
        np.testing.assert_array_equal(added[-1], _[-1])
    else:
        # A layer of zeros is one of entanglers alone; the circuit starts from the old rotations.
        assert build_circuit(large.setup.config.model.circuit).num_weights == new.size


@pytest.mark.usefixtures("_cache")
@pytest.mark.parametrize("axis", ["layers", pytest.param("qubits", marks=pytest.mark.slow)])
def test_a_stopped_run_grows_as_it_would_have(axis, tmp_path, monkeypatch):
    config, quiet = config_of(axis), Progress(terminal=False)
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    hqnn_jax.runs.run.train(config, whole, resume=False, progress=quiet)
    metrics = json.loads(whole.metrics.read_text())
    assert len(metrics["circuit_sizes"]) == 1
    assert metrics["circuit_sizes"][0] in (2, 3) or axis == "layers"

    original, calls = hqnn_jax.runs.run.fit, []

    def fit_twice(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 2:
            raise Interrupted("stopped")
        return original(*arguments, **options)

    monkeypatch.setattr(hqnn_jax.runs.run, "fit", fit_twice)
    with pytest.raises(Interrupted):
        hqnn_jax.runs.run.train(config, parts, resume=False, progress=quiet)
    monkeypatch.setattr(hqnn_jax.runs.run, "fit", original)
    hqnn_jax.runs.run.train(config, parts, resume=True, progress=quiet)
    with np.load(whole.predictions) as one, np.load(parts.predictions) as two:
        for name in one:
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    assert json.loads(parts.metrics.read_text())["circuit_sizes"] == metrics["circuit_sizes"]
