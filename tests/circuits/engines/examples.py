"""Circuits of every form, their inputs, and the QNode that engines are compared with."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml

from hqnn_jax.circuits import Circuit, radhi2025, strongly_entangling
from hqnn_jax.circuits.engines import statevector

BATCH = 7
# Compiling costs more than running here; the inner functions are compiled with the outermost.
UNOPTIMISED = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}


def everything(features, weights):
    """Re-uploading, arithmetic on inputs, controlled and adjoint gates, Pauli sums."""
    qml.BasisState(np.array([0, 1, 0]), wires=range(3))
    qml.AngleEmbedding(features, wires=[2, 0], rotation="X")
    qml.StronglyEntanglingLayers(weights[:1], wires=range(3))
    qml.CRX(features[0] * weights[0, 0, 0], wires=[2, 0])
    qml.adjoint(qml.T)(1)
    qml.RY(jnp.pi * jnp.tanh(features[1]) + 0.3, wires=1)
    qml.IsingZZ(weights[1, 2, 1] ** 2, wires=[1, 2])
    qml.IQPEmbedding(features, wires=[1, 2])
    qml.StronglyEntanglingLayers(weights[1:], wires=range(3))
    return (
        qml.expval(qml.X(0) @ qml.Y(2)),
        qml.expval(0.5 * qml.Y(1) - 1.5 * qml.Z(0) @ qml.Y(1) @ qml.X(2) + 0.25 * qml.I(0)),
        qml.probs(wires=[2, 0]),
    )


def data_at_the_front(features, weights):
    """Several gates read features on one wire, one reads none; both kinds with arithmetic."""
    qml.RX(weights[0], 0)
    qml.RY(features[0], 0)
    qml.RZ(weights[1] * features[1], 0)
    qml.RX(features[0] ** 2 + weights[2], 0)
    qml.RY(weights[3], 0)
    qml.RX(weights[1] - 0.4, 1)
    qml.RY(features[1] - 0.3, 2)
    qml.CNOT([2, 0])
    qml.CNOT([1, 2])
    qml.RX(weights[4], 2)
    qml.RZ(weights[0], 0)
    qml.CZ([0, 1])
    qml.RY(weights[5], 0)
    return [qml.expval(qml.Y(0) @ qml.Z(2)), qml.expval(qml.X(1) + 0.5 * qml.Z(0))]


def no_shared_angle(features, weights):
    qml.RX(features[0] * weights[0], 0)
    qml.CNOT([0, 1])
    qml.Hadamard(1)
    return [qml.expval(qml.Z(0)), qml.expval(qml.X(1) @ qml.Y(0))]


def no_angle(features, weights):
    qml.Hadamard(1)
    qml.CNOT([1, 0])
    qml.T(0)
    qml.Hadamard(0)
    return [qml.expval(qml.X(1)), qml.expval(qml.Z(0)), qml.expval(qml.Y(0) @ qml.X(1))]


def no_data(features, weights):
    qml.RX(weights[0], 0)
    qml.RY(weights[1], 1)
    qml.CNOT([1, 0])
    qml.RX(jnp.sin(weights[2]), 1)
    return [qml.expval(qml.Z(0)), qml.expval(qml.Y(0) @ qml.X(1))]


def small(features, weights):
    """Complex gates on both sides of an entangler, for tests that compile a lot."""
    qml.RX(features[0] * 1.5, 0)
    qml.RY(features[1], 1)
    qml.CNOT([1, 0])
    qml.RX(weights[0], 1)
    qml.RZ(weights[1], 0)
    qml.RY(weights[2], 0)
    return [qml.expval(qml.Z(1)), qml.expval(qml.Y(0)), qml.expval(qml.X(0) @ qml.Z(1))]


CIRCUITS: dict[str, Callable[[], Circuit]] = {
    "radhi2025": lambda: radhi2025(5, 2),
    "strongly_entangling": lambda: strongly_entangling(4, 2),
    "one_qubit": lambda: strongly_entangling(1, 2),
    "everything": lambda: Circuit.from_function(
        everything, num_qubits=3, num_features=2, weights_shape=(2, 3, 3)
    ),
    "data_at_the_front": lambda: Circuit.from_function(
        data_at_the_front, num_qubits=3, num_features=2, weights_shape=(6,)
    ),
    "small": lambda: Circuit.from_function(small, num_qubits=2, num_features=2, weights_shape=(3,)),
    # No angle that features do not enter, and no angle at all, leave empty arrays behind.
    "no_shared_angle": lambda: Circuit.from_function(
        no_shared_angle, num_qubits=2, num_features=1, weights_shape=(1,)
    ),
    "no_angle": lambda: Circuit.from_function(
        no_angle, num_qubits=2, num_features=0, weights_shape=(0,)
    ),
    "no_data": lambda: Circuit.from_function(
        no_data, num_qubits=2, num_features=0, weights_shape=(3,)
    ),
}
FAST_ENGINES = ("statevector", "adjoint", "unitary", "pauli_transfer")


@functools.cache
def make(name: str) -> Circuit:
    return CIRCUITS[name]()


def build(circuit: Circuit, engine: str):
    """The circuit evaluated by an engine; `adjoint` is `statevector` with adjoint gradients."""
    if engine == "adjoint":
        return statevector.build(circuit, adjoint=True)
    return circuit.to_jax(engine)


def qnode(circuit: Circuit):
    """Samples one by one through a plain QNode."""
    device = qml.device("default.qubit", wires=circuit.num_qubits)
    node = qml.QNode(circuit.function, device, interface="jax")

    def sample(weights, features):
        return jnp.hstack(jax.tree.leaves(node(features, weights)))

    return jax.vmap(sample, (None, 0))


def asymmetric_inputs(circuit: Circuit, batch: int, dtype):
    """Angles without a symmetry that could hide a swapped wire, sample or layer."""
    rng = np.random.default_rng(7)
    weights = rng.uniform(-4, 5, circuit.weights_shape)
    features = rng.uniform(-2, 3, (batch, circuit.num_features))
    cotangents = rng.normal(size=(batch, circuit.num_outputs))
    # Rounded to single precision, so that one reference in double precision serves both.
    return tuple(jnp.asarray(a.astype(np.float32), dtype) for a in (weights, features, cotangents))


def value_and_gradients(function, weights, features, cotangents):
    def loss(weights, features):
        outputs = function(weights, features)
        return jnp.sum(cotangents * outputs), outputs

    gradient = jax.jit(jax.grad(loss, (0, 1), has_aux=True), compiler_options=UNOPTIMISED)
    gradients, outputs = gradient(weights, features)
    return outputs, *gradients
