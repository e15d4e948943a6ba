"""Random circuits: every engine that applies agrees with PennyLane and with Qiskit."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from qiskit.quantum_info import Statevector

from hqnn_jax.circuits import Circuit
from hqnn_jax.circuits.engines import statevector, why_not

NUM_FEATURES, NUM_WEIGHTS = 2, 3
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
WITHOUT_DATA = (1, 2)
# Each example is compiled for one run.
UNOPTIMISED = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
few = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    derandomize=True,
    # To shrink a failure, hundreds of circuits would be compiled.
    phases=[Phase.explicit, Phase.generate],
)


@st.composite
def instructions(draw, num_qubits: int, angles, max_size: int, entangling: bool = True):
    """Instructions (gate, wires, number of the angle or None)."""
    wire = st.integers(0, num_qubits - 1)
    angle = st.sampled_from(angles)
    instruction = st.tuples(st.sampled_from(FIXED), st.tuples(wire), st.none())
    instruction |= st.tuples(st.sampled_from(ROTATIONS), st.tuples(wire), angle)
    if num_qubits > 1 and entangling:
        pair = st.permutations(range(num_qubits)).map(lambda order: tuple(order[:2]))
        instruction |= st.tuples(st.sampled_from(TWO_QUBIT), pair, st.none())
        instruction |= st.tuples(st.sampled_from(TWO_QUBIT_ROTATIONS), pair, angle)
    return draw(st.lists(instruction, min_size=max_size // 2, max_size=max_size))


@st.composite
def circuits(draw, reuploading: bool):
    """A circuit and a batch size; features enter anywhere, or in the first layer alone."""
    num_qubits = draw(st.integers(1, 4))
    every = range(len(ANGLES))
    if reuploading:
        drawn = draw(instructions(num_qubits, every, 12))
    else:
        # A wire with diagonal gates alone would have them in the entangler.
        drawn = [("Hadamard", (wire,), None) for wire in range(num_qubits)]
        drawn += draw(instructions(num_qubits, every, 5, entangling=False))
        drawn += draw(instructions(num_qubits, WITHOUT_DATA, 9))
    word = st.text("IXYZ", min_size=num_qubits, max_size=num_qubits)
    words = draw(st.lists(word, min_size=1, max_size=3))
    circuit = Circuit.from_function(
        quantum_function(drawn, words),
        num_qubits=num_qubits,
        num_features=NUM_FEATURES,
        weights_shape=(NUM_WEIGHTS,),
    )
    return circuit, draw(st.sampled_from([1, 3, 6]))


def quantum_function(drawn, words):
    def function(features, weights):
        for name, wires, angle in drawn:
            parameters = () if angle is None else (ANGLES[angle](features, weights),)
            getattr(qml, name)(*parameters, wires=list(wires))
        return [qml.expval(qml.pauli.string_to_pauli_word(word)) for word in words]

    return function


def qiskit_values(circuit: Circuit, weights, features) -> np.ndarray:
    """Expectation values of the exported circuit with bound parameters, [batch, outputs]."""
    exported = circuit.to_qiskit()
    rows = []
    for values in exported.bind(weights, features):
        state = Statevector(exported.circuit.assign_parameters(values))
        rows.append([state.expectation_value(o).real for o in exported.observables])
    return np.array(rows)


def check(circuit: Circuit, batch: int, engines) -> None:
    """Compare engines with the QNode, values and gradients, and with Qiskit, values."""
    rng = np.random.default_rng(5)
    with jax.enable_x64(True):
        weights = jnp.asarray(rng.uniform(-3, 3, NUM_WEIGHTS))
        features = jnp.asarray(rng.uniform(-3, 3, (batch, NUM_FEATURES)))
        cotangents = jnp.asarray(rng.normal(size=(batch, circuit.num_outputs)))

        def results(function):
            def loss(weights, features):
                outputs = function(weights, features)
                return jnp.sum(cotangents * outputs), outputs

            gradient = jax.jit(jax.grad(loss, (0, 1), has_aux=True), compiler_options=UNOPTIMISED)
            (by_weights, by_features), outputs = gradient(weights, features)
            return {"outputs": outputs, "weights": by_weights, "features": by_features}

        expected = results(circuit.to_jax("pennylane"))
        for engine in engines:
            adjoint = engine == "adjoint"
            found = results(
                statevector.build(circuit, adjoint=True) if adjoint else circuit.to_jax(engine)
            )
            for what, values in found.items():
                np.testing.assert_allclose(
                    values, expected[what], rtol=0, atol=1e-10, err_msg=f"{engine}, {what}"
                )
    samples = min(batch, 2)
    np.testing.assert_allclose(
        qiskit_values(circuit, weights, features[:samples]),
        expected["outputs"][:samples],
        atol=1e-10,
        err_msg="Qiskit",
    )


@settings(few, max_examples=7)
@given(circuits(reuploading=True))
def test_random_circuits_agree(drawn):
    circuit, batch = drawn
    # Some examples happen to read features in the first layer alone.
    folded = ["unitary"] if why_not(circuit, "unitary") is None else []
    check(circuit, batch, ["statevector", "adjoint", "pauli_transfer", *folded])


@settings(few, max_examples=5)
@given(circuits(reuploading=False))
def test_random_circuits_with_data_at_the_front_agree(drawn):
    circuit, batch = drawn
    assert why_not(circuit, "unitary") is None
    check(circuit, batch, ["statevector", "unitary", "pauli_transfer"])
