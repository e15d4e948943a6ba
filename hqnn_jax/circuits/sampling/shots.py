"""Estimates of a circuit's outputs from a finite number of measurements, and their errors.

Pauli words that commute qubit by qubit are measured together: one basis per group, chosen
greedily. Every group is measured `shots` times.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped, UInt32

from hqnn_jax.circuits.checks import check_count
from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.engines import pauli_transfer, statevector
from hqnn_jax.circuits.engines.chunking import check_fits
from hqnn_jax.circuits.gates import Gate, Observable
from hqnn_jax.circuits.noise.model import BasisChange, NoiseModel
from hqnn_jax.circuits.simulation.batch import nominal

Key = PRNGKeyArray | UInt32[Array, "2"]
Probabilities = Callable[
    [Float[Array, "..."], Float[Array, "batch features"]], Float[Array, "batch states"]
]

# Uniform numbers drawn at once; samples beyond are taken one block after the other.
_BLOCK = 2**22


@dataclass(frozen=True, eq=False)
class WordGroup:
    """Pauli words that one measurement of all qubits gives together.

    Attributes:
        basis: the letter measured on each wire; I where no word of the group acts.
        values: contribution of each outcome to each output, shape [num_outputs, 2^n]; outcomes
            are basis states after the change of basis, wire 0 most significant.
    """

    basis: str
    values: Float[np.ndarray, "outputs states"]


def word_groups(observables: Sequence[Observable]) -> tuple[np.ndarray, tuple[WordGroup, ...]]:
    """Divide the words of some observables into groups that are measured together.

    A word joins the first group whose basis it agrees with on every wire that both act on. A
    word that several observables share is measured once.

    Returns:
        The constant part of each output, shape [num_outputs], and the groups.
    """
    words = dict.fromkeys(word for observable in observables for _, word in observable.terms)
    bases: list[str] = []
    members: list[list[str]] = []
    for word in words:
        if set(word) == {"I"}:
            continue
        place = next((i for i, basis in enumerate(bases) if _agree(basis, word)), len(bases))
        if place == len(bases):
            bases.append("I" * len(word))
            members.append([])
        bases[place] = "".join(
            letter if letter != "I" else other
            for letter, other in zip(word, bases[place], strict=True)
        )
        members[place].append(word)
    constants = [sum(c for c, word in o.terms if set(word) == {"I"}) for o in observables]
    groups = (
        WordGroup(basis, _values(observables, group))
        for basis, group in zip(bases, members, strict=True)
    )
    return np.array(constants, float), tuple(groups)


def sampler(
    circuit: Definition, shots: int
) -> Callable[[Key, ArrayLike, ArrayLike], Float[Array, "batch outputs"]]:
    """Return the circuit as measured with a finite number of shots.

    The result is a compiled pure function `f(key, weights[weights_shape], features[batch,
    num_features]) -> [batch, num_outputs]`, to be used under `jit` and `vmap`. Its expectation is
    the exact value of `circuit.to_jax()`: outcomes are drawn from the exact distribution, with the
    noise and readout errors of `circuit.noise`. Samples and groups of words are measured
    independently; outputs that share a group are correlated as their words are.

    Derivatives are those of the exact expectation value, to which any unbiased rule for
    finite shots averages; the variance that such a rule adds on a device is not simulated.

    Args:
        circuit: the circuit.
        shots: number of measurements of each group of words (see `word_groups`).

    Raises:
        CircuitError: `shots` is not a positive integer, or inputs of the function have the wrong
            shape.
    """
    shots = _checked_shots(circuit, shots)
    constants, measurements = _measurements(circuit)

    @jax.jit
    def estimate(
        key: Key, weights: ArrayLike, features: ArrayLike
    ) -> Float[Array, "batch outputs"]:
        weights, features = circuit.checked_inputs(weights, features)
        batch = features.shape[0]
        if batch == 0:
            return circuit.no_outputs(weights)
        _check_memory(circuit, weights, features)
        total = jnp.broadcast_to(jnp.asarray(constants, weights.dtype), (batch, len(constants)))
        for index, (probabilities, values) in enumerate(measurements):
            exact = probabilities(weights, features)
            keys = jax.random.split(jax.random.fold_in(key, index), batch)
            counts = _draw_counts(keys, jax.lax.stop_gradient(exact), shots)
            frequencies = _with_derivative_of(counts.astype(exact.dtype) / shots, exact)
            total += _matmul(frequencies, values)
        return total

    return estimate


def standard_errors(
    circuit: Definition, shots: int
) -> Callable[[ArrayLike, ArrayLike], Float[Array, "batch outputs"]]:
    """Return the exact standard deviation of each estimate of `sampler(circuit, shots)`.

    The result is `f(weights[weights_shape], features[batch, num_features]) ->
    [batch, num_outputs]`. Groups of words are independent, so that with the value v_g(x) of an
    outcome x of group g it is √(Σ_g Var v_g / shots).

    Raises:
        CircuitError: as for `sampler`.
    """
    shots = _checked_shots(circuit, shots)
    _, measurements = _measurements(circuit)

    @jax.jit
    def deviation(weights: ArrayLike, features: ArrayLike) -> Float[Array, "batch outputs"]:
        weights, features = circuit.checked_inputs(weights, features)
        if not len(features):
            return circuit.no_outputs(weights)
        _check_memory(circuit, weights, features)
        variance = jnp.zeros((len(features), circuit.num_outputs), weights.dtype)
        for probabilities, values in measurements:
            exact = probabilities(weights, features)
            # The difference of the mean squares would lose the digits of small variances.
            from_mean = jnp.asarray(values, exact.dtype) - _matmul(exact, values)[:, :, None]
            variance += jnp.sum(exact[:, None] * from_mean**2, axis=2)
        return jnp.sqrt(variance / shots)

    return deviation


def _check_memory(
    circuit: Definition,
    weights: Float[Array, "..."],
    features: Float[Array, "batch features"],
) -> None:
    """Raise CircuitError where the states and probabilities of the batch exceed the memory."""
    batch = nominal(features.shape[0])
    numbers = 4.0 * 2**circuit.num_qubits * batch
    check_fits(circuit, numbers * weights.dtype.itemsize, f"sampling a batch of {batch}")


def _measurements(
    circuit: Definition,
) -> tuple[np.ndarray, list[tuple[Probabilities, np.ndarray]]]:
    """Constants of the outputs; for each group, outcome probabilities and values."""
    constants, groups = word_groups(circuit.observables)
    return constants, [(_probabilities(circuit, group.basis), group.values) for group in groups]


def _probabilities(circuit: Definition, basis: str) -> Probabilities:
    """Probabilities of what is read in a basis, `f(weights, features) -> [batch, 2^n]`."""
    changes = [change for wire, letter in enumerate(basis) for change in _change(letter, wire)]
    rotated = replace(circuit, gates=(*circuit.gates, *changes))
    noise = circuit.noise or NoiseModel()
    # Readout errors act here, on the bits, which is exact in any basis.
    gate_noise = replace(noise, readout=None)
    if gate_noise.is_trivial:
        state = statevector.build_state(rotated)

        def probabilities(
            weights: Float[Array, "..."], features: Float[Array, "batch features"]
        ) -> Float[Array, "batch states"]:
            amplitudes = state(weights, features)
            return _misread(jnp.real(jnp.conj(amplitudes) * amplitudes), noise)

        return probabilities
    exact = pauli_transfer.build_probabilities(replace(rotated, noise=gate_noise))
    return lambda weights, features: _misread(exact(weights, features), noise)


def _change(letter: str, wire: int) -> list[Gate]:
    """Gates that turn a letter into Z: a Hadamard for X, S†H for Y, where S† = S Z."""
    names = {"X": ["Hadamard"], "Y": ["PauliZ", "S", "Hadamard"]}.get(letter, [])
    return [BasisChange(name, (wire,)) for name in names]


def _misread(
    probabilities: Float[Array, "batch states"], noise: NoiseModel
) -> Float[Array, "batch states"]:
    """Probabilities of the bits read, from those of the bits there are."""
    batch, num_states = probabilities.shape
    for wire in range(num_states.bit_length() - 1):
        error = noise.readout_error(wire)
        if error is not None:
            confusion = jnp.asarray(error.confusion, probabilities.dtype)
            split = probabilities.reshape(batch, 2**wire, 2, -1)
            split = jnp.einsum(
                "rj,bljm->blrm", confusion, split, precision=jax.lax.Precision.HIGHEST
            )
            probabilities = split.reshape(batch, num_states)
    return probabilities


def _draw_counts(
    keys: Shaped[Array, "batch ..."], probabilities: Float[Array, "batch states"], shots: int
) -> Int[Array, "batch states"]:
    """How often each outcome is seen in `shots` independent draws, for each sample."""

    def draw(sample: tuple[Array, Array]) -> Int[Array, " states"]:
        key, weights = sample
        # Rounding may leave a probability negative or their sum off 1.
        cumulative = jnp.cumsum(jnp.maximum(weights, 0))
        uniform = jax.random.uniform(key, (shots,), weights.dtype) * cumulative[-1]
        outcomes = jnp.searchsorted(cumulative, uniform, side="right")
        return jnp.zeros(weights.shape, jnp.int32).at[outcomes].add(1)

    # Blocks of a batch whose size is symbolic would leave a rest that is.
    block = max(1, _BLOCK // shots) if isinstance(keys.shape[0], int) else None
    return jax.lax.map(draw, (keys, probabilities), batch_size=block)


@jax.custom_jvp
def _with_derivative_of(
    value: Float[Array, "..."], source: Float[Array, "..."]
) -> Float[Array, "..."]:
    """`value`, with the derivatives of `source`."""
    return value


@_with_derivative_of.defjvp
def _(primals, tangents):
    return primals[0], tangents[1]


def _agree(basis: str, word: str) -> bool:
    return all("I" in pair or pair[0] == pair[1] for pair in zip(basis, word, strict=True))


def _values(observables: Sequence[Observable], words: Sequence[str]) -> np.ndarray:
    """Eigenvalues of the part of each observable that consists of `words`, by outcome."""
    eigenvalues = {word: reduce(np.kron, map(_eigenvalues, word)) for word in words}
    values = np.zeros((len(observables), 2 ** len(words[0])))
    for output, observable in enumerate(observables):
        for coefficient, word in observable.terms:
            if word in eigenvalues:
                values[output] += coefficient * eigenvalues[word]
    return values


def _eigenvalues(letter: str) -> np.ndarray:
    return np.array([1.0, 1.0 if letter == "I" else -1.0])


def _matmul(
    frequencies: Float[Array, "batch states"], values: np.ndarray
) -> Float[Array, "batch outputs"]:
    table = jnp.asarray(values.T, frequencies.dtype)
    return jnp.matmul(frequencies, table, precision=jax.lax.Precision.HIGHEST)


def _checked_shots(circuit: Definition, shots: int) -> int:
    return check_count(f"Circuit '{circuit.name}'", "shots", shots, 1)
