"""Fourier spectrum of a circuit's outputs as functions of each of its weights.

With all other inputs held fixed, an output is f(w_j) = Σ_k c_k exp(i k b_j w_j), |k| ≤ K_j, where
the gates that read the weight w_j determine the base b_j and the degree K_j: 1 and 1 for one
rotation by w_j. Source: Schuld, Sweke, Meyer, arXiv:2008.08605, with a weight in the place of a
feature; for single rotations also Ostaszewski, Grant, Benedetti, arXiv:1905.09692, eq. (1).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hqnn_jax.circuits.analysis.fourier import Frequencies, frequencies_of_slopes
from hqnn_jax.circuits.analysis.sampling import map_chunks, require
from hqnn_jax.circuits.circuit import Circuit


def find_weight_frequencies(circuit: Circuit) -> Frequencies:
    """Find the frequencies that the angles which read each weight can produce.

    As `find_frequencies` does for features; weights are in C order. The function is not to be
    called under `jit`.

    Raises:
        CircuitError: an angle is not linear in the weights with constant factors (w x, for
            example), or the factors of a weight have no common base.
    """
    features_key, weights_key = jax.random.split(jax.random.key(0))
    features = jax.random.uniform(features_key, (3, circuit.num_features), minval=-2.0, maxval=3.0)
    shape = (3, *circuit.weights_shape)
    weights = jax.random.uniform(weights_key, shape, minval=-2.0, maxval=3.0)
    derivative = jax.jit(jax.vmap(jax.jacfwd(circuit.angles, argnums=1)))
    slopes = np.asarray(derivative(features, weights), np.float64)
    slopes = slopes.reshape(3, circuit.angles.num_angles, circuit.num_weights)
    for gate in circuit.gates:
        require(
            gate.angle is None or np.allclose(slopes[:, gate.angle], slopes[0, gate.angle], 1e-4),
            f"Circuit '{circuit.name}'",
            f"the angle of {gate.name} on wire {gate.wires[0]} is not a linear function of the "
            "weights with constant factors, so that outputs have no finite spectrum in them; "
            "expected angles such as x + 2 w",
        )
    read = [gate.angle for gate in circuit.gates if gate.angle is not None]
    return frequencies_of_slopes(circuit, slopes[0, read], "weight")


def build_weight_power(
    circuit: Circuit, frequencies: Frequencies
) -> Callable[..., Float[Array, "weights degrees"]]:
    """Return `power(weights, features[batch, num_features]) -> [num_weights, max degree + 1]`.

    Element [j, k] is |c_0|² for k = 0, else |c_k|² + |c_-k|², of the series in the weight j around
    `weights`; mean over outputs and samples. The sum over k is the mean square of the outputs over
    the weight's period. It does not depend on the weight j itself. Exact up to rounding: each
    weight is shifted by 2 K_j equal parts of its period. A pure function under `jit` and `vmap`.

    Args:
        circuit: any circuit, noisy or not.
        frequencies: from `find_weight_frequencies`.
    """
    evaluate = circuit.to_jax()
    rows = _grid_rows(frequencies)
    weight, shift = _shifts(frequencies)
    num_degrees = 1 + max(frequencies.degree, default=0)

    def power(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "weights degrees"]:
        shifted = jnp.tile(weights.ravel(), (len(weight) + 1, 1))
        shifted = shifted.at[np.arange(1, len(weight) + 1), weight].add(
            jnp.asarray(shift, weights.dtype)
        )
        points = shifted.reshape(-1, *weights.shape)
        values = map_chunks(
            jax.vmap(lambda point: evaluate(point, features)),
            points,
            2**circuit.num_qubits * len(features),
        )
        found = jnp.zeros((len(frequencies.degree), num_degrees), values.dtype)
        for degree, (members, grid) in rows.items():
            transform = jnp.fft.rfft(values[grid], axis=1, norm="forward")
            squares = jnp.mean(jnp.abs(transform) ** 2, axis=(2, 3))
            # A frequency and its negative; the grid has an odd number of points.
            squares = squares.at[:, 1:].multiply(2)
            found = found.at[members, : degree + 1].set(squares)
        return found

    return power


def _shifts(frequencies: Frequencies) -> tuple[np.ndarray, np.ndarray]:
    """Which weight is shifted and by how much, for every evaluation but the unshifted one."""
    weight, shift = [], []
    for position, (base, degree) in enumerate(
        zip(frequencies.base, frequencies.degree, strict=True)
    ):
        size = 2 * degree + 1
        weight += [position] * (size - 1)
        shift += [2 * np.pi / base * step / size for step in range(1, size)]
    return np.array(weight, np.int32), np.array(shift, float)


def _grid_rows(frequencies: Frequencies) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Degree -> its weights, and the evaluations of each: [weights, 2 degree + 1].

    The first evaluation is the one at no shift, which all weights share.
    """
    sizes = 2 * np.array(frequencies.degree, int)
    starts = 1 + np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rows = {}
    for degree in sorted(set(frequencies.degree)):
        members = np.flatnonzero(sizes == 2 * degree)
        steps = starts[members, None] + np.arange(2 * degree)
        rows[degree] = (members, np.concatenate([np.zeros((len(members), 1), int), steps], axis=1))
    return rows
