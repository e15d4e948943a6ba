"""Random circuits: the statevector engine agrees with PennyLane on values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hqnn_jax.circuits import Circuit

NUM_FEATURES, NUM_WEIGHTS, BATCH = 2, 3, 5
FIXED = ["Hadamard", "PauliX", "PauliY", "PauliZ", "S", "T", "SX"]
ROTATIONS = ["RX", "RY", "RZ", "PhaseShift"]
TWO_QUBIT = ["CNOT", "CZ", "SWAP", "CY", "ISWAP"]
TWO_QUBIT_ROTATIONS = ["CRX", "CRZ", "IsingXX", "IsingZZ", "ControlledPhaseShift"]
# Angles as functions of features x and weights w.
ANGLES = [
    lambda x, w: x[0],
    lambda x, w: w[2],
    lambda x, w: 0.7,
    lambda x, w: w[0] * jnp.sin(x[1]),
    lambda x, w: jnp.flip(x)[0] - 2 * w[1],
]


@st.composite
def circuits(draw):
    """Instructions (gate, wires, angle) and Pauli words to measure."""
    num_qubits = draw(st.integers(1, 4))
    wire = st.integers(0, num_qubits - 1)
    angle = st.integers(0, len(ANGLES) - 1)
    single = st.tuples(st.sampled_from(FIXED), st.tuples(wire), st.none())
    rotation = st.tuples(st.sampled_from(ROTATIONS), st.tuples(wire), angle)
    instruction = single | rotation
    if num_qubits > 1:
        pair = st.permutations(range(num_qubits)).map(lambda order: tuple(order[:2]))
        instruction |= st.tuples(st.sampled_from(TWO_QUBIT), pair, st.none())
        instruction |= st.tuples(st.sampled_from(TWO_QUBIT_ROTATIONS), pair, angle)
    instructions = draw(st.lists(instruction, max_size=14))
    word = st.text("IXYZ", min_size=num_qubits, max_size=num_qubits)
    return num_qubits, instructions, draw(st.lists(word, min_size=1, max_size=3))


def quantum_function(instructions, words):
    def function(features, weights):
        for name, wires, angle in instructions:
            parameters = () if angle is None else (ANGLES[angle](features, weights),)
            getattr(qml, name)(*parameters, wires=list(wires))
        return [qml.expval(qml.pauli.string_to_pauli_word(word)) for word in words]

    return function


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(circuits())
def test_random_circuit_matches_pennylane(drawn):
    num_qubits, instructions, words = drawn
    circuit = Circuit.from_function(
        quantum_function(instructions, words),
        num_qubits=num_qubits,
        num_features=NUM_FEATURES,
        weights_shape=(NUM_WEIGHTS,),
    )
    rng = np.random.default_rng(5)
    weights = jnp.asarray(rng.uniform(-3, 3, NUM_WEIGHTS), jnp.float32)
    features = jnp.asarray(rng.uniform(-3, 3, (BATCH, NUM_FEATURES)), jnp.float32)
    cotangents = jnp.asarray(rng.normal(size=(BATCH, len(words))), jnp.float32)

    def gradients(engine):
        loss = lambda w, x: jnp.sum(cotangents * circuit.to_jax(engine)(w, x))  # noqa: E731
        # Each example is compiled for one run, so without optimisation.
        options = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
        gradient = jax.jit(jax.value_and_grad(loss, (0, 1)), compiler_options=options)
        return gradient(weights, features)

    found, expected = gradients("statevector"), gradients("pennylane")
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)
