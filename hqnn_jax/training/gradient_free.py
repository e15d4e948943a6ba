"""Optimisers that need only values of the loss: COBYLA and SPSA."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy import optimize

from hqnn_jax.errors import TrainingError

Loss = Callable[[Float[Array, "..."]], Float[Array, ""]]
"""From weights of any shape to the loss."""


class Minimum(NamedTuple):
    """Where an optimiser ended.

    Attributes:
        weights: final weights, with the shape and dtype of the initial ones.
        losses: the loss at each iteration: COBYLA at each evaluation, SPSA the mean of the two
            evaluations of an iteration, exact gradients before each step.
    """

    weights: Float[Array | np.ndarray, "..."]
    losses: Float[Array | np.ndarray, " iterations"]


def cobyla(
    loss: Loss, weights: Float[Array, "..."], *, iterations: int, initial_step: float = 1.0
) -> Minimum:
    """Minimise with Powell's COBYLA (SciPy), on the host; one iteration is one evaluation.

    Source: Powell 1994. COBYLA keeps a simplex of n + 1 points and a linear model on it, so fewer
    than n + 2 iterations do not pass beyond the simplex it starts with.

    Args:
        loss: compile it with `jax.jit` first: it is called once per iteration.
        weights: initial weights.
        iterations: evaluations at most; COBYLA stops earlier where it has converged.
        initial_step: size of the first changes of a weight, in its unit (radians for angles).

    Returns:
        the weights of the lowest loss, and the loss of each evaluation in order.

    Raises:
        TrainingError: the loss is not finite.
    """
    losses: list[float] = []
    points: list[np.ndarray] = []

    def evaluate(flat: np.ndarray) -> float:
        points.append(flat.copy())
        losses.append(float(loss(jnp.asarray(flat.reshape(weights.shape), weights.dtype))))
        if not np.isfinite(losses[-1]):
            raise TrainingError(
                f"COBYLA: the loss is {losses[-1]} at evaluation {len(losses)}; expected finite "
                "values; check the features the circuit is given"
            )
        return losses[-1]

    optimize.minimize(
        evaluate,
        np.asarray(weights, np.float64).ravel(),
        method="COBYLA",
        options={"maxiter": iterations, "rhobeg": initial_step},
    )
    best = points[int(np.argmin(losses))]
    return Minimum(best.reshape(weights.shape).astype(weights.dtype), np.asarray(losses))


def spsa(
    loss: Loss,
    weights: Float[Array, "..."],
    key: PRNGKeyArray,
    *,
    iterations: int,
    perturbation: float = 0.2,
    first_change: float = 0.2,
    calibration: int = 10,
) -> Minimum:
    """Minimise by simultaneous perturbation (SPSA): two evaluations an iteration in any dimension.

    Source: Spall 1998, "Implementation of the simultaneous perturbation algorithm for stochastic
    optimization", with its gains a_k = a / (k + 1 + A)^0.602 and c_k = c / (k + 1)^0.101, A a tenth
    of the iterations, and a such that a weight changes by about `first_change` in the first
    iteration (section III.B). A pure function of its arguments for `jit` and `vmap`: iterations
    are one `lax.scan`, the pairs of evaluations one `vmap` of the loss.

    Args:
        loss: pure function; it may be noisy only through what the caller closes over.
        weights: initial weights.
        key: of the perturbations.
        iterations: number of iterations.
        perturbation: c, the change of every weight in the first pair of evaluations.
        first_change: wanted change of a weight in the first iteration.
        calibration: pairs of evaluations at the initial weights from which a is found.

    Returns:
        the final weights, and the mean loss of the pair of each iteration.
    """
    offset = 0.1 * iterations
    start = jnp.asarray(perturbation, weights.dtype)

    def estimate(key: Array, weights: Array, size: Array) -> tuple[Array, Array]:
        """Return the estimated gradient and the mean loss of the pair."""
        signs = jax.random.rademacher(key, weights.shape, weights.dtype)
        pair = jax.vmap(loss)(weights + size * jnp.stack([signs, -signs]))
        return (pair[0] - pair[1]) / (2 * size) * signs, jnp.mean(pair)

    # Calibration is the part of the loop with k < 0: a loop of its own would compile the loss
    # twice, which for a circuit takes longer than all iterations.
    def iterate(carry: tuple[Array, Array], inputs: tuple[Array, Array]) -> tuple[tuple, Array]:
        weights, magnitude = carry
        k, key = inputs
        calibrates = k < 0
        j = jnp.maximum(k, 0)
        gradient, value = estimate(key, weights, start / (j + 1) ** 0.101)
        share = jnp.mean(jnp.abs(gradient)) / calibration
        magnitude = magnitude + jnp.where(calibrates, share, 0.0)
        # A flat start would ask for an infinite gain.
        bounded = jnp.maximum(magnitude, jnp.finfo(weights.dtype).eps)
        gain = first_change / bounded * ((1 + offset) / (j + 1 + offset)) ** 0.602
        return (jnp.where(calibrates, weights, weights - gain * gradient), magnitude), value

    steps = jnp.arange(-calibration, iterations, dtype=weights.dtype)
    keys = jax.random.split(key, calibration + iterations)
    zero = jnp.zeros((), weights.dtype)
    (final, _), losses = jax.lax.scan(iterate, (weights, zero), (steps, keys))
    return Minimum(final, losses[calibration:])
