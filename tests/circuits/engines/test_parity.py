"""Every engine against an independent QNode, which shares no code with the capture."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import Circuit, radhi2025, strongly_entangling
from hqnn_jax.circuits.simulation import layer, transfer
from hqnn_jax.circuits.simulation.bits import BitMap
from tests.circuits.engines.examples import (
    BATCH,
    CIRCUITS,
    FAST_ENGINES,
    UNOPTIMISED,
    asymmetric_inputs,
    build,
    make,
    qnode,
    value_and_gradients,
)

# What depends on the precision does not depend on the form of the circuit.
SINGLE_PRECISION = ("radhi2025", "everything")
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
