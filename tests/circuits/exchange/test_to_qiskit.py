"""Export to Qiskit and OpenQASM 3, and import: parity with the engines and round trips."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import openqasm3
import pennylane as qml
import pytest
import qiskit.qasm3
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from hqnn_jax.circuits import Circuit, hqcnn2025, radhi2025, strongly_entangling
from hqnn_jax.circuits.exchange import expressions as qiskit_expressions
from hqnn_jax.circuits.exchange.expressions import symbolic_angles
from hqnn_jax.circuits.exchange.openqasm import to_openqasm3
from hqnn_jax.circuits.exchange.to_qiskit import QISKIT_NAMES, to_qiskit
from hqnn_jax.circuits.gates import GATE_SET
from hqnn_jax.errors import CircuitError

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


LIBRARY = {
    "radhi2025": radhi2025,
    "strongly_entangling": lambda: strongly_entangling(4, 2),
    "hqcnn2025": lambda: hqcnn2025(3, 1),
    "one_qubit": lambda: strongly_entangling(1, 1),
}


@pytest.mark.parametrize("seed", range(3))
def test_random_circuit_matches_estimator(seed):
    circuit = random_circuit(seed)
    exported = to_qiskit(circuit)
    pub = exported.pub(*inputs(circuit))
    found = StatevectorEstimator().run([pub], precision=0).result()[0].data.evs
    np.testing.assert_allclose(found, engine_values(circuit), atol=1e-10)


@pytest.mark.parametrize("name", LIBRARY)
def test_library_circuit_matches_estimator(name):
    circuit = LIBRARY[name]()
    exported = to_qiskit(circuit)
    assert exported.circuit.num_qubits == circuit.num_qubits
    assert len(exported.features) == circuit.num_features
    assert len(exported.weights) == circuit.num_weights
    found = estimate(exported.circuit, exported.observables, exported.bind(*inputs(circuit)))
    np.testing.assert_allclose(found, engine_values(circuit), atol=1e-10)


def test_parity_check_notices_qubit_order():
    """A label that is not reversed, or a circuit whose qubits are, gives other values."""
    circuit = random_circuit(0)
    exported = to_qiskit(circuit)
    values = exported.bind(*inputs(circuit))
    expected = engine_values(circuit)
    as_written = [
        SparsePauliOp.from_list([(word, coefficient) for coefficient, word in observable.terms])
        for observable in circuit.observables
    ]
    wrong_labels = estimate(exported.circuit, as_written, values)
    wrong_qubits = estimate(exported.circuit.reverse_bits(), exported.observables, values)
    wrong_samples = estimate(exported.circuit, exported.observables, values[::-1])
    for wrong in (wrong_labels, wrong_qubits, wrong_samples):
        assert np.max(np.abs(wrong - expected)) > 0.05


def test_drawing_has_the_same_qubits():
    def function(features, weights):
        qml.RX(features[0], 0)
        qml.CNOT([0, 2])
        qml.RZ(2 * weights[0], 1)
        return qml.expval(0.5 * qml.Z(0) @ qml.X(2))

    circuit = Circuit.from_function(function, num_qubits=3, num_features=1, weights_shape=(1,))
    exported = to_qiskit(circuit)
    expected = QuantumCircuit(3)
    expected.rx(exported.features[0], 0)
    expected.cx(0, 2)
    expected.rz(2 * exported.weights[0], 1)
    assert exported.circuit == expected
    assert exported.observables == (SparsePauliOp("XIZ", 0.5),)


def test_every_gate_has_a_qiskit_name():
    assert QISKIT_NAMES.keys() == GATE_SET


def test_bind_follows_the_order_of_qiskit_and_leaves_out_unused_parameters():
    """Features 0 and 2 of 12 are unused, and no angle is read in the order of the inputs."""

    def function(features, weights):
        for i in (11, 3, 10, 1, 4, 5, 6, 7, 8, 9):
            qml.RX(features[i], 0)
        qml.RY(weights[1, 0], 0)
        return qml.expval(qml.Z(0))

    circuit = Circuit.from_function(function, num_qubits=1, num_features=12, weights_shape=(2, 2))
    exported = to_qiskit(circuit)
    weights, features = np.array([[20.0, 21], [22, 23]]), np.arange(36.0).reshape(3, 12)
    bound = exported.bind(weights, features)
    used = {parameter.name for parameter in exported.circuit.parameters}
    assert used == {f"features[{i}]" for i in (1, *range(3, 12))} | {"weights[2]"}
    expected = np.column_stack([features[:, 1], features[:, 3:], np.full(3, 22.0)])
    np.testing.assert_array_equal(bound, expected)


def test_bind_rejects_wrong_shapes():
    exported = to_qiskit(radhi2025(3, 2))
    with pytest.raises(CircuitError, match=r"weights have shape \(3, 2\), expected \(2, 3\)"):
        exported.bind(np.zeros((3, 2)), np.zeros((2, 3)))
    with pytest.raises(CircuitError, match=r"features have shape \(3,\), expected \(batch, 3\)"):
        exported.bind(np.zeros((2, 3)), np.zeros(3))


def test_circuit_without_inputs():
    def function(features, weights):
        qml.Hadamard(0)
        return qml.expval(qml.X(0)), qml.expval(qml.Z(0))

    circuit = Circuit.from_function(function, num_qubits=2, num_features=0, weights_shape=(0,))
    exported = to_qiskit(circuit)
    pub = exported.pub(np.zeros(0), np.zeros((3, 0)))
    found = StatevectorEstimator().run([pub], precision=0).result()[0].data.evs
    np.testing.assert_allclose(found, np.tile([1.0, 0.0], (3, 1)), atol=1e-12)


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


def numbers(expressions, symbols, values):
    """The value of each expression."""
    known = dict(zip(symbols, values, strict=True))
    return [
        e.bind({p: known[p] for p in e.parameters}).numeric() if hasattr(e, "bind") else e
        for e in expressions
    ]


def angle_values(circuit: Circuit) -> np.ndarray:
    """All angles of every sample, by JAX."""
    weights, features = inputs(circuit)
    with jax.enable_x64(True):
        evaluate = jax.jit(jax.vmap(circuit.angles, (0, None)), compiler_options=UNOPTIMISED)
        return np.asarray(evaluate(features, weights))


def test_arithmetic_on_inputs_is_exact():
    circuit = angle_circuit(EXPRESSIBLE.values())
    x, w = ParameterVector("x", 2), ParameterVector("w", 6)
    symbolic = symbolic_angles(circuit.angles, list(x), list(w))
    weights, features = inputs(circuit)
    for sample, expected in zip(features, angle_values(circuit), strict=True):
        found = numbers(symbolic, [*x, *w], [*sample, *weights.ravel()])
        for name, ours, theirs in zip(EXPRESSIBLE, found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13, err_msg=name)


def test_wrong_expressions_are_noticed(monkeypatch):
    circuit = angle_circuit([lambda x, w: 2 * x[1], lambda x, w: jnp.sin(x[0]) + w[0, 0]])
    assert to_qiskit(circuit).circuit.size() == 2
    monkeypatch.setitem(qiskit_expressions._RULES, "sin", lambda eqn, x: x)
    with pytest.raises(CircuitError, match=r"angle of RX on wires \[0\] gets a wrong value"):
        to_qiskit(circuit)


def test_constants_without_symbols_stay_numbers():
    circuit = angle_circuit([EXPRESSIBLE["matrix"], lambda x, w: 0.1, lambda x, w: x[0] * 0 + 0.2])
    x, w = ParameterVector("x", 2), ParameterVector("w", 6)
    matrix, constant, cancelled = symbolic_angles(circuit.angles, list(x), list(w))
    assert matrix == 2 * x[0] + 0.5 * x[1]
    assert (constant, cancelled) == (0.1, 0.2)


@pytest.mark.parametrize(
    ("angle", "primitive"),
    [
        (lambda x, w: jnp.where(x[0] > 0, x[0], 0.0), "gt"),
        (lambda x, w: 2 * jnp.mod(x[1], 3.0), "rem"),
        (lambda x, w: jnp.arctan2(x[0], w[0, 1]), "atan2"),
        (lambda x, w: jnp.sort(x)[0], "sort"),
        (lambda x, w: w[x.astype(int)[0], 0], "convert_element_type"),
        (lambda x, w: (-2.0) ** x[0], "pow"),
    ],
)
def test_inexpressible_arithmetic_is_named_with_its_gate(angle, primitive):
    circuit = angle_circuit([lambda x, w: x[0], angle], name="odd")
    message = rf"'odd': the angle of RX on wires \[0\] is computed with '{primitive}"
    with pytest.raises(CircuitError, match=message):
        to_qiskit(circuit)
    exported = to_qiskit(circuit, precompute=True)
    expressions = [instruction.operation.params[0] for instruction in exported.circuit.data]
    assert expressions == [exported.features[0], exported.angles[1]]


def test_precomputed_angles_have_the_values():
    def function(features, weights):
        qml.RX(jnp.where(features[0] > weights[1], features[0], 0.2), 0)
        qml.RY(jnp.arctan2(weights[0], features[1]), 1)
        qml.RZ(features[2] * 2, 1)
        qml.CNOT([1, 0])
        return qml.expval(qml.Y(0)), qml.expval(qml.X(1)), qml.expval(qml.Z(1))

    circuit = Circuit.from_function(function, num_qubits=2, num_features=3, weights_shape=(2,))
    exported = to_qiskit(circuit, precompute=True)
    names = [parameter.name for parameter in exported.circuit.parameters]
    assert names == ["angles[0]", "angles[1]", "features[2]"]
    found = estimate(exported.circuit, exported.observables, exported.bind(*inputs(circuit)))
    np.testing.assert_allclose(found, engine_values(circuit), atol=1e-10)
    text = to_openqasm3(circuit, precompute=True)
    parsed = qiskit.qasm3.loads(text)
    assert {"angles_0", "angles_1"} <= {parameter.name for parameter in parsed.parameters}
    assert "ry(angles_1) q[1];\nrz(2.0*features_2) q[1];" in text


def test_arithmetic_that_no_angle_reads_does_not_matter():
    circuit = angle_circuit([lambda x, w: jnp.stack([jnp.arctan2(x[0], x[1]), 2 * x[0]])[1]])
    exported = to_qiskit(circuit)
    assert exported.circuit.data[0].operation.params == [2 * exported.features[0]]


def test_fake_backend_keeps_values():
    circuit = random_circuit(1)
    manager = generate_preset_pass_manager(
        optimization_level=2, backend=FakeManilaV2(), seed_transpiler=4, initial_layout=[3, 1, 2, 0]
    )
    transpiled = to_qiskit(circuit).transpiled(manager)
    assert transpiled.circuit.num_qubits == 5
    pub = transpiled.pub(*inputs(circuit))
    found = StatevectorEstimator().run([pub], precision=0).result()[0].data.evs
    np.testing.assert_allclose(found, engine_values(circuit), atol=1e-8)


@pytest.mark.parametrize("seed", [1, 2])
def test_round_trip_preserves_values_and_parameters(seed):
    circuit = random_circuit(seed)
    exported = to_qiskit(circuit)
    back = from_qiskit(
        exported.circuit,
        exported.observables,
        features=exported.features,
        weights=exported.weights,
        weights_shape=circuit.weights_shape,
    )
    assert (back.name, back.num_qubits) == (circuit.name, circuit.num_qubits)
    assert (back.num_features, back.weights_shape) == (circuit.num_features, circuit.weights_shape)
    assert back.observables == circuit.observables
    # Qiskit may exchange gates on different qubits.
    described = [
        sorted(
            (gate.name, gate.wires, -1 if gate.angle is None else c.angles.inputs[gate.angle].value)
            for gate in c.gates
        )
        for c in (back, circuit)
    ]
    assert described[0] == described[1]
    np.testing.assert_allclose(qnode_values(back), engine_values(circuit), atol=1e-10)


def test_round_trip_preserves_gradients():
    circuit = random_circuit(0)
    exported = to_qiskit(circuit)
    back = Circuit.from_qiskit(exported.circuit, exported.observables, weights_shape=WEIGHTS_SHAPE)
    cotangents = np.random.default_rng(3).normal(size=(BATCH, circuit.num_outputs))

    def gradients(which):
        loss = lambda w, x: jnp.sum(cotangents * which.to_jax("statevector")(w, x))  # noqa: E731
        return jax.jit(jax.grad(loss, (0, 1)), compiler_options=UNOPTIMISED)(*inputs(circuit))

    with jax.enable_x64(True):
        for ours, theirs in zip(gradients(back), gradients(circuit), strict=True):
            assert np.max(np.abs(theirs)) > 0.1
            np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("seed", [1, 2])
def test_openqasm_is_read_back_by_qiskit(seed):
    """Where functions are left out, their values are inputs like the features."""
    circuit = random_circuit(seed)
    program = to_openqasm3(circuit, precompute=True)
    parsed = qiskit.qasm3.loads(program)
    weights, features = inputs(circuit)
    named = [
        {f"features_{i}": value for i, value in enumerate(sample)}
        | {f"weights_{i}": value for i, value in enumerate(weights.ravel())}
        | {f"angles_{i}": value for i, value in enumerate(angle)}
        for sample, angle in zip(features, angle_values(circuit), strict=True)
    ]
    values = np.array([[known[p.name] for p in parsed.parameters] for known in named])
    assert any(p.name.startswith("angles_") for p in parsed.parameters)
    assert any(p.name.startswith("features_") for p in parsed.parameters)
    found = estimate(parsed, to_qiskit(circuit).observables, values)
    np.testing.assert_allclose(found, engine_values(circuit), atol=1e-10)


def test_openqasm_expressions_have_the_angles_values():
    """Arithmetic in OpenQASM 3 reads as Python does, once its functions are defined."""
    circuit = angle_circuit(EXPRESSIBLE.values(), name="my\nangles")
    text = to_openqasm3(circuit)
    program = openqasm3.parse(text)
    declared = [s for s in program.statements if isinstance(s, openqasm3.ast.IODeclaration)]
    assert [s.identifier.name for s in declared] == [
        *("features_0", "features_1"),
        *(f"weights_{i}" for i in range(6)),
    ]
    gates = [s for s in program.statements if isinstance(s, openqasm3.ast.QuantumGate)]
    assert [gate.name.name for gate in gates] == ["rx"] * len(EXPRESSIBLE)
    weights, features = inputs(circuit)
    known = {f"features_{i}": value for i, value in enumerate(features[1])}
    known |= {f"weights_{i}": value for i, value in enumerate(weights.ravel())}
    known |= {f: getattr(math, f) for f in ("sin", "cos", "tan", "exp", "log", "sqrt")}
    known |= {"arcsin": math.asin, "arccos": math.acos, "arctan": math.atan}
    expected = angle_values(circuit)[1]
    for name, gate, theirs in zip(EXPRESSIBLE, gates, expected, strict=True):
        ours = eval(openqasm3.dumps(gate.arguments[0]), {"__builtins__": {"float": float}}, known)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12, err_msg=name)


def test_openqasm_text():
    def function(features, weights):
        qml.RX(features[1] ** 2 / 3, 2)
        qml.CNOT([2, 0])
        qml.RY(0.1, 1)
        return qml.expval(0.5 * qml.Z(0) - 1.5 * qml.X(2)), qml.expval(qml.Y(1))

    circuit = Circuit.from_function(
        function, num_qubits=3, num_features=2, weights_shape=(1,), name="small"
    )
    lines = [
        "// small",
        "// output 0: +0.5 ZII -1.5 IIX",
        "// output 1: +1.0 IYI",
        "OPENQASM 3.0;",
        'include "stdgates.inc";',
        "input float[64] features_0;",
        "input float[64] features_1;",
        "input float[64] weights_0;",
        "qubit[3] q;",
        "rx(0.3333333333333333*(features_1*features_1)) q[2];",
        "cx q[2], q[0];",
        "ry(0.1) q[1];",
    ]
    assert to_openqasm3(circuit).splitlines() == lines
    assert qiskit.qasm3.loads(to_openqasm3(circuit)).num_parameters == 3
