"""Equilibrium propagation: learning from the difference of two equilibria of one network.

Sources: Scellier and Bengio 2017 (arXiv:1602.05179) for the rule; Laborieux et al. 2021
(arXiv:2006.03824) for symmetric nudging; Hopfield 1984 for the energy.

The layers s_0 (the input, clamped), s_1, …, s_L (the last is the output) have the energy

    E(θ, s) = Σ_l [Σ_i Φ(s_li) - b_l·s_l - s_(l-1)·W_l s_l],   Φ' = artanh,

which is stationary exactly where every unit is the tanh of what it receives from both sides,
s_l = tanh(W_lᵀ s_(l-1) + W_(l+1) s_(l+1) + b_l). In the free phase the states relax to that
equilibrium s⁰; in the nudged phase to the equilibrium s^β of E + β C, where C is the squared error
of the output. The parameters then move against

    [∂E/∂θ(s^β) - ∂E/∂θ(s⁰)] / β    or, symmetric,    [∂E/∂θ(s^β) - ∂E/∂θ(s^-β)] / (2β),

which tends to the gradient of C at the free equilibrium as β -> 0, with an error of O(β), or
O(β²). Both the states' dynamics and ∂E/∂θ are written out: each unit and each weight needs only
what its neighbours hold, and no derivative is taken by a program anywhere in this module.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import xlogy
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray
from pydantic import Field

from hqnn_jax.config.base import ConfigSection, Patience, Positive, Width

States = tuple[Float[Array, "batch _"], ...]
"""States of the free layers, s_1 to s_L, each in [-1, 1]."""


class EquilibriumConfig(ConfigSection):
    """Network and learning rule of equilibrium propagation."""

    hidden_widths: Annotated[tuple[Width, ...], Field(min_length=1)] = (256, 128, 64)
    nudge: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Strength β of the nudged phase; below 1, where the output has one equilibrium for -β too."""
    symmetric: bool = True
    """Whether the gradient is taken between +β and -β instead of between +β and 0 (one-sided, as
    aml2026 publishes it)."""
    free_steps: Annotated[int, Field(ge=1, le=10000)] = 8
    nudged_steps: Annotated[int, Field(ge=1, le=10000)] = 4
    step_size: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the way to its equilibrium, given its neighbours, that a layer goes at a time."""
    learning_rate: Positive = 0.005
    """Peak rate; it falls to zero on a cosine over `max_epochs`."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 16
    max_epochs: Annotated[int, Field(ge=1, le=100000)] = 100
    patience: Patience = 15
    """Epochs without a lower validation error before training stops."""


class EnergyParameters(NamedTuple):
    """Parameters θ of the energy; `weights[l]` has shape [width of s_l, width of s_(l+1)]."""

    weights: tuple[Float[Array, "_ _"], ...]
    biases: tuple[Float[Array, " _"], ...]


class EquilibriumState(NamedTuple):
    """What one update changes."""

    parameters: EnergyParameters
    optimizer: optax.OptState


def init_parameters(
    key: PRNGKeyArray, widths: tuple[int, ...], dtype: DTypeLike = jnp.float32
) -> EnergyParameters:
    """Draw weights from Glorot's uniform distribution for `widths` (input first); biases are 0."""
    shapes = list(pairwise(widths))
    sizes = [below * above for below, above in shapes]
    # One draw for all layers: each would compile its own generator, longer than everything else.
    values = jax.random.uniform(key, (sum(sizes),), dtype, -1.0, 1.0)
    parts = jnp.split(values, list(accumulate(sizes))[:-1])
    weights = [
        part.reshape(shape) * (6 / sum(shape)) ** 0.5
        for part, shape in zip(parts, shapes, strict=True)
    ]
    return EnergyParameters(tuple(weights), tuple(jnp.zeros(w, dtype) for w in widths[1:]))


def energy(
    parameters: EnergyParameters, inputs: Float[Array, "batch features"], states: States
) -> Float[Array, " batch"]:
    """Return E(θ, s) of each sample; Φ(s) = [(1+s) log(1+s) + (1-s) log(1-s)] / 2."""
    total = jnp.zeros(len(inputs), inputs.dtype)
    for below, state, weight, bias in zip((inputs, *states), states, *parameters, strict=False):
        potential = (xlogy(1 + state, 1 + state) + xlogy(1 - state, 1 - state)) / 2
        total += jnp.sum(potential - state * (below @ weight + bias), axis=1)
    return total


def cost(
    outputs: Float[Array, "batch classes"], targets: Float[Array, "batch classes"]
) -> Float[Array, " batch"]:
    """Return C = |s_L - y|² / 2 of each sample."""
    return jnp.sum((outputs - targets) ** 2, axis=1) / 2


def relax(
    parameters: EnergyParameters,
    inputs: Float[Array, "batch features"],
    states: States,
    *,
    steps: int,
    step_size: float = 1.0,
    targets: Float[Array, "batch classes"] | None = None,
    nudge: float | Float[Array, ""] = 0.0,
) -> States:
    """Return the states after `steps` sweeps towards the minimum of E + nudge · C.

    A sweep moves one layer at a time, from the first to the output and back to the first, each by
    `step_size` of the way to tanh of what it receives. In one layer's states E is convex with its
    minimum there, so no sweep of the free phase raises E, whatever the weights. One way up is an
    ordinary forward pass; one way down carries the nudge from the output to every layer.

    Args:
        parameters: of the energy.
        inputs: the clamped layer s_0.
        states: where to start.
        steps: number of sweeps.
        step_size: in (0, 1].
        targets: y of the cost; only with `nudge`.
        nudge: β, between -1 and 1; 0 for the free phase.
    """
    weights, biases = parameters
    last = len(weights) - 1
    # The input is clamped: what the first layer receives from it stays the same.
    from_input = inputs @ weights[0] + biases[0]

    def moved(states: list[Array], layer: int) -> list[Array]:
        below = from_input if layer == 0 else states[layer - 1] @ weights[layer] + biases[layer]
        received = below if layer == last else below + states[layer + 1] @ weights[layer + 1].T
        if layer == last and targets is not None:
            received = received + nudge * (targets - states[layer])
        change = step_size * (jnp.tanh(received) - states[layer])
        return [*states[:layer], states[layer] + change, *states[layer + 1 :]]

    def sweep(states: States, _: None) -> tuple[States, None]:
        current = list(states)
        for layer in (*range(last), *range(last, -1, -1)):
            current = moved(current, layer)
        return tuple(current), None

    return jax.lax.scan(sweep, states, None, length=steps)[0]


def free_equilibrium(
    parameters: EnergyParameters, inputs: Float[Array, "batch features"], options: EquilibriumConfig
) -> States:
    """Return the states after the free phase, which starts from zero."""
    zeros = tuple(jnp.zeros((len(inputs), len(bias)), inputs.dtype) for bias in parameters.biases)
    return relax(parameters, inputs, zeros, steps=options.free_steps, step_size=options.step_size)


def energy_gradient(inputs: Float[Array, "batch features"], states: States) -> EnergyParameters:
    """Return ∂E/∂θ at fixed states, mean over the batch: -s_(l-1) s_lᵀ for W_l and -s_l for b_l."""
    layers = (inputs, *states)
    return EnergyParameters(
        tuple(-below.T @ above / len(inputs) for below, above in pairwise(layers)),
        tuple(-jnp.mean(state, axis=0) for state in states),
    )


def estimated_gradient(
    parameters: EnergyParameters,
    inputs: Float[Array, "batch features"],
    targets: Float[Array, "batch classes"],
    options: EquilibriumConfig,
) -> EnergyParameters:
    """Return the rule's estimate of the gradient of the mean cost at the free equilibrium.

    Scellier and Bengio 2017, theorem 1; with `options.symmetric` Laborieux et al. 2021.
    """
    free = free_equilibrium(parameters, inputs, options)

    def at(nudge: Float[Array, ""]) -> EnergyParameters:
        states = relax(
            parameters, inputs, free, steps=options.nudged_steps, step_size=options.step_size,
            targets=targets, nudge=nudge,
        )  # fmt: skip
        return energy_gradient(inputs, states)

    beta = options.nudge
    if options.symmetric:
        pair = jax.vmap(at)(jnp.asarray([beta, -beta], inputs.dtype))
        return jax.tree.map(lambda leaf: (leaf[0] - leaf[1]) / (2 * beta), pair)
    nudged, other = at(jnp.asarray(beta, inputs.dtype)), energy_gradient(inputs, free)
    return jax.tree.map(lambda a, b: (a - b) / beta, nudged, other)


def make_optimizer(
    options: EquilibriumConfig, steps_per_epoch: int
) -> optax.GradientTransformation:
    """Return gradient descent with momentum, its rate on a cosine over all epochs."""
    schedule = optax.cosine_decay_schedule(
        options.learning_rate, options.max_epochs * steps_per_epoch
    )
    return optax.sgd(schedule, options.momentum)


def make_step(
    options: EquilibriumConfig, optimizer: optax.GradientTransformation
) -> Callable[[EquilibriumState, tuple[Array, Array]], EquilibriumState]:
    """Return the pure function `(state, (inputs, targets)) -> state` of one update."""

    def step(state: EquilibriumState, batch: tuple[Array, Array]) -> EquilibriumState:
        gradient = estimated_gradient(state.parameters, *batch, options)
        updates, moments = optimizer.update(gradient, state.optimizer)
        weights, biases = optax.apply_updates(state.parameters, updates)
        return EquilibriumState(EnergyParameters(weights, biases), moments)

    return step


def predict(
    parameters: EnergyParameters, inputs: Float[Array, "batch features"], options: EquilibriumConfig
) -> Float[Array, "batch classes"]:
    """Return the output layer at the free equilibrium; the largest unit is the class."""
    return free_equilibrium(parameters, inputs, options)[-1]
