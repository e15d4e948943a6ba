"""The arms of aml2026 without a circuit, and what all arms share.

Each arm is trained on the samples of all seeds and predicts their test images.
"""

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

from hqnn_jax.config.base import ConfigSection, Positive, Width
from hqnn_jax.errors import TrainingError
from hqnn_jax.experiments.aml2026.data import SampledData
from hqnn_jax.training import equilibrium_propagation as ep
from hqnn_jax.training.patience import PatientFit, fit_with_patience

Count = Annotated[int, Field(ge=1, le=100000)]
NUM_CLASSES = 2


class DenseConfig(ConfigSection):
    """The dense network, trained by backpropagation with Adam; widths as in the paper."""

    hidden_widths: tuple[Width, ...] = (256, 128, 64)
    learning_rate: Positive = 1e-3
    batch_size: Count = 16
    max_epochs: Count = 100
    patience: Count = 15


class SvmConfig(ConfigSection):
    """Support-vector machines."""

    penalty: Positive = 1.0
    """C of the soft margin, the same for every kernel; scikit-learn's default."""
    bandwidth: Positive = 0.1
    """Factor on the angles in the arm with scaled angles."""


class ArmOutcome(NamedTuple):
    """What an arm gives back.

    Attributes:
        predictions: int[seeds, test], the predicted classes.
        train_seconds: for all seeds together, without compilation.
        compile_seconds: of every program of the arm.
        parameters: trained numbers of one model; None for support-vector machines.
        losses: training loss per iteration, of each seed; None where there is no such curve.
        epochs: epochs trained up to the chosen parameters, per seed; None where not applicable.
        weights: of the trained circuit of each seed, in radians; None for other arms.
    """

    predictions: Int[np.ndarray, "seeds test"]
    train_seconds: float
    compile_seconds: float
    parameters: int | None
    losses: Sequence[Sequence[float]] | None = None
    epochs: Sequence[int] | None = None
    weights: Sequence[Sequence[float]] | None = None


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


# --- networks on the 20 features -------------------------------------------------------------


def equilibrium_propagation(data: SampledData, options: ep.EquilibriumConfig) -> ArmOutcome:
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


def dense(data: SampledData, options: DenseConfig) -> ArmOutcome:
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
) -> ArmOutcome:
    """Return the outcome of a network whose best state begins with its parameters.

    Raises:
        TrainingError: where a seed had no epoch with a finite validation loss.
    """
    fit, predictions = result
    num_seeds = len(predictions)
    if not np.all(np.asarray(fit.best_epoch)):
        raise TrainingError(
            "no epoch had a finite validation loss; expected training to converge; lower the arm's "
            "learning_rate"
        )
    return ArmOutcome(
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


def rbf_svm(data: SampledData, options: SvmConfig) -> ArmOutcome:
    """Fit a Gaussian-kernel machine on the same angles: the quantum kernel's control."""
    return svm_outcome(SVC(C=options.penalty), data.angles.train, data.angles.test, data)


def rbf_svm_features(data: SampledData, options: SvmConfig) -> ArmOutcome:
    """Fit a Gaussian-kernel machine on all standardised features: the networks' control."""
    x = data.standardised
    return svm_outcome(SVC(C=options.penalty), x.train, x.test, data)


def svm_outcome(machine: SVC, train: np.ndarray, test: np.ndarray, data: SampledData) -> ArmOutcome:
    """Fit a machine on every seed's inputs, features or kernel matrices, and predict."""
    start = time.perf_counter()
    predictions = [
        machine.fit(x, y).predict(z) for x, y, z in zip(train, data.labels.train, test, strict=True)
    ]
    return ArmOutcome(np.stack(predictions), time.perf_counter() - start, 0.0, None)
