"""Insights into small networks: what is measured, of which rows, and how."""

import jax
import jax.numpy as jnp

from hqnn_jax.training.insights import Insights
from tests.training.conftest import examples

ALL = (
    "gradients",
    "entangling_capability",
    "expressibility",
    "effective_dimension",
    "fourier_spectrum",
)
KEY = jax.random.key(5)
# As many rows as there are probes at most, so that all are measured whatever the key.
ROWS = jnp.arange(3, 63)
CLASS_WEIGHTS = jnp.asarray([1.0, 2.0, 0.5])


def measure(config, task, variables, data=None, key=KEY):
    insights = Insights.of(config, task)
    data = examples(70, seed=1) if data is None else data
    found = jax.jit(insights.measure)(variables, data, ROWS, CLASS_WEIGHTS, key)
    return {name: float(value) for name, value in found.items()}
