"""Gradient variance, expressibility and entanglement against theory."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import analysis
from hqnn_jax.circuits.analysis import sampling
from hqnn_jax.circuits.noise.model import NoiseModel
from hqnn_jax.errors import CircuitError
from tests.circuits.analysis.examples import make, product

KEY = jax.random.key(11)


def haar_states(num_states, num_qubits, seed=3):
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(num_states, 2**num_qubits, 2)) @ np.array([1, 1j])
    return states / np.linalg.norm(states, axis=1, keepdims=True)


# Gradient variance


def test_global_and_local_cost_have_the_published_variances():
    """Cerezo et al., arXiv:2001.00550: (1/8)(3/8)^(n-1) and 1 / (8 n²) for product circuits."""
    sizes = np.array([1, 2, 4])
    options = {"key": KEY, "num_samples": 5000}
    found = analysis.gradient_variance(
        product, sizes.tolist(), [1], observable=analysis.global_cost, **options
    )
    np.testing.assert_allclose(found.variance[:, 0], (3 / 8) ** (sizes - 1) / 8, rtol=0.12)
    np.testing.assert_allclose(found.decay_rate, np.log(8 / 3), rtol=0.05)
    assert found.decay_interval[0, 0] < np.log(8 / 3) < found.decay_interval[1, 0]
    assert np.ptp(found.decay_interval) < 0.2
    found = analysis.gradient_variance(product, [3], [1], observable=analysis.local_cost, **options)
    np.testing.assert_allclose(found.variance, 1 / (8 * 3**2), rtol=0.05)


def test_costs_are_the_projectors_of_their_definition():
    zero = np.diag([1.0, 0.0])
    sides = [np.kron(np.kron(np.eye(2**q), zero), np.eye(2 ** (2 - q))) for q in range(3)]
    projector = np.zeros((8, 8))
    projector[0, 0] = 1
    expected = {
        analysis.global_cost: np.eye(8) - projector,
        analysis.local_cost: np.eye(8) - sum(sides) / 3,
    }
    for cost, matrix in expected.items():
        words = [c * qml.pauli.string_to_pauli_word(word) for c, word in cost(3).terms]
        np.testing.assert_allclose(qml.matrix(qml.sum(*words), range(3)), matrix, atol=1e-12)


def test_output_and_weight_are_chosen_and_the_interval_has_its_theoretical_width():
    """f = cos(w)/2 has gradient variance 1/8, and the variance of its square gives the width."""
    found = analysis.gradient_variance(
        product, [3], [1, 2], key=KEY, num_samples=2000, output=1, weight=(2,)
    )
    assert found.variance.shape == (1, 2)
    np.testing.assert_allclose(found.variance, 1 / 8, rtol=0.06)
    # g = sin(w)/2: E g⁴ = 3/128 and (E g²)² = 1/64.
    width = 2 * 1.96 * np.sqrt((3 / 128 - 1 / 64) / 2000)
    np.testing.assert_allclose(found.interval[1] - found.interval[0], width, rtol=0.12)
    assert np.all(found.interval[0] < found.variance)
    assert np.all(found.variance < found.interval[1])
    assert np.all(np.isnan(found.decay_rate))
    assert found.variance[0, 0] != found.variance[0, 1]  # each circuit has its own draws
    mean = analysis.gradient_variance(product, [3], [1], key=KEY, num_samples=2000, output=1)
    np.testing.assert_allclose(mean.variance, 1 / 24, rtol=0.06)  # two of three are zero


def test_gradient_variance_in_float64_resolves_what_float32_rounds():
    def tiny(num_qubits, num_layers):
        def function(features, weights):
            qml.RY(1e-9 * weights[0] + features[0], 0)
            return qml.expval(qml.Z(0))

        return make(function, num_qubits, 1, (1,))

    with jax.enable_x64(True):
        found = analysis.gradient_variance(
            tiny, [1], [1], key=KEY, num_samples=500, features=1.0, dtype=jnp.float64
        )
    # f' = -1e-9 sin(1 + 1e-9 w), and w is uniform in [0, 2π).
    expected = 1e-36 * np.cos(1) ** 2 * (2 * np.pi) ** 2 / 12
    np.testing.assert_allclose(found.variance, expected, rtol=0.1)


def test_gradient_variance_refuses():
    run = lambda **kwargs: analysis.gradient_variance(product, [2], [1], key=KEY, **kwargs)  # noqa: E731
    with pytest.raises(CircuitError, match="no output 2; expected 0 to 1"):
        run(output=2)
    with pytest.raises(CircuitError, match=r"no weight \(2,\); expected.*shape \(2,\)"):
        run(weight=(2,))
    with pytest.raises(CircuitError, match="num_samples=1"):
        run(num_samples=1)
    with pytest.raises(CircuitError, match=r"features have shape \(3,\), expected \(\) or \(0,\)"):
        run(features=np.zeros(3))

    def without_weights(num_qubits, num_layers):
        function = lambda x, w: (qml.RY(x[0], 0), qml.expval(qml.Z(0)))[-1]  # noqa: E731
        return make(function, num_qubits, 1, (2,))

    with pytest.raises(CircuitError, match="every gradient is zero at 2 qubits and 3 layers"):
        analysis.gradient_variance(without_weights, [2], [3], key=KEY)


# Expressibility


def test_haar_random_states_have_the_stated_divergence():
    results = []
    for seed in range(40):
        states = haar_states(2000, 2, seed)
        fidelities = np.abs(np.sum(states[::2].conj() * states[1::2], axis=1)) ** 2
        results.append(analysis.fidelity_divergence(fidelities, 2, num_bins=20))
    divergences = np.array([result.divergence for result in results])
    mean = results[0].haar_divergence
    np.testing.assert_allclose(divergences.mean(), mean, atol=3 * divergences.std() / np.sqrt(40))
    errors = np.mean([result.standard_error for result in results])
    np.testing.assert_allclose(divergences.std(), errors, rtol=0.4)
    assert np.mean([result.bias for result in results]) > 0.7 * mean
    # P(F < 0.05) = 1 - 0.95³ in dimension 4.
    np.testing.assert_allclose(results[0].haar_probabilities[0], 1 - 0.95**3)
    np.testing.assert_allclose(results[0].haar_probabilities.sum(), 1)


@pytest.mark.parametrize("num_qubits", [1, 12])
def test_a_single_state_has_the_highest_divergence(num_qubits):
    """At 12 qubits the Haar probability of the last bin is far below the smallest float."""
    found = analysis.fidelity_divergence(np.ones(10, np.float32), num_qubits)
    np.testing.assert_allclose(found.divergence, (2**num_qubits - 1) * np.log(75), rtol=1e-10)
    assert found.bias == 0
    np.testing.assert_allclose(found.haar_probabilities.sum(), 1)


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_expressibility_of_a_circle_of_states(x64):
    """H and RZ(w), "circuit A" of Sim et al.: fidelity cos²(δ/2), which is arcsine-distributed."""

    def function(features, weights):
        qml.Hadamard(0)
        qml.RZ(weights[0], 0)
        return qml.expval(qml.Z(0))

    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32
        options = {"key": KEY, "num_samples": 4000, "dtype": dtype}
        circuit = make(function, 1, 0, (1,))
        assert analysis.sample_fidelities(circuit, **options).dtype == dtype
        found = analysis.expressibility(circuit, num_bins=30, **options)
    exact = np.diff(2 / np.pi * np.arcsin(np.sqrt(np.linspace(0, 1, 31))))
    expected = np.sum(exact * np.log(30 * exact))
    difference = found.divergence - found.bias - expected
    assert abs(difference) < 3 * found.standard_error < 0.06
    np.testing.assert_allclose(found.probabilities, exact, atol=0.02)


# Entanglement


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_meyer_wallach_of_known_states(x64):
    with jax.enable_x64(x64):
        dtype = jnp.complex128 if x64 else jnp.complex64
        plus, bell = np.ones(2) / np.sqrt(2), np.array([1, 0, 0, 1j]) / np.sqrt(2)
        ghz = np.zeros(8)
        ghz[[0, 7]] = 1 / np.sqrt(2)
        w = np.zeros(8)
        w[[1, 2, 4]] = 1 / np.sqrt(3)
        states = np.array([np.kron(np.kron(plus, [0.6, 0.8j]), plus), ghz, w, np.kron(bell, plus)])
        found = jax.jit(analysis.meyer_wallach)(jnp.asarray(states, dtype).reshape(2, 2, 8))
        assert found.dtype == (jnp.float64 if x64 else jnp.float32)
        expected = [[0, 1], [8 / 9, 2 / 3]]
        np.testing.assert_allclose(found, expected, atol=1e-14 if x64 else 1e-6)


def test_meyer_wallach_of_random_states_against_reduced_states():
    states = haar_states(400, 3)
    found = jax.jit(analysis.meyer_wallach)(jnp.asarray(states, jnp.complex64))
    for state, value in zip(states[:5], found, strict=False):
        reduced = [qml.math.reduce_statevector(state, [qubit]) for qubit in range(3)]
        purity = np.mean([np.trace(rho @ rho).real for rho in reduced])
        np.testing.assert_allclose(value, 2 * (1 - purity), atol=1e-6)
    # The mean over Haar-random states is (2^n - 2) / (2^n + 1).
    np.testing.assert_allclose(np.mean(found), 6 / 9, atol=3 * np.std(found) / 20)
    with pytest.raises(CircuitError, match="6 amplitudes"):
        analysis.meyer_wallach(jnp.ones(6))


def test_entangling_capability_of_a_controlled_rotation():
    """RY(a) and CNOT make Q = sin² a, for a weight or a feature."""

    def function(features, weights):
        qml.RY(weights[0] * features[1] + features[0], 0)
        qml.CNOT([0, 1])
        return qml.expval(qml.Z(0))

    circuit = make(function, 2, 2, (1,))
    found = analysis.entangling_capability(circuit, key=KEY, features=[0.3, 0.0], num_samples=2)
    np.testing.assert_allclose(found.values, np.sin(0.3) ** 2, atol=1e-6)
    assert found.standard_error < 1e-7
    found = analysis.entangling_capability(circuit, key=KEY, features=[0.3, 1.0], num_samples=500)
    np.testing.assert_allclose(found.mean, 1 / 2, atol=4 * found.standard_error)
    # sin⁴ has mean 3/8, so that Q has variance 1/8.
    np.testing.assert_allclose(found.standard_error, np.sqrt(1 / 8 / 500), rtol=0.06)
    assert found.haar_mean == 2 / 5
    with pytest.raises(CircuitError, match="num_samples=1; expected at least 2"):
        analysis.entangling_capability(circuit, key=KEY, num_samples=1)


def test_chunks_do_not_change_results(monkeypatch):
    chunks = []

    def draw(keys):
        chunks.append(len(keys))
        return jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys)

    keys = jax.random.split(KEY, 23)
    whole = sampling.map_chunks(draw, keys, amplitudes=8)
    monkeypatch.setattr(sampling, "_AMPLITUDES", 8 * 5)
    np.testing.assert_array_equal(sampling.map_chunks(draw, keys, amplitudes=8), whole)
    assert chunks == [23, 4]  # chunks of one size are traced once, and at most 5 samples each


def test_state_vector_quantities_refuse_noise():
    circuit = product(2).with_noise(NoiseModel())
    calls = [
        lambda: analysis.expressibility(circuit, key=KEY),
        lambda: analysis.entangling_capability(circuit, key=KEY),
        lambda: analysis.quantum_fisher_information(circuit, np.zeros(2), np.zeros((1, 0))),
        lambda: analysis.basis_probabilities(circuit),
    ]
    for call in calls:
        with pytest.raises(CircuitError, match=r"'example': has a noise model.*with_noise"):
            call()


def test_example_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failures, examples = doctest.testmod(analysis)
    assert failures == 0
    assert examples == 11
    assert (tmp_path / "gradient_variance.png").stat().st_size > 10_000
