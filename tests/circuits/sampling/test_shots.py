"""Finite shots: unbiased, with the variance and the correlations that theory gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from scipy import stats

from hqnn_jax.circuits import Circuit, Observable
from hqnn_jax.circuits.noise.channels import amplitude_damping, depolarizing
from hqnn_jax.circuits.noise.model import NoiseModel, ReadoutError
from hqnn_jax.circuits.sampling.shots import sampler, standard_errors, word_groups
from hqnn_jax.errors import CircuitError

NUM_QUBITS, SHOTS, NUM_KEYS = 3, 40, 2000


def function(features, weights):
    qml.RX(features[0], 0)
    qml.RY(weights[0], 2)
    qml.CNOT([0, 2])
    qml.RZ(features[1], 2)
    qml.RY(weights[1], 1)
    qml.CNOT([2, 1])
    qml.RX(weights[2], 1)
    return (
        qml.expval(qml.Z(0)),
        qml.expval(qml.X(0) @ qml.Y(2)),
        qml.expval(0.5 * qml.Y(2) - 1.5 * qml.Z(1) @ qml.Z(0) + 0.25 * qml.I(0)),
        qml.expval(qml.X(1)),
        qml.probs(wires=[2]),
    )


@pytest.fixture(scope="module")
def circuit():
    return Circuit.from_function(
        function, num_qubits=NUM_QUBITS, num_features=2, weights_shape=(3,)
    )


WEIGHTS = np.array([0.7, -1.1, 2.3], np.float32)
FEATURES = np.array([[0.9, -0.6], [-1.7, 0.35]], np.float32)
READOUT = NoiseModel(readout={0: ReadoutError(0.05, 0.2), 2: ReadoutError(0.15, 0.02)})
NOISY = NoiseModel(
    one_qubit=(amplitude_damping(0.1),), two_qubit=(depolarizing(0.1, 2),), readout=READOUT.readout
)


def dense_moments(noise):
    """Mean and covariance of the outputs after one shot, from density matrices.

    All measured operators of the noisy circuit in PennyLane; the groups are written out by hand.
    """
    device = qml.device("default.mixed", wires=NUM_QUBITS)

    @qml.qnode(device, interface=None)
    def state(weights, features):
        with qml.QueuingManager.stop_recording():
            tape = qml.tape.make_qscript(function)(features, weights)
        for operation in tape.operations:
            qml.apply(operation)
            for wire in operation.wires if len(operation.wires) == 1 else ():
                for channel in noise.one_qubit:
                    qml.QubitChannel(list(channel.kraus), wires=wire)
            for channel in noise.two_qubit if len(operation.wires) == 2 else ():
                qml.QubitChannel(list(channel.kraus), wires=operation.wires)
        return qml.density_matrix(range(NUM_QUBITS))

    # Greedily: ZII opens the first group, which IIY and ZZI fit; XIY opens the second, which IXI
    # fits; IIZ agrees with neither.
    groups = ["ZZY", "XXY", "IIZ"]
    parts = [
        {"ZII": [1, 0, 0, 0, 0, 0], "IIY": [0, 0, 0.5, 0, 0, 0], "ZZI": [0, 0, -1.5, 0, 0, 0]},
        {"XIY": [0, 1, 0, 0, 0, 0], "IXI": [0, 0, 0, 1, 0, 0]},
        {"IIZ": [0, 0, 0, 0, 0.5, -0.5]},
    ]
    means, covariances = [], []
    for sample in FEATURES.astype(float):
        rho = np.asarray(state(WEIGHTS.astype(float), sample))
        mean, covariance = np.array([0, 0, 0.25, 0, 0.5, 0.5]), np.zeros((6, 6))
        for basis, words in zip(groups, parts, strict=True):
            outcome = read_distribution(rho, basis, noise)
            bits = np.array(list(np.ndindex(2, 2, 2)))
            values = sum(
                np.outer((-1.0) ** bits[:, [w for w in range(3) if word[w] != "I"]].sum(1), row)
                for word, row in words.items()
            )
            mean = mean + outcome @ values
            centred = values - outcome @ values
            covariance += centred.T @ (outcome[:, None] * centred)
        means.append(mean)
        covariances.append(covariance)
    return np.array(means), np.array(covariances)


def read_distribution(rho, basis, noise):
    """Probabilities of the bits read after a measurement in a basis of eigenvectors."""
    eigenvectors = {
        letter: np.linalg.eigh(qml.matrix(getattr(qml, letter)(0)))[1] for letter in "XYZ"
    }
    unitary, confusion = np.eye(1), np.eye(1)
    for wire, letter in enumerate(basis):
        # eigh sorts -1 first; outcome 0 is the eigenvalue +1.
        unitary = np.kron(unitary, eigenvectors["Z" if letter == "I" else letter][:, ::-1])
        error = noise.readout_error(wire) or ReadoutError(0.0, 0.0)
        flips = [[1 - error.p1_given_0, error.p0_given_1], [error.p1_given_0, 1 - error.p0_given_1]]
        confusion = np.kron(confusion, flips)
    return confusion @ np.diag(unitary.conj().T @ rho @ unitary).real


def test_groups_agree_qubit_by_qubit():
    observables = [
        Observable(((1.0, "ZII"), (2.0, "III"))),
        Observable(((0.5, "XIY"), (1.5, "ZZI"))),
        Observable(((-1.0, "IXY"), (3.0, "ZZI"))),
    ]
    constants, groups = word_groups(observables)
    np.testing.assert_array_equal(constants, [2.0, 0.0, 0.0])
    assert [group.basis for group in groups] == ["ZZI", "XXY"]
    signs = np.array(list(np.ndindex(2, 2, 2))) * -2 + 1
    np.testing.assert_array_equal(groups[0].values[0], signs[:, 0])
    np.testing.assert_array_equal(groups[0].values[1], 1.5 * signs[:, 0] * signs[:, 1])
    np.testing.assert_array_equal(groups[0].values[2], 3 * signs[:, 0] * signs[:, 1])
    np.testing.assert_array_equal(groups[1].values[1], 0.5 * signs[:, 0] * signs[:, 2])
    np.testing.assert_array_equal(groups[1].values[2], -signs[:, 1] * signs[:, 2])


@pytest.mark.parametrize("name", ["ideal", "readout", "noisy"])
def test_moments_match_theory(circuit, name):
    noise = {"ideal": NoiseModel(), "readout": READOUT, "noisy": NOISY}[name]
    noisy = circuit.with_noise(noise)
    means, covariances = dense_moments(noise)
    variances = np.diagonal(covariances, axis1=1, axis2=2)

    errors = standard_errors(noisy, SHOTS)(WEIGHTS, FEATURES)
    np.testing.assert_allclose(errors, np.sqrt(variances / SHOTS), rtol=1e-4)

    keys = jax.random.split(jax.random.key(11), NUM_KEYS)
    found = jax.vmap(sampler(noisy, SHOTS), (0, None, None))(keys, WEIGHTS, FEATURES)
    assert found.shape == (NUM_KEYS, 2, 6)
    found = np.asarray(found, float)
    deviation = np.abs(found.mean(0) - means) / np.sqrt(variances / SHOTS / NUM_KEYS)
    assert np.max(deviation) < 4
    # Sums of squares follow a chi-square law, near enough after 40 shots.
    ratio = (NUM_KEYS - 1) * found.var(0, ddof=1) / (variances / SHOTS)
    low, high = stats.chi2.ppf([1e-5, 1 - 1e-5], NUM_KEYS - 1)
    assert np.all((low < ratio) & (ratio < high))
    for sample in range(2):
        scale = np.sqrt(np.outer(variances[sample], variances[sample]))
        empirical = SHOTS * np.cov(found[:, sample].T) / scale
        np.testing.assert_allclose(empirical, covariances[sample] / scale, atol=5 / NUM_KEYS**0.5)
    across = np.corrcoef(found[:, 0].T, found[:, 1].T)[:6, 6:]
    assert np.max(np.abs(across)) < 5 / NUM_KEYS**0.5
    # The two outcomes of one measured qubit are the same shots.
    np.testing.assert_allclose(found[..., 4] + found[..., 5], 1, atol=1e-6)


def test_estimates_are_counts_of_shots(circuit):
    estimate = sampler(circuit, 7)
    found = estimate(jax.random.key(0), WEIGHTS, FEATURES)
    counts = (np.asarray(found[:, 0]) + 1) / 2 * 7
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-5)
    again = estimate(jax.random.key(0), WEIGHTS, FEATURES)
    other = estimate(jax.random.key(1), WEIGHTS, FEATURES)
    np.testing.assert_array_equal(found, again)
    assert not np.array_equal(found, other)


def test_double_precision_and_gradients(circuit):
    cotangents = jnp.arange(12.0).reshape(2, 6)
    with jax.enable_x64(True):
        weights, features = jnp.asarray(WEIGHTS, jnp.float64), jnp.asarray(FEATURES, jnp.float64)
        estimate = sampler(circuit, 5)
        assert estimate(jax.random.key(2), weights, features).dtype == jnp.float64
        exact = circuit.to_jax("statevector")

        def gradients(outputs):
            # Compiled for one run, so without optimisation.
            options = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
            gradient = jax.grad(lambda w, x: jnp.vdot(cotangents, outputs(w, x)), (0, 1))
            return jax.jit(gradient, compiler_options=options)(weights, features)

        found = gradients(lambda w, x: estimate(jax.random.key(2), w, x))
        expected = gradients(exact)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_impossible_outcomes_are_never_drawn():
    circuit = Circuit.from_function(
        lambda features, weights: (qml.X(1), qml.H(2), qml.probs(wires=[0, 1, 2]))[-1],
        num_qubits=3,
        num_features=0,
        weights_shape=(0,),
    )
    found = sampler(circuit, 5000)(jax.random.key(0), jnp.zeros(0), jnp.zeros((4, 0)))
    possible = np.zeros(8, bool)
    possible[[2, 3]] = True
    assert np.all(found[:, possible] > 0.4)
    np.testing.assert_allclose(found[:, ~possible], 0, atol=1e-6)


def test_refused(circuit):
    for function in (sampler, standard_errors):
        with pytest.raises(CircuitError, match="shots=0; expected at least 1"):
            function(circuit, 0)
    with pytest.raises(CircuitError, match=r"weights have shape \(4,\)"):
        sampler(circuit, 5)(jax.random.key(0), np.zeros(4, np.float32), FEATURES)
