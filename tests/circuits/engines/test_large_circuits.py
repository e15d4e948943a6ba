"""What keeps large circuits affordable: adjoint gradients, loops over layers, chunks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import Circuit, strongly_entangling
from hqnn_jax.circuits.engines import chunking, statevector, unitary
from hqnn_jax.circuits.engines.chunking import in_chunks, memory_budget
from hqnn_jax.circuits.library import compose
from hqnn_jax.circuits.sampling import trajectories
from hqnn_jax.circuits.sampling.shots import standard_errors
from hqnn_jax.circuits.simulation.evolution import Evolution
from hqnn_jax.errors import CircuitError
from tests.circuits.engines.examples import value_and_gradients

# States of single precision at 20 qubits, in bytes.
STATE_20 = 8 * 2**20


def reuploading(features, weights):
    """Two forms of layers by turns; features enter the rotations of one, the phases of the other.

    Five complex wires make two groups, so that the order of the wires changes inside a layer.
    """
    qml.AngleEmbedding(features, wires=[0, 3], rotation="Y")
    for number in range(5):
        for wire in range(5):
            qml.RX(weights[number, 0, wire], wire)
        qml.RY(features[0] * weights[number, 0, 1], 1)
        for wire in range(4):
            qml.CNOT([wire, (wire + 2) % 5])
        for wire in range(5):
            qml.RY(weights[number, 1, wire], wire)
        qml.IsingZZ(features[1], [0, 4])
        qml.RZ(weights[number, 1, 2], 2)
        qml.CZ([1, 2])
        qml.CZ([3, 1])
    qml.RX(features[1], 2)
    return [qml.expval(qml.X(0) @ qml.Y(2)), qml.expval(qml.Z(4) + 0.5 * qml.Y(1))]


def same_form(features, weights):
    """Eight layers of one form, the same for all samples; only the first reads features."""
    qml.AngleEmbedding(features, wires=[4, 1, 2], rotation="X")
    qml.StronglyEntanglingLayers(weights, wires=range(5))
    return [qml.expval(qml.Y(3)), qml.expval(qml.Z(0) @ qml.Z(1))]


CIRCUITS = {
    "reuploading": lambda: Circuit.from_function(
        reuploading, num_qubits=5, num_features=2, weights_shape=(5, 2, 5)
    ),
    "same_form": lambda: Circuit.from_function(
        same_form, num_qubits=5, num_features=3, weights_shape=(8, 5, 3)
    ),
}
PERIODS = {"reuploading": 2, "same_form": 1}


@functools.cache
def make(name: str) -> Circuit:
    return CIRCUITS[name]()


def inputs(circuit: Circuit, batch: int, dtype=jnp.float32):
    rng = np.random.default_rng(11)
    weights = rng.uniform(-4, 5, circuit.weights_shape)
    features = rng.uniform(-2, 3, (batch, circuit.num_features))
    cotangents = rng.normal(size=(batch, circuit.num_outputs))
    return tuple(jnp.asarray(array, dtype) for array in (weights, features, cotangents))


def assert_same(found, expected, tolerance):
    for what, ours, theirs in zip(("outputs", "weights", "features"), found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, err_msg=what)


@functools.cache
def expected_values(name: str):
    circuit = make(name)
    node = qml.QNode(circuit.function, qml.device("default.qubit", wires=5), interface="jax")
    sample = lambda weights, features: jnp.hstack(node(features, weights))  # noqa: E731
    with jax.enable_x64(True):
        arguments = inputs(circuit, 3, jnp.float64)
        return jax.device_get(value_and_gradients(jax.vmap(sample, (None, 0)), *arguments))


@pytest.mark.parametrize("name", CIRCUITS)
def test_test_circuits_are_looped_over(name):
    circuit = make(name)
    layers, _ = statevector.measured_layers(circuit)
    plan = Evolution.of(layers, circuit.gates, circuit.num_qubits, circuit.angles)
    repeats, period = max((segment.layers.shape for segment in plan.segments), key=np.prod)
    assert period == PERIODS[name]
    assert repeats * period > 6


@pytest.mark.parametrize("adjoint", [False, True], ids=["backpropagation", "adjoint"])
@pytest.mark.parametrize("name", CIRCUITS)
def test_looped_layers_match_qnode(name, adjoint):
    expected = expected_values(name)
    with jax.enable_x64(True):
        function = statevector.build(make(name), adjoint=adjoint)
        found = value_and_gradients(function, *inputs(make(name), 3, jnp.float64))
    assert_same(found, expected, 1e-10)


def test_folded_layers_match_qnode():
    expected = expected_values("same_form")
    with jax.enable_x64(True):
        function = unitary.build(make("same_form"))
        found = value_and_gradients(function, *inputs(make("same_form"), 3, jnp.float64))
    assert_same(found, expected, 1e-10)


def lowered(circuit: Circuit, batch: int, adjoint: bool | None = None):
    """Value and gradient, for shapes alone."""
    function = statevector.build(circuit, adjoint=adjoint)
    loss = lambda weights, features: jnp.sum(function(weights, features))  # noqa: E731
    return jax.jit(jax.value_and_grad(loss, (0, 1))).lower(
        jax.ShapeDtypeStruct(circuit.weights_shape, jnp.float32),
        jax.ShapeDtypeStruct((batch, circuit.num_features), jnp.float32),
    )


@pytest.mark.parametrize("adjoint", [False, True], ids=["backpropagation", "adjoint"])
def test_program_does_not_grow_with_depth(adjoint):
    # The ranges of the entanglers differ from layer to layer; their forms do not.
    lines = {
        depth: lowered(strongly_entangling(8, depth), 4, adjoint).as_text().count("\n")
        for depth in (12, 40)
    }
    assert lines[12] == lines[40]
    short = lowered(strongly_entangling(8, 2), 4, adjoint).as_text().count("\n")
    assert lines[12] < 2 * short


@pytest.mark.parametrize("depth", [3, 12])
def test_memory_at_20_qubits_is_that_of_six_states(depth):
    compiled = lowered(strongly_entangling(20, depth), 1).compile()
    used = compiled.memory_analysis().temp_size_in_bytes
    assert used <= 6 * STATE_20
    # A program that does not hold a state at all would not be the one that is meant.
    assert used >= 2 * STATE_20


def test_twelve_qubits_match_the_qnode():
    """Adjoint gradients by default, against PennyLane's own adjoint differentiation."""

    def function(features, weights):
        qml.AngleEmbedding(features, wires=range(12), rotation="Y")
        qml.StronglyEntanglingLayers(weights, wires=range(12))
        return [qml.expval(qml.Z(wire)) for wire in range(12)]

    circuit = Circuit.from_function(
        function, num_qubits=12, num_features=12, weights_shape=(2, 12, 3)
    )
    weights, features, cotangents = inputs(circuit, 1)
    found = value_and_gradients(circuit.to_jax("statevector"), weights, features, cotangents)
    device = qml.device("default.qubit", wires=12)
    node = qml.QNode(function, device, interface="autograd", diff_method="adjoint")

    def outputs(weights, features):
        return qml.math.stack(node(features, weights))

    def loss(weights, features):
        return qml.math.sum(np.asarray(cotangents[0], float) * outputs(weights, features))

    numbers = [qml.numpy.array(np.asarray(a, float)) for a in (weights, features[0])]
    by_weights, by_features = qml.grad(loss, argnums=(0, 1))(*numbers)
    assert_same(found, (outputs(*numbers)[None], by_weights, by_features[None]), 1e-4)


def test_chunks_give_what_the_whole_batch_gives():
    circuit = strongly_entangling(3, 1)
    evaluate = statevector.build(circuit)
    sizes = []

    def recorded(weights, features):
        sizes.append(len(features))
        return evaluate(weights, features)

    arguments = inputs(circuit, 7)
    whole = value_and_gradients(evaluate, *arguments)
    found = value_and_gradients(in_chunks(recorded, 3), *arguments)
    assert_same(found, whole, 2e-6)
    # Three chunks, the last filled up.
    assert set(sizes) == {3}
    sizes.clear()
    value_and_gradients(in_chunks(recorded, 7), *arguments)
    assert set(sizes) == {7}


def scan_lengths(function, *arguments) -> list[int]:
    """Lengths of the loops in a function, at any depth."""

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name == "scan":
                yield equation.params["length"]
            for inner in jax.tree.leaves(
                list(equation.params.values()),
                is_leaf=lambda leaf: hasattr(leaf, "eqns") or hasattr(leaf, "jaxpr"),
            ):
                if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                    yield from walk(getattr(inner, "jaxpr", inner))

    return list(walk(jax.make_jaxpr(function)(*arguments).jaxpr))


@pytest.mark.parametrize("engine", ["statevector", "unitary", "auto"])
def test_batches_that_do_not_fit_are_divided(monkeypatch, engine):
    circuit = strongly_entangling(3, 1)
    arguments = inputs(circuit, 7)
    whole = value_and_gradients(circuit.to_jax(engine), *arguments)
    assert scan_lengths(circuit.to_jax(engine), *arguments[:2]) == []
    # The least budget: one sample at a time, however large a state is.
    monkeypatch.setattr(chunking, "memory_budget", lambda: 1)
    divided = circuit.to_jax(engine)
    assert scan_lengths(divided, *arguments[:2]) == [7]
    assert_same(value_and_gradients(divided, *arguments), whole, 2e-6)


def test_budget_counts_states(monkeypatch):
    circuit = strongly_entangling(3, 1)
    state = 2 * 2**3 * 4 * statevector.stored_states(circuit)
    monkeypatch.setattr(chunking, "memory_budget", lambda: int(2.5 * state))
    # Two samples at a time: four chunks for a batch of seven.
    assert scan_lengths(circuit.to_jax("statevector"), *inputs(circuit, 7)[:2]) == [4]


def with_memory(monkeypatch, size):
    monkeypatch.setattr(chunking, "total_memory", lambda device=None: int(size))


def test_observables_that_flip_bits_count():
    """X and Y on every qubit: all their products of states are held at once."""
    flipping = compose(12, 1, measurement="xyz")
    assert statevector.stored_states(flipping) > 12 + statevector.stored_states(compose(12, 1))


@pytest.mark.parametrize("engine", ["auto", "statevector", "unitary", "pennylane"])
def test_a_sample_that_does_not_fit_is_refused(monkeypatch, engine):
    circuit = strongly_entangling(3, 1)
    weights, features, _ = inputs(circuit, 7)
    state = 2 * 2**3 * 4
    evaluate = circuit.to_jax(engine)
    with_memory(monkeypatch, state / 2)
    message = r"the value of one sample on 3 qubits needs about .* GiB, and the device has .* GiB"
    with pytest.raises(CircuitError, match=message):
        evaluate(weights, features)
    # Enough for the value, not for the gradient.
    monkeypatch.setattr(chunking, "memory_budget", lambda: 1)
    with_memory(monkeypatch, 3 * state)
    evaluate = circuit.to_jax(engine)
    assert evaluate(weights, features).shape == (7, circuit.num_outputs)
    with pytest.raises(CircuitError, match="the gradient of one sample on 3 qubits needs about"):
        jax.grad(lambda w: jnp.sum(evaluate(w, features)))(weights)


def test_a_batch_that_cannot_be_divided_is_refused(monkeypatch):
    circuit = strongly_entangling(3, 1)
    weights, features, _ = inputs(circuit, 7)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("amplitudes",))
    key = jax.random.key(0)
    with_memory(monkeypatch, 2 * 2**3 * 4 * 7 / 2)
    for evaluate, what in (
        (functools.partial(circuit.to_sampler(5), key), "sampling a batch of 7"),
        (standard_errors(circuit, 5), "sampling a batch of 7"),
        (functools.partial(trajectories.build(circuit, 2), key), "one trajectory of a batch of 7"),
        (circuit.to_jax("statevector", mesh=mesh), "a batch of 7"),
    ):
        with pytest.raises(CircuitError, match=f"{what} on 3 qubits needs about"):
            evaluate(weights, features)


def test_memory_budget_is_a_share_of_the_memory():
    assert 2**20 < memory_budget() < 2**50
    assert memory_budget(jax.devices()[-1]) > 2**20
