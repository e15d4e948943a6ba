"""Fourier spectrum of a circuit's outputs as functions of its features.

f(x) = Σ_ω c_ω exp(i ω·x) with a finite set of frequencies ω, which the angles that read features
determine. Source: Schuld, Sweke, Meyer, arXiv:2008.08605.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float

from hqnn_jax.circuits.analysis.sampling import map_chunks, require
from hqnn_jax.circuits.circuit import Circuit
from hqnn_jax.circuits.engines import pauli_transfer
from hqnn_jax.errors import CircuitError

# Largest grid: 3^12, one rotation for each of 12 features.
_MAX_POINTS = 600_000
_MAX_DENOMINATOR = 12
_NUM_CHECKS = 7
# Rows exp(-ix), 1, exp(ix); columns 1, cos x, sin x.
_WAVES_OF_BASIS = np.array([[0, 0.5, 0.5j], [1, 0, 0], [0, 0.5, -0.5j]])


class Frequencies(NamedTuple):
    """The frequencies of each feature: base · (-degree … degree).

    Attributes:
        base: [num_features], in cycles per 2π of the feature.
        degree: [num_features].
    """

    base: Float[np.ndarray, " features"]
    degree: tuple[int, ...]

    @property
    def values(self) -> tuple[Float[np.ndarray, " frequencies"], ...]:
        """The frequencies of each feature, ascending."""
        pairs = zip(self.base, self.degree, strict=True)
        return tuple(base * np.arange(-degree, degree + 1) for base, degree in pairs)


class FourierSpectrum(NamedTuple):
    """Coefficients of f(x) = Σ_ω c_ω exp(i ω·x) for one value of the weights.

    Attributes:
        coefficients: [num_outputs, 2 degree_0 + 1, 2 degree_1 + 1, …], one axis for each feature,
            frequencies ascending, complex; c_{-ω} = conj(c_ω).
        frequencies: what the axes stand for.
    """

    coefficients: Complex[Array, "outputs ..."]
    frequencies: Frequencies

    def __call__(self, features: Float[Array, "batch features"]) -> Float[Array, "batch outputs"]:
        """Sum the series at some features."""

        def sample(features: Float[Array, " features"]) -> Float[Array, " outputs"]:
            total = self.coefficients
            for feature, frequencies in zip(features, self.frequencies.values, strict=True):
                phase = feature * jnp.asarray(frequencies, features.dtype)
                waves = jax.lax.complex(jnp.cos(phase), jnp.sin(phase))
                total = jnp.tensordot(total, waves, (1, 0), precision=jax.lax.Precision.HIGHEST)
            return jnp.real(total)

        return jax.jit(jax.vmap(sample))(features)


def fourier_spectrum(
    circuit: Circuit, weights: ArrayLike, *, degrees: Sequence[int] | None = None
) -> FourierSpectrum:
    """Compute the Fourier coefficients of every output at the given weights.

    Exact up to rounding. Where each feature is the angle of one rotation they are read from the
    coefficients of the `pauli_transfer` engine; else outputs on an equidistant grid of
    Π_k (2 degree_k + 1) points are transformed, which is exact because the spectrum is finite.
    That the series reproduces the circuit is checked at random features. The function is not to
    be called under `jit`; `build_spectrum` gives one that can be.

    Args:
        circuit: any circuit whose angles are linear in the features, noisy or not.
        weights: weights of shape `weights_shape`; their dtype, float32 at least, is that of the
            computation.
        degrees: highest frequency of each feature, for circuits of period 2π in every feature;
            found by `find_frequencies` if not given.

    Raises:
        CircuitError: the frequencies cannot be found, the grid is too large, or the series does
            not reproduce the circuit because the degrees given are too low or its period is not 2π.
    """
    weights = jnp.asarray(weights)
    weights = weights.astype(jnp.result_type(weights, jnp.float32))
    if degrees is None:
        frequencies = find_frequencies(circuit, weights)
    else:
        frequencies = _given(circuit, degrees)
    coefficients = jax.jit(build_spectrum(circuit, frequencies))(weights)
    spectrum = FourierSpectrum(coefficients, frequencies)
    _check_complete(circuit, weights, spectrum)
    return spectrum


def build_spectrum(
    circuit: Circuit, frequencies: Frequencies
) -> Callable[[Float[Array, "..."]], Complex[Array, "outputs ..."]]:
    """Return the pure function from weights to `FourierSpectrum.coefficients`.

    The circuit must have no frequencies but the given ones, or they are aliased.

    Raises:
        CircuitError: the grid has more than 600 000 points.
    """
    sizes = tuple(2 * degree + 1 for degree in frequencies.degree)
    num_points = int(np.prod(sizes, dtype=float))
    require(
        num_points <= _MAX_POINTS,
        f"Circuit '{circuit.name}'",
        f"its spectrum has {num_points} frequencies (degrees {frequencies.degree}); expected at "
        f"most {_MAX_POINTS}: analyse it with fewer features",
    )
    exact = _exact_spectrum(circuit, frequencies)
    return _grid_spectrum(circuit, frequencies, sizes) if exact is None else exact


def _grid_spectrum(
    circuit: Circuit, frequencies: Frequencies, sizes: tuple[int, ...]
) -> Callable[[Float[Array, "..."]], Complex[Array, "outputs ..."]]:
    """The spectrum from outputs on a grid of `sizes` points, one period of every feature."""
    evaluate = circuit.to_jax()
    axes = [
        2 * np.pi / base * np.arange(size) / size
        for base, size in zip(frequencies.base, sizes, strict=True)
    ]
    grid = np.zeros((1, 0))
    if axes:
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))

    def coefficients(weights: Float[Array, "..."]) -> Complex[Array, "outputs ..."]:
        points = jnp.asarray(grid, weights.dtype)
        values = map_chunks(lambda rows: evaluate(weights, rows), points, 2**circuit.num_qubits)
        transform = values.T.reshape(circuit.num_outputs, *sizes) + 0j
        for axis in range(1, 1 + len(sizes)):
            transform = jnp.fft.fft(transform, axis=axis, norm="forward")
        return jnp.fft.fftshift(transform, range(1, 1 + len(sizes)))

    return coefficients


def _exact_spectrum(
    circuit: Circuit, frequencies: Frequencies
) -> Callable[[Float[Array, "..."]], Complex[Array, "outputs ..."]] | None:
    """The spectrum of a circuit that reads each feature once, as an angle; None for others."""
    num_features = circuit.num_features
    if (
        num_features == 0
        or frequencies.degree != (1,) * num_features
        or not _angles_are_features(circuit)
    ):
        return None
    try:
        series = pauli_transfer.build_coefficients(circuit)
    except CircuitError:
        # Too many qubits, or data that enter behind other gates: the grid is as exact.
        return None

    def coefficients(weights: Float[Array, "..."]) -> Complex[Array, "outputs ..."]:
        found = series(weights)
        change = jnp.asarray(_WAVES_OF_BASIS, jnp.result_type(found, jnp.complex64))
        found = found.astype(change.dtype)
        for axis in range(1, 1 + num_features):
            changed = jnp.tensordot(found, change, (axis, 1), precision=jax.lax.Precision.HIGHEST)
            found = jnp.moveaxis(changed, -1, axis)
        return found

    return coefficients


def _angles_are_features(circuit: Circuit) -> bool:
    """Whether the angles that read features are the features themselves, each read once."""
    features = np.arange(1.0, circuit.num_features + 1, dtype=np.float32)
    weights = jnp.ones(circuit.weights_shape, jnp.float32)
    angles = circuit.angles.sample_angles(jnp.asarray(features)[None], weights)
    return np.array_equal(np.sort(angles[0]), features)


def find_frequencies(circuit: Circuit, weights: ArrayLike) -> Frequencies:
    """Find the frequencies that the angles which read features can produce.

    A rotation by an angle with slope m in a feature adds the frequencies -m, 0 and m, so that the
    highest frequency is Σ|m| at most, and all are multiples of a common base. The slopes are
    derivatives of the angles, taken at several random features to see that they are constant.

    Args:
        circuit: a circuit.
        weights: weights at which slopes such as that of w x are taken.

    Raises:
        CircuitError: an angle is not linear in the features, or the slopes of a feature have no
            common base.
    """
    return frequencies_of_slopes(circuit, _slopes(circuit, jnp.asarray(weights)), "feature")


def frequencies_of_slopes(
    circuit: Circuit,
    slopes: Float[np.ndarray, "gates inputs"],
    kind: Literal["feature", "weight"],
) -> Frequencies:
    """Frequencies of each input from the derivatives of every gate's angle in it.

    Args:
        circuit: the circuit, for messages.
        slopes: the derivatives.
        kind: what the inputs are, for messages.

    Raises:
        CircuitError: the slopes of an input have no common base.
    """
    bases, degrees = [], []
    for position, column in enumerate(np.abs(slopes).T):
        present = column[column > 1e-5]
        # An input that no angle reads has the frequency 0 alone.
        name = f"{kind} {position}"
        base = _common_base(circuit, name, present) if present.size else 1.0
        bases.append(base)
        degrees.append(round(float(present.sum()) / base))
    return Frequencies(np.array(bases), tuple(degrees))


def _slopes(circuit: Circuit, weights: Float[Array, "..."]) -> Float[np.ndarray, "gates features"]:
    """Derivatives of every gate's angle in the features."""
    weights = weights.astype(jnp.result_type(weights, jnp.float32))
    shape = (3, circuit.num_features)
    points = jax.random.uniform(jax.random.key(0), shape, weights.dtype, -2.0, 3.0)
    derivative = jax.jit(jax.vmap(jax.jacfwd(circuit.angles), (0, None)))
    found = np.asarray(derivative(points, weights), np.float64)
    for gate in circuit.gates:
        require(
            gate.angle is None or np.allclose(found[:, gate.angle], found[0, gate.angle], 1e-4),
            f"Circuit '{circuit.name}'",
            f"the angle of {gate.name} on wire {gate.wires[0]} is not a linear function of the "
            "features, so that its spectrum is not finite; expected angles such as 2 x + w",
        )
    return found[0, [gate.angle for gate in circuit.gates if gate.angle is not None]]


def _common_base(circuit: Circuit, name: str, slopes: Float[np.ndarray, " slopes"]) -> float:
    """The largest number of which all slopes are multiples."""
    for denominator in range(1, _MAX_DENOMINATOR + 1):
        base = float(slopes.min()) / denominator
        if np.allclose(slopes / base, np.round(slopes / base), rtol=0, atol=1e-3):
            return base
    listed = ", ".join(f"{slope:.6g}" for slope in np.unique(slopes)[:6])
    raise CircuitError(
        f"Circuit '{circuit.name}': {name} enters angles with the factors {listed}, "
        "which have no common base; expected small multiples of one number, such as 1, 2 and 3"
    )


def _given(circuit: Circuit, degrees: Sequence[int]) -> Frequencies:
    require(
        len(degrees) == circuit.num_features and all(degree >= 0 for degree in degrees),
        f"Circuit '{circuit.name}'",
        f"degrees={list(degrees)}; expected one that is not negative for each of the "
        f"{circuit.num_features} features",
    )
    return Frequencies(np.ones(len(degrees)), tuple(degrees))


def _check_complete(
    circuit: Circuit, weights: Float[Array, "..."], spectrum: FourierSpectrum
) -> None:
    shape = (_NUM_CHECKS, circuit.num_features)
    features = jax.random.uniform(jax.random.key(1), shape, weights.dtype, -3.0, 4.0)
    expected = circuit.to_jax()(weights, features)
    error = float(jnp.max(jnp.abs(spectrum(features) - expected), initial=0.0))
    scale = max(sum(abs(c) for c, _ in observable.terms) for observable in circuit.observables)
    require(
        error <= 1e3 * float(jnp.finfo(weights.dtype).eps) * max(scale, 1.0),
        f"Circuit '{circuit.name}'",
        f"the Fourier series with degrees {spectrum.frequencies.degree} differs from the circuit "
        f"by {error:.2g}; expected higher degrees, or whole-number factors of the features",
    )
