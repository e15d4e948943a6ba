"""Variance of gradients against qubits and depth: barren plateaus.

Source: McClean et al., arXiv:1803.11173; dependence on the cost function: Cerezo et al.,
arXiv:2001.00550.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from hqnn_jax.circuits.analysis.sampling import Key, Numbers, draw_inputs, map_chunks, require
from hqnn_jax.circuits.circuit import Circuit
from hqnn_jax.circuits.gates import Observable

_RESAMPLES = 1000
_CONFIDENCE = (2.5, 97.5)


class GradientVariance(NamedTuple):
    """Gradient variances on a grid of circuit sizes; all arrays are NumPy float64.

    Attributes:
        num_qubits: [sizes].
        num_layers: [depths].
        variance: [sizes, depths], in units of the output squared per rad².
        interval: [2, sizes, depths], lower and upper end of the 95 % interval of each variance.
        decay_rate: [depths], the fitted b of variance = a exp(-b num_qubits); NaN for fewer than
            two sizes.
        decay_interval: [2, depths], lower and upper end of its 95 % interval.
    """

    num_qubits: Int[np.ndarray, " sizes"]
    num_layers: Int[np.ndarray, " depths"]
    variance: Float[np.ndarray, "sizes depths"]
    interval: Float[np.ndarray, "2 sizes depths"]
    decay_rate: Float[np.ndarray, " depths"]
    decay_interval: Float[np.ndarray, "2 depths"]


def global_cost(num_qubits: int) -> Observable:
    """The global cost 1 - |0…0⟩⟨0…0| of Cerezo et al., as 2^num_qubits Pauli words.

    Its gradients vanish exponentially with the number of qubits at any depth. At more than about
    12 qubits a single word such as Z…Z is the cheaper global observable.
    """
    words = ["".join(letters) for letters in itertools.product("IZ", repeat=num_qubits)]
    weight = 0.5**num_qubits
    return Observable(((1 - weight, words[0]), *((-weight, word) for word in words[1:])))


def local_cost(num_qubits: int) -> Observable:
    """The local cost 1 - (1/n) Σ_q |0⟩⟨0|_q of Cerezo et al.

    Its gradients vanish no faster than polynomially in circuits of depth O(log n).
    """
    words = ["I" * q + "Z" + "I" * (num_qubits - 1 - q) for q in range(num_qubits)]
    weight = 0.5 / num_qubits
    return Observable(((0.5, "I" * num_qubits), *((-weight, word) for word in words)))


def gradient_variance(
    make_circuit: Callable[[int, int], Circuit],
    num_qubits: Sequence[int],
    num_layers: Sequence[int],
    *,
    key: Key,
    num_samples: int = 200,
    observable: Callable[[int], Observable] | None = None,
    output: int = 0,
    weight: tuple[int, ...] | None = None,
    features: Numbers | None = None,
    dtype: DTypeLike = jnp.float32,
) -> GradientVariance:
    """Estimate Var[∂f/∂w] over random weights for every number of qubits and layers.

    Weights come from `circuit.init_weights`. The intervals are percentile bootstraps over samples
    (1000 resamples), which keep the weights of one sample together; gradients are far from
    normal, so that the chi-square interval of a variance would be too short. The decay rate is
    the least-squares slope of log variance against qubits, with the same bootstrap. Variances of
    about 1e-14 and less are rounding in float32: use float64 there. The function compiles once
    per circuit, and is not to be called under `jit` itself.

    Args:
        make_circuit: (num_qubits, num_layers) -> circuit, such as those of the library.
        num_qubits: numbers of qubits.
        num_layers: numbers of layers.
        key: random key.
        num_samples: random weights per circuit, at least 2.
        observable: num_qubits -> observable to differentiate in place of the circuits' outputs,
            for example `global_cost`.
        output: index of the circuits' output; not used with `observable`.
        weight: index of one weight; the mean variance over all weights if not given.
        features: the features of every sample, one value for all or [num_features]; drawn
            uniformly from [-π, π) with the weights if not given.
        dtype: float dtype of the simulation.

    Raises:
        CircuitError: the grid is empty, there are fewer than two samples, a circuit lacks the
            output or weight, or an output does not depend on the weights at all.
    """
    require(
        len(num_qubits) > 0 and len(num_layers) > 0 and num_samples >= 2,
        "Gradient variance",
        f"num_qubits={list(num_qubits)}, num_layers={list(num_layers)}, num_samples="
        f"{num_samples}; expected at least one number of qubits, one of layers and two samples",
    )
    resampled = np.empty((_RESAMPLES, len(num_qubits), len(num_layers)))
    variance = np.empty(resampled.shape[1:])
    grid = np.ndindex(variance.shape)
    keys = jax.random.split(key, (variance.size, 2))
    for (size, depth), (samples_key, bootstrap_key) in zip(grid, keys, strict=True):
        circuit = make_circuit(num_qubits[size], num_layers[depth])
        if observable is not None:
            circuit = replace(circuit, observables=(observable(circuit.num_qubits),))
        gradients = _gradients(
            circuit,
            jax.random.split(samples_key, num_samples),
            0 if observable is not None else output,
            weight,
            features,
            dtype,
        )
        variance[size, depth] = np.mean(np.var(gradients, axis=0, ddof=1))
        resampled[:, size, depth] = _resampled_variances(gradients, bootstrap_key)
        require(
            bool(variance[size, depth] > 0),
            f"Circuit '{circuit.name}'",
            f"every gradient is zero at {num_qubits[size]} qubits and {num_layers[depth]} layers; "
            "expected an output that depends on the weights: choose another output or weight",
        )
    sizes = np.asarray(num_qubits)
    return GradientVariance(
        num_qubits=sizes,
        num_layers=np.asarray(num_layers),
        variance=variance,
        interval=np.percentile(resampled, _CONFIDENCE, axis=0),
        decay_rate=_decay_rate(sizes, variance[None])[0],
        decay_interval=np.percentile(_decay_rate(sizes, resampled), _CONFIDENCE, axis=0),
    )


def _gradients(
    circuit: Circuit,
    keys: Array,
    output: int,
    weight: tuple[int, ...] | None,
    features: Numbers | None,
    dtype: DTypeLike,
) -> Float[np.ndarray, "samples weights"]:
    """Gradients at random inputs, of one weight or of all."""
    _check_indices(circuit, output, weight)
    evaluate = circuit.to_jax()

    def gradient(key: Key) -> Float[Array, " weights"]:
        weights, sample = draw_inputs(circuit, key, features, dtype)
        found = jax.grad(lambda weights: evaluate(weights, sample[None])[0, output])(weights)
        return found.ravel() if weight is None else found[weight][None]

    # Reverse mode keeps about one state for every gate on each qubit.
    amplitudes = 2**circuit.num_qubits * (1 + len(circuit.gates) // circuit.num_qubits)
    gradients = jax.jit(lambda keys: map_chunks(jax.vmap(gradient), keys, amplitudes))(keys)
    return np.asarray(gradients, np.float64)


def _check_indices(circuit: Circuit, output: int, weight: tuple[int, ...] | None) -> None:
    where = f"Circuit '{circuit.name}'"
    num_outputs = circuit.num_outputs
    require(
        0 <= output < num_outputs,
        where,
        f"has no output {output}; expected 0 to {num_outputs - 1}",
    )
    require(circuit.num_weights > 0, where, "has no weights; expected at least one")
    shape = circuit.weights_shape
    require(
        weight is None
        or (
            len(weight) == len(shape)
            and all(-size <= index < size for index, size in zip(weight, shape, strict=True))
        ),
        where,
        f"has no weight {weight}; expected an index into weights of shape {shape}",
    )


def _resampled_variances(
    gradients: Float[np.ndarray, "samples weights"], key: Key
) -> Float[np.ndarray, " resamples"]:
    """Mean variance over the weights for bootstrap resamples of the samples."""
    num_samples = len(gradients)
    drawn = np.asarray(jax.random.randint(key, (_RESAMPLES, num_samples), 0, num_samples))
    counts = np.stack([np.bincount(row, minlength=num_samples) for row in drawn])
    centred = gradients - gradients.mean(axis=0)
    means = counts @ centred / num_samples
    squares = counts @ np.mean(centred**2, axis=1) / num_samples
    return (squares - np.mean(means**2, axis=1)) * num_samples / (num_samples - 1)


def _decay_rate(
    num_qubits: Int[np.ndarray, " sizes"], variance: Float[np.ndarray, "resamples sizes depths"]
) -> Float[np.ndarray, "resamples depths"]:
    """Least-squares slope of -log variance against qubits; NaN where it is not determined."""
    offset = num_qubits - num_qubits.mean()
    if not np.any(offset):
        return np.full((len(variance), variance.shape[2]), np.nan)
    # Few samples of a heavy-tailed gradient may all be drawn equal: no finite logarithm then.
    logarithm = np.log(np.maximum(variance, np.finfo(np.float64).tiny))
    return -np.einsum("s,rsd->rd", offset / np.sum(offset**2), logarithm)
