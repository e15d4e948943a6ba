"""Exact evaluation in the Pauli basis, with or without noise.

Observables are pulled back through everything that is the same for all samples, once a call, and
expanded on the encoding's basis functions: with one rotation a feature, products of
{1, cos x, sin x}. The batch is then a product with a small real matrix, noise or no noise. Where
features enter again later, Pauli vectors of the samples are carried up to the last such layer.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.engines.cost import PASSES, Shape, Work
from hqnn_jax.circuits.engines.engine import Engine
from hqnn_jax.circuits.gates import Gate
from hqnn_jax.circuits.simulation.components import Components, product_state
from hqnn_jax.circuits.simulation.encoding import Encoding
from hqnn_jax.circuits.simulation.rotations import Angles
from hqnn_jax.circuits.simulation.transfer import Transfer, reads_features_once
from hqnn_jax.errors import CircuitError

_PRECISION = jax.lax.Precision.HIGHEST
_LETTERS = {letter: number for number, letter in enumerate("IXYZ")}
# 4^12 coefficients are 64 MiB for each output, in single precision.
_MAX_QUBITS = 12
# With more basis functions, products of those of two halves of the qubits are never stored.
_MAX_WHOLE_BASIS = 256


def why_not(circuit: Definition) -> str | None:
    """Why the engine cannot evaluate the circuit and what to use instead, None if it can."""
    if circuit.num_qubits > _MAX_QUBITS:
        return (
            f"Pauli vectors have 4^{circuit.num_qubits} coefficients, and {_MAX_QUBITS} qubits are "
            "the most; use 'statevector', or trajectories with noise"
        )
    return None


def build(circuit: Definition) -> Callable[..., Float[Array, "batch outputs"]]:
    """Return `evaluate(weights, features[batch, num_features]) -> [batch, num_outputs]`.

    With `circuit.noise`, values are those of the density matrix, readout error included.

    Raises:
        CircuitError: the circuit has too many qubits.
    """
    plan = _PauliPlan.of(circuit)

    def evaluate(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "batch outputs"]:
        angles = Angles.of(circuit.angles, weights, features)
        if plan.data_enters_once:
            functions, coefficients = plan.expansion(angles)
            outputs = _contract(functions, coefficients)
        else:
            outputs = plan.outputs(angles)
        return jnp.broadcast_to(outputs, (features.shape[0], circuit.num_outputs))

    return evaluate


def build_probabilities(
    circuit: Definition,
) -> Callable[..., Float[Array, "batch outcomes"]]:
    """Return `probabilities(weights, features[batch, num_features]) -> [batch, 2^num_qubits]`.

    Of the outcomes of measuring all qubits in the computational basis, with the circuit's noise
    but without its readout error.

    Raises:
        CircuitError: the circuit has too many qubits.
    """
    plan = _PauliPlan.of(circuit)
    num_qubits = circuit.num_qubits
    diagonal = np.arange(4**num_qubits).reshape((4,) * num_qubits)
    diagonal = diagonal[np.ix_(*[[0, 3]] * num_qubits)].ravel()

    def probabilities(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "batch outcomes"]:
        angles = Angles.of(circuit.angles, weights, features)
        vectors = plan.vectors(angles, range(len(plan.transfer.steps)))[0]
        words = vectors[diagonal]
        for wire in range(num_qubits):
            split = words.reshape(2**wire, 2, -1, words.shape[-1])
            both = [split[:, 0] + split[:, 1], split[:, 0] - split[:, 1]]
            words = jnp.stack(both, axis=1).reshape(words.shape) / 2
        return jnp.broadcast_to(words.T, (features.shape[0], len(words)))

    return probabilities


def build_coefficients(circuit: Definition) -> Callable[..., Float[Array, "outputs ..."]]:
    """Return `coefficients(weights) -> [num_outputs, 3, …, 3]`, one axis a feature.

    The outputs are Σ C[o, i_0, i_1, …] Π_k b_{i_k}(x_k) with b = (1, cos x, sin x): the circuit's
    Fourier spectrum in real form (Schuld, Sweke & Meyer, arXiv:2008.08605).

    Raises:
        CircuitError: a feature enters other than as the angle of one rotation at the front.
    """
    plan = _PauliPlan.of(circuit)
    order = _feature_order(circuit, plan)

    def coefficients(weights: Float[Array, "..."]) -> Float[Array, "outputs ..."]:
        features = jnp.zeros((1, circuit.num_features), weights.dtype)
        angles = Angles.of(circuit.angles, weights, features)
        _, found = plan.expansion(angles)
        sizes = [qubit.size for qubit in plan.encoding.qubits if qubit.size > 1]
        return jnp.transpose(found.reshape(circuit.num_outputs, *sizes), (0, *order))

    return coefficients


@dataclass(frozen=True, eq=False)
class _PauliPlan:
    """A circuit's plan in the Pauli basis.

    Attributes:
        transfer: the steps after the encoding.
        encoding: the first gates and channels on each qubit.
        words: indices of the measured Pauli words.
        weights: [words, outputs], their coefficients.
    """

    transfer: Transfer
    encoding: Encoding
    words: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, circuit: Definition) -> "_PauliPlan":
        reason = why_not(circuit)
        if reason is not None:
            raise CircuitError(
                f"Circuit '{circuit.name}': engine 'pauli_transfer' does not apply: {reason}"
            )
        observables = circuit.observables
        if circuit.noise is not None:
            observables = circuit.noise.noisy_observables(observables)
        words: dict[str, int] = {}
        for observable in observables:
            for _, word in observable.terms:
                words.setdefault(word, len(words))
        weights = np.zeros((len(words), len(observables)))
        for output, observable in enumerate(observables):
            for coefficient, word in observable.terms:
                weights[words[word], output] += coefficient
        transfer = Transfer.of(circuit)
        return cls(
            transfer=transfer,
            encoding=Encoding.of(transfer.first, circuit.angles),
            words=np.array([_index(word) for word in words], np.int32),
            weights=weights,
        )

    @property
    def data_enters_once(self) -> bool:
        """Whether no step after the encoding reads features."""
        return self.transfer.num_sample_steps == 0

    def pulled_back(self, angles: Angles, steps: range) -> Float[Array, "words outputs"]:
        """The observables as Pauli vectors before some steps, which end the circuit."""
        size = 4**self.transfer.circuit.num_qubits
        initial = np.zeros((size, self.weights.shape[1]))
        initial[self.words] = self.weights
        observables = jnp.asarray(initial, angles.dtype)[None]
        return self.transfer.pull_back(observables, self.transfer.parameters(angles), steps)[0]

    def expansion(
        self, angles: Angles
    ) -> tuple[list[Float[Array, "_basis _"]], Float[Array, "outputs products"]]:
        """Each qubit's basis functions, and the coefficients of their products."""
        functions, embeddings = self.encoding(angles)
        remaining = self.pulled_back(angles, range(len(self.transfer.steps)))
        for start in range(0, len(embeddings), 2):
            matrix = embeddings[start]
            for embedding in embeddings[start + 1 : start + 2]:
                matrix = jnp.kron(matrix, embedding)
            # The contracted wires go last: the outputs come first in the end, then all wires.
            remaining = remaining.reshape(len(matrix), -1)
            remaining = jnp.einsum("ji,jr->ri", matrix, remaining, precision=_PRECISION)
        return functions, remaining.reshape(self.weights.shape[1], -1)

    def vectors(self, angles: Angles, steps: range) -> Components:
        """The samples' Pauli vectors [1, 4^n, columns] after the encoding and some steps."""
        functions, embeddings = self.encoding(angles)
        factors = [
            jnp.matmul(embedding, function, precision=_PRECISION)[None]
            for function, embedding in zip(functions, embeddings, strict=True)
        ]
        state = product_state(factors)
        state = jnp.broadcast_to(state, (*state.shape[:2], angles.batch))
        return self.transfer.apply(state, self.transfer.parameters(angles), steps)

    def outputs(self, angles: Angles) -> Float[Array, "batch outputs"]:
        """Vectors carried to the last step that reads features meet the observables there."""
        last = self.transfer.num_sample_steps
        vectors = self.vectors(angles, range(last))[0]
        observables = self.pulled_back(angles, range(last, len(self.transfer.steps)))
        return jnp.einsum("wb,wo->bo", vectors, observables, precision=_PRECISION)


def _contract(
    functions: list[Float[Array, "_basis _"]], coefficients: Float[Array, "outputs products"]
) -> Float[Array, "_ outputs"]:
    """Σ coefficients · products of basis functions, for each sample."""
    sizes = [len(function) for function in functions]
    if np.prod(sizes) <= _MAX_WHOLE_BASIS:
        products = product_state([function[None] for function in functions])[0]
        return jnp.matmul(coefficients, products, precision=_PRECISION).T
    half = int(np.argmin([abs(np.log(np.prod(sizes[:k]) / np.prod(sizes[k:])))
                          for k in range(1, len(sizes))])) + 1  # fmt: skip
    left = product_state([function[None] for function in functions[:half]])[0]
    right = product_state([function[None] for function in functions[half:]])[0]
    outputs = len(coefficients)
    matrix = coefficients.reshape(outputs, len(left), len(right))
    matrix = jnp.moveaxis(matrix, 1, 0).reshape(len(left), -1)
    # Samples first: the product below is then one matrix product over contiguous rows.
    partial = jnp.matmul(left.T, matrix, precision=_PRECISION)
    return jnp.sum(partial.reshape(-1, outputs, len(right)) * right.T[:, None], axis=2)


def _index(word: str) -> int:
    index = 0
    for letter in word:
        index = 4 * index + _LETTERS[letter]
    return index


def _feature_order(circuit: Definition, plan: _PauliPlan) -> list[int]:
    """For each feature, the axis of its basis functions among those of the encoded qubits."""
    positions = circuit.angles.feature_positions()
    axes: dict[int, int] = {}
    once = plan.data_enters_once
    for qubit in plan.encoding.qubits:
        angles = [item.angle for item in qubit.reading if isinstance(item, Gate)]
        features = [positions[angle] for angle in angles if angle is not None]
        for feature in features:
            once = once and len(qubit.reading) == 1 and feature is not None and feature not in axes
            axes[-1 if feature is None else feature] = len(axes) + 1
    if not once or len(axes) != circuit.num_features:
        raise CircuitError(
            f"Circuit '{circuit.name}': coefficients need every feature to be the angle of exactly "
            "one rotation, on a qubit of its own before any two-qubit gate"
        )
    return [axes[feature] for feature in range(circuit.num_features)]


def work(shape: Shape, batch: int) -> Work:
    """Observables cross all layers as Pauli vectors; the batch meets the basis functions."""
    groups = -(-shape.num_qubits // 2)
    vectors = shape.outputs * 4.0**shape.num_qubits
    basis = 3.0**shape.encoded
    # Beyond a certain size, products of the basis functions of all qubits are not stored.
    stored = (
        basis if basis <= _MAX_WHOLE_BASIS else 2 * np.sqrt(basis) + shape.outputs * np.sqrt(basis)
    )
    return Work(
        operations=PASSES * ((shape.layers + 1) * (2 * groups + 1) + 15),
        multiply_adds=PASSES
        * (vectors * 16 * groups * (shape.layers + 1) + basis * shape.outputs * batch),
        numbers=PASSES * (vectors * (2 * groups + 2) * (shape.layers + 1) + 4 * batch * stored),
    )


def _may_be_fastest(circuit: Definition) -> bool:
    """Whether observables can be pulled back to where the data enters, or nothing else applies.

    Vectors of the samples in the Pauli basis are larger than state vectors, always.
    """
    return circuit.is_noisy or reads_features_once(circuit)


ENGINE = Engine(
    build=build,
    why_not=why_not,
    follows_noise=True,
    work=work,
    may_be_fastest=_may_be_fastest,
)
