"""Embeddings and ansätze are the states of PennyLane's templates and Qiskit's circuits."""

from functools import partial

import jax
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import EMBEDDINGS, ENTANGLEMENTS
from hqnn_jax.circuits.library import ansatze, embeddings, pairs
from hqnn_jax.errors import CircuitError


def state(num_qubits, *applied):
    @qml.qnode(qml.device("default.qubit", wires=num_qubits), interface=None)
    def final():
        for apply in applied:
            apply(wires=range(num_qubits))
        return qml.state()

    return np.asarray(final())


def started(wires):
    """A state that shows every rotation, also one of |0⟩ about z."""
    for wire in wires:
        qml.RY(0.3 + 0.4 * wire, wire)
        qml.RZ(0.9 - 0.2 * wire, wire)


def uniform(*shape):
    return np.random.default_rng(5).uniform(-3, 4, shape)


def assert_same_state(found, expected, atol=1e-12):
    """Equal up to a global phase."""
    assert abs(np.vdot(found, expected)) == pytest.approx(1, abs=atol)


PENNYLANE = {
    "angle_x": lambda x, n: partial(qml.AngleEmbedding, x, rotation="X"),
    "angle_y": lambda x, n: partial(qml.AngleEmbedding, x, rotation="Y"),
    "iqp": lambda x, n: partial(qml.IQPEmbedding, x),
}


@pytest.mark.parametrize("num_qubits", [1, 2, 4])
@pytest.mark.parametrize("name", PENNYLANE)
def test_embeddings_equal_pennylane(name, num_qubits):
    features = uniform(num_qubits)
    found = state(num_qubits, started, partial(EMBEDDINGS[name].apply, features))
    assert_same_state(found, state(num_qubits, started, PENNYLANE[name](features, num_qubits)))


def test_angle_z_is_angle_embedding_after_hadamards():
    features = uniform(3)

    def expected(wires):
        for wire in wires:
            qml.H(wire)
        qml.AngleEmbedding(features, wires, rotation="Z")

    assert_same_state(state(3, partial(EMBEDDINGS["angle_z"].apply, features)), state(3, expected))


@pytest.mark.parametrize("entanglement", ["none", "ring", [(2, 0)]], ids=str)
def test_iqp_entanglement_and_repeats(entanglement):
    features = uniform(3)

    def expected(wires):
        for _ in range(2):
            for wire in wires:
                qml.H(wire)
                qml.RZ(features[wire], wire)
            for q, r in pairs(entanglement, 3):
                qml.IsingZZ(features[q] * features[r], [q, r])

    embed = partial(embeddings.iqp, features, entanglement=entanglement, num_repeats=2)
    assert_same_state(state(3, started, embed), state(3, started, expected))


@pytest.mark.parametrize("num_qubits", [1, 3])
def test_amplitude_embedding_is_the_normalised_vector(num_qubits):
    features = uniform(2**num_qubits)
    with jax.enable_x64(True):
        found = state(num_qubits, partial(embeddings.amplitude, features))
        padded = state(num_qubits, partial(embeddings.amplitude, features[:-1]))
        nothing = state(num_qubits, partial(embeddings.amplitude, 0 * features))
    assert_same_state(found, features / np.linalg.norm(features))
    assert_same_state(padded, np.append(features[:-1], 0) / np.linalg.norm(features[:-1]))
    assert_same_state(nothing, np.eye(2**num_qubits)[0])


def test_strongly_entangling_layers_equal_pennylane():
    for num_qubits in (1, 2, 4):
        weights = uniform(5, num_qubits, 3)
        found = state(num_qubits, started, partial(ansatze.strongly_entangling_layers, weights))
        template = partial(qml.StronglyEntanglingLayers, weights)
        assert_same_state(found, state(num_qubits, started, template))


def test_basic_entangler_layers_equal_pennylane():
    for num_qubits in (1, 2, 4):
        weights = uniform(3, num_qubits)
        found = state(num_qubits, started, partial(ansatze.basic_entangler_layers, weights))
        template = partial(qml.BasicEntanglerLayers, weights)
        assert_same_state(found, state(num_qubits, started, template))


def qiskit_state(circuit, values):
    from qiskit.quantum_info import Statevector

    values = np.asarray(values).ravel()
    vector = Statevector(circuit.assign_parameters(values)).data
    # Qiskit's qubit 0 is the least significant bit.
    num_qubits = circuit.num_qubits
    return vector.reshape((2,) * num_qubits).transpose(range(num_qubits)[::-1]).ravel()


@pytest.mark.parametrize("entanglement", ["linear", "reverse_linear", "full"])
def test_qiskit_circuits_with_every_entanglement(entanglement):
    from qiskit.circuit import library

    theirs = {"entanglement": entanglement, "reps": 2}
    ours = {"entanglement": entanglement}
    weights, features = uniform(3, 4), uniform(4)
    assert_same_state(
        state(4, partial(ansatze.real_amplitudes, weights, **ours)),
        qiskit_state(library.real_amplitudes(4, **theirs), weights),
    )
    weights = uniform(3, 2, 4)
    assert_same_state(
        state(4, partial(ansatze.efficient_su2, weights, **ours)),
        qiskit_state(library.efficient_su2(4, **theirs), weights),
    )
    assert_same_state(
        state(4, partial(embeddings.zz, features, **ours)),
        qiskit_state(library.zz_feature_map(4, **theirs), features),
    )


def test_qiskit_defaults():
    from qiskit.circuit import library

    features, weights = uniform(3), uniform(4, 3)
    found = state(3, partial(embeddings.zz, features), partial(ansatze.real_amplitudes, weights))
    theirs = library.zz_feature_map(3).compose(library.real_amplitudes(3))
    # Parameters are sorted by name: x before θ.
    assert_same_state(found, qiskit_state(theirs, np.append(features, weights)))


def test_entanglement_pairs():
    assert pairs("none", 4) == ()
    assert pairs("linear", 4) == ((0, 1), (1, 2), (2, 3))
    assert pairs("reverse_linear", 4) == ((2, 3), (1, 2), (0, 1))
    assert pairs("ring", 4) == ((0, 1), (1, 2), (2, 3), (3, 0))
    assert pairs("ring", 2) == ((0, 1),)
    assert pairs("full", 3) == ((0, 1), (0, 2), (1, 2))
    assert pairs([[2, 0], [1, 2]], 3) == ((2, 0), (1, 2))
    for name in ENTANGLEMENTS:
        assert pairs(name, 1) == ()


def test_wrong_numbers_of_features_are_refused():
    with pytest.raises(CircuitError, match="'zz': 2 features; expected 3"):
        embeddings.zz(np.ones(2), range(3))
    with pytest.raises(CircuitError, match="'angle': 4 features; expected at most 3"):
        embeddings.angle(np.ones(4), range(3))
    with pytest.raises(CircuitError, match="'amplitude': 5 features; expected at most 4"):
        embeddings.amplitude(np.ones(5), range(2))
