"""What a run needs is told before anything is compiled, and what cannot fit is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from hqnn_jax.circuits import compose, radhi2025, strongly_entangling
from hqnn_jax.circuits.engines import chunking
from hqnn_jax.circuits.engines import needs as engine_needs
from hqnn_jax.circuits.engines.needs import gradient_bytes, value_bytes
from hqnn_jax.config.loading import load_config
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.progress import Progress
from hqnn_jax.runs import needs
from hqnn_jax.runs.needs import Needs, check_needs
from hqnn_jax.runs.setup import load_setup
from hqnn_jax.runs.stages import Stage
from tests.small_runs import small_run

GIB = 2**30


class Told(Progress):
    """Keeps the lines."""

    def __init__(self):
        super().__init__(terminal=False)
        self.lines = []

    def line(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    path = tmp_path_factory.mktemp("needs") / "run.yaml"
    path.write_text(small_run((16, 8, 8), "training: {epochs: 1, batch_size: 8}\n"))
    return load_setup(load_config(path), Told())


@pytest.fixture(scope="module")
def traced(setup):
    """A trace of training, which stands for that of larger ones."""
    return jax.make_jaxpr(lambda x: jnp.tanh(x @ x) @ x)(jnp.zeros((512, 512)))


@pytest.fixture(scope="module")
def state(setup):
    return Stage.of(setup, setup.config.model.circuit.size).initial_state(0)


@pytest.fixture
def checked(state):
    return lambda setup, traced: check_needs(setup, state, setup.training_data(0))(traced)


def with_config(setup, **changes):
    config = setup.config
    for section, update in changes.items():
        config = config.model_copy(
            update={section: getattr(config, section).model_copy(update=update)}
        )
    return dataclasses.replace(setup, config=config)


def test_a_line_says_what_for(setup, traced, checked):
    checked(setup, traced)
    line = setup.progress.lines[-1]
    assert line.startswith("needs about ")
    assert "GiB of memory (libraries " in line
    shown = str(Needs(0.7 * GIB, 0.3 * GIB, 0.01 * GIB, 12.4 * GIB, 0.2 * GIB))
    assert shown == (
        "about 14 GiB of memory (libraries 0.7, images 0.3, circuit 12, activations 0.2)"
    )


def test_a_batch_that_does_not_fit_is_refused_with_the_largest_that_does(
    setup, traced, checked, monkeypatch
):
    peak = needs.peak_bytes(traced)
    monkeypatch.setattr(needs, "available_memory", lambda cpu_share: int(0.4 * peak.other))
    larger = with_config(setup, training={"batch_size": 64})
    message = (
        r"training.batch_size: 64 needs about .* GiB are free; training.batch_size=16 would fit"
    )
    with pytest.raises(ConfigurationError, match=message) as caught:
        checked(larger, traced)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(needs, "available_memory", lambda cpu_share: 300)
    with pytest.raises(ConfigurationError, match=r"use fewer qubits or a smaller model.backbone"):
        checked(with_config(setup, training={"batch_size": 4096}), traced)


def test_a_circuit_that_does_not_fit_is_refused_with_the_qubits_that_do(
    setup, traced, checked, monkeypatch
):
    model = setup.config.model
    circuit = model.circuit.model_copy(update={"num_qubits": 10, "engine": "statevector"})
    larger = with_config(setup, model={"circuit": circuit})
    needed = gradient_bytes(radhi2025(10, 1), "statevector", 1)
    monkeypatch.setattr(needs, "available_memory", lambda cpu_share: int(0.3 * needed))
    with pytest.raises(
        ConfigurationError, match=r"on 10 qubits needs about .*; 8 qubits would fit"
    ):
        checked(larger, traced)


def test_states_of_a_circuit():
    circuit = strongly_entangling(14, 1)
    state = 2 * 2**14 * 4
    one = gradient_bytes(circuit, "statevector", 1)
    assert one >= 4 * state
    assert gradient_bytes(circuit, "statevector", 5) == 5 * one
    assert value_bytes(circuit, "statevector", 5) < gradient_bytes(circuit, "statevector", 5)
    # No states of samples.
    assert gradient_bytes(compose(3, 1), "pauli_transfer", 64) == 0


def test_states_of_a_batch_that_is_divided(monkeypatch):
    circuit = strongly_entangling(14, 1)
    one = gradient_bytes(circuit, "statevector", 1)
    monkeypatch.setattr(engine_needs, "memory_budget", lambda: int(10 * one))
    # As in `chunking.in_chunks`: two parts of eight samples.
    assert gradient_bytes(circuit, "statevector", 16) == 8 * one
    assert chunking.memory_budget() > 2**20
