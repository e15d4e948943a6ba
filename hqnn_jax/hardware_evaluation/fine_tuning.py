"""Training of a circuit's weights with values measured on a backend.

Everything classical stays as it was trained. All rows of gate angles that an iteration needs are
one job, of the circuit that `free_angles` returns: it is compiled once, whatever the circuit's
angles are of features and weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import pennylane as qml
from jaxtyping import Array, Float, Int

from hqnn_jax.circuits import Circuit, Inputs
from hqnn_jax.circuits.capture.quantum_function import queue
from hqnn_jax.config.hardware import FineTuningConfig
from hqnn_jax.errors import TrainingError
from hqnn_jax.hardware_evaluation.trained import Classify, Samples

Evaluate = Callable[[int, Float[np.ndarray, "rows angles"]], Float[np.ndarray, "rows outputs"]]
"""From the number of an iteration and rows of gate angles (radians) to measured values of the
circuit's outputs. It is called once an iteration, before all others with -1 if SPSA calibrates."""

CALIBRATION_PAIRS = 5
"""Pairs of evaluations at the initial weights from which SPSA's gain is found."""
# Of the iterations, at whose weights the mean is taken that is returned.
_AVERAGED_SHARE = 0.25


class FineTuned(NamedTuple):
    """What fine-tuning found.

    Attributes:
        weights: mean of the weights after each of the last quarter of iterations (Polyak and
            Juditsky 1992), in which the errors of single steps cancel; float64.
        losses: mean cross-entropy of each iteration's images, before its step with the gradient
            and of both evaluations with SPSA; it changes with the images, too.
        gradients: of the loss by the weights in each iteration, as estimated.
        trajectory: the initial weights, then those after each iteration, float64.
        evaluations: rows of gate angles that were measured in all.
    """

    weights: Float[np.ndarray, "..."]
    losses: Float[np.ndarray, " iterations"]
    gradients: Float[np.ndarray, "iterations ..."]
    trajectory: Float[np.ndarray, "iterations_and_one ..."]
    evaluations: int

    @property
    def gradient_norms(self) -> Float[np.ndarray, " iterations"]:
        """Euclidean norm of each iteration's gradient."""
        return np.linalg.norm(self.gradients.reshape(len(self.gradients), -1), axis=1)


class _LossAndGradient(NamedTuple):
    """A loss and its gradient with respect to the weights."""

    loss: float
    gradient: Float[np.ndarray, "..."]


def free_angles(circuit: Circuit) -> Circuit:
    """Return the same gates with every angle a feature of its own, without noise.

    The angle of a gate is `features[gate.angle]`, in radians: a row that `circuit.angles` returns
    gives the values of `circuit`. It has no weights, their shape is (0,).
    """
    inputs = np.zeros(circuit.num_features), np.zeros(circuit.weights_shape)

    def function(features, weights):
        for gate in circuit.gates:
            angle = () if gate.angle is None else (features[gate.angle],)
            getattr(qml, gate.name)(*angle, wires=gate.wires)
        # The gates of the circuit's own function are left out.
        with qml.QueuingManager.stop_recording():
            tape = queue(circuit.function, *inputs, circuit.name)
        return [qml.apply(measurement) for measurement in tape.measurements]

    return Circuit.from_function(
        function,
        num_qubits=circuit.num_qubits,
        num_features=circuit.angles.num_angles,
        weights_shape=(0,),
        name=f"{circuit.name}_free_angles",
    )


def job_sizes(circuit: Circuit, samples: Samples, options: FineTuningConfig) -> list[int]:
    """Rows of gate angles of each job of `fine_tune`, in order."""
    images = min(options.batch_size, len(samples.labels))
    if options.method == "spsa":
        return [2 * CALIBRATION_PAIRS * images] + [2 * images] * options.iterations
    return [(1 + 2 * len(trained_angles(circuit))) * images] * options.iterations


def trained_angles(circuit: Circuit) -> list[int]:
    """Positions of the gate angles that depend on weights, perhaps on features too."""
    used = {gate.angle for gate in circuit.gates if gate.angle is not None}
    return [angle for angle in sorted(used) if Inputs.WEIGHTS in circuit.angles.inputs[angle]]


def fine_tune(
    circuit: Circuit,
    weights: Float[np.ndarray, "..."],
    samples: Samples,
    classify: Classify,
    evaluate: Evaluate,
    options: FineTuningConfig,
    on_iteration: Callable[[int, float], None] = lambda iteration, loss: None,
) -> FineTuned:
    """Minimise the cross-entropy of what a backend measures over the weights of a circuit.

    Each iteration has a batch of its own, all classes as often as possible, all images if there
    are not more. Of several views of an image, one is drawn. The result depends on nothing but
    the arguments and the values that `evaluate` returns: with stored values a stopped run is
    repeated to the bit.

    Args:
        circuit: the ideal circuit; only its gates and angles are used.
        weights: initial weights, in radians.
        samples: images to train on.
        classify: from outputs to logits.
        evaluate: measures `free_angles(circuit)`.
        options: method, iterations, images, step sizes and seed.
        on_iteration: called with the number and the loss of each finished iteration.

    Raises:
        CircuitError: weights or features have the wrong shape.
        TrainingError: there are no images, no gate has a weight, or a loss is not finite.
    """
    current = np.asarray(weights, np.float64)
    circuit.checked_inputs(current, samples.features[0])
    _check(circuit, samples)
    measured = _Measured(circuit, samples, classify, evaluate, options)
    if options.method == "spsa":
        estimate, optimizer = _spsa(measured, current)
    else:
        estimate, optimizer = measured.parameter_shift, optax.adam(options.learning_rate)
    state = _in_float64(optimizer.init)(current)
    update = _in_float64(optimizer.update)
    estimates: list[_LossAndGradient] = []
    trajectory = [current]
    for iteration in range(options.iterations):
        estimates.append(estimate(iteration, current))
        change, state = update(estimates[-1].gradient, state)
        current = current + change
        trajectory.append(current)
        on_iteration(iteration, estimates[-1].loss)
    averaged = max(1, round(_AVERAGED_SHARE * options.iterations))
    return FineTuned(
        weights=np.mean(trajectory[-averaged:], axis=0),
        losses=np.array([found.loss for found in estimates]),
        gradients=np.stack([found.gradient for found in estimates]),
        trajectory=np.stack(trajectory),
        evaluations=sum(job_sizes(circuit, samples, options)),
    )


@dataclass(frozen=True, eq=False)
class _Measured:
    """The loss as a backend measures it; for attributes see `fine_tune`."""

    circuit: Circuit
    samples: Samples
    classify: Classify
    evaluate: Evaluate
    options: FineTuningConfig

    def parameter_shift(
        self, iteration: int, weights: Float[np.ndarray, "..."]
    ) -> _LossAndGradient:
        """The loss of an iteration's images, and its gradient.

        Source: Mitarai et al., arXiv:1803.00745, and Schuld et al., arXiv:1811.11184: with
        rotations by θ, half the difference of the values at θ ± π/2 is the exact derivative. Each
        gate's angle is shifted on its own and the angles' derivatives with respect to the weights
        are JAX's, so that a weight may be in several gates and in any arithmetic. Angles without
        weights are not shifted. Noise that does not depend on angles leaves the rule exact: all
        rows are the same gates. With shots the gradient is nearly unbiased: only the derivative of
        the loss is taken at values that have errors.
        """
        features, labels = self._batch(iteration)
        angles = self._angles(features, weights)
        trained = trained_angles(self.circuit)
        shifts = np.zeros((1 + 2 * len(trained), angles.shape[1]))
        shifts[1 + np.arange(2 * len(trained)), np.repeat(trained, 2)] = np.tile(
            [np.pi / 2, -np.pi / 2], len(trained)
        )
        values = self._values(iteration, angles[:, None] + shifts)
        loss, by_value = self._loss_and_gradient(values[:, 0], labels)
        by_angle = np.zeros_like(angles)
        by_angle[:, trained] = np.einsum(
            "bo,bto->bt", by_value, (values[:, 1::2] - values[:, 2::2]) / 2
        )
        gradient = self._pulled_back(features, weights, by_angle)
        self._check_finite(iteration, loss, gradient)
        return _LossAndGradient(float(loss), gradient)

    def losses(
        self, iteration: int, points: Sequence[Float[np.ndarray, "..."]]
    ) -> Float[np.ndarray, " points"]:
        """The losses of an iteration's images at several weights, in one job."""
        features, labels = self._batch(iteration)
        values = self._values(
            iteration, np.stack([self._angles(features, weights) for weights in points])
        )
        losses = np.array([self._loss(part, labels) for part in values])
        self._check_finite(iteration, losses)
        return losses

    def _batch(
        self, iteration: int
    ) -> tuple[Float[np.ndarray, "batch features"], Int[np.ndarray, " batch"]]:
        """Features and labels of an iteration, from -1 on."""
        rng = np.random.default_rng([self.options.seed, iteration + 1])
        chosen = balanced_positions(self.samples.labels, self.options.batch_size, rng)
        views = rng.integers(len(self.samples.features), size=len(chosen))
        return self.samples.features[views, chosen], self.samples.labels[chosen]

    def _values(
        self, iteration: int, angles: Float[np.ndarray, "first second angles"]
    ) -> Float[np.ndarray, "first second outputs"]:
        """Measure rows of angles in one job."""
        rows = angles.reshape(-1, angles.shape[-1])
        values = np.asarray(self.evaluate(iteration, rows), np.float64)
        # A bounded classifier makes a finite loss of infinite values.
        self._check_finite(iteration, values)
        return values.reshape(*angles.shape[:2], self.circuit.num_outputs)

    def _cross_entropy(
        self, values: Float[Array, "batch outputs"], labels: Int[Array, " batch"]
    ) -> Float[Array, ""]:
        losses = optax.softmax_cross_entropy_with_integer_labels(self.classify(values), labels)
        return losses.mean()

    @cached_property
    def _loss(self) -> Callable[..., Any]:
        return _in_float64(self._cross_entropy)

    @cached_property
    def _loss_and_gradient(self) -> Callable[..., Any]:
        return _in_float64(jax.value_and_grad(self._cross_entropy))

    @cached_property
    def _angles(self) -> Callable[..., Any]:
        """Gate angles [batch, angles] of features [batch, features] and weights."""
        return _in_float64(jax.vmap(self.circuit.angles, (0, None)))

    @cached_property
    def _pulled_back(self) -> Callable[..., Any]:
        """The derivative by the weights, from that by the gate angles [batch, angles]."""

        def pull_back(features: Array, weights: Array, by_angle: Array) -> Array:
            angles = jax.vmap(self.circuit.angles, (0, None))
            return jax.vjp(lambda trained: angles(features, trained), weights)[1](by_angle)[0]

        return _in_float64(pull_back)

    def _check_finite(self, iteration: int, *found: Float[np.ndarray, "..."]) -> None:
        if not all(np.isfinite(part).all() for part in found):
            raise TrainingError(
                "fine-tuning: a measured value, the loss or its gradient is not finite "
                f"{'in the calibration' if iteration < 0 else f'at iteration {iteration}'}; "
                "expected finite values; check the features, and what the backend returned"
            )


def _spsa(
    measured: _Measured, weights: Float[np.ndarray, "..."]
) -> tuple[
    Callable[[int, Float[np.ndarray, "..."]], _LossAndGradient], optax.GradientTransformation
]:
    """Spall's estimate of the gradient, and his gains.

    Source: Spall 1998, as `hqnn_jax.training.gradient_free.spsa`, which is one compiled program and
    so cannot ask a backend for the loss. Both evaluations have the same images. Shot noise makes
    the calibrated gain smaller, so that a start of which little is known is a careful one. No
    weight changes in one iteration by more than the perturbation (or the first change that is asked
    for): a pair of noisy evaluations says nothing of what is farther away than it has looked.
    """
    options = measured.options
    directions = _in_float64(lambda: _directions(options, weights.shape))()

    def pairs(
        iteration: int, center: Float[np.ndarray, "..."], signs: Float[np.ndarray, "pairs ..."]
    ) -> tuple[Float[np.ndarray, "pairs ..."], Float[np.ndarray, "pairs 2"]]:
        """Estimated gradients, and the losses of the pairs."""
        size = options.perturbation / (max(iteration, 0) + 1) ** 0.101
        points = [center + side * size * sign for sign in signs for side in (1, -1)]
        losses = measured.losses(iteration, points).reshape(-1, 2)
        slopes = (losses[:, 0] - losses[:, 1]) / (2 * size)
        return slopes.reshape(-1, *(1,) * center.ndim) * signs, losses

    def estimate(iteration: int, current: Float[np.ndarray, "..."]) -> _LossAndGradient:
        place = CALIBRATION_PAIRS + iteration
        gradients, losses = pairs(iteration, current, directions[place : place + 1])
        return _LossAndGradient(float(losses.mean()), gradients[0])

    gradients, _ = pairs(-1, weights, directions[:CALIBRATION_PAIRS])
    # A flat start would ask for an infinite gain.
    magnitude = max(float(np.abs(gradients).mean()), np.finfo(float).eps)
    offset = 0.1 * options.iterations
    gain = options.learning_rate / magnitude
    return estimate, optax.chain(
        optax.sgd(lambda k: gain * ((1 + offset) / (k + 1 + offset)) ** 0.602),
        optax.clip(max(options.learning_rate, options.perturbation)),
    )


def _directions(options: FineTuningConfig, shape: tuple[int, ...]) -> Float[Array, "pairs ..."]:
    """Signs of SPSA's changes: those of the calibration, then one set for each iteration."""
    keys = jax.random.split(jax.random.key(options.seed), CALIBRATION_PAIRS + options.iterations)
    return jax.vmap(lambda key: jax.random.rademacher(key, shape, float))(keys)


def balanced_positions(
    labels: Int[np.ndarray, " images"], size: int, rng: np.random.Generator
) -> Int[np.ndarray, " batch"]:
    """Draw images with every class as often as possible, without any twice, in ascending order."""
    turn = np.zeros(len(labels), int)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        turn[members] = rng.permutation(len(members))
    # Every class has its first image before any has its second; which classes are left out of the
    # last turn is drawn.
    order = np.lexsort((rng.permutation(len(labels)), turn))
    return np.sort(order[:size])


def _in_float64(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function for float64, from and to NumPy arrays.

    Only it: what `evaluate` does must not change with the precision chosen here.
    """
    compiled = jax.jit(function)

    def call(*arguments: Any) -> Any:
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, compiled(*arguments))

    return call


def _check(circuit: Circuit, samples: Samples) -> None:
    if not len(samples.labels):
        raise TrainingError("fine-tuning: there are no images; expected at least one")
    if not trained_angles(circuit):
        raise TrainingError(
            f"fine-tuning: no gate of circuit '{circuit.name}' has a weight, there is nothing to "
            "train; leave fine_tuning out"
        )
