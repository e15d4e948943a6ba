"""The arms of aml2026 with a circuit: three optimisers of one circuit, and quantum kernels."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from pydantic import Field
from sklearn.svm import SVC

from hqnn_jax.circuits import Circuit, aml2026
from hqnn_jax.circuits.analysis.kernels import fidelity_kernel
from hqnn_jax.config.base import ConfigSection, Positive
from hqnn_jax.errors import TrainingError
from hqnn_jax.experiments.aml2026.arms import (
    ArmOutcome,
    SvmConfig,
    run_compiled,
    seed_keys,
    svm_outcome,
)
from hqnn_jax.experiments.aml2026.data import SampledData
from hqnn_jax.training.gradient_free import Minimum, cobyla, spsa


class VqcConfig(ConfigSection):
    """The variational circuit and its three optimisers."""

    circuit_reps: Annotated[int, Field(ge=1, le=100)] = 2
    """Layers of RealAmplitudes: 1 is 8 parameters on 4 qubits, 2 is 12."""
    iterations: Annotated[int, Field(ge=8, le=100000)] = 200
    cobyla_initial_step: Positive = 1.0
    """Radians; the default is SciPy's and Qiskit's."""
    spsa_perturbation: Positive = 0.2
    """Radians; Qiskit's default."""
    spsa_first_change: Positive = 0.2
    """Wanted change of an angle in the first iteration, in radians."""
    adam_learning_rate: Positive = 0.1
    bandwidth: Positive = 0.1
    """Factor on the angles in the arm with scaled angles."""


class PaddedExamples(NamedTuple):
    """Training examples of the circuit, padded to a common number.

    Attributes:
        angles: [images, components], in radians.
        targets: [images], +1 for class 1 and -1 for class 0.
        weights: [images], 1 / number of images, and 0 for padding.
    """

    angles: Float[Array | np.ndarray, "*seeds images components"]
    targets: Float[Array | np.ndarray, "*seeds images"]
    weights: Float[Array | np.ndarray, "*seeds images"]

    @classmethod
    def of(cls, data: SampledData) -> PaddedExamples:
        """Return the training examples of all seeds."""
        labels = data.labels.train.astype(np.float32)
        return cls(
            data.padded(data.angles.train),
            data.padded(2 * labels - 1),
            data.padded(np.full_like(labels, 1 / labels.shape[1])),
        )


def circuit_loss(circuit: Circuit) -> Callable[[Array, PaddedExamples], Float[Array, ""]]:
    """Return `loss(weights, examples)`, the mean squared error of ⟨Z_0⟩."""
    evaluate = circuit.to_jax()

    def loss(weights: Array, examples: PaddedExamples) -> Float[Array, ""]:
        errors = (evaluate(weights, examples.angles)[:, 0] - examples.targets) ** 2
        return jnp.sum(examples.weights * errors)

    return loss


def adam(
    loss: Callable[[Array], Array], weights: Array, *, iterations: int, learning_rate: float
) -> Minimum:
    """Minimise with Adam and the exact gradient; a pure function like `gradient_free.spsa`."""
    optimizer = optax.adam(learning_rate)

    def iterate(carry: tuple, _: None) -> tuple[tuple, Array]:
        weights, moments = carry
        value, gradient = jax.value_and_grad(loss)(weights)
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(weights, updates), moments), value

    carry, losses = jax.lax.scan(
        iterate, (weights, optimizer.init(weights)), None, length=iterations
    )
    return Minimum(carry[0], losses)


Minimise = Callable[[Callable[[Array], Array], Array, Array], Minimum]
"""`(loss, initial weights, key) -> Minimum`, pure."""


def _trainer(circuit: Circuit, minimise: Minimise) -> Callable[[Array, PaddedExamples], Minimum]:
    """Return `train(keys, examples)`, which minimises the loss of every seed at once."""
    loss = circuit_loss(circuit)

    def train(key: Array, examples: PaddedExamples) -> Minimum:
        weights = circuit.init_weights(key)
        return minimise(lambda w: loss(w, examples), weights, jax.random.fold_in(key, 1))

    return jax.vmap(train)


# Cached, because a program is compiled once for each function and not for each call.
@functools.cache
def vqc_circuit(num_qubits: int, circuit_reps: int) -> Circuit:
    """Return the circuit of the arms with a trained circuit."""
    return aml2026(num_qubits, circuit_reps)


def vqc_data(arm: str, data: SampledData, options: VqcConfig) -> SampledData:
    """Return the data with the angles that an arm's circuit is given."""
    return data.with_bandwidth(options.bandwidth) if arm == "vqc_adam_scaled" else data


@functools.cache
def _spsa_trainer(circuit: Circuit, options: VqcConfig) -> Callable[..., Minimum]:
    minimise = functools.partial(
        spsa,
        iterations=options.iterations,
        perturbation=options.spsa_perturbation,
        first_change=options.spsa_first_change,
    )
    return _trainer(circuit, minimise)


@functools.cache
def _adam_trainer(circuit: Circuit, options: VqcConfig) -> Callable[..., Minimum]:
    def minimise(loss: Callable[[Array], Array], weights: Array, _: Array) -> Minimum:
        rate = options.adam_learning_rate
        return adam(loss, weights, iterations=options.iterations, learning_rate=rate)

    return _trainer(circuit, minimise)


@functools.cache
def _cached_loss(circuit: Circuit) -> Callable[[Array, PaddedExamples], Float[Array, ""]]:
    return circuit_loss(circuit)


@functools.cache
def _predictor(circuit: Circuit) -> Callable[[Array, Array], Array]:
    return jax.vmap(circuit.to_jax())


def _train_cobyla(
    data: SampledData, circuit: Circuit, options: VqcConfig
) -> tuple[Minimum, float, float]:
    """Minimise the loss of one seed after the other; one compiled loss serves all of them."""
    initial = jax.vmap(circuit.init_weights)(seed_keys(data.seeds))
    of_seeds = [
        PaddedExamples(*rows)
        for rows in zip(*map(jnp.asarray, PaddedExamples.of(data)), strict=True)
    ]
    loss = _cached_loss(circuit)
    _, compile_seconds, _ = run_compiled(loss, initial[0], of_seeds[0])
    start = time.perf_counter()

    def minimise(weights: Array, examples: PaddedExamples) -> Minimum:
        return cobyla(
            lambda weights: run_compiled(loss, weights, examples)[0],
            weights,
            iterations=options.iterations,
            initial_step=options.cobyla_initial_step,
        )

    minima = list(map(minimise, initial, of_seeds))
    seconds = time.perf_counter() - start
    # COBYLA may converge early; its last loss stands for the iterations it did not need.
    losses = [np.pad(m.losses, (0, options.iterations - len(m.losses)), "edge") for m in minima]
    weights = np.stack([minimum.weights for minimum in minima])
    return Minimum(weights, np.stack(losses)), compile_seconds, seconds


def _vqc_outcome(
    data: SampledData, circuit: Circuit, trained: tuple[Minimum, float, float]
) -> ArmOutcome:
    minimum, compile_seconds, seconds = trained
    if not np.all(np.isfinite(minimum.losses)):
        raise TrainingError(
            "the circuit's training loss is not finite; expected values from 0 to 4; lower the "
            "optimiser's step in the section vqc"
        )
    weights = jnp.asarray(minimum.weights)
    outputs, *_ = run_compiled(_predictor(circuit), weights, data.padded(data.angles.test))
    tested = data.labels.test.shape[1]
    return ArmOutcome(
        predictions=(np.asarray(outputs)[:, :tested, 0] > 0).astype(np.int32),
        train_seconds=seconds,
        compile_seconds=compile_seconds,
        parameters=circuit.num_weights,
        losses=np.asarray(minimum.losses, np.float64).round(6).tolist(),
        weights=np.asarray(weights, np.float64).reshape(len(weights), -1).tolist(),
    )


def vqc_cobyla(data: SampledData, options: VqcConfig) -> ArmOutcome:
    """Train the circuit with COBYLA, as the paper does."""
    circuit = vqc_circuit(data.num_components, options.circuit_reps)
    return _vqc_outcome(data, circuit, _train_cobyla(data, circuit, options))


def vqc_spsa(data: SampledData, options: VqcConfig) -> ArmOutcome:
    """Train the circuit with SPSA: two evaluations an iteration, whatever the dimension."""
    circuit = vqc_circuit(data.num_components, options.circuit_reps)
    trainer = _spsa_trainer(circuit, options)
    trained = run_compiled(trainer, seed_keys(data.seeds), PaddedExamples.of(data))
    return _vqc_outcome(data, circuit, trained)


def vqc_adam(data: SampledData, options: VqcConfig) -> ArmOutcome:
    """Train the circuit with Adam and the exact gradient."""
    circuit = vqc_circuit(data.num_components, options.circuit_reps)
    trainer = _adam_trainer(circuit, options)
    trained = run_compiled(trainer, seed_keys(data.seeds), PaddedExamples.of(data))
    return _vqc_outcome(data, circuit, trained)


def vqc_adam_scaled(data: SampledData, options: VqcConfig) -> ArmOutcome:
    """Train the circuit with Adam on angles times `bandwidth` (arXiv:2111.05451).

    Over the whole range [0, 2π] the phases (π - x)(π - y) of the feature map turn so often that
    neighbouring cells get unrelated states.
    """
    return vqc_adam(vqc_data("vqc_adam_scaled", data, options), options)


def quantum_kernel_svm(data: SampledData, options: SvmConfig) -> ArmOutcome:
    """Fit a support-vector machine on the fidelities of the states of the ZZ feature map."""
    # What follows the feature map cancels in a fidelity; the shortest such circuit will do.
    kernels = _kernel_matrices(vqc_circuit(data.num_components, 1))
    angles = np.concatenate([data.angles.train, data.angles.test], axis=1)
    matrices, compile_seconds, seconds = run_compiled(kernels, data.padded(angles))
    trained, tested = data.labels.train.shape[1], data.labels.test.shape[1]
    of_train = np.asarray(matrices)[:, :trained, :trained]
    of_test = np.asarray(matrices)[:, trained : trained + tested, :trained]
    machine = SVC(C=options.penalty, kernel="precomputed")
    outcome = svm_outcome(machine, of_train, of_test, data)
    return outcome._replace(
        train_seconds=outcome.train_seconds + seconds, compile_seconds=compile_seconds
    )


@functools.cache
def _kernel_matrices(circuit: Circuit) -> Callable[[Array], Array]:
    """Return the function from the angles of every seed to all fidelities between them."""
    kernel = functools.partial(fidelity_kernel(circuit), jnp.zeros(circuit.weights_shape))
    return jax.vmap(lambda angles: kernel(angles, angles))


def quantum_kernel_svm_scaled(data: SampledData, options: SvmConfig) -> ArmOutcome:
    """Fit the quantum-kernel machine on angles times `bandwidth`; see `vqc_adam_scaled`."""
    return quantum_kernel_svm(data.with_bandwidth(options.bandwidth), options)
