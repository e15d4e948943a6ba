"""The data of a circuit, from which every engine works: static structure, and checks of inputs."""

from dataclasses import dataclass, replace
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from hqnn_jax.circuits.angles import AngleFunction
from hqnn_jax.circuits.capture.quantum_function import QuantumFunction
from hqnn_jax.circuits.checks import shown
from hqnn_jax.circuits.gates import Gate, Observable
from hqnn_jax.circuits.noise.model import NoiseModel
from hqnn_jax.errors import CircuitError
from hqnn_jax.text import plural

# Not `typing.Self`: the tests' type checker does not take it in a method checked on its own.
AnyDefinition = TypeVar("AnyDefinition", bound="Definition")


@dataclass(frozen=True, eq=False, repr=False)
class Definition:
    """A parameterised quantum circuit: static structure only, hashed by identity.

    Made by `hqnn_jax.circuits.Circuit.from_function`. Wire 0 is the most significant bit, as in
    PennyLane.

    Attributes:
        name: name used in messages and reports.
        num_qubits: number of qubits.
        num_features: number of features of one sample.
        weights_shape: shape of the trainable weights.
        gates: the gates after decomposition, in order.
        observables: one observable per output.
        angles: pure function (features, weights) -> angles of the gates, with what each of them
            depends on.
        function: the quantum function the circuit was captured from.
        noise: what happens to the state after each gate, None for an ideal circuit.
    """

    name: str
    num_qubits: int
    num_features: int
    weights_shape: tuple[int, ...]
    gates: tuple[Gate, ...]
    observables: tuple[Observable, ...]
    angles: AngleFunction
    function: QuantumFunction
    noise: NoiseModel | None = None

    def __repr__(self) -> str:
        """Return one line: name and sizes."""
        return (
            f"<{type(self).__name__} {self.name!r}: {plural(self.num_qubits, 'qubit')}, "
            f"{plural(self.num_features, 'feature')}, weights {self.weights_shape}, "
            f"{plural(self.num_outputs, 'output')}, {'noisy' if self.is_noisy else 'ideal'}>"
        )

    @property
    def num_weights(self) -> int:
        """Number of trainable weights."""
        return int(np.prod(self.weights_shape))

    @property
    def num_outputs(self) -> int:
        """Number of outputs for one sample."""
        return len(self.observables)

    @property
    def is_noisy(self) -> bool:
        """Whether anything happens to the state after the gates, or to what is read out."""
        return self.noise is not None and not self.noise.is_trivial

    def with_noise(self: AnyDefinition, noise: NoiseModel | None) -> AnyDefinition:
        """The same circuit with a noise model; None makes it ideal again.

        Raises:
            CircuitError: it is no noise model, or names a wire that the circuit does not have.
        """
        if not isinstance(noise, NoiseModel | None):
            raise CircuitError(
                f"Circuit '{self.name}': with_noise({shown(noise)}); expected a NoiseModel or None"
            )
        if noise is not None:
            noise.check_wires(self.num_qubits)
        return replace(self, noise=noise)

    def checked_inputs(
        self, weights: ArrayLike, features: ArrayLike
    ) -> tuple[Float[Array, "..."], Float[Array, "batch features"]]:
        """Return weights and a batch of features in their promoted dtype, float32 at least.

        Raises:
            CircuitError: one of them has the wrong shape or is complex.
        """
        weights, features = jnp.asarray(weights), jnp.asarray(features)
        for name, array in (("weights", weights), ("features", features)):
            if jnp.iscomplexobj(array):
                raise CircuitError(
                    f"Circuit '{self.name}': {name} are complex ({array.dtype}); expected real "
                    "numbers, give real and imaginary parts as two inputs"
                )
        if weights.shape != self.weights_shape:
            raise CircuitError(
                f"Circuit '{self.name}': weights have shape {weights.shape}, expected "
                f"{self.weights_shape}"
            )
        if features.ndim != 2 or features.shape[1] != self.num_features:
            raise CircuitError(
                f"Circuit '{self.name}': features have shape {features.shape}, expected "
                f"(batch, {self.num_features})"
            )
        dtype = jnp.result_type(weights, features, jnp.float32)
        return weights.astype(dtype), features.astype(dtype)

    def no_outputs(self, weights: Float[Array, "..."]) -> Float[Array, "0 outputs"]:
        """The outputs for an empty batch, which nothing is computed for."""
        return jnp.zeros((0, self.num_outputs), weights.dtype)

    def init_weights(
        self, key: PRNGKeyArray | UInt32[Array, "2"], dtype: DTypeLike = jnp.float32
    ) -> Float[Array, "..."]:
        """Draw initial weights uniformly from [0, 2π), in radians, with shape `weights_shape`.

        Source: random initial circuits of McClean et al., arXiv:1803.11173, whose rotation angles
        are uniform in [0, 2π).
        """
        return jax.random.uniform(key, self.weights_shape, dtype, 0.0, 2 * jnp.pi)
