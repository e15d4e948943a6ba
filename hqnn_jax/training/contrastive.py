"""The supervised-contrastive loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def supervised_contrastive(
    representation: Float[Array, "batch width"],
    labels: Int[Array, "batch"],
    temperature: float,
) -> Float[Array, ""]:
    """Return the supervised-contrastive loss of a batch (Khosla et al., 2020, equation 2).

    Vectors are normalised to length 1. For every example with at least one other of its class,
    minus the mean over those others of the log-probability to be chosen among all others by
    exp(cosine / temperature); averaged over these examples. Zero where there is no such pair.

    Args:
        representation: one vector per example, the circuit's expectation values.
        labels: class of each example.
        temperature: larger is softer.
    """
    squared = jnp.sum(representation**2, axis=1, keepdims=True)
    # A vector of zeros has no direction; the floor keeps its gradient finite.
    unit = representation * jax.lax.rsqrt(jnp.maximum(squared, 1e-12))
    own = jnp.eye(len(labels), dtype=bool)
    similarity = jnp.where(own, -jnp.inf, unit @ unit.T / temperature)
    log_probability = jax.nn.log_softmax(similarity, axis=1)
    positive = (labels[:, None] == labels) & ~own
    count = positive.sum(axis=1)
    total = jnp.sum(jnp.where(positive, log_probability, 0.0), axis=1)
    per_example = -total / jnp.maximum(count, 1)
    return jnp.sum(per_example) / jnp.maximum(jnp.sum(count > 0), 1)
