"""Every engine against an independent QNode, which shares no code with the capture."""

import functools
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import Circuit, radhi2025, strongly_entangling
from hqnn_jax.circuits.engines import statevector, why_not
from hqnn_jax.circuits.noise.channels import depolarizing
from hqnn_jax.circuits.noise.model import NoiseModel
from hqnn_jax.circuits.simulation import layer, transfer
from hqnn_jax.circuits.simulation.bits import BitMap
from hqnn_jax.errors import CircuitError

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
# What depends on the precision does not depend on the form of the circuit.
SINGLE_PRECISION = ("radhi2025", "everything")
FAST_ENGINES = ("statevector", "adjoint", "unitary", "pauli_transfer")
CASES = [
    (name, engine)
    for name in CIRCUITS
    if name != "small"
    for engine in FAST_ENGINES
    if (name, engine) != ("everything", "unitary")
]
# The engine and the reference are the same simulator: one circuit tells whether it is wired right.
CASES.append(("everything", "pennylane"))
DTYPES = ((jnp.float64, CASES), (jnp.float32, [c for c in CASES if c[0] in SINGLE_PRECISION]))


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


@functools.cache
def expected_values(name: str) -> tuple[np.ndarray, ...]:
    """The QNode's outputs and gradients in double precision."""
    with jax.enable_x64(True):
        inputs = asymmetric_inputs(make(name), BATCH, jnp.float64)
        return jax.device_get(value_and_gradients(qnode(make(name)), *inputs))


@pytest.mark.parametrize(
    ("name", "engine", "dtype"),
    [(*case, dtype) for dtype, cases in DTYPES for case in cases],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_values_and_gradients_match_qnode(name, engine, dtype):
    expected = expected_values(name)
    with jax.enable_x64(dtype == jnp.float64):
        inputs = asymmetric_inputs(make(name), BATCH, dtype)
        found = value_and_gradients(build(make(name), engine), *inputs)
    tolerance = 1e-10 if dtype == jnp.float64 else 1e-5
    for what, ours, theirs in zip(("outputs", "weights", "features"), found, expected, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=what)


def known_one_qubit(features, weights):
    qml.RX(features[0], 0)
    qml.RZ(weights[0], 0)
    return [qml.expval(qml.X(0)), qml.expval(qml.Y(0)), qml.expval(qml.Z(0))]


def test_known_values_one_qubit():
    circuit = Circuit.from_function(
        known_one_qubit, num_qubits=1, num_features=1, weights_shape=(1,)
    )
    x, w = np.array([0.4, -1.3]), 0.7
    # RX(x) turns z into (0, -sin x, cos x); RZ(w) turns that by w about z.
    expected = np.stack([np.sin(x) * np.sin(w), -np.sin(x) * np.cos(w), np.cos(x)], axis=1)
    found = circuit.to_jax()(np.array([w], np.float32), x[:, None].astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def known_two_qubits(features, weights):
    qml.RY(features[0], 0)
    qml.RY(weights[0], 1)
    qml.CNOT([0, 1])
    return [qml.expval(qml.Z(1)), qml.expval(qml.Z(0) @ qml.Z(1)), qml.probs(wires=[0, 1])]


def test_known_values_two_qubits():
    circuit = Circuit.from_function(
        known_two_qubits, num_qubits=2, num_features=1, weights_shape=(1,)
    )
    x, w = 0.9, -0.4
    c, s = np.cos(x / 2) ** 2, np.sin(x / 2) ** 2
    d, t = np.cos(w / 2) ** 2, np.sin(w / 2) ** 2
    expected = [np.cos(x) * np.cos(w), np.cos(w), c * d, c * t, s * t, s * d]
    found = circuit.to_jax()(jnp.array([w]), jnp.array([[x]]))
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


@pytest.mark.parametrize("engine", ["statevector", "unitary", "pauli_transfer"])
def test_wire_zero_is_most_significant(engine):
    circuit = Circuit.from_function(
        lambda features, weights: (qml.X(0), qml.probs(wires=[0, 1, 2]))[-1],
        num_qubits=3,
        num_features=0,
        weights_shape=(0,),
    )
    found = circuit.to_jax(engine)(jnp.zeros(0), jnp.zeros((2, 0)))
    np.testing.assert_allclose(found, np.tile(np.eye(8)[4], (2, 1)), atol=1e-7)


def test_parity_inputs_tell_wires_and_axes_apart():
    """Wrong wires, samples and layers of the inputs of the parity test change the outputs."""
    circuit = radhi2025(5, 3)
    evaluate = jax.jit(circuit.to_jax("statevector"), compiler_options=UNOPTIMISED)
    weights, features, _ = asymmetric_inputs(circuit, BATCH, jnp.float32)
    outputs = evaluate(weights, features)
    scrambled = {
        "outputs": outputs[:, [1, 0, 2, 3, 4]],
        "samples": evaluate(weights, features[::-1]),
        "features": evaluate(weights, features[:, [1, 0, *range(2, circuit.num_features)]]),
        "layers": evaluate(weights[::-1], features),
        "wires": evaluate(weights[:, ::-1], features),
        "axes": evaluate(weights, features.T.reshape(features.shape)),
    }
    for what, wrong in scrambled.items():
        assert jnp.max(jnp.abs(wrong - outputs)) > 0.05, what


@functools.cache
def two_groups() -> Circuit:
    """Five complex wires, which are more than the matrix of one group acts on."""
    circuit = strongly_entangling(5, 2)
    # Words that are not diagonal: the last permutation moves states, not signs.
    observables = tuple(
        replace(observable, terms=((1.0, word),))
        for observable, word in zip(
            circuit.observables, ("XIIIZ", "IYIII", "IIZXI", "IIIYI", "ZIIIX"), strict=True
        )
    )
    return replace(circuit, observables=observables)


def deviation(circuit: Circuit, engine: str) -> float:
    """The largest difference between an engine's values and those of the gates one by one."""
    weights, features, _ = asymmetric_inputs(circuit, 2, jnp.float32)
    evaluate = jax.jit(build(circuit, engine), compiler_options=UNOPTIMISED)
    angles = jax.vmap(circuit.angles, (0, None))(features, weights)
    found = evaluate(weights, features)
    expected = [gate_by_gate(two_groups(), row) for row in np.asarray(angles, float)]
    return float(np.max(np.abs(found - np.array(expected))))


def gate_by_gate(circuit: Circuit, angles: np.ndarray) -> list[float]:
    """Expectation values of one sample, by PennyLane's gates on numbers."""
    operations = [
        getattr(qml, gate.name)(
            *(() if gate.angle is None else (angles[gate.angle],)), wires=list(gate.wires)
        )
        for gate in circuit.gates
    ]
    words = [qml.pauli.string_to_pauli_word(o.terms[0][1]) for o in circuit.observables]
    tape = qml.tape.QuantumScript(operations, [qml.expval(word) for word in words])
    return list(qml.execute([tape], qml.device("default.qubit", wires=circuit.num_qubits))[0])


def reverse_first_cnot(circuit: Circuit) -> Circuit:
    gates = list(circuit.gates)
    number = next(k for k, gate in enumerate(gates) if gate.name == "CNOT")
    gates[number] = replace(gates[number], wires=gates[number].wires[::-1])
    return replace(circuit, gates=tuple(gates))


def compose_backwards(monkeypatch):
    after = BitMap.after
    monkeypatch.setattr(BitMap, "after", lambda self, first: after(first, self))


def leave_groups_in_place(monkeypatch):
    monkeypatch.setattr(layer, "_lead_to_end", lambda state, size: state)


def forget_reordering(monkeypatch):
    monkeypatch.setattr(BitMap, "reordering", lambda wires: BitMap.identity(len(wires)))


def swap_pairs(monkeypatch):
    word_map = transfer._word_map
    swapped = lambda pair, n: word_map(replace(pair, wires=pair.wires[::-1]), n)  # noqa: E731
    monkeypatch.setattr(transfer, "_word_map", swapped)


@pytest.mark.parametrize("engine", ["statevector", "unitary", "pauli_transfer"])
def test_parity_notices_a_gate_on_swapped_wires(engine):
    assert deviation(two_groups(), engine) < 1e-5
    assert deviation(reverse_first_cnot(two_groups()), engine) > 0.01


@pytest.mark.parametrize(
    ("break_it", "engine"),
    [
        (compose_backwards, "statevector"),
        (leave_groups_in_place, "statevector"),
        (forget_reordering, "statevector"),
        (swap_pairs, "pauli_transfer"),
    ],
)
def test_parity_notices_a_wrong_axis_inside_an_engine(monkeypatch, break_it, engine):
    break_it(monkeypatch)
    assert deviation(two_groups(), engine) > 0.01


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        *(("small", engine) for engine in (*FAST_ENGINES, "pennylane")),
        ("no_shared_angle", "statevector"),
    ],
)
def test_vmap_over_weights(name, engine):
    circuit = make(name)
    function = build(circuit, engine)
    weights, features, cotangents = asymmetric_inputs(circuit, 5, jnp.float32)
    several = jnp.stack([weights, weights[::-1] - 0.3, 2 - weights, weights / 2])

    def loss(weights):
        outputs = function(weights, features)
        return jnp.sum(cotangents * outputs), outputs

    gradient = jax.grad(loss, has_aux=True)
    found = jax.jit(jax.vmap(gradient), compiler_options=UNOPTIMISED)(several)
    assert found[0].shape == several.shape
    assert found[1].shape == (4, 5, circuit.num_outputs)
    one = jax.jit(gradient, compiler_options=UNOPTIMISED)
    for row, alone in enumerate(several):
        for together, single in zip(found, one(alone), strict=True):
            np.testing.assert_allclose(together[row], single, atol=2e-6)


def second_derivatives(function, circuit: Circuit):
    """Derivatives along a direction, in weights and features, of derivatives in both."""
    weights, features, cotangents = asymmetric_inputs(circuit, 2, jnp.float64)
    along = asymmetric_inputs(circuit, 3, jnp.float64)
    scalar = lambda w, x: jnp.vdot(cotangents, function(w, x))  # noqa: E731

    def slope(weights, features):
        by_weights, by_features = jax.grad(scalar, (0, 1))(weights, features)
        return jnp.vdot(by_weights, along[0]) + jnp.vdot(by_features, along[1][1:])

    derivative = jax.jit(jax.grad(slope, (0, 1)), compiler_options=UNOPTIMISED)
    return derivative(weights, features)


@functools.cache
def expected_second_derivatives():
    with jax.enable_x64(True):
        return jax.device_get(second_derivatives(qnode(make("small")), make("small")))


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_second_derivatives(engine):
    expected = expected_second_derivatives()
    assert min(np.max(np.abs(part)) for part in expected) > 0.1
    with jax.enable_x64(True):
        found = second_derivatives(build(make("small"), engine), make("small"))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize("engine", ["statevector", "unitary", "pauli_transfer"])
def test_forward_mode_agrees_with_reverse_mode(engine):
    circuit = make("small")
    function = build(circuit, engine)
    with jax.enable_x64(True):
        weights, features, cotangents = asymmetric_inputs(circuit, 3, jnp.float64)
        along = (jnp.cos(weights), jnp.sin(3 * features))

        def both(weights, features):
            scalar = lambda w, x: jnp.vdot(cotangents, function(w, x))  # noqa: E731
            _, forward = jax.jvp(scalar, (weights, features), along)
            reverse = jax.grad(scalar, (0, 1))(weights, features)
            return forward, sum(map(jnp.vdot, reverse, along))

        forward, reverse = jax.jit(both, compiler_options=UNOPTIMISED)(weights, features)
    assert abs(forward) > 0.1
    np.testing.assert_allclose(forward, reverse, atol=1e-11)


def test_same_shapes_are_traced_once():
    traces = []

    def function(features, weights):
        traces.append(1)
        qml.RY(features[0], 0)
        qml.RX(weights[0] * 2, 0)
        return qml.expval(qml.Z(0))

    circuit = Circuit.from_function(function, num_qubits=1, num_features=1, weights_shape=(1,))
    evaluate = circuit.to_jax()
    for value in (0.1, 0.2, 0.3):
        evaluate(jnp.array([value]), jnp.full((4, 1), value))
    assert evaluate._cache_size() == 1
    # The engine works from the capture: it never calls the quantum function again.
    assert len(traces) == 1


@pytest.mark.parametrize("real", [True, False])
def test_norm_is_preserved_at_depth_200(real):
    def function(features, weights):
        qml.AngleEmbedding(features, wires=range(3), rotation="Y")
        for number in range(200):
            for wire in range(3):
                (qml.RY if real else qml.RX)(weights[number, wire], wire)
                if not real:
                    qml.RZ(weights[number, wire], wire)
            qml.CNOT([number % 3, (number + 1) % 3])
        return qml.expval(qml.Z(0))

    circuit = Circuit.from_function(
        function, num_qubits=3, num_features=3, weights_shape=(200, 3), name="deep"
    )
    weights, features, _ = asymmetric_inputs(circuit, 4, jnp.float32)
    state = jax.jit(statevector.build_state(circuit), compiler_options=UNOPTIMISED)
    states = state(weights, features)
    assert states.dtype == (jnp.float32 if real else jnp.complex64)
    np.testing.assert_allclose(jnp.sum(jnp.abs(states) ** 2, axis=1), 1, atol=2e-5)


def test_state_matches_pennylane_up_to_phase():
    circuit = make("everything")
    weights, features, _ = asymmetric_inputs(circuit, 3, jnp.float32)
    state = jax.jit(statevector.build_state(circuit), compiler_options=UNOPTIMISED)
    states = state(weights, features)
    device = qml.device("default.qubit", wires=3)
    for row, sample in zip(np.asarray(states), np.asarray(features, float), strict=True):
        tape = qml.tape.make_qscript(circuit.function)(sample, np.asarray(weights, float))
        script = qml.tape.QuantumScript(tape.operations, [qml.state()])
        overlap = np.vdot(row, qml.execute([script], device)[0])
        np.testing.assert_allclose(abs(overlap), 1, atol=1e-5)


@pytest.mark.parametrize(
    "engine", ["auto", "pennylane", "statevector", "unitary", "pauli_transfer"]
)
def test_wrong_shapes_are_reported(engine):
    evaluate = radhi2025().to_jax(engine)
    with pytest.raises(CircuitError, match=r"weights have shape \(6, 4\), expected \(4, 6\)"):
        evaluate(jnp.zeros((6, 4)), jnp.zeros((3, 4)))
    with pytest.raises(CircuitError, match=r"features have shape \(3, 6\), expected \(batch, 4\)"):
        evaluate(jnp.zeros((4, 6)), jnp.zeros((3, 6)))
    with pytest.raises(CircuitError, match=r"features have shape \(4,\)"):
        evaluate(jnp.zeros((4, 6)), jnp.zeros(4))


def test_unknown_engine_names_the_closest():
    with pytest.raises(CircuitError, match=r"'statevectr'.*pennylane.*Did you mean 'statevector'"):
        radhi2025().to_jax("statevectr")


@pytest.mark.parametrize(
    ("circuit", "engine", "reason"),
    [
        (lambda: make("everything"), "unitary", "features enter after the first layer"),
        (lambda: strongly_entangling(14, 1), "unitary", r"4\^14 entries, and 13 qubits are the"),
        (lambda: strongly_entangling(13, 1), "pauli_transfer", r"4\^13 coeff.*'statevector'"),
    ],
)
def test_an_engine_that_does_not_apply_says_why(circuit, engine, reason):
    with pytest.raises(CircuitError, match=f"engine '{engine}' does not apply: .*{reason}"):
        circuit().to_jax(engine)


def test_ideal_engines_refuse_noise():
    ideal = radhi2025(2, 1)
    noisy = ideal.with_noise(NoiseModel(one_qubit=(depolarizing(0.02),)))
    for engine in ("pennylane", "statevector", "unitary"):
        with pytest.raises(CircuitError, match="ideal circuits only; with noise use 'pauli_tran"):
            noisy.to_jax(engine)
        # A model without any noise changes nothing.
        assert why_not(ideal.with_noise(NoiseModel()), engine) is None
    assert why_not(noisy, "pauli_transfer") is None


def test_dtype_is_the_promoted_one_and_at_least_float32():
    circuit = radhi2025(2, 1)
    evaluate = circuit.to_jax()
    low = jnp.zeros((3, 2), jnp.bfloat16)
    assert evaluate(jnp.zeros((1, 2), jnp.bfloat16), low).dtype == jnp.float32
    assert evaluate(jnp.zeros((1, 2), jnp.int32), low).dtype == jnp.float32
    with jax.enable_x64(True):
        assert evaluate(jnp.zeros((1, 2), jnp.float64), low).dtype == jnp.float64
