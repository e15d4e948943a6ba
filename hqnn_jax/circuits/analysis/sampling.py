"""Random inputs of a circuit, and functions mapped over many of them in bounded memory."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, Inexact, PRNGKeyArray, Shaped, UInt32

from hqnn_jax.circuits.circuit import Circuit
from hqnn_jax.circuits.engines.statevector import build_state
from hqnn_jax.errors import CircuitError

Key = PRNGKeyArray | UInt32[Array, "2"]
"""A JAX random key, of the new or the old kind."""

Numbers = ArrayLike | Sequence[float]
"""One number, a sequence or an array of numbers."""

# Amplitudes held at once: 128 MiB in complex64.
_AMPLITUDES = 2**24


def require(condition: bool | np.bool_, where: str, message: str) -> None:
    """Raise CircuitError unless `condition` holds."""
    if not condition:
        raise CircuitError(f"{where}: {message}")


def draw_inputs(
    circuit: Circuit, key: Key, features: Numbers | None, dtype: DTypeLike
) -> tuple[Float[Array, "..."], Float[Array, " features"]]:
    """Weights from `circuit.init_weights`, and features, in radians.

    Features are uniform in [-π, π), or `features` itself where given.
    """
    weights_key, features_key = jax.random.split(key)
    weights = circuit.init_weights(weights_key, dtype)
    if features is not None:
        return weights, fixed_features(circuit, features, dtype)
    shape = (circuit.num_features,)
    return weights, jax.random.uniform(features_key, shape, dtype, -jnp.pi, jnp.pi)


def fixed_features(
    circuit: Circuit, features: Numbers, dtype: DTypeLike
) -> Float[Array, " features"]:
    """Features of one sample from one value for all, or one value for each."""
    found = jnp.asarray(features, dtype)
    require(
        found.shape in ((), (circuit.num_features,)),
        f"Circuit '{circuit.name}'",
        f"features have shape {found.shape}, expected () or ({circuit.num_features},): the "
        "features of one sample, the same for all random weights",
    )
    return jnp.broadcast_to(found, (circuit.num_features,))


def pure_states(circuit: Circuit) -> Callable[..., Inexact[Array, "batch states"]]:
    """Return `states(weights, features[batch, num_features]) -> [batch, 2^num_qubits]`.

    Raises:
        CircuitError: the circuit has noise, so that its final state is not a vector.
    """
    require(
        circuit.noise is None,
        f"Circuit '{circuit.name}'",
        "has a noise model, but this quantity is defined for state vectors; analyse the "
        "noiseless circuit, circuit.with_noise(None)",
    )
    return build_state(circuit)


def draw_states(
    circuit: Circuit, features: Numbers | None, dtype: DTypeLike
) -> Callable[[Array], Inexact[Array, "batch states"]]:
    """Return the function from random keys [batch] to final states at inputs drawn with each.

    Raises:
        CircuitError: the circuit has noise.
    """
    states = pure_states(circuit)

    def draw(key: Key) -> Inexact[Array, " states"]:
        weights, sample = draw_inputs(circuit, key, features, dtype)
        return states(weights, sample[None])[0]

    return jax.vmap(draw)


def map_chunks(
    function: Callable[[Array], Inexact[Array, "chunk ..."]],
    samples: Shaped[Array, "samples ..."],
    amplitudes: int,
) -> Inexact[Array, "samples ..."]:
    """Apply a function of a batch to all samples at once, or in chunks if memory would not do.

    Args:
        function: maps inputs [chunk, ...] to results [chunk, ...].
        samples: inputs or random keys.
        amplitudes: complex numbers that `function` holds for one sample.
    """
    count = len(samples)
    num_chunks = -(-count * amplitudes // _AMPLITUDES)
    if num_chunks <= 1:
        return function(samples)
    size = max(1, count // num_chunks)
    # Chunks of one size are compiled once; the last is filled up with copies of the last sample.
    filled = np.minimum(np.arange(-(-count // size) * size, dtype=np.int32), count - 1)
    results = jax.lax.map(function, samples[filled.reshape(-1, size)])
    return results.reshape(-1, *results.shape[2:])[:count]
