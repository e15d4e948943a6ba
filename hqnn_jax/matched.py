"""The classical control: a layer with the circuit's inputs, outputs and parameter count."""

from __future__ import annotations

import dataclasses
import itertools

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from hqnn_jax.circuits import Circuit
from hqnn_jax.errors import ConfigurationError

TOLERANCE = 0.10
"""Largest relative difference between the parameter counts of control and circuit."""


@dataclasses.dataclass(frozen=True)
class _Shape:
    """Linear layers of a control: optional hidden width, and which of them have a bias."""

    hidden: int | None
    hidden_bias: bool
    output_bias: bool

    def num_parameters(self, num_inputs: int, num_outputs: int) -> int:
        bias = num_outputs * self.output_bias
        if self.hidden is None:
            return num_inputs * num_outputs + bias
        return self.hidden * (num_inputs + self.hidden_bias + num_outputs) + bias


def _closest_shape(num_inputs: int, num_outputs: int, num_parameters: int) -> _Shape:
    """Return the shape with the closest count; of equals, the one with fewer layers."""
    largest = num_parameters // (num_inputs + num_outputs) + 2
    flags = (False, True)
    shapes = [_Shape(None, False, bias) for bias in flags]
    shapes += [_Shape(h, *b) for h in range(1, largest) for b in itertools.product(flags, flags)]
    return min(
        shapes, key=lambda s: abs(s.num_parameters(num_inputs, num_outputs) - num_parameters)
    )


class MatchedLayer(nnx.Module):
    """Linear (-> tanh -> Linear) -> tanh, with about as many parameters as a circuit.

    The final tanh gives the outputs the range of expectation values, [-1, 1]. A hidden layer is
    used only where it brings the parameter count closer (hqnn2026, arm b).
    """

    def __init__(self, num_inputs: int, num_outputs: int, shape: _Shape, *, rngs: nnx.Rngs):
        """Build the layers of a given shape; `for_circuit` chooses the shape."""
        width = num_inputs if shape.hidden is None else shape.hidden
        self.hidden = (
            None
            if shape.hidden is None
            else nnx.Linear(num_inputs, width, use_bias=shape.hidden_bias, rngs=rngs)
        )
        self.output = nnx.Linear(width, num_outputs, use_bias=shape.output_bias, rngs=rngs)

    @classmethod
    def for_circuit(cls, circuit: Circuit, *, rngs: nnx.Rngs) -> MatchedLayer:
        """Return the control of a circuit, its parameter count within ±10 % of the circuit's.

        **Raises:** `ConfigurationError` if no shape is that close, saying the closest count.
        """
        sizes = (circuit.num_features, circuit.num_outputs)
        shape = _closest_shape(*sizes, circuit.num_weights)
        count = shape.num_parameters(*sizes)
        if abs(count - circuit.num_weights) > TOLERANCE * circuit.num_weights:
            raise ConfigurationError(
                f"model.middle 'matched': no classical layer from {sizes[0]} to {sizes[1]} values "
                f"has within 10 % of the circuit's {circuit.num_weights} parameters; the closest "
                f"has {count}: change model.circuit.num_layers"
            )
        return cls(*sizes, shape, rngs=rngs)

    def __call__(
        self, features: Float[Array, "batch num_features"]
    ) -> Float[Array, "batch num_outputs"]:
        """Return values in [-1, 1]."""
        if self.hidden is not None:
            features = jnp.tanh(self.hidden(features))
        return jnp.tanh(self.output(features))
