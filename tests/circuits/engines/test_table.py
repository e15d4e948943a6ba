"""What an engine says of itself is what the choice, the refusals and the chunks go by."""

import jax.numpy as jnp
import pytest

from hqnn_jax.circuits import NoiseModel, depolarizing, strongly_entangling
from hqnn_jax.circuits.engines import auto, chunking, statevector, table, why_not
from hqnn_jax.circuits.engines.cost import Work
from hqnn_jax.circuits.engines.engine import Engine, Memory

CIRCUIT = strongly_entangling(2, 1)
NOISY = CIRCUIT.with_noise(NoiseModel(two_qubit=(depolarizing(0.01),)))
FREE = Work(0, 0, 0)


@pytest.fixture
def added(monkeypatch):
    """Add an engine `mine` to the table, which returns zeros."""

    def zeros(circuit):
        return lambda weights, features: jnp.zeros((len(features), circuit.num_outputs))

    def add(**said):
        monkeypatch.setitem(table.TABLE, "mine", Engine(build=zeros, **said))

    return add


def test_the_cheapest_is_chosen(added):
    added(work=lambda shape, batch: FREE)
    assert auto.choose(CIRCUIT, 3) == "mine"
    arguments = jnp.zeros(CIRCUIT.weights_shape), jnp.zeros((3, CIRCUIT.num_features))
    assert not auto.build(CIRCUIT)(*arguments).any()


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"work": lambda shape, batch: FREE, "may_be_fastest": lambda circuit: False},
        {"work": lambda shape, batch: FREE, "why_not": lambda circuit: "it is Sunday"},
    ],
)
def test_an_engine_may_keep_out_of_the_choice(added, said):
    added(**said)
    assert auto.choose(CIRCUIT, 3) != "mine"


def test_of_equal_ones_the_first_is_chosen(added):
    added(work=statevector.work)
    assert auto.choose(strongly_entangling(7, 6), 1, "cpu") == "statevector"


def test_noise_is_for_those_that_follow_it(added):
    added(work=lambda shape, batch: FREE)
    assert auto.choose(NOISY, 1) == "pauli_transfer"
    assert "with noise use 'pauli_transfer' or trajectories" in why_not(NOISY, "mine")
    added(work=lambda shape, batch: FREE, follows_noise=True)
    assert auto.choose(NOISY, 1) == "mine"
    assert "with noise use 'pauli_transfer', 'mine' or trajectories" in why_not(NOISY, "unitary")


def test_memory_divides_batches(monkeypatch):
    sizes = []

    def build_noting(circuit):
        def evaluate(weights, features):
            sizes.append(len(features))
            return jnp.zeros((len(features), circuit.num_outputs))

        return evaluate

    monkeypatch.setitem(
        table.TABLE, "mine", Engine(build=build_noting, memory=lambda circuit: Memory(1.0, 3.0))
    )
    state = 2 * 2**2 * 4
    monkeypatch.setattr(chunking, "memory_budget", lambda: 2 * 3 * state)
    arguments = jnp.zeros(CIRCUIT.weights_shape), jnp.zeros((5, CIRCUIT.num_features))
    assert table.build(CIRCUIT, "mine")(*arguments).shape == (5, CIRCUIT.num_outputs)
    assert set(sizes) == {2}
