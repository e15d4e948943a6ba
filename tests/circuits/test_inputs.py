"""Numbers of other libraries are taken, and those of the wrong kind are refused by one line."""

from functools import partial

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import (
    Channel,
    Circuit,
    NoiseModel,
    ReadoutError,
    amplitude_damping,
    depolarizing,
    over_rotation,
    thermal_relaxation,
)
from hqnn_jax.circuits.analysis.kernels import fidelity_kernel
from hqnn_jax.circuits.capture.state_preparation import prepare_state
from hqnn_jax.circuits.engines import ENGINES
from hqnn_jax.circuits.engines.chunking import in_chunks
from hqnn_jax.circuits.library import compose
from hqnn_jax.circuits.library.ansatze import ANSATZE
from hqnn_jax.circuits.library.embeddings import EMBEDDINGS
from hqnn_jax.circuits.sampling import trajectories
from hqnn_jax.circuits.sampling.shots import standard_errors
from hqnn_jax.errors import CircuitError

PAIRS = np.array([[2, 0], [0, 1], [1, 2]])
WEIGHTS = np.array([0.3, 0.7, -1.1])


def gates(x, w):
    for q in np.random.default_rng(1).permutation(3):
        qml.RX(w[q], wires=q)
    for pair in PAIRS:
        qml.CNOT(pair)
    for a, b in PAIRS.astype(np.uint8):
        qml.CRY(0.4 + w[a], wires=[a, b])
    return qml.expval(qml.Z(2))


def templates(x, w):
    wires = np.arange(3, dtype=np.int16)[::-1]
    qml.AngleEmbedding(w, wires=wires)
    qml.StronglyEntanglingLayers(w.reshape(1, 1, 3) * np.ones((2, 3, 1)), wires=wires)
    qml.ctrl(qml.RY, control=wires[0])(w[1], wires=wires[2])
    qml.QubitUnitary(np.kron(np.eye(2), [[0, 1], [1, 0]]), wires=wires[:2])
    return qml.expval(qml.Z(1))


def observables(x, w):
    qml.RX(w[0], 1)
    qml.RY(w[1], 2)
    hermitian = qml.Hermitian(np.array([[1, 0.5], [0.5, -2]]), wires=np.int32(2))
    return [
        qml.expval(qml.Z(np.int64(1))),
        qml.expval(qml.Y(np.int8(1)) @ qml.X(np.uint8(2))),
        qml.expval(hermitian),
    ]


def measurements(x, w):
    qml.RX(w[0], 1)
    qml.RY(w[1], 2)
    return [qml.probs(wires=np.array([2, 1])), qml.probs(op=qml.X(np.int64(2)))]


@pytest.fixture
def unchecked():
    """Annotations are checked in tests only: without, as users call the package."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.mark.parametrize("function", [gates, templates, observables, measurements])
def test_numpy_integers_as_wires(function):
    expected = qml.QNode(function, qml.device("default.qubit", wires=3))(np.zeros(0), WEIGHTS)
    circuit = Circuit.from_function(
        function, num_qubits=np.int64(3), num_features=np.int64(0), weights_shape=[np.int64(3)]
    )
    wires = [*(w for gate in circuit.gates for w in gate.wires), *circuit.weights_shape]
    assert {type(number) for number in [*wires, circuit.num_qubits]} == {int}
    with jax.enable_x64(True):
        found = circuit.to_jax()(WEIGHTS, np.zeros((2, 0)))
    np.testing.assert_allclose(
        found, [np.concatenate([np.ravel(e) for e in jax.tree.leaves(expected)])] * 2, atol=1e-9
    )


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_numpy_integers_as_wires_of_embeddings(name):
    part = EMBEDDINGS[name]
    size = part.num_features(3)

    def circuit(wires):
        def function(x, w):
            part.apply(x, wires)
            return [qml.expval(qml.Z(q)) for q in range(3)]

        return Circuit.from_function(function, num_qubits=3, num_features=size, weights_shape=(0,))

    assert circuit(np.array([2, 0, 1])).gates == circuit([2, 0, 1]).gates


@pytest.mark.parametrize("name", ANSATZE)
def test_numpy_integers_as_wires_of_ansatze(name):
    part = ANSATZE[name]
    options = {"entanglement": PAIRS} if part.takes_entanglement else {}

    def circuit(wires):
        def function(x, w):
            part.apply(w, wires, **options)
            return qml.expval(qml.Z(0))

        shape = part.weights_shape(3, 2)
        return Circuit.from_function(function, num_qubits=3, num_features=0, weights_shape=shape)

    assert circuit(np.array([2, 0, 1])).gates == circuit([2, 0, 1]).gates


def test_numpy_integers_as_wires_of_a_prepared_state():
    def function(x, w):
        prepare_state(np.arange(1.0, 9.0), np.array([2, 0, 1]))
        return qml.probs(wires=range(3))

    circuit = Circuit.from_function(function, num_qubits=3, num_features=0, weights_shape=(0,))
    state = np.arange(1.0, 9.0).reshape(2, 2, 2).transpose(1, 2, 0).ravel()
    found = circuit.to_jax()(np.zeros(0), np.zeros((1, 0)))
    np.testing.assert_allclose(found, [state**2 / np.sum(state**2)], atol=1e-6)


def test_numpy_integers_as_wires_of_noise(unchecked):
    circuit = Circuit.from_function(gates, num_qubits=3, num_features=0, weights_shape=(3,))
    inputs = WEIGHTS, np.zeros((1, 0))

    def noise(integer):
        two, one = integer(2), integer(1)
        return NoiseModel(
            one_qubit=(amplitude_damping(0.1),),
            gates={
                ("CNOT", (two, integer(0))): (depolarizing(0.2, integer(2)).on([one, two]),),
                ("RX", (one,)): (depolarizing(0.3),),
            },
            readout={two: ReadoutError(0.1, 0.2)},
        )

    plain, numpy = (circuit.with_noise(noise(kind)) for kind in (int, np.int64))
    expected = plain.to_jax()(*inputs)
    assert abs(expected - circuit.to_jax()(*inputs)) > 0.01
    np.testing.assert_array_equal(numpy.to_jax()(*inputs), expected)
    estimates = [
        trajectories.build(noisy, count)(jax.random.key(0), *inputs)
        for noisy, count in ((plain, 50), (numpy, np.int64(50)))
    ]
    np.testing.assert_array_equal(*(estimate.means for estimate in estimates))


def rotation(x, w):
    qml.RY(0.4, 0)
    return qml.expval(qml.Z(0))


def circuit_of(**sizes):
    sizes = {"num_qubits": 1, "num_features": 0, "weights_shape": (), **sizes}
    return Circuit.from_function(rotation, name="example", **sizes)


NO_COUNTS = [True, np.True_, "2", None, 2.0, np.float32(2), np.nan, 1j, [2], np.array([1, 2])]
NO_PROBABILITIES = [True, np.False_, "0.1", None, np.nan, -0.1, 1.5, np.inf, 0.1j, [0.1]]


def assert_refused(call, message):
    with pytest.raises(CircuitError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [*NO_COUNTS, -1], ids=repr)
def test_sizes_of_the_wrong_kind(unchecked, value):
    assert_refused(lambda: circuit_of(num_qubits=value), "'example': num_qubits=.*at least 1")
    assert_refused(lambda: circuit_of(num_features=value), "num_features=.*at least 0")
    assert_refused(lambda: circuit_of(weights_shape=(2, value)), r"weights_shape\[1\]=.*at least 0")
    assert_refused(lambda: compose(value), "num_qubits=.*num_layers=2; expected integers")
    assert_refused(lambda: compose(2, value), "num_qubits=2, num_layers=.*; expected integers")


@pytest.mark.parametrize("value", [3, None, "3", 2.5])
def test_shapes_of_the_wrong_kind(unchecked, value):
    assert_refused(lambda: circuit_of(weights_shape=value), "weights_shape=.*a tuple of integers")


def test_no_qubits():
    assert_refused(lambda: circuit_of(num_qubits=0), "num_qubits=0; expected at least 1")


@pytest.mark.parametrize("value", [*NO_COUNTS, 0, -3], ids=repr)
def test_shots_of_the_wrong_kind(unchecked, value):
    circuit = circuit_of()
    for sampler in (circuit.to_sampler, lambda shots: standard_errors(circuit, shots)):
        assert_refused(lambda sampler=sampler: sampler(value), "'example': shots=.*at least 1")
    assert_refused(lambda: trajectories.build(circuit, value), "num_trajectories=.*at least 2")
    if value is not None:
        assert_refused(lambda: trajectories.build(circuit, 2, chunk=value), "chunk=.*at least 1")


@pytest.mark.parametrize("value", NO_PROBABILITIES, ids=repr)
def test_probabilities_of_the_wrong_kind(unchecked, value):
    assert_refused(lambda: depolarizing(value), "depolarizing: probability=.*from 0 to 1")
    assert_refused(lambda: amplitude_damping(value), "amplitude_damping: gamma=.*from 0 to 1")
    assert_refused(lambda: ReadoutError(0.1, value), "ReadoutError: p0_given_1=.*from 0 to 1")
    assert_refused(
        lambda: thermal_relaxation(1.0, 1.0, 0.1, value), "excited_population=.*from 0 to 1"
    )


@pytest.mark.parametrize("value", [True, "1", None, np.nan, -1.0, 1j], ids=repr)
def test_times_of_the_wrong_kind(unchecked, value):
    for times in ((value, 1.0, 0.1), (1.0, value, 0.1), (1.0, 1.0, value)):
        assert_refused(lambda times=times: thermal_relaxation(*times), "thermal_relaxation: ")


@pytest.mark.parametrize("value", [True, "1", None, np.nan, np.inf, 1j], ids=repr)
def test_excess_angles_of_the_wrong_kind(unchecked, value):
    assert_refused(lambda: over_rotation("RX", value), "over_rotation of RX: angle=.*finite angle")
    assert_refused(lambda: NoiseModel(over_rotation={"RY": value}), "over_rotation: RY=.*finite")


def test_scalar_arrays_are_numbers(unchecked):
    found = depolarizing(np.float32(0.25)).kraus
    np.testing.assert_array_equal(found, depolarizing(0.25).kraus)
    np.testing.assert_array_equal(depolarizing(np.array(0.25)).kraus, found)
    np.testing.assert_array_equal(depolarizing(0).kraus, [np.eye(2)])


NO_NOISE = {
    "channel for channels": (lambda: NoiseModel(one_qubit=depolarizing(0.1)), "a tuple of chan"),
    "number for a channel": (lambda: NoiseModel(two_qubit=(0.1,)), r"two_qubit: \(0.1,\);.*chan"),
    "number for readout": (lambda: NoiseModel(readout=0.1), "readout: 0.1; expected a ReadoutErr"),
    "number for a wire's readout": (lambda: NoiseModel(readout={0: 0.1}), "readout: 0.1; exp"),
    "wires alone": (lambda: NoiseModel(gates={(0, 1): ()}), r"\(0, 1\) names no gate"),
    "unknown gate": (lambda: NoiseModel(gates={(3, (0,)): ()}), "no gate '3'"),
    "wire of a gate": (lambda: NoiseModel(gates={("RX", ("a",)): ()}), r"\('a',\).*integers"),
    "wire of a channel": (lambda: depolarizing(0.1).on(["a"]), r"wires \('a',\); expected integ"),
    "number of wires": (lambda: depolarizing(0.1, True), "num_wires=True; expected 1 or 2"),
    "text for Kraus": (lambda: Channel("abc"), "Kraus operators are no array of numbers"),
    "number for noise": (lambda: circuit_of().with_noise(0.1), r"with_noise\(0.1\); expected a"),
    "wire of readout": (
        lambda: circuit_of().with_noise(NoiseModel(readout={0.5: ReadoutError(0, 0.1)})),
        r"readout: wires \(0.5,\); expected integers",
    ),
    "engine": (lambda: circuit_of().to_jax(3), "no engine '3'"),
    "embedding": (lambda: compose(embedding=3), "no embedding 3"),
}


@pytest.mark.parametrize("case", NO_NOISE)
def test_parts_of_the_wrong_kind(unchecked, case):
    assert_refused(*NO_NOISE[case])


def encoded(x, w):
    for q in range(2):
        qml.RY(x[q], q)
    qml.CNOT([0, 1])
    qml.RX(w[0], 1)
    return [qml.expval(qml.Z(0)), qml.expval(qml.X(1) @ qml.Y(0)), qml.expval(qml.Y(1))]


NOISE = NoiseModel(one_qubit=(depolarizing(0.1), amplitude_damping(0.2)))
MESH = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("amplitudes",))
# Each makes, of an ideal and of a noisy circuit, a function of weights and features.
BATCHED = {
    **{engine: lambda c, n, e=engine: c.to_jax(e) for engine in ENGINES},
    "noisy": lambda c, n: n.to_jax(),
    "sharded": lambda c, n: c.to_jax("statevector", mesh=MESH),
    "chunks": lambda c, n: in_chunks(c.to_jax("statevector"), 2),
    "sampler": lambda c, n: partial(c.to_sampler(10), jax.random.key(0)),
    "noisy sampler": lambda c, n: partial(n.to_sampler(10), jax.random.key(0)),
    "standard errors": lambda c, n: standard_errors(c, 10),
    "trajectories": lambda c, n: (
        lambda *inputs: sum(trajectories.build(n, 4)(jax.random.key(0), *inputs))
    ),
}


@pytest.mark.parametrize("num_features", [0, 2])
@pytest.mark.parametrize("kind", BATCHED)
def test_empty_batches(kind, num_features):
    """Value and gradients have the shapes that PennyLane's have, and are zero."""

    def function(x, w):
        return encoded(x if num_features else np.array([0.3, 0.4]), w)

    circuit = Circuit.from_function(
        function, num_qubits=2, num_features=num_features, weights_shape=(1,)
    )
    evaluate = BATCHED[kind](circuit, circuit.with_noise(NOISE))
    weights, features = jnp.array([0.3]), jnp.zeros((0, num_features))
    assert evaluate(weights, features).shape == (0, 3)
    gradients = jax.grad(lambda w, x: jnp.sum(evaluate(w, x)), (0, 1))(weights, features)
    np.testing.assert_array_equal(gradients[0], [0.0])
    assert gradients[1].shape == (0, num_features)


@pytest.mark.parametrize("rows", [(0, 3), (3, 0), (0, 0)])
def test_empty_kernels(rows):
    circuit = Circuit.from_function(encoded, num_qubits=2, num_features=2, weights_shape=(1,))
    left, right = (jnp.ones((count, 2)) for count in rows)
    assert fidelity_kernel(circuit)(jnp.array([0.3]), left, right).shape == rows


@pytest.mark.parametrize("inputs", ["weights", "features"])
@pytest.mark.parametrize("kind", ["auto", "pennylane", "sampler", "noisy", "trajectories"])
def test_complex_inputs(kind, inputs):
    circuit = Circuit.from_function(encoded, num_qubits=2, num_features=2, weights_shape=(1,))
    evaluate = BATCHED[kind](circuit, circuit.with_noise(NOISE))
    weights, features = jnp.array([0.3]), jnp.ones((3, 2))
    given = (weights + 0j, features) if inputs == "weights" else (weights, features + 0j)
    assert_refused(lambda: evaluate(*given), f"'encoded': {inputs} are complex .complex64.; exp")
