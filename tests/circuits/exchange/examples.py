"""Random circuits, and the values of circuits and of their exports."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from qiskit.primitives import StatevectorEstimator

from hqnn_jax.circuits import Circuit

UNOPTIMISED = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
BATCH, NUM_FEATURES, WEIGHTS_SHAPE = 4, 2, (2, 3)
# Angles as functions of features x and weights w.
ANGLES = [
    lambda x, w: x[0],
    lambda x, w: w[1, 2],
    lambda x, w: 0.7,
    lambda x, w: (math.pi - x[0]) * (math.pi - x[1]),
    lambda x, w: w[0, 0] * jnp.sin(x[1]) + 0.1,
    lambda x, w: jnp.tanh(w[1] @ w[0]) - 2 * jnp.flip(x)[0],
]
GATES = [("Hadamard", 1), ("S", 1), ("SX", 1), ("CNOT", 2), ("CY", 2), ("ISWAP", 2), ("SWAP", 2)]
ROTATIONS = [("RX", 1), ("RY", 1), ("RZ", 1), ("CRX", 2), ("IsingXX", 2), ("CRot", 2)]


@cache
def random_circuit(seed: int) -> Circuit:
    """Re-uploading, arithmetic on inputs, and words that no permutation of wires preserves."""
    rng = np.random.default_rng(seed)
    num_qubits = 3 + seed % 2
    instructions = []
    for _ in range(14):
        options = ROTATIONS if rng.random() < 0.7 else GATES
        name, size = options[rng.integers(len(options))]
        count = 0 if options is GATES else 3 if name == "CRot" else 1
        wires = [int(wire) for wire in rng.permutation(num_qubits)[:size]]
        instructions.append((name, wires, [int(a) for a in rng.integers(len(ANGLES), size=count)]))

    def function(features, weights):
        qml.AngleEmbedding(features, wires=[1, 0], rotation="Y")
        for name, wires, angles in instructions:
            getattr(qml, name)(*(ANGLES[a](features, weights) for a in angles), wires=wires)
        return [
            qml.expval(qml.X(0) @ qml.Y(1) @ qml.Z(2)),
            qml.expval(0.5 * qml.Z(0) - 1.5 * qml.Y(1) @ qml.Z(num_qubits - 1)),
            qml.probs(wires=[2]),
        ]

    return Circuit.from_function(
        function,
        num_qubits=num_qubits,
        num_features=NUM_FEATURES,
        weights_shape=WEIGHTS_SHAPE,
        name=f"random{seed}",
    )


def inputs(circuit: Circuit):
    """Weights and features in float64, without a symmetry that could hide a swap."""
    rng = np.random.default_rng(11)
    weights = rng.uniform(-3, 3.5, circuit.weights_shape)
    return weights, rng.uniform(-1.5, 2.5, (BATCH, circuit.num_features))


@cache
def engine_values(circuit: Circuit) -> np.ndarray:
    with jax.enable_x64(True):
        evaluate = jax.jit(circuit.to_jax("statevector"), compiler_options=UNOPTIMISED)
        return np.asarray(evaluate(*inputs(circuit)))


def qnode_values(circuit: Circuit) -> np.ndarray:
    """The circuit's quantum function sample by sample, without the engines."""
    qnode = qml.QNode(circuit.function, qml.device("default.qubit", wires=circuit.num_qubits))
    weights, features = inputs(circuit)
    with jax.enable_x64(True):
        return np.array([np.hstack(qnode(sample, weights)) for sample in features], float)


def estimate(circuit, observables, values) -> np.ndarray:
    """Exact values [batch, outputs] of bound circuits; `values` is [batch, parameters]."""
    pub = (circuit, [list(observables)], values[:, None])
    return StatevectorEstimator().run([pub], precision=0).result()[0].data.evs


# Arithmetic that Qiskit can express, one angle each; x has 2 elements, w has shape (2, 3).
EXPRESSIBLE = {
    "arithmetic": lambda x, w: (x[0] - 3 * w[0, 1]) / (w[1, 2] + 7.5) + 0.1,
    "trigonometric": lambda x, w: jnp.sin(x[0]) * jnp.cos(x[1]) - jnp.tan(w[0, 0] / 4),
    "inverse": lambda x, w: jnp.arcsin(x[0] / 4) + jnp.arccos(x[1] / 4) * jnp.arctan(w[0, 2]),
    "exponential": lambda x, w: jnp.exp(x[0]) + jnp.log(x[1] ** 2 + 1) + jnp.exp2(x[1]),
    "hyperbolic": lambda x, w: jnp.tanh(x[0]) + jnp.sinh(x[1]) * jnp.cosh(w[0, 1] / 3),
    "near_one": lambda x, w: jnp.expm1(x[0]) + jnp.log1p(jnp.abs(x[1])),
    "powers": lambda x, w: x[0] ** 3 + jnp.square(x[1]) + (x[0] + 9) ** -2 + 2.5 ** x[1],
    "symbolic_power": lambda x, w: jnp.abs(w[0, 0]) ** x[1],
    "roots": lambda x, w: jnp.sqrt(jnp.abs(x[0])) + jax.lax.rsqrt(jnp.abs(w[1, 0]) + 1),
    "sign": lambda x, w: jnp.sign(x[0]) * jnp.abs(x[1]) - jnp.negative(w[0, 0]),
    "clip": lambda x, w: jnp.clip(w, -1, 1).sum() + jnp.maximum(x[0], x[1]),
    "activation": lambda x, w: jax.nn.relu(x).sum() + jax.nn.sigmoid(w[1, 1]),
    "products": lambda x, w: (w @ w.T)[1, 0] + jnp.dot(x, w[:, 1]) + jnp.outer(x, w)[1, 3],
    "einsum": lambda x, w: jnp.einsum("ij,ik,i->kj", w, w, x)[2, 1],
    "matrix": lambda x, w: (jnp.array([[0.0, 1.0], [2.0, 0.5]]) @ x)[1],
    "sums": lambda x, w: jnp.sum(w, axis=0)[1] + jnp.mean(x) + jnp.linalg.norm(x),
    "cumulative": lambda x, w: jnp.cumsum(w)[3] + jax.lax.cumsum(w, 1, reverse=True)[1, 1],
    "product": lambda x, w: jnp.prod(w, axis=1)[1] + jnp.cumprod(x)[1],
    "order": lambda x, w: jnp.roll(w, 1, axis=1)[1, 0] - w[::-1, 2][0] + w.T.reshape(-1)[3],
    "stack": lambda x, w: jnp.stack([x, w[:, 1]])[1, 0] + jnp.concatenate([x, w[0]])[4],
    "split": lambda x, w: jnp.split(w, 3, axis=1)[2][1, 0] + jnp.tile(x, 2)[3],
    "gather": lambda x, w: w[np.array([1, 0]), np.array([2, 1])] @ x,
    "select": lambda x, w: jnp.where(np.array([True, False]), x, w[:, 2]).sum() + x[1],
    "update": lambda x, w: x.at[1].set(w[0, 2])[1] + jnp.pad(x, 1, constant_values=0.3).sum(),
    "dynamic": lambda x, w: jax.lax.dynamic_slice(w, (1, 1), (1, 2))[0, 1] * 2,
    "nested": lambda x, w: jax.jit(lambda y: y * jax.checkpoint(jnp.sin)(y))(x[0]),
    "constant": lambda x, w: jnp.sin(0.1) + jnp.cumsum(jnp.arange(3.0))[2] + 0 * x[0] + 1 / 3,
}


def angle_circuit(functions, name="angles") -> Circuit:
    def function(features, weights):
        for angle in functions:
            qml.RX(angle(features, weights), 0)
        return qml.expval(qml.Z(0))

    return Circuit.from_function(
        function, num_qubits=1, num_features=2, weights_shape=(2, 3), name=name
    )


def angle_values(circuit: Circuit) -> np.ndarray:
    """All angles of every sample, by JAX."""
    weights, features = inputs(circuit)
    with jax.enable_x64(True):
        evaluate = jax.jit(jax.vmap(circuit.angles, (0, None)), compiler_options=UNOPTIMISED)
        return np.asarray(evaluate(features, weights))
