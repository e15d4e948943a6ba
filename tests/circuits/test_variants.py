"""Circuits without entanglement and products of rotations, against QNodes written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from qiskit.primitives import StatevectorEstimator

from hqnn_jax.circuits import Circuit, NoiseModel, compose, depolarizing, radhi2025
from hqnn_jax.circuits.analysis import meyer_wallach
from hqnn_jax.circuits.engines.statevector import build_state
from hqnn_jax.circuits.variants import product_of_rotations, without_entanglement
from hqnn_jax.errors import CircuitError


def reuploading() -> Circuit:
    return compose(
        3, 2, embedding="angle_x", ansatz="hardware_efficient", entanglement="ring",
        reuploading=True, measurement="zz",
    )  # fmt: skip


def swapped() -> Circuit:
    """Fixed gates, weights before the data, a SWAP, new features later, probabilities."""

    def function(features, weights):
        qml.RY(weights[0], 0)
        qml.Hadamard(1)
        qml.RX(np.pi / 5, 1)
        qml.RX(features[0], 1)
        qml.RY(2 * features[1] + 0.1, 0)
        qml.S(0)
        qml.CNOT([0, 1])
        qml.SWAP([0, 2])
        qml.RY(weights[1], 0)
        qml.RZ(weights[1], 1)
        qml.T(1)
        qml.RX(features[0], 1)
        qml.RY(weights[2], 2)
        qml.RX(features[2], 2)
        return [qml.expval(qml.Z(0) @ qml.Y(1)), qml.probs(wires=[2, 1])]

    return Circuit.from_function(
        function, num_qubits=3, num_features=3, weights_shape=(3,), name="swapped"
    )


def radhi2025_unentangled(x, w):
    for q in range(4):
        qml.Hadamard(q)
        qml.RY(x[q], q)
        qml.RY(w[0, q] + w[1, q], q)
    return [qml.expval(qml.Z(q)) for q in range(4)]


def reuploading_unentangled(x, w):
    for q in range(3):
        for layer in range(3):
            if layer < 2:
                qml.RX(x[q], q)
            qml.RZ(w[layer, q, 0], q)
            qml.RX(w[layer, q, 1], q)
            qml.RZ(w[layer, q, 2], q)
    alone = [qml.expval(qml.Z(q)) for q in range(3)]
    return alone + [qml.expval(qml.Z(q) @ qml.Z(r)) for q, r in ((0, 1), (0, 2), (1, 2))]


def swapped_unentangled(x, w):
    """The SWAP is undone by naming the wires anew."""
    qml.RY(w[0], 2)
    qml.RY(2 * x[1] + 0.1, 2)
    qml.S(2)
    qml.RY(w[2], 2)
    qml.RX(x[2], 2)
    qml.Hadamard(1)
    qml.RX(np.pi / 5 + x[0], 1)
    qml.RZ(w[1], 1)
    qml.T(1)
    qml.RX(x[0], 1)
    qml.RY(w[1], 0)
    return [qml.expval(qml.Z(0) @ qml.Y(1)), qml.probs(wires=[2, 1])]


def radhi2025_product(x, w):
    for q in range(4):
        qml.Hadamard(q)
        qml.RY(x[q], q)
        qml.Rot(*w[q], q)
    return [qml.expval(qml.Z(q)) for q in range(4)]


def reuploading_product(x, w):
    for q in range(3):
        qml.RX(x[q], q)
        qml.Rot(*w[q], q)
    alone = [qml.expval(qml.Z(q)) for q in range(3)]
    return alone + [qml.expval(qml.Z(q) @ qml.Z(r)) for q, r in ((0, 1), (0, 2), (1, 2))]


def swapped_product(x, w):
    qml.RY(2 * x[1] + 0.1, 0)
    qml.Hadamard(1)
    qml.RX(np.pi / 5 + x[0], 1)
    qml.RX(x[2], 2)
    for q in range(3):
        qml.Rot(*w[q], q)
    return [qml.expval(qml.Z(0) @ qml.Y(1)), qml.probs(wires=[2, 1])]


CASES = {
    "radhi2025_unentangled": (
        lambda: without_entanglement(radhi2025(4, 2)),
        radhi2025_unentangled,
    ),
    "reuploading_unentangled": (
        lambda: without_entanglement(reuploading()),
        reuploading_unentangled,
    ),
    "swapped_unentangled": (lambda: without_entanglement(swapped()), swapped_unentangled),
    "radhi2025_product": (lambda: product_of_rotations(radhi2025(4, 2)), radhi2025_product),
    "reuploading_product": (lambda: product_of_rotations(reuploading()), reuploading_product),
    "swapped_product": (lambda: product_of_rotations(swapped()), swapped_product),
}


def inputs(circuit: Circuit, batch: int = 5):
    rng = np.random.default_rng(7)
    weights = rng.uniform(0, 6, circuit.weights_shape).astype(np.float32)
    return weights, rng.uniform(-2, 3, (batch, circuit.num_features)).astype(np.float32)


def by_hand(function, num_qubits: int, weights, features) -> np.ndarray:
    qnode = qml.QNode(function, qml.device("default.qubit", wires=num_qubits))
    rows = [[np.ravel(r) for r in qnode(x, np.asarray(weights, float))] for x in features]
    return np.array([np.concatenate(row) for row in rows])


@pytest.mark.parametrize("name", CASES)
def test_variants_are_the_circuits_written_by_hand(name):
    make, function = CASES[name]
    variant = make()
    weights, features = inputs(variant)
    expected = by_hand(function, variant.num_qubits, weights, features)
    np.testing.assert_allclose(
        variant.to_jax("statevector")(weights, features), expected, atol=2e-6
    )
    exported = variant.to_qiskit()
    run = StatevectorEstimator().run(
        [
            (
                exported.circuit,
                [list(exported.observables)],
                exported.bind(weights, features)[:, None],
            )
        ],
        precision=0,
    )
    np.testing.assert_allclose(run.result()[0].data.evs, expected, atol=2e-6)
    drawn = {text.get_text() for axis in variant.draw().axes for text in axis.texts}
    assert any(label.startswith("Rot") for label in drawn) == name.endswith("product")


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("swapped_unentangled", "pennylane"),
        ("swapped_unentangled", "pauli_transfer"),
        ("swapped_product", "pennylane"),
        ("swapped_product", "unitary"),
        ("swapped_product", "pauli_transfer"),
    ],
)
def test_all_engines_agree_on_variants(name, engine):
    make, function = CASES[name]
    variant = make()
    weights, features = inputs(variant)
    expected = by_hand(function, variant.num_qubits, weights, features)
    np.testing.assert_allclose(variant.to_jax(engine)(weights, features), expected, atol=2e-6)


def test_states_are_not_entangled():
    circuit = compose(3, 1, embedding="zz", ansatz="hardware_efficient")
    for variant, entangled in [
        (circuit, True),
        (without_entanglement(circuit), False),
        (product_of_rotations(circuit), False),
    ]:
        state = jax.jit(build_state(variant))(*map(jnp.asarray, inputs(variant)))
        measure = jax.jit(meyer_wallach)(state)
        assert np.all(measure > 0.05) if entangled else np.all(measure < 1e-6)
    names = {gate.name for gate in without_entanglement(circuit).gates}
    assert not names & {"CNOT", "CZ"}


def test_what_stays_the_same():
    noise = NoiseModel(one_qubit=(depolarizing(0.1),))
    circuit = radhi2025(3, 2).with_noise(noise)
    variant = without_entanglement(circuit)
    assert (variant.weights_shape, variant.observables) == (
        circuit.weights_shape,
        circuit.observables,
    )
    key = jax.random.key(4)
    np.testing.assert_array_equal(variant.init_weights(key), circuit.init_weights(key))
    product = product_of_rotations(circuit)
    assert product.weights_shape == (3, 3)
    assert product.observables == circuit.observables
    for changed in (variant, product):
        assert changed.noise is noise
        weights, features = inputs(changed)
        exact = changed.with_noise(None).to_jax("pauli_transfer")(weights, features)
        noisy = changed.to_jax("pauli_transfer")(weights, features)
        # Each of a qubit's gates shrinks its Pauli vector by 1 - 4p/3.
        counts = np.array([sum(q in gate.wires for gate in changed.gates) for q in range(3)])
        np.testing.assert_allclose(noisy, exact * (1 - 0.4 / 3) ** counts, atol=2e-6)


def test_controlled_rotations_vanish_and_their_weights_have_no_gradient():
    def function(features, weights):
        qml.RY(features[0], 0)
        qml.RY(features[1] + weights[0], 1)
        qml.CRX(weights[1], [0, 1])
        return [qml.expval(qml.Z(0)), qml.expval(qml.Z(1))]

    circuit = Circuit.from_function(function, num_qubits=2, num_features=2, weights_shape=(2,))
    variant = without_entanglement(circuit)
    weights, features = jnp.asarray([0.3, 1.1]), jnp.asarray([[0.7, -0.4]])
    evaluate = variant.to_jax("statevector")
    np.testing.assert_allclose(
        evaluate(weights, features), [[np.cos(0.7), np.cos(-0.4 + 0.3)]], atol=1e-6
    )
    gradient = jax.grad(lambda w: evaluate(w, features)[0, 1])(weights)
    np.testing.assert_allclose(gradient, [-np.sin(-0.1), 0], atol=1e-6)
    with pytest.raises(CircuitError, match="RY on wire 1 depends on features and weights together"):
        product_of_rotations(circuit)


def template(features, weights):
    qml.AmplitudeEmbedding(features, wires=[0, 1], normalize=True)
    qml.RY(weights[0], 0)
    return qml.expval(qml.Z(0))


@pytest.mark.parametrize("variant", [without_entanglement, product_of_rotations])
def test_amplitudes_are_refused_and_normalised_angles_are_not(variant):
    amplitudes = Circuit.from_function(template, num_qubits=2, num_features=4, weights_shape=(1,))
    for circuit in (amplitudes, compose(3, 1, embedding="amplitude")):
        with pytest.raises(CircuitError, match="features are the amplitudes of several qubits"):
            variant(circuit)

    def direction(features, weights):
        angles = features / jnp.linalg.norm(features)
        for layer in range(2):
            for q in range(2):
                qml.RY(angles[q], q)
                qml.RZ(weights[layer, q], q)
            qml.CNOT([0, 1])
        return qml.expval(qml.Z(1))

    circuit = Circuit.from_function(direction, num_qubits=2, num_features=2, weights_shape=(2, 2))
    assert variant(circuit).num_features == 2
    one_qubit = compose(1, 1, embedding="amplitude")
    assert variant(one_qubit).num_features == 2


def test_many_rotations_of_one_qubit_compile_in_reasonable_time():
    """24 gates on each wire between which nothing else happens; once XLA took minutes."""
    variant = without_entanglement(compose(2, 6, reuploading=True))
    weights, features = map(jnp.asarray, inputs(variant))

    def loss(engine):
        return lambda w: jnp.sum(variant.to_jax(engine)(w, features) ** 2)

    found = jax.jit(jax.value_and_grad(loss("statevector")))(weights)
    expected = jax.value_and_grad(loss("pauli_transfer"))(weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, expected)
