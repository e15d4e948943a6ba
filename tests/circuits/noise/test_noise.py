"""Noise channels and models against PennyLane's default.mixed, Qiskit Aer and dense algebra."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from qiskit.quantum_info import Kraus, SuperOp, average_gate_fidelity
from qiskit_aer.noise import depolarizing_error, thermal_relaxation_error

from hqnn_jax.circuits import Circuit, Gate, Observable
from hqnn_jax.circuits.noise.channels import (
    Channel,
    amplitude_damping,
    bit_flip,
    depolarizing,
    over_rotation,
    phase_damping,
    phase_flip,
    tensor_factors,
    thermal_relaxation,
    unitary_mixture,
)
from hqnn_jax.circuits.noise.model import BasisChange, NoiseModel, ReadoutError
from hqnn_jax.errors import CircuitError

NUM_QUBITS = 3


def function(features, weights):
    """Every captured gate, re-uploading, words with all letters, and probabilities."""
    qml.Hadamard(1)
    qml.RX(features[0], 0)
    qml.RY(weights[0], 2)
    qml.CNOT([0, 2])
    qml.T(2)
    qml.RZ(features[1] * weights[1], 1)
    qml.CZ([2, 1])
    qml.RY(weights[2], 1)
    qml.PauliY(0)
    qml.SWAP([1, 0])
    qml.S(0)
    qml.RX(weights[3] + 0.3, 1)
    qml.CNOT([2, 1])
    qml.PauliX(2)
    qml.PauliZ(1)
    qml.RX(features[0], 2)
    return (
        qml.expval(qml.X(0) @ qml.Y(2)),
        qml.expval(qml.Z(1)),
        qml.expval(0.5 * qml.Y(1) - 1.5 * qml.Z(0) @ qml.X(2) + 0.25 * qml.I(0)),
        qml.probs(wires=[2, 0]),
    )


@pytest.fixture(scope="module")
def circuit():
    return Circuit.from_function(
        function, num_qubits=NUM_QUBITS, num_features=2, weights_shape=(4,), name="everything"
    )


WEIGHTS = np.array([0.7, -1.1, 2.3, 0.4])
FEATURES = np.array([[0.9, -0.6], [-1.7, 0.35]])

MODELS = {
    "sizes": NoiseModel(
        one_qubit=(amplitude_damping(0.1), depolarizing(0.05)),
        two_qubit=(depolarizing(0.08, 2), phase_damping(0.2)),
    ),
    "placed": NoiseModel(
        one_qubit=(thermal_relaxation(5e-5, 7e-5, 8e-6, 0.1),),
        gates={
            "RX": (bit_flip(0.07),),
            ("RX", (1,)): (phase_flip(0.15),),
            ("CNOT", (0, 2)): (amplitude_damping(0.3).on((2,)), bit_flip(0.1).on((1,))),
            "SWAP": (depolarizing(0.2, 2), over_rotation("SWAP", 0.3)),
        },
    ),
    "coherent": NoiseModel(
        over_rotation={"RX": 0.1, "RY": -0.2, "RZ": 0.15, "Hadamard": 0.1, "CNOT": 0.2, "S": 0.3},
        readout={0: ReadoutError(0.03, 0.11), 2: ReadoutError(0.08, 0.01)},
    ),
}


def embed(matrix, wires, num_qubits):
    """The matrix on all qubits of an operator on some wires, wire 0 most significant."""
    size = len(wires)
    factors = matrix.reshape([2] * (2 * size))
    full = np.eye(2**num_qubits, dtype=complex).reshape([2] * num_qubits + [-1])
    moved = np.tensordot(factors, full, (range(size, 2 * size), wires))
    return np.moveaxis(moved, range(size), wires).reshape(2**num_qubits, -1)


def density_matrix(circuit, noise, weights, features):
    """The noisy final state of one sample, with PennyLane's gate matrices."""
    with jax.enable_x64(True):
        angles = np.asarray(circuit.angles(jnp.asarray(features), jnp.asarray(weights)))
    state = np.zeros((2**circuit.num_qubits,) * 2, complex)
    state[0, 0] = 1
    for gate in circuit.gates:
        parameters = () if gate.angle is None else (float(angles[gate.angle]),)
        matrix = getattr(qml, gate.name).compute_matrix(*parameters)
        channels = [(matrix[None], gate.wires), *((c.kraus, c.wires) for c in noise.after(gate))]
        for kraus, wires in channels:
            full = [embed(operator, wires, circuit.num_qubits) for operator in kraus]
            state = sum(operator @ state @ operator.conj().T for operator in full)
    return state


def expectation(state, observable):
    """Tr(ρ O)."""
    return sum(
        c * np.trace(state @ qml.matrix(qml.pauli.string_to_pauli_word(word), range(len(word))))
        for c, word in observable.terms
    ).real


def dense(circuit, noise, weights, features):
    observables = noise.noisy_observables(circuit.observables)
    states = [density_matrix(circuit, noise, weights, sample) for sample in features]
    return np.array([[expectation(state, o) for o in observables] for state in states])


def mixed_qnode(noise):
    """The circuit on default.mixed, with PennyLane's own gates and channels between them."""
    device = qml.device("default.mixed", wires=NUM_QUBITS)

    @qml.qnode(device, interface=None)
    def evaluate(weights, features):
        with qml.QueuingManager.stop_recording():
            tape = qml.tape.make_qscript(function)(features, weights)
        for operation in tape.operations:
            gate = Gate(operation.name, tuple(operation.wires))
            qml.apply(operation)
            for channel in noise.after(gate):
                qml.QubitChannel(list(channel.kraus), wires=channel.wires)
        return [qml.apply(measurement) for measurement in tape.measurements]

    return evaluate


def superoperator(kraus):
    return sum(np.kron(operator, operator.conj()) for operator in kraus)


PENNYLANE_CHANNELS = {
    "depolarizing": (depolarizing(0.3), qml.DepolarizingChannel(0.3, 0)),
    "amplitude_damping": (amplitude_damping(0.3), qml.AmplitudeDamping(0.3, 0)),
    "phase_damping": (phase_damping(0.35), qml.PhaseDamping(0.35, 0)),
    "bit_flip": (bit_flip(0.2), qml.BitFlip(0.2, 0)),
    "phase_flip": (phase_flip(0.2), qml.PhaseFlip(0.2, 0)),
    "thermal": (
        thermal_relaxation(5e-5, 3e-5, 1e-5, 0.2),
        qml.ThermalRelaxationError(0.2, 5e-5, 3e-5, 1e-5, 0),
    ),
    "thermal_long_t2": (
        thermal_relaxation(5e-5, 8e-5, 1e-5, 0.2),
        qml.ThermalRelaxationError(0.2, 5e-5, 8e-5, 1e-5, 0),
    ),
    "over_rotation_t": (over_rotation("T", 0.4), qml.RZ(0.4, 0)),
    "over_rotation_y": (over_rotation("RY", 0.4), qml.RY(0.4, 0)),
}


@pytest.mark.parametrize("name", PENNYLANE_CHANNELS)
def test_channels_match_pennylane(name):
    ours, theirs = PENNYLANE_CHANNELS[name]
    kraus = (
        theirs.kraus_matrices() if isinstance(theirs, qml.operation.Channel) else [theirs.matrix()]
    )
    np.testing.assert_allclose(superoperator(ours.kraus), superoperator(kraus), atol=1e-12)


def test_channels_match_aer():
    def check(channel, error):
        expected = SuperOp(error).data  # column-stacking
        found = sum(np.kron(operator.conj(), operator) for operator in channel.kraus)
        np.testing.assert_allclose(found, expected, atol=1e-12)

    for t2, excited in ((3.0, 0.0), (5.0, 0.3), (8.0, 0.2), (10.0, 0.0)):
        ours = thermal_relaxation(5.0, t2, 0.7, excited)
        check(ours, thermal_relaxation_error(5.0, t2, 0.7, excited))
    check(thermal_relaxation(np.inf, 2.0, 0.7), thermal_relaxation_error(np.inf, 2.0, 0.7))
    check(depolarizing(0.3 * 15 / 16, 2), depolarizing_error(0.3, 2))


def test_over_rotation_continues_the_gate():
    """The excess of a CNOT turns the target further about X where the control is 1."""
    (excess,) = over_rotation("CNOT", 0.3).kraus
    turned = excess @ qml.CNOT.compute_matrix()
    expected = qml.CRX.compute_matrix(np.pi + 0.3)
    # Equal up to a phase, after the phase that turns CRX(π) into CNOT.
    expected = (
        np.diag([1, 1, 1j, 1j]) @ expected @ np.diag(np.exp(1j * 0.15 * np.array([0, 0, 1, 1])))
    )
    np.testing.assert_allclose(turned / turned[0, 0], expected / expected[0, 0], atol=1e-12)


def test_transfer_matrix():
    rng = np.random.default_rng(3)
    vectors, _ = np.linalg.qr(rng.normal(size=(12, 4)) + 1j * rng.normal(size=(12, 4)))
    channel = Channel(vectors.reshape(3, 4, 4))
    words = [qml.pauli.string_to_pauli_word(a + b) for a in "IXYZ" for b in "IXYZ"]
    words = [qml.matrix(word, wire_order=range(2)) for word in words]
    state = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))
    state = state @ state.conj().T
    before = np.array([np.trace(word @ state).real for word in words])
    changed = sum(k @ state @ k.conj().T for k in channel.kraus)
    after = np.array([np.trace(word @ changed).real for word in words])
    np.testing.assert_allclose(channel.transfer_matrix @ before, after, atol=1e-12)
    np.testing.assert_allclose(channel.transfer_matrix[0], np.eye(16)[0], atol=1e-12)
    average = average_gate_fidelity(Kraus(list(channel.kraus)))
    np.testing.assert_allclose(channel.average_gate_fidelity, average, atol=1e-12)


def test_unitary_mixtures_are_recognised():
    probabilities, unitaries = unitary_mixture(depolarizing(0.3, 2))
    np.testing.assert_allclose(probabilities, [0.7] + [0.02] * 15, atol=1e-14)
    first, second = tensor_factors(unitaries)
    products = [np.kron(a, b) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(products, unitaries, atol=1e-12)
    assert unitary_mixture(phase_damping(0.2)) is not None
    assert unitary_mixture(amplitude_damping(0.2)) is None
    assert tensor_factors(over_rotation("CZ", 0.3).kraus) is None


@pytest.mark.parametrize("name", MODELS)
def test_exact_values_match_default_mixed(circuit, name):
    noise = dataclasses.replace(MODELS[name], readout=None)
    evaluate = mixed_qnode(noise)
    expected = [np.hstack(evaluate(WEIGHTS, sample)) for sample in FEATURES]
    np.testing.assert_allclose(dense(circuit, noise, WEIGHTS, FEATURES), expected, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_pauli_transfer_engine_matches_dense_algebra(circuit, name):
    noise = MODELS[name]
    expected = dense(circuit, noise, WEIGHTS, FEATURES)
    ideal = dense(circuit, NoiseModel(), WEIGHTS, FEATURES)
    assert np.max(np.abs(expected - ideal)) > 0.03
    step = 1e-5
    along = np.array([0.3, -1.0, 0.6, 0.8])
    ahead, behind = (
        dense(circuit, noise, WEIGHTS + sign * step * along, FEATURES) for sign in (1, -1)
    )
    with jax.enable_x64(True):
        evaluate = circuit.with_noise(noise).to_jax("pauli_transfer")
        found, slope = jax.jvp(
            lambda weights: evaluate(weights, jnp.asarray(FEATURES)),
            (jnp.asarray(WEIGHTS),),
            (jnp.asarray(along),),
        )
    np.testing.assert_allclose(found, expected, atol=1e-10)
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), atol=1e-8)
    single = circuit.with_noise(noise).to_jax("pauli_transfer")(
        jnp.asarray(WEIGHTS, jnp.float32), jnp.asarray(FEATURES, jnp.float32)
    )
    np.testing.assert_allclose(single, expected, atol=1e-5)


def test_most_specific_entry_is_used():
    general, named, exact = bit_flip(0.1), phase_flip(0.2), amplitude_damping(0.3)
    noise = NoiseModel(
        one_qubit=(general, general),
        two_qubit=(named,),
        gates={"RZ": (), "RX": (named,), ("RX", (2,)): (exact, named.on((0,)))},
        over_rotation=0.25,
    )

    def found(gate):
        return [(channel.wires, channel.kraus) for channel in noise.after(gate)]

    def check(gate, *expected):
        pairs = zip(found(gate), expected, strict=True)
        for (wires, kraus), (expected_wires, channel) in pairs:
            assert wires == expected_wires
            np.testing.assert_array_equal(kraus, channel.kraus)

    check(Gate("Hadamard", (1,)), ((1,), general), ((1,), general))
    check(Gate("RZ", (1,), 0), ((1,), over_rotation("RZ", 0.25)))
    check(Gate("RX", (1,), 0), ((1,), over_rotation("RX", 0.25)), ((1,), named))
    check(Gate("RX", (2,), 0), ((2,), over_rotation("RX", 0.25)), ((2,), exact), ((0,), named))
    check(Gate("CZ", (2, 0)), ((2,), named), ((0,), named))
    check(BasisChange("Hadamard", (1,)))


def test_trivial_models():
    assert NoiseModel().is_trivial
    assert NoiseModel(gates={"RX": ()}, readout=ReadoutError(0.0, 0.0)).is_trivial
    assert not NoiseModel(readout={1: ReadoutError(0.0, 0.1)}).is_trivial
    assert not NoiseModel(over_rotation=0.1).is_trivial
    assert not NoiseModel(one_qubit=(bit_flip(0.1),)).is_trivial


def test_readout_errors_equal_confused_counts(circuit):
    """Observables with folded readout errors against probabilities with bits misread."""
    noise = NoiseModel(readout={0: ReadoutError(0.03, 0.21), 2: ReadoutError(0.18, 0.01)})
    state = density_matrix(circuit, NoiseModel(), WEIGHTS, FEATURES[0])
    probabilities = np.real(np.diag(state)).reshape(2, 2, 2)
    # By hand: P(read 1 | 0) on wire 0 is 0.03, P(read 0 | 1) is 0.21.
    first = np.array([[0.97, 0.21], [0.03, 0.79]])
    third = np.array([[0.82, 0.01], [0.18, 0.99]])
    read = np.einsum("ai,ck,ijk->ajc", first, third, probabilities)
    signs = np.array([1, -1])
    expected = {
        "ZII": np.einsum("abc,a->", read, signs),
        "IZI": np.einsum("abc,b->", read, signs),
        "IIZ": np.einsum("abc,c->", read, signs),
        "ZZZ": np.einsum("abc,a,b,c->", read, signs, signs, signs),
        "III": 1.0,
    }
    for word, value in expected.items():
        (observable,) = noise.noisy_observables([Observable(((2.0, word), (0.5, "III")))])
        assert len({word for _, word in observable.terms}) == len(observable.terms)
        np.testing.assert_allclose(expectation(state, observable), 2 * value + 0.5, atol=1e-12)


def test_readout_of_other_letters_and_of_nothing():
    noise = NoiseModel(readout=ReadoutError(0.1, 0.3))
    (observable,) = noise.noisy_observables([Observable(((1.0, "XIY"),))])
    found = {word: coefficient for coefficient, word in observable.terms}
    expected = {"XIY": 0.36, "XII": 0.12, "IIY": 0.12, "III": 0.04}
    assert found == pytest.approx(expected)
    lost = NoiseModel(readout=ReadoutError(0.5, 0.5))
    (observable,) = lost.noisy_observables([Observable(((1.0, "ZI"),))])
    assert observable.terms == ((0.0, "II"),)
    with pytest.raises(CircuitError, match="becomes 131072 words"):
        noise.noisy_observables([Observable(((1.0, "Z" * 17),))])


REFUSED = {
    "probability": (lambda: depolarizing(1.2), r"depolarizing: probability=1.2; expected.*0 to 1"),
    "nan": (lambda: bit_flip(float("nan")), "probability=nan"),
    "gamma": (lambda: amplitude_damping(-0.1), "gamma=-0.1"),
    "wires": (lambda: depolarizing(0.1, 3), "num_wires=3"),
    "t2": (lambda: thermal_relaxation(1e-5, 3e-5, 1e-6), r"t2=3e-05 exceeds 2 t1=2e-05"),
    "time": (lambda: thermal_relaxation(1e-5, 1e-5, -1.0), "gate_time=-1.0"),
    "trace": (lambda: Channel(np.eye(2, dtype=complex)[None] * 1.01), "K†K.*0.02"),
    "shape": (lambda: Channel(np.ones((1, 3, 3), complex)), r"shape \(1, 3, 3\)"),
    "placement": (lambda: depolarizing(0.1, 2).on((1, 1)), r"wires \(1, 1\)"),
    "axis": (lambda: over_rotation("CRX", 0.1), "no gate 'CRX'.*Did you mean 'RX'"),
    "name": (lambda: NoiseModel(gates={"CNOTT": ()}), "no gate 'CNOTT'.*Did you mean 'CNOT'"),
    "excess": (lambda: NoiseModel(over_rotation={"H": 0.1}), "no gate 'H'"),
    "readout": (lambda: ReadoutError(0.1, 1.5), "p0_given_1=1.5"),
    "one_qubit": (
        lambda: NoiseModel(one_qubit=(depolarizing(0.1, 2),)),
        r"NoiseModel.one_qubit: a channel on 2 qubits cannot follow a 1-qubit gate",
    ),
    "gate_wires": (lambda: NoiseModel(gates={("CZ", (1,)): ()}), r"CZ on wires \(1,\)"),
    "range": (
        lambda: NoiseModel(gates={("RX", (3,)): ()}).check_wires(3),
        r"gates\[\('RX', \(3,\)\)\] names wire 3; expected wires 0 to 2",
    ),
    "channel_range": (
        lambda: NoiseModel(two_qubit=(bit_flip(0.1).on((4,)),)).check_wires(3),
        "two_qubit names wire 4",
    ),
    "readout_range": (
        lambda: NoiseModel(readout={-1: ReadoutError(0.1, 0.1)}).check_wires(3),
        "readout names wire -1",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(CircuitError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_circuit_checks_the_wires_of_its_noise(circuit):
    with pytest.raises(CircuitError, match="readout names wire 3"):
        circuit.with_noise(NoiseModel(readout={3: ReadoutError(0.1, 0.1)}))


def test_exact_check_notices_wrong_wires(circuit):
    """Placing the channels on other wires, or reversing the register, changes the values."""
    noise = MODELS["placed"]
    reversed_wires = {
        key if isinstance(key, str) else (key[0], tuple(2 - wire for wire in key[1])): channels
        for key, channels in noise.gates.items()
    }
    wrong = dataclasses.replace(noise, gates=reversed_wires)
    difference = dense(circuit, noise, WEIGHTS, FEATURES) - dense(circuit, wrong, WEIGHTS, FEATURES)
    assert np.max(np.abs(difference)) > 0.02
