"""Classical middles with the circuit's inputs and outputs, against which a circuit is compared."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import itertools
import math
import pkgutil
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key

from hqnn_jax.circuits import Circuit, Inputs
from hqnn_jax.circuits.analysis.fourier import Frequencies, find_frequencies
from hqnn_jax.circuits.simulation.components import product_state
from hqnn_jax.config.names import middle_record
from hqnn_jax.errors import CircuitError, ConfigurationError
from hqnn_jax.own_parts import blamed_on, import_own, is_own

TOLERANCE = 0.10
"""Largest relative difference between the parameter counts of a matched layer and the circuit."""
MAX_COEFFICIENTS = 2**20
"""Most coefficients that a Fourier series may have."""
_NUM_INPUTS = 256
# Factors of powers of two; beyond, outputs of a saturating layer no longer change.
_EXPONENTS = (-10.0, 10.0)
_BISECTIONS = 30


@dataclasses.dataclass(frozen=True)
class _LayerSizes:
    """Linear layers of a control: optional hidden width, and which of them have a bias."""

    hidden: int | None
    hidden_bias: bool
    output_bias: bool

    def num_parameters(self, num_inputs: int, num_outputs: int) -> int:
        bias = num_outputs * self.output_bias
        if self.hidden is None:
            return num_inputs * num_outputs + bias
        return self.hidden * (num_inputs + self.hidden_bias + num_outputs) + bias


def _closest_shape(num_inputs: int, num_outputs: int, num_parameters: int) -> _LayerSizes:
    """Return the shape with the closest count; of equals, the one with fewer layers."""
    largest = num_parameters // (num_inputs + num_outputs) + 2
    flags = (False, True)
    shapes = [_LayerSizes(None, False, bias) for bias in flags]
    shapes += [
        _LayerSizes(h, *b) for h in range(1, largest) for b in itertools.product(flags, flags)
    ]
    return min(
        shapes, key=lambda s: abs(s.num_parameters(num_inputs, num_outputs) - num_parameters)
    )


class Control(nnx.Module):
    """A classical layer in a circuit's place; found by its line in `hqnn_jax.config.names.MIDDLES`.

    Attributes:
        saturates: whether the outputs are the tanh of the preactivations, else they are equal.
    """

    saturates: ClassVar[bool] = False

    @classmethod
    @abc.abstractmethod
    def for_circuit(cls, circuit: Circuit, *, rngs: nnx.Rngs) -> Control:
        """Return the control of a circuit, with initial values from `rngs.params`.

        Raises:
            ConfigurationError: if the circuit has none.
        """

    @property
    @abc.abstractmethod
    def last(self) -> nnx.Variable:
        """The parameters that the initial preactivations are proportional to, shifts apart."""

    @abc.abstractmethod
    def preactivations(
        self, features: Float[Array, "batch num_features"]
    ) -> Float[Array, "batch num_outputs"]:
        """Return the outputs before the tanh, if there is one."""

    def __call__(
        self, features: Float[Array, "batch num_features"]
    ) -> Float[Array, "batch num_outputs"]:
        """Return what is in the place of the circuit's outputs."""
        outputs = self.preactivations(features)
        return jnp.tanh(outputs) if self.saturates else outputs


class LinearLayer(Control, nnx.Linear):  # type: ignore[misc] # its call has an option more
    """A Linear layer."""

    @classmethod
    def for_circuit(cls, circuit: Circuit, *, rngs: nnx.Rngs) -> LinearLayer:
        """Return the layer with the circuit's numbers of inputs and outputs."""
        return cls(circuit.num_features, circuit.num_outputs, rngs=rngs)

    @property
    def last(self) -> nnx.Variable:
        """The kernel."""
        return self.kernel

    def preactivations(
        self, features: Float[Array, "batch num_features"]
    ) -> Float[Array, "batch num_outputs"]:
        """Return kernel and bias applied to the features."""
        return nnx.Linear.__call__(self, features)


class MatchedLayer(Control):
    """Linear (-> tanh -> Linear) -> tanh, with about as many parameters as a circuit.

    The final tanh gives the outputs the range of expectation values, [-1, 1]. A hidden layer is
    used only where it brings the parameter count closer (hqnn2026, arm b).
    """

    saturates = True

    def __init__(self, num_inputs: int, num_outputs: int, shape: _LayerSizes, *, rngs: nnx.Rngs):
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

        Raises:
            ConfigurationError: if no shape is that close, saying the closest count.
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

    def preactivations(
        self, features: Float[Array, "batch num_features"]
    ) -> Float[Array, "batch num_outputs"]:
        """Return what the final tanh is applied to."""
        if self.hidden is not None:
            features = jnp.tanh(self.hidden(features))
        return self.output(features)

    @property
    def last(self) -> nnx.Variable:
        """The last kernel; its bias is zero in the beginning."""
        return self.output.kernel


class FourierSeries(Control):
    """Trainable real Fourier series with a circuit's frequencies, one for each output.

    f_o(x) = Σ θ[o, i_0, i_1, …] Π_k φ_{i_k}(x_k), where feature k has the frequencies b, 2b, …, d b
    and φ(x) = (1, cos(b x)/2, …, cos(d b x)/(d + 1), sin(b x)/2, …, sin(d b x)/(d + 1)). These are
    all functions that the circuit can represent, and more. The many terms of high frequency are
    scaled down, so that f changes little when Adam moves every coefficient by the same amount.

    Source: classical surrogates of Schreiber, Eisert, Meyer, PRL 131, 100803 (2023), whose
    coefficients are fitted to a circuit's outputs; here they are trained in its place.
    """

    def __init__(self, frequencies: Frequencies, num_outputs: int, *, rngs: nnx.Rngs):
        """Draw the coefficients [num_outputs, 2 d_0 + 1, 2 d_1 + 1, …] from N(0, 1)."""
        self.base = tuple(float(base) for base in frequencies.base)
        self.degree = tuple(int(degree) for degree in frequencies.degree)
        sizes = (num_outputs, *(2 * degree + 1 for degree in self.degree))
        self.coefficients = nnx.Param(jax.random.normal(rngs.params(), sizes))

    @classmethod
    def for_circuit(cls, circuit: Circuit, *, rngs: nnx.Rngs) -> FourierSeries:
        """Return the series over the frequencies that `find_frequencies` gives.

        Raises:
            ConfigurationError: if the circuit's frequencies are not known beforehand or the series
                has more than 2^20 coefficients.
        """
        frequencies = _fixed_frequencies(circuit)
        sizes = (circuit.num_outputs, *(2 * degree + 1 for degree in frequencies.degree))
        if math.prod(sizes) > MAX_COEFFICIENTS:
            raise ConfigurationError(
                f"model.middle 'fourier': {' x '.join(map(str, sizes))} = {math.prod(sizes)} "
                f"coefficients (outputs x frequencies of each feature); expected at most "
                f"{MAX_COEFFICIENTS}: use fewer qubits or layers"
            )
        return cls(frequencies, circuit.num_outputs, rngs=rngs)

    @property
    def last(self) -> nnx.Variable:
        """The coefficients."""
        return self.coefficients

    def preactivations(
        self, features: Float[Array, "batch num_features"]
    ) -> Float[Array, "batch num_outputs"]:
        """Sum the series. Products of the basis are stored for each half of the features only."""
        functions = [self._basis(feature, column) for feature, column in enumerate(features.T)]
        coefficients, precision = self.coefficients[...], jax.lax.Precision.HIGHEST
        half = (len(functions) + 1) // 2
        left, right = (_products(part, features) for part in (functions[:half], functions[half:]))
        table = coefficients.reshape(len(coefficients), len(left), len(right))
        partial = jnp.einsum("lb,olr->bor", left, table, precision=precision)
        return jnp.einsum("bor,rb->bo", partial, right, precision=precision)

    def _basis(self, feature: int, x: Float[Array, "batch"]) -> Float[Array, "basis batch"]:
        numbers = np.arange(1, self.degree[feature] + 1, dtype=np.float32)[:, None]
        phases = self.base[feature] * numbers * x
        waves = [jnp.cos(phases) / (1 + numbers), jnp.sin(phases) / (1 + numbers)]
        return jnp.concatenate([jnp.ones_like(x)[None], *waves])


def _products(
    functions: list[Float[Array, "_ batch"]], features: Float[Array, "batch num_features"]
) -> Float[Array, "products batch"]:
    if not functions:
        return jnp.ones((1, features.shape[0]), features.dtype)
    return product_state([function[None] for function in functions])[0]


def _fixed_frequencies(circuit: Circuit) -> Frequencies:
    """The circuit's frequencies, where they are the same for all weights."""
    mixed = any(inputs == Inputs.FEATURES | Inputs.WEIGHTS for inputs in circuit.angles.inputs)
    try:
        first, *others = (
            find_frequencies(circuit, circuit.init_weights(jax.random.key(seed)))
            for seed in range(2 if mixed else 1)
        )
    except CircuitError as error:
        raise ConfigurationError(f"model.middle 'fourier': {error}") from error
    for other in others:
        if first.degree != other.degree or not np.allclose(first.base, other.base, rtol=1e-4):
            raise ConfigurationError(
                f"model.middle 'fourier': the frequencies of circuit '{circuit.name}' depend on "
                "its weights, so that no fixed series has them; use an embedding whose do not"
            )
    return first


def build_control(middle: str, circuit: Circuit, *, rngs: nnx.Rngs) -> Control:
    """Return a classical middle whose initial outputs vary as much as the circuit's.

    The measure is `initial_deviation` at `reference_inputs`. The circuit's is that of the ideal
    circuit with the initial weights that the arm with the circuit draws from the same `rngs`.
    The control's last parameters are multiplied by the factor that makes it equal; where a layer
    ends in tanh and cannot reach it, by the one that comes closest.

    Args:
        middle: name of a control in `hqnn_jax.config.names.MIDDLES`, or import path of one.
        circuit: with its noise, which is left out here.
        rngs: `params` is drawn from, first for the circuit's weights.

    Raises:
        ConfigurationError: if the circuit has no such control.
    """
    weights_key = rngs.params()
    inputs = reference_inputs(circuit.num_features)
    with _told(middle):
        control = _control_class(middle).for_circuit(circuit, rngs=rngs)
        preactivations = control.preactivations(inputs)
    if preactivations.shape != (len(inputs), circuit.num_outputs):
        raise ConfigurationError(
            f"model.middle: {middle!r} returned shape {preactivations.shape} for inputs of shape "
            f"{inputs.shape}; expected one of each of the circuit's {circuit.num_outputs} outputs"
        )
    target = _circuit_deviation(circuit.with_noise(None), weights_key)
    factor = _saturating_factor if control.saturates else _linear_factor
    control.last[...] = control.last[...] * factor(preactivations, target)
    return control


_OWN = "a class derived from hqnn_jax.models.controls.Control"


def _control_class(middle: str) -> type[Control]:
    """Return the class of a control; see `build_control`."""
    made_by = middle_record(middle).made_by
    assert made_by is not None
    if not is_own(middle):
        known: type[Control] = pkgutil.resolve_name(made_by)
        return known
    found = import_own("model.middle", middle, _OWN)
    if not isinstance(found, type) or not issubclass(found, Control):
        raise ConfigurationError(
            f"model.middle: {middle!r} is no class of that kind; expected {_OWN}"
        )
    return found


def _told(middle: str) -> contextlib.AbstractContextManager[None]:
    """Tell what a middle of the user's own raises in one line."""
    return blamed_on("model.middle", middle, _OWN) if is_own(middle) else contextlib.nullcontext()


def reference_inputs(num_features: int) -> Float[Array, "256 num_features"]:
    """Return the inputs at which initial outputs are compared: uniform in [-π/2, π/2], fixed."""
    shape = (_NUM_INPUTS, num_features)
    return jax.random.uniform(jax.random.key(0), shape, jnp.float32, -jnp.pi / 2, jnp.pi / 2)


def initial_deviation(outputs: Float[Array, "inputs num_outputs"]) -> Float[Array, ""]:
    """Return the standard deviation over inputs about each output's mean.

    Over outputs it is the root mean square.
    """
    return jnp.sqrt(jnp.mean(jnp.var(outputs, axis=0)))


def _circuit_deviation(circuit: Circuit, key: Key[Array, ""]) -> Float[Array, ""]:
    evaluate = circuit.to_jax()

    @jax.jit
    def deviation(key: Key[Array, ""]) -> Float[Array, ""]:
        outputs = evaluate(circuit.init_weights(key), reference_inputs(circuit.num_features))
        return initial_deviation(outputs)

    return deviation(key)


@jax.jit
def _linear_factor(
    outputs: Float[Array, "inputs num_outputs"], target: Float[Array, ""]
) -> Float[Array, ""]:
    """The factor on outputs that gives them the deviation `target`."""
    deviation = initial_deviation(outputs)
    return jnp.where(deviation > 0, target / jnp.where(deviation > 0, deviation, 1.0), 1.0)


@jax.jit
def _saturating_factor(
    preactivations: Float[Array, "inputs num_outputs"], target: Float[Array, ""]
) -> Float[Array, ""]:
    """The factor before a tanh that gives its outputs the deviation `target`.

    The deviation grows with the factor. The last bias is zero in the beginning, so that a factor
    on the last kernel is one on its outputs.
    """

    def halve(
        _: Array, bounds: tuple[Float[Array, ""], Float[Array, ""]]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        low, high = bounds
        exponent = (low + high) / 2
        too_low = initial_deviation(jnp.tanh(preactivations * 2.0**exponent)) < target
        return jnp.where(too_low, exponent, low), jnp.where(too_low, high, exponent)

    start = (jnp.asarray(_EXPONENTS[0], jnp.float32), jnp.asarray(_EXPONENTS[1], jnp.float32))
    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, start)
    return 2.0 ** ((low + high) / 2)
