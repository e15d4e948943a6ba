"""The library: sizes, structure, and agreement with PennyLane's templates and Qiskit's circuits."""

import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

from hqnn_jax.circuits import (
    ANSATZE,
    CIRCUITS,
    EMBEDDINGS,
    MEASUREMENTS,
    Circuit,
    aml2026,
    compose,
    hqcnn2025,
    hqnn2026,
    lean2025,
    radhi2025,
    strongly_entangling,
)
from hqnn_jax.errors import CircuitError

# Compiled for one run.
UNOPTIMISED = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}


@pytest.mark.parametrize(
    ("circuit", "num_features", "weights_shape", "num_weights"),
    [
        (radhi2025(), 4, (4, 6), 24),
        (radhi2025(3, 2), 3, (2, 3), 6),
        (strongly_entangling(4, 4), 4, (4, 4, 3), 48),
        (hqcnn2025(), 4, (3, 4, 5), 60),
        (hqcnn2025(1, 1), 1, (1, 1, 5), 5),
        (lean2025(), 4, (4, 4, 3), 48),
        (hqnn2026(), 4, (2, 4, 3), 24),
    ],
    ids=lambda value: f"{value.name}{value.num_qubits}" if isinstance(value, Circuit) else "",
)
def test_sizes(circuit: Circuit, num_features, weights_shape, num_weights):
    assert circuit.num_features == num_features
    assert circuit.weights_shape == weights_shape
    assert circuit.num_weights == num_weights
    assert circuit.num_outputs == circuit.num_qubits


def test_radhi2025_gates():
    circuit = radhi2025()
    assert Counter(gate.name for gate in circuit.gates) == {"Hadamard": 6, "RY": 28, "CNOT": 10}
    even, odd = [(0, 1), (2, 3), (4, 5)], [(1, 2), (3, 4)]
    cnots = [gate.wires for gate in circuit.gates if gate.name == "CNOT"]
    assert cnots == even + odd + even + odd


def test_hqcnn2025_gates():
    counts = Counter(gate.name for gate in hqcnn2025().gates)
    # Embedding 4; per layer and qubit RY, RZ and a Rot of RZ RY RZ; per layer 3 + 4 CNOTs.
    assert counts == {"RY": 4 + 3 * 4 * 2, "RZ": 3 * 4 * 3, "CNOT": 3 * 7}


def test_radhi2025_without_rotation_measures_nothing():
    """H on all wires leaves the uniform superposition, which CNOTs do not change."""
    circuit = radhi2025()
    outputs = circuit.to_jax()(jnp.zeros((4, 6)), jnp.zeros((2, 4)))
    np.testing.assert_allclose(outputs, np.zeros((2, 6)), atol=1e-6)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_aml2026_equals_qiskit(num_layers):
    from qiskit.circuit.library import real_amplitudes, zz_feature_map
    from qiskit.quantum_info import SparsePauliOp, Statevector

    circuit = aml2026(num_layers=num_layers)
    assert (circuit.num_weights, circuit.num_outputs) == ({1: 8, 2: 12}[num_layers], 1)
    rng = np.random.default_rng(2)
    features, weights = rng.uniform(0, 6, (3, 4)), rng.uniform(-3, 4, (num_layers + 1, 4))
    ansatz = real_amplitudes(4, entanglement="full", reps=num_layers)
    # The paper states a depth of 12.
    assert ansatz.depth() == {1: 7, 2: 12}[num_layers]
    expected = []
    for sample in features:
        embedded = zz_feature_map(4, reps=2, entanglement="full").assign_parameters(sample)
        whole = embedded.compose(ansatz.assign_parameters(weights.ravel()))
        expected.append(Statevector(whole).expectation_value(SparsePauliOp("IIIZ")).real)
    with jax.enable_x64(True):
        evaluate = jax.jit(circuit.to_jax("statevector"), compiler_options=UNOPTIMISED)
        found = evaluate(jnp.asarray(weights), jnp.asarray(features))
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-10)


@pytest.mark.parametrize("name", CIRCUITS)
def test_registered_circuits_take_sizes(name):
    circuit = CIRCUITS[name](num_qubits=3, num_layers=2)
    assert circuit.name == {"composed": "angle_y+strongly_entangling"}.get(name, name)
    assert circuit.num_qubits == 3
    with pytest.raises(CircuitError, match=r"Circuit '.*': num_qubits=3, num_layers=0"):
        CIRCUITS[name](num_qubits=3, num_layers=0)


def uniform(*shape):
    return np.random.default_rng(5).uniform(-3, 4, shape)


# Numbers of parameters as the docstrings state them, for n qubits and L layers.
COUNTS = {
    "strongly_entangling": lambda n, L: 3 * n * L,
    "basic_entangler": lambda n, L: n * L,
    "real_amplitudes": lambda n, L: n * (L + 1),
    "efficient_su2": lambda n, L: 2 * n * (L + 1),
    "brickwork": lambda n, L: 2 * n * L,
    "hardware_efficient": lambda n, L: 3 * n * (L + 1),
    "tree": lambda n, L: 2 * (n - 1) * L,
    "qcnn": lambda n, L: (6 * L + 2) * int(np.ceil(np.log2(n))),
}


@pytest.mark.parametrize("name", ANSATZE)
def test_every_weight_is_one_parameter(name):
    """The counts are the formulas', and each weight is the angle of some gate."""
    for n, num_layers in [(1, 1), (2, 3), (5, 2), (8, 1)]:
        assert np.prod(ANSATZE[name].weights_shape(n, num_layers)) == COUNTS[name](n, num_layers)
    circuit = compose(5, 2, ansatz=name)
    assert circuit.num_weights == COUNTS[name](5, 2)
    weights = 1 + np.arange(circuit.num_weights, dtype=np.float32)
    angles = circuit.angles.shared_angles(jnp.asarray(weights.reshape(circuit.weights_shape)))
    # The angle of a controlled rotation is halved by its decomposition.
    assert set(weights) <= set(np.abs([*np.asarray(angles), *2 * np.asarray(angles)]))


def two_qubit_gates(circuit):
    return [(gate.name, gate.wires) for gate in circuit.gates if len(gate.wires) > 1]


def test_brickwork_alternates():
    even, odd = [("CZ", (0, 1)), ("CZ", (2, 3))], [("CZ", (1, 2)), ("CZ", (3, 4))]
    assert two_qubit_gates(compose(5, 3, ansatz="brickwork")) == even + odd + even


def test_hardware_efficient_follows_the_coupling_map():
    coupling_map = [(0, 1), (1, 3), (1, 4)]
    circuit = compose(5, 2, ansatz="hardware_efficient", entanglement=coupling_map)
    assert two_qubit_gates(circuit) == 2 * [("CZ", pair) for pair in coupling_map]
    rotations = [gate.name for gate in circuit.gates if gate.wires == (2,)]
    assert rotations == ["RY"] + 3 * ["RZ", "RX", "RZ"]


def test_entanglement_replaces_the_ranges_of_strongly_entangling_layers():
    circuit = compose(4, 2, entanglement="linear")
    assert two_qubit_gates(circuit) == 2 * [("CNOT", (q, q + 1)) for q in range(3)]
    assert two_qubit_gates(compose(4, 2, entanglement="none")) == []


def test_tree_merges_neighbours_towards_the_first_wire():
    expected = [("CNOT", pair) for pair in [(1, 0), (3, 2), (2, 0), (4, 0)]]
    assert two_qubit_gates(compose(5, 1, ansatz="tree")) == expected


def test_qcnn_convolves_the_ring_and_pools_every_second_wire():
    joined = [pair for _, pair in two_qubit_gates(compose(5, 1, ansatz="qcnn"))]
    first = [(0, 1), (2, 3), (1, 2), (3, 4), (4, 0), (1, 0), (3, 2)]
    second = [(0, 2), (2, 4), (4, 0), (2, 0)]
    third = [(0, 4), (4, 0)]
    assert [pair for pair, _ in itertools.groupby(joined)] == first + second + third


@pytest.mark.parametrize("name", ["tree", "qcnn"])
def test_the_root_depends_on_every_feature_and_weight(name):
    circuit = compose(3, 1, ansatz=name, measurement="z_first")
    weights = jnp.asarray(uniform(*circuit.weights_shape), jnp.float32)
    features = jnp.asarray(uniform(1, 3), jnp.float32)
    value = lambda w, x: circuit.to_jax("statevector")(w, x)[0, 0]  # noqa: E731
    gradient = jax.jit(jax.grad(value, (0, 1)), compiler_options=UNOPTIMISED)
    of_weights, of_features = gradient(weights, features)
    assert jnp.min(jnp.abs(of_features)) > 1e-3
    # The last pooling turns the root about z, which ⟨Z⟩ does not see.
    unseen = {"tree": [], "qcnn": [8 + 6]}[name]
    assert np.flatnonzero(np.abs(of_weights) < 1e-3).tolist() == unseen


def test_reuploading_puts_the_data_before_each_layer():
    circuit = compose(1, 3, ansatz="real_amplitudes", reuploading=True)
    weights, features = uniform(4, 1), uniform(5, 1)
    # All rotations are about y, so that the angles add up.
    expected = np.cos(3 * features + np.sum(weights))
    np.testing.assert_allclose(circuit.to_jax()(weights, features), expected, atol=1e-5)
    names = [gate.angle for gate in compose(2, 2, ansatz="brickwork", reuploading=True).gates]
    from_data = compose(2, 2, ansatz="brickwork", reuploading=True).angles.per_sample >= 0
    order = [bool(from_data[angle]) for angle in names if angle is not None]
    assert order == 2 * (2 * [True] + 4 * [False])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("z", ["ZII", "IZI", "IIZ"]),
        ("z_first", ["ZII"]),
        ("xyz", ["XII", "IXI", "IIX", "YII", "IYI", "IIY", "ZII", "IZI", "IIZ"]),
        ("zz", ["ZII", "IZI", "IIZ", "ZZI", "ZIZ", "IZZ"]),
        ("parity", ["ZZZ"]),
    ],
)
def test_measurements(name, words):
    circuit = compose(3, 1, ansatz="basic_entangler", measurement=name)
    assert [observable.terms for observable in circuit.observables] == [((1.0, w),) for w in words]


def test_every_part_can_be_composed_with_the_others():
    for name, embedding in EMBEDDINGS.items():
        circuit = compose(2, 1, embedding=name, ansatz="efficient_su2", measurement="probabilities")
        assert circuit.num_features == embedding.num_features(2) == (4 if name[:2] == "am" else 2)
        assert circuit.num_outputs == 4
        assert circuit.name == f"{name}+efficient_su2"
    for name in MEASUREMENTS:
        assert compose(1, 1, ansatz="tree", measurement=name).num_outputs >= 1


REFUSED = {
    "embedding": ({"embedding": "angel_y"}, "no embedding 'angel_y'.*Did you mean 'angle_y'"),
    "ansatz": ({"ansatz": "real"}, "no ansatz 'real'; expected one of .*real_amplitudes"),
    "measurement": ({"measurement": "x"}, "no measurement 'x'; expected one of z, z_first"),
    "entanglement": ({"entanglement": "cyclic"}, "no entanglement 'cyclic'.*none, linear"),
    "pair": ({"entanglement": [(0, 1), (2, 3)]}, r"\[2, 3\] is not a pair.*qubits 0 to 2"),
    "same_qubit": ({"entanglement": [(1, 1)]}, r"\[1, 1\] is not a pair of two different"),
    "fixed": ({"ansatz": "tree", "entanglement": "full"}, "'tree' has an entanglement of its own"),
    "upload": ({"ansatz": "qcnn", "reuploading": True}, "'qcnn' has no layers before which"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_compositions(name):
    arguments, message = REFUSED[name]
    with pytest.raises(CircuitError, match=message) as caught:
        compose(3, 1, **arguments)
    assert "\n" not in str(caught.value)


def test_init_weights():
    circuit = strongly_entangling(6, 20)
    weights = circuit.init_weights(jax.random.key(0))
    assert weights.shape == (20, 6, 3)
    assert weights.dtype == jnp.float32
    assert 0 <= weights.min() < 0.1
    assert 2 * np.pi - 0.1 < weights.max() < 2 * np.pi
    assert not np.array_equal(weights, circuit.init_weights(jax.random.key(1)))
    with jax.enable_x64(True):
        assert circuit.init_weights(jax.random.key(0), jnp.float64).dtype == jnp.float64


def test_draw():
    figure = radhi2025().draw()
    assert isinstance(figure, Figure)
    labels = {text.get_text() for text in figure.axes[0].texts}
    assert {"H", "RY\n(x[3])", "RY\n(w[0,5])", "5"} <= labels


def test_circuits_are_hashable_static_values():
    first, second = radhi2025(), radhi2025()
    assert len({first, first, second}) == 2
    assert jax.tree.leaves(jax.tree.map(lambda leaf: leaf, {"circuit": first})) == [first]
