"""Fine-tuning on a backend: exact gradients, SPSA's gains, replay, and losses that fall."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pennylane as qml
import pytest

from hqnn_jax.circuits import Circuit, aml2026, hqnn2026, radhi2025
from hqnn_jax.config.hardware import FineTuningConfig
from hqnn_jax.errors import CircuitError, TrainingError
from hqnn_jax.hardware.backends import open_backend
from hqnn_jax.hardware.compilation import compile_for
from hqnn_jax.hardware.execution import estimate
from hqnn_jax.hardware_evaluation.fine_tuning import (
    CALIBRATION_PAIRS,
    balanced_positions,
    fine_tune,
    free_angles,
    job_sizes,
    trained_angles,
)
from hqnn_jax.hardware_evaluation.trained import Samples
from hqnn_jax.training.gradient_free import spsa

UNOPTIMISED = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}


def shared_weights_circuit():
    """A weight in several gates, products with features, angles without weights."""

    def function(features, weights):
        qml.RY(features[0], 0)
        qml.RX(weights[0] * features[1], 1)
        qml.RZ(0.3, 1)
        qml.CNOT([0, 1])
        qml.RY(weights[0] + jnp.sin(weights[1]) * features[0], 0)
        qml.CRX(weights[1] ** 2, [1, 2])
        qml.RZ(weights[2], 2)
        qml.RX(weights[0], 2)
        return [qml.expval(qml.Z(0) @ qml.X(2)), qml.expval(0.5 * qml.Y(1)), qml.probs(wires=[2])]

    return Circuit.from_function(function, num_qubits=3, num_features=2, weights_shape=(3,))


def logits(values):
    """Three classes, not linear, different for every output."""
    mix = np.random.default_rng(3).normal(size=(values.shape[1], 3))
    return jnp.tanh(2 * values) @ mix + jnp.arange(3) * 0.2


def samples_for(circuit, images=5, views=1, classes=3):
    rng = np.random.default_rng(8)
    features = rng.uniform(-1.5, 2.0, (views, images, circuit.num_features))
    return Samples(features, rng.permutation(np.arange(images) % classes), np.arange(images))


def weights_for(circuit):
    return np.random.default_rng(9).uniform(-2.5, 3.0, circuit.weights_shape)


def unoptimised(function, *arguments):
    """Evaluate in float64, compiled without optimisation, which takes longest."""
    with jax.enable_x64(True):
        return jax.jit(function).lower(*arguments).compile(UNOPTIMISED)(*arguments)


def exact_values(circuit):
    """The JAX engine in float64 as a backend."""
    engine = free_angles(circuit).to_jax("statevector")
    return lambda iteration, rows: np.asarray(unoptimised(engine, np.zeros(0), rows))


def whole_loss(circuit, samples):
    """The loss of all images of the first view, in JAX alone, and the values."""
    engine = circuit.to_jax("statevector")

    def loss(weights):
        values = engine(weights, samples.features[0])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits(values), samples.labels)
        return losses.mean(), values

    return loss


@pytest.mark.parametrize(
    "circuit",
    [shared_weights_circuit(), radhi2025(3, 2), hqnn2026(2, 1), aml2026(2, 1)],
    ids=lambda circuit: circuit.name,
)
def test_free_angles_and_the_gradient_are_exact(circuit):
    weights, samples = weights_for(circuit), samples_for(circuit)
    evaluate = exact_values(circuit)
    derivative = jax.value_and_grad(whole_loss(circuit, samples), has_aux=True)
    (loss, expected), gradient = unoptimised(derivative, weights)
    angles = unoptimised(jax.vmap(circuit.angles, (0, None)), samples.features[0], weights)
    np.testing.assert_allclose(evaluate(0, np.asarray(angles)), expected, atol=1e-12)

    options = FineTuningConfig(method="parameter_shift", iterations=1)
    found = fine_tune(circuit, weights, samples, logits, evaluate, options)
    np.testing.assert_allclose(found.gradients[0], gradient, atol=1e-9)
    assert found.losses[0] == pytest.approx(float(loss), abs=1e-9)
    assert found.gradient_norms[0] == pytest.approx(np.linalg.norm(gradient))
    # Adam's first step has the size of the learning rate in every weight.
    moved = np.abs(gradient) > 1e-6
    np.testing.assert_allclose(
        (found.weights - weights)[moved], -0.02 * np.sign(gradient)[moved], rtol=1e-4
    )


def test_spsa_is_that_of_the_simulation():
    """Without a choice of images both optimisers see the same loss, directions and gains."""
    circuit = shared_weights_circuit()
    weights, samples = weights_for(circuit), samples_for(circuit)
    options = FineTuningConfig(iterations=8, learning_rate=0.05, perturbation=0.2, seed=4)
    found = fine_tune(circuit, weights, samples, logits, exact_values(circuit), options)
    with jax.enable_x64(True):
        loss = whole_loss(circuit, samples)
        expected = spsa(
            lambda weights: loss(weights)[0],
            jnp.asarray(weights),
            jax.random.key(4),
            iterations=8,
            perturbation=0.2,
            first_change=0.05,
            calibration=CALIBRATION_PAIRS,
        )
    changes = np.abs(np.diff(found.trajectory, axis=0))
    assert changes.max() < 0.2, "the limit of a change is not what is compared here"
    np.testing.assert_allclose(found.trajectory[-1], expected.weights, atol=1e-9)
    np.testing.assert_allclose(found.losses, expected.losses, atol=1e-9)
    np.testing.assert_allclose(found.weights, found.trajectory[-2:].mean(axis=0), atol=1e-12)


def test_spsa_changes_no_weight_by_more_than_the_perturbation():
    circuit = radhi2025(2, 1)

    def evaluate(iteration, rows):
        # Nearly flat while the gain is calibrated.
        return np.cos(rows[:, 2:]) * (1e-9 if iteration < 0 else 1)

    options = FineTuningConfig(iterations=6, perturbation=0.15)
    found = fine_tune(
        circuit, weights_for(circuit), samples_for(circuit), logits, evaluate, options
    )
    np.testing.assert_allclose(np.abs(np.diff(found.trajectory, axis=0)).max(), 0.15)


@pytest.fixture(scope="module")
def tiny():
    """Two qubits, labels that the trained weights get right, and weights far from them."""
    circuit = radhi2025(2, 1)
    features = np.random.default_rng(1).uniform(-1.2, 1.2, (1, 24, 2))
    trained = np.array([[0.4, -0.3]])
    values = circuit.to_jax()(trained, features[0])
    labels = np.asarray(values[:, 1] > np.median(values[:, 1])).astype(int)
    return circuit, np.add(trained, [[1.1, -1.3]]), Samples(features, labels, np.arange(24))


def two_classes(values):
    return jnp.stack([-3 * values[:, 1], 3 * values[:, 1] + 0.4 * values[:, 0]], axis=1)


@pytest.fixture(scope="module")
def on_manila(tiny):
    """Aer with the noise of fake_manila, one job for a call; what it returned is kept."""
    compiled = compile_for(free_angles(tiny[0]), open_backend("fake_manila"), num_tries=2)
    stored = {}

    def evaluate(iteration, rows):
        found = estimate(compiled, np.zeros(0), rows, shots=512, seed=iteration + 1)
        stored[np.round(rows, 10).tobytes()] = found.values
        return found.values

    return evaluate, stored


@pytest.mark.parametrize(
    "options",
    [
        FineTuningConfig(iterations=16, batch_size=12, learning_rate=0.2, seed=2),
        FineTuningConfig(
            method="parameter_shift", iterations=10, batch_size=6, learning_rate=0.2, seed=2
        ),
    ],
    ids=lambda options: options.method,
)
def test_the_loss_falls_on_a_noisy_backend_and_a_replay_is_the_same(tiny, on_manila, options):
    circuit, weights, samples = tiny
    evaluate, stored = on_manila
    seen, rows_of_jobs = [], []

    def counted(iteration, rows):
        rows_of_jobs.append((iteration, len(rows)))
        return evaluate(iteration, rows)

    found = fine_tune(
        circuit,
        weights,
        samples,
        two_classes,
        counted,
        options,
        lambda *report: seen.append(report),
    )
    last = options.iterations // 4
    assert found.losses[-last:].mean() < 0.7 * found.losses[:last].mean()
    assert seen == list(enumerate(found.losses))
    first = -1 if options.method == "spsa" else 0
    assert [iteration for iteration, _ in rows_of_jobs] == list(range(first, options.iterations))
    assert [rows for _, rows in rows_of_jobs] == job_sizes(circuit, samples, options)
    assert found.evaluations == sum(rows for _, rows in rows_of_jobs)

    def loss(weights):
        values = two_classes(circuit.to_jax()(weights, samples.features[0]))
        return optax.softmax_cross_entropy_with_integer_labels(values, samples.labels).mean()

    assert loss(found.weights) < 0.6 * loss(weights)

    def replayed(iteration, rows):
        return stored[np.round(rows, 10).tobytes()]

    again = fine_tune(circuit, weights, samples, two_classes, replayed, options)
    np.testing.assert_array_equal(again.weights, found.weights)
    np.testing.assert_array_equal(again.trajectory, found.trajectory)
    np.testing.assert_array_equal(again.losses, found.losses)


@pytest.mark.parametrize("method", ["spsa", "parameter_shift"])
def test_seeds_choose_images_views_and_directions(method):
    circuit = radhi2025(2, 1)
    samples = samples_for(circuit, images=30, views=3)
    features = samples.features

    def batches(seed):
        found = []

        def evaluate(iteration, rows):
            # The first two angles are the features: Hadamards have none.
            found.append(rows[:, :2])
            return np.cos(rows[:, :2] + rows[:, 2:])

        options = FineTuningConfig(method=method, iterations=3, batch_size=6, seed=seed)
        result = fine_tune(circuit, weights_for(circuit), samples, logits, evaluate, options)
        return found, result.weights

    (first, weights), (again, same), (other, different) = batches(0), batches(0), batches(1)
    for rows, repeated, elsewhere in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(rows, repeated)
        assert not np.array_equal(rows, elsewhere)
    np.testing.assert_array_equal(weights, same)
    assert not np.array_equal(weights, different)
    used = [
        {
            tuple(np.argwhere((features == row).all(axis=-1))[0].tolist())
            for row in np.unique(rows, axis=0)
        }
        for rows in first
    ]
    for pairs in used:
        images = [image for _, image in pairs]
        assert len(set(images)) == len(images) == 6, "one view of each image"
        assert np.bincount(samples.labels[images]).tolist() == [2, 2, 2]
    assert len(set(map(frozenset, used))) == len(used)
    assert {view for pairs in used for view, _ in pairs} == {0, 1, 2}


def test_batches_are_balanced():
    labels = np.array([0] * 50 + [1] * 3 + [2] * 20)
    rng = np.random.default_rng(0)
    drawn = [balanced_positions(labels, 17, rng) for _ in range(60)]
    counts = np.array([np.bincount(labels[chosen]) for chosen in drawn])
    assert counts[0].tolist() == [7, 3, 7]
    np.testing.assert_array_equal(counts, np.tile([7, 3, 7], (60, 1)))
    assert all(len(np.unique(chosen)) == 17 for chosen in drawn)
    assert set(np.concatenate(drawn).tolist()) == set(range(73))
    # No class is always the one that has fewer images.
    uneven = np.array([np.bincount(labels[balanced_positions(labels, 4, rng)]) for _ in range(90)])
    assert (uneven.sum(axis=0) > 100).all()
    np.testing.assert_array_equal(balanced_positions(labels, 100, rng), np.arange(73))
    assert np.bincount(labels[balanced_positions(labels, 2, rng)]).max() == 1


def test_angles_without_weights_are_not_shifted():
    circuit = shared_weights_circuit()
    read = [circuit.gates[k] for k in range(len(circuit.gates)) if circuit.gates[k].angle in (0, 2)]
    assert [(gate.name, gate.wires) for gate in read] == [("RY", (0,)), ("RZ", (1,))]
    assert not {0, 2} & set(trained_angles(circuit))
    options = FineTuningConfig(method="parameter_shift", iterations=2, batch_size=4)
    sizes = job_sizes(circuit, samples_for(circuit), options)
    assert sizes == [4 * (1 + 2 * len(trained_angles(circuit)))] * 2


def test_free_angles_keep_the_depth_on_heavy_hex():
    compiled = compile_for(free_angles(radhi2025()), open_backend("fake_sherbrooke"))
    assert compiled.two_qubit_depth == 4
    assert compiled.num_two_qubit_gates == 10
    assert compiled.num_swaps == 0


@pytest.mark.parametrize("method", ["spsa", "parameter_shift"])
def test_what_cannot_be_trained_is_refused(method):
    circuit = radhi2025(2, 1)
    weights, samples = weights_for(circuit), samples_for(circuit)
    options = FineTuningConfig(method=method)

    def broken(iteration, rows):
        return np.where(iteration < 1, 0.5, np.nan) * np.ones((len(rows), 2))

    def tuned(circuit=circuit, weights=weights, samples=samples):
        return fine_tune(circuit, weights, samples, logits, broken, options)

    with pytest.raises(TrainingError, match=r"not finite at iteration 1; .*check"):
        tuned()
    with pytest.raises(CircuitError, match=r"weights have shape \(2,\), expected \(1, 2\)"):
        tuned(weights=weights[0])
    with pytest.raises(CircuitError, match="features have shape"):
        tuned(samples=samples_for(radhi2025(3, 1)))
    with pytest.raises(TrainingError, match="there are no images"):
        tuned(samples=Samples(np.zeros((1, 0, 2)), np.zeros(0, int), np.zeros(0, int)))
    fixed = free_angles(circuit)
    with pytest.raises(TrainingError, match="no gate of circuit 'radhi2025_free_angles'"):
        tuned(fixed, np.zeros(0), Samples(np.zeros((1, 2, 4)), np.arange(2), np.arange(2)))


def test_a_loss_that_is_not_finite_in_the_calibration():
    circuit = radhi2025(2, 1)
    with pytest.raises(TrainingError, match="not finite in the calibration"):
        fine_tune(
            circuit,
            weights_for(circuit),
            samples_for(circuit),
            logits,
            lambda iteration, rows: np.full((len(rows), 2), np.inf),
            FineTuningConfig(),
        )
