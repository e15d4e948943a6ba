"""The arms of aml2026: each trains on the samples of all seeds and predicts their test images."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from pydantic import Field
from sklearn.svm import SVC

from experiments.aml2026_data import SampledData
from hqnn_jax.circuits import Circuit, aml2026
from hqnn_jax.circuits.kernels import fidelity_kernel
from hqnn_jax.config.base import Section, Width
from hqnn_jax.errors import TrainingError
from hqnn_jax.training import equilibrium_propagation as ep
from hqnn_jax.training.gradient_free import Minimum, cobyla, spsa
from hqnn_jax.training.patience import PatientFit, fit_with_patience

Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1, le=100000)]
NUM_CLASSES = 2


class VqcConfig(Section):
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


class DenseConfig(Section):
    """The dense network, trained by backpropagation with Adam; widths as in the paper."""

    hidden_widths: tuple[Width, ...] = (256, 128, 64)
    learning_rate: Positive = 1e-3
    batch_size: Count = 16
    max_epochs: Count = 100
    patience: Count = 15


class SvmConfig(Section):
    """Support-vector machines."""

    penalty: Positive = 1.0
    """C of the soft margin, the same for every kernel; scikit-learn's default."""
    bandwidth: Positive = 0.1
    """Factor on the angles in the arm with scaled angles."""


class Outcome(NamedTuple):
    """What an arm gives back.

    Attributes:
        predictions: int[seeds, test], the predicted classes.
        train_seconds: for all seeds together, without compilation.
        compile_seconds: of every program of the arm.
        parameters: trained numbers of one model; None for support-vector machines.
        losses: training loss per iteration, of each seed; None where there is no such curve.
        epochs: epochs trained up to the chosen parameters, per seed; None where not applicable.
    """

    predictions: Int[np.ndarray, "seeds test"]
    train_seconds: float
    compile_seconds: float
    parameters: int | None
    losses: Sequence[Sequence[float]] | None = None
    epochs: Sequence[int] | None = None


def run_compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float, float]:
    """Return the function's result and the seconds of compiling and of running it.

    The same function with inputs of the same shapes is compiled once; its compilation then has
    the seconds of that one time.
    """
    leaves, tree = jax.tree.flatten(arguments)
    shapes = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
    program, compile_seconds = _compile(function, shapes, tree)
    start = time.perf_counter()
    result = jax.block_until_ready(program(*arguments))
    return result, compile_seconds, time.perf_counter() - start


@functools.lru_cache(maxsize=32)
def _compile(
    function: Callable[..., Any], shapes: tuple[jax.ShapeDtypeStruct, ...], tree: Any
) -> tuple[Callable[..., Any], float]:
    start = time.perf_counter()
    program = jax.jit(function).lower(*jax.tree.unflatten(tree, shapes)).compile()
    return program, time.perf_counter() - start


def seed_keys(seeds: Sequence[int]) -> Array:
    """Return one random key per seed."""
    return jax.vmap(jax.random.key)(jnp.asarray(seeds))


# --- the variational circuit -----------------------------------------------------------------


class Examples(NamedTuple):
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
    def of(cls, data: SampledData) -> Examples:
        """Return the training examples of all seeds."""
        labels = data.labels.train.astype(np.float32)
        return cls(
            data.padded(data.angles.train),
            data.padded(2 * labels - 1),
            data.padded(np.full_like(labels, 1 / labels.shape[1])),
        )


def circuit_loss(circuit: Circuit) -> Callable[[Array, Examples], Float[Array, ""]]:
    """Return `loss(weights, examples)`, the mean squared error of ⟨Z_0⟩."""
    evaluate = circuit.to_jax()

    def loss(weights: Array, examples: Examples) -> Float[Array, ""]:
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


def _trainer(circuit: Circuit, minimise: Minimise) -> Callable[[Array, Examples], Minimum]:
    """Return `train(keys, examples)`, which minimises the loss of every seed at once."""
    loss = circuit_loss(circuit)

    def train(key: Array, examples: Examples) -> Minimum:
        weights = circuit.init_weights(key)
        return minimise(lambda w: loss(w, examples), weights, jax.random.fold_in(key, 1))

    return jax.vmap(train)


# Cached, because a program is compiled once for each function and not for each call.
@functools.cache
def _circuit(num_qubits: int, circuit_reps: int) -> Circuit:
    return aml2026(num_qubits, circuit_reps)


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
def _cached_loss(circuit: Circuit) -> Callable[[Array, Examples], Float[Array, ""]]:
    return circuit_loss(circuit)


@functools.cache
def _predictor(circuit: Circuit) -> Callable[[Array, Array], Array]:
    return jax.vmap(circuit.to_jax())


def _train_cobyla(
    data: SampledData, circuit: Circuit, options: VqcConfig
) -> tuple[Minimum, float, float]:
    """Minimise the loss of one seed after the other; one compiled loss serves all of them."""
    initial = jax.vmap(circuit.init_weights)(seed_keys(data.seeds))
    of_seeds = [Examples(*rows) for rows in zip(*map(jnp.asarray, Examples.of(data)), strict=True)]
    loss = _cached_loss(circuit)
    _, compile_seconds, _ = run_compiled(loss, initial[0], of_seeds[0])
    start = time.perf_counter()

    def minimise(weights: Array, examples: Examples) -> Minimum:
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
) -> Outcome:
    minimum, compile_seconds, seconds = trained
    if not np.all(np.isfinite(minimum.losses)):
        raise TrainingError(
            "the circuit's training loss is not finite; expected values from 0 to 4; lower the "
            "optimiser's step in the section vqc"
        )
    outputs, *_ = run_compiled(
        _predictor(circuit), jnp.asarray(minimum.weights), data.padded(data.angles.test)
    )
    tested = data.labels.test.shape[1]
    return Outcome(
        predictions=(np.asarray(outputs)[:, :tested, 0] > 0).astype(np.int32),
        train_seconds=seconds,
        compile_seconds=compile_seconds,
        parameters=circuit.num_weights,
        losses=np.asarray(minimum.losses, np.float64).round(6).tolist(),
    )


def vqc_cobyla(data: SampledData, options: VqcConfig) -> Outcome:
    """Train the circuit with COBYLA, as the paper does."""
    circuit = _circuit(data.num_components, options.circuit_reps)
    return _vqc_outcome(data, circuit, _train_cobyla(data, circuit, options))


def vqc_spsa(data: SampledData, options: VqcConfig) -> Outcome:
    """Train the circuit with SPSA: two evaluations an iteration, whatever the dimension."""
    circuit = _circuit(data.num_components, options.circuit_reps)
    trainer = _spsa_trainer(circuit, options)
    trained = run_compiled(trainer, seed_keys(data.seeds), Examples.of(data))
    return _vqc_outcome(data, circuit, trained)


def vqc_adam(data: SampledData, options: VqcConfig) -> Outcome:
    """Train the circuit with Adam and the exact gradient."""
    circuit = _circuit(data.num_components, options.circuit_reps)
    trainer = _adam_trainer(circuit, options)
    trained = run_compiled(trainer, seed_keys(data.seeds), Examples.of(data))
    return _vqc_outcome(data, circuit, trained)


def vqc_adam_scaled(data: SampledData, options: VqcConfig) -> Outcome:
    """Train the circuit with Adam on angles times `bandwidth` (arXiv:2111.05451).

    Over the whole range [0, 2π] the phases (π - x)(π - y) of the feature map turn so often that
    neighbouring cells get unrelated states.
    """
    return vqc_adam(data.with_bandwidth(options.bandwidth), options)


# --- networks on the 20 features -------------------------------------------------------------


def equilibrium_propagation(data: SampledData, options: ep.EquilibriumConfig) -> Outcome:
    """Train the layered energy network by equilibrium propagation."""

    def train(key, fit_x, fit_y, validation_x, validation_y, test_x):
        parameters = ep.init_parameters(key, _widths(data, options.hidden_widths))
        optimizer = ep.make_optimizer(options, steps_per_epoch(len(fit_x), options.batch_size))

        def validate(state: ep.EquilibriumState) -> Array:
            outputs = ep.predict(state.parameters, validation_x, options)
            return jnp.mean(ep.cost(outputs, signed_one_hot(validation_y)))

        fit = fit_with_patience(
            ep.make_step(options, optimizer),
            validate,
            ep.EquilibriumState(parameters, optimizer.init(parameters)),
            (fit_x, signed_one_hot(fit_y)),
            key,
            **_patience(options),
        )
        return fit, jnp.argmax(ep.predict(fit.best.parameters, test_x, options), axis=1)

    return network_outcome(*run_compiled(jax.vmap(train), *_network_inputs(data)))


def dense(data: SampledData, options: DenseConfig) -> Outcome:
    """Train a dense network by backpropagation, from the initial values of the energy network."""
    optimizer = optax.adam(options.learning_rate)

    def train(key, fit_x, fit_y, validation_x, validation_y, test_x):
        parameters = ep.init_parameters(key, _widths(data, options.hidden_widths))

        def loss(parameters: Any, x: Array, y: Array) -> Array:
            logits = mlp_logits(parameters, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        def step(state: tuple, batch: tuple[Array, Array]) -> tuple:
            parameters, moments = state
            updates, moments = optimizer.update(jax.grad(loss)(parameters, *batch), moments)
            return optax.apply_updates(parameters, updates), moments

        fit = fit_with_patience(
            step,
            lambda state: loss(state[0], validation_x, validation_y),
            (parameters, optimizer.init(parameters)),
            (fit_x, fit_y),
            key,
            **_patience(options),
        )
        return fit, jnp.argmax(mlp_logits(fit.best[0], test_x), axis=1)

    return network_outcome(*run_compiled(jax.vmap(train), *_network_inputs(data)))


def mlp_logits(
    parameters: ep.EnergyParameters, inputs: Float[Array, "batch features"]
) -> Float[Array, "batch classes"]:
    """Return the logits of a feed-forward network with ReLU between its layers."""
    x = inputs
    for index, (weight, bias) in enumerate(zip(*parameters, strict=True)):
        x = (jax.nn.relu(x) if index else x) @ weight + bias
    return x


def signed_one_hot(labels: Int[Array, " batch"]) -> Float[Array, "batch classes"]:
    """Return +1 for the class and -1 for the other, the ends of tanh's range."""
    return 2.0 * jax.nn.one_hot(labels, NUM_CLASSES) - 1.0


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Return the number of batches in an epoch, as `fit_with_patience` makes them."""
    return examples // min(batch_size, examples)


def network_outcome(
    result: tuple[PatientFit, Array], compile_seconds: float, seconds: float
) -> Outcome:
    """Return the outcome of a network whose best state begins with its parameters.

    **Raises:** `TrainingError` where a seed had no epoch with a finite validation loss.
    """
    fit, predictions = result
    num_seeds = len(predictions)
    if not np.all(np.asarray(fit.best_epoch)):
        raise TrainingError(
            "no epoch had a finite validation loss; expected training to converge; lower the arm's "
            "learning_rate"
        )
    return Outcome(
        predictions=np.asarray(predictions),
        train_seconds=seconds,
        compile_seconds=compile_seconds,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(fit.best[0])) // num_seeds,
        epochs=np.asarray(fit.best_epoch).tolist(),
    )


def _patience(options: Any) -> dict[str, int]:
    return {name: getattr(options, name) for name in ("batch_size", "max_epochs", "patience")}


def _widths(data: SampledData, hidden: tuple[int, ...]) -> tuple[int, ...]:
    return (data.standardised.fit.shape[-1], *hidden, NUM_CLASSES)


def _network_inputs(data: SampledData) -> tuple[Any, ...]:
    x, y = data.standardised, data.labels
    return seed_keys(data.seeds), x.fit, y.fit, x.validation, y.validation, x.test


# --- support-vector machines -----------------------------------------------------------------


def quantum_kernel_svm(data: SampledData, options: SvmConfig) -> Outcome:
    """Fit a support-vector machine on the fidelities of the states of the ZZ feature map."""
    # What follows the feature map cancels in a fidelity; the shortest such circuit will do.
    kernels = _kernel_matrices(_circuit(data.num_components, 1))
    angles = np.concatenate([data.angles.train, data.angles.test], axis=1)
    matrices, compile_seconds, seconds = run_compiled(kernels, data.padded(angles))
    trained, tested = data.labels.train.shape[1], data.labels.test.shape[1]
    of_train = np.asarray(matrices)[:, :trained, :trained]
    of_test = np.asarray(matrices)[:, trained : trained + tested, :trained]
    machine = SVC(C=options.penalty, kernel="precomputed")
    outcome = _svm_outcome(machine, of_train, of_test, data)
    return outcome._replace(
        train_seconds=outcome.train_seconds + seconds, compile_seconds=compile_seconds
    )


@functools.cache
def _kernel_matrices(circuit: Circuit) -> Callable[[Array], Array]:
    """Return the function from the angles of every seed to all fidelities between them."""
    kernel = functools.partial(fidelity_kernel(circuit), jnp.zeros(circuit.weights_shape))
    return jax.vmap(lambda angles: kernel(angles, angles))


def quantum_kernel_svm_scaled(data: SampledData, options: SvmConfig) -> Outcome:
    """Fit the quantum-kernel machine on angles times `bandwidth`; see `vqc_adam_scaled`."""
    return quantum_kernel_svm(data.with_bandwidth(options.bandwidth), options)


def rbf_svm(data: SampledData, options: SvmConfig) -> Outcome:
    """Fit a Gaussian-kernel machine on the same angles: the quantum kernel's control."""
    return _svm_outcome(SVC(C=options.penalty), data.angles.train, data.angles.test, data)


def rbf_svm_features(data: SampledData, options: SvmConfig) -> Outcome:
    """Fit a Gaussian-kernel machine on all standardised features: the networks' control."""
    x = data.standardised
    return _svm_outcome(SVC(C=options.penalty), x.train, x.test, data)


def _svm_outcome(machine: SVC, train: np.ndarray, test: np.ndarray, data: SampledData) -> Outcome:
    start = time.perf_counter()
    predictions = [
        machine.fit(x, y).predict(z) for x, y, z in zip(train, data.labels.train, test, strict=True)
    ]
    return Outcome(np.stack(predictions), time.perf_counter() - start, 0.0, None)
