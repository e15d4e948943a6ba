"""The papers' circuits: sizes, structure and initial weights."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

from hqnn_jax.circuits import CIRCUITS, Circuit, hqcnn2025, radhi2025, strongly_entangling
from hqnn_jax.errors import CircuitError


@pytest.mark.parametrize(
    ("circuit", "num_features", "weights_shape", "num_weights"),
    [
        (radhi2025(), 4, (4, 6), 24),
        (radhi2025(3, 2), 3, (2, 3), 6),
        (strongly_entangling(4, 4), 4, (4, 4, 3), 48),
        (hqcnn2025(), 4, (3, 4, 5), 60),
        (hqcnn2025(1, 1), 1, (1, 1, 5), 5),
    ],
)
def test_sizes(circuit: Circuit, num_features, weights_shape, num_weights):
    assert circuit.num_features == num_features
    assert circuit.weights_shape == weights_shape
    assert circuit.num_weights == num_weights
    assert circuit.num_outputs == circuit.num_qubits


def test_radhi2025_gates():
    circuit = radhi2025()
    assert Counter(gate.name for gate in circuit.gates) == {"Hadamard": 6, "RY": 28, "CNOT": 10}
    even, odd = [(0, 1), (2, 3), (4, 5)], [(1, 2), (3, 4)]
    cnots = [gate.wires for gate in circuit.gates if gate.name == "CNOT"]
    assert cnots == even + odd + even + odd


def test_hqcnn2025_gates():
    counts = Counter(gate.name for gate in hqcnn2025().gates)
    # Embedding 4; per layer and qubit RY, RZ and a Rot of RZ RY RZ; per layer 3 + 4 CNOTs.
    assert counts == {"RY": 4 + 3 * 4 * 2, "RZ": 3 * 4 * 3, "CNOT": 3 * 7}


def test_radhi2025_without_rotation_measures_nothing():
    """H on all wires leaves the uniform superposition, which CNOTs do not change."""
    circuit = radhi2025()
    outputs = circuit.to_jax()(jnp.zeros((4, 6)), jnp.zeros((2, 4)))
    np.testing.assert_allclose(outputs, np.zeros((2, 6)), atol=1e-6)


@pytest.mark.parametrize("name", CIRCUITS)
def test_registered_circuits_take_sizes(name):
    circuit = CIRCUITS[name](num_qubits=3, num_layers=2)
    assert (circuit.name, circuit.num_qubits) == (name, 3)
    with pytest.raises(CircuitError, match=rf"'{name}': num_qubits=3, num_layers=0"):
        CIRCUITS[name](num_qubits=3, num_layers=0)


def test_init_weights():
    circuit = strongly_entangling(6, 20)
    weights = circuit.init_weights(jax.random.key(0))
    assert weights.shape == (20, 6, 3)
    assert weights.dtype == jnp.float32
    assert 0 <= weights.min() < 0.1
    assert 2 * np.pi - 0.1 < weights.max() < 2 * np.pi
    assert not np.array_equal(weights, circuit.init_weights(jax.random.key(1)))
    with jax.enable_x64(True):
        assert circuit.init_weights(jax.random.key(0), jnp.float64).dtype == jnp.float64


def test_draw():
    figure = radhi2025().draw()
    assert isinstance(figure, Figure)
    labels = {text.get_text() for text in figure.axes[0].texts}
    assert {"H", "RY", "5"} <= labels


def test_circuits_are_hashable_static_values():
    first, second = radhi2025(), radhi2025()
    assert len({first, first, second}) == 2
    assert jax.tree.leaves(jax.tree.map(lambda leaf: leaf, {"circuit": first})) == [first]
