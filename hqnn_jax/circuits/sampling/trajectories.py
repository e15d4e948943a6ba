"""Noisy expectation values from random pure states, where a density matrix does not fit.

Each trajectory follows one state vector through the circuit; after a gate, each channel applies
one of its Kraus operators K, drawn with probability |Kψ|², and the state is normalised (quantum
jumps: Dalibard, Castin and Mølmer, Phys. Rev. Lett. 68, 580, 1992). The mean over trajectories is
unbiased.

Channels whose Kraus operators are multiples of unitaries are drawn without looking at the state.
The others (amplitude damping, relaxation) need the reduced density matrix of their wires, and
their chances depend on the inputs. There the state is divided by the norm as by a constant:
outputs are then <ψ|O|ψ> / p for the unnormalised ψ and the probability p of the path held fixed,
whose gradient has the score-function term O ∇ log p beside the pathwise one (as the DiCE
estimator of Foerster et al., arXiv:1802.05098), so that gradients are unbiased as well. The mean
of the other trajectories is subtracted from O in that term, which makes its variance smaller.

One-qubit operators wait, multiplied together, until a gate or a channel needs the state of their
wire: most of them never touch the state on their own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Complex, Float, Int, PRNGKeyArray, Shaped, UInt32

from hqnn_jax.circuits.checks import check_count
from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.engines.chunking import check_fits
from hqnn_jax.circuits.gates import GATE_COEFFICIENTS, Gate, Observable
from hqnn_jax.circuits.noise.channels import Channel, tensor_factors, unitary_mixture
from hqnn_jax.circuits.noise.model import NoiseModel
from hqnn_jax.circuits.simulation.components import to_components
from hqnn_jax.circuits.simulation.expectation import Expectation

# Amplitudes held at once by default, over trajectories and batch.
_AMPLITUDES = 2**20

States = Complex[Array, "states #trajectories #batch"]
Operator = Complex[Array, "dim dim #trajectories #batch"]


class Estimate(NamedTuple):
    """Means over trajectories.

    Attributes:
        means: estimates of the outputs, shape [batch, num_outputs].
        standard_errors: their estimated standard deviations, same shape; no gradient.
    """

    means: Float[Array, "batch outputs"]
    standard_errors: Float[Array, "batch outputs"]


def build(
    circuit: Definition, num_trajectories: int, *, chunk: int | None = None
) -> Callable[[PRNGKeyArray | UInt32[Array, "2"], ArrayLike, ArrayLike], Estimate]:
    """Return the noisy circuit averaged over trajectories.

    The result is a compiled pure function `f(key, weights[weights_shape], features[batch,
    num_features]) -> Estimate`, to be used under `jit`, `vmap` and `grad`. Trajectories of
    different samples are independent. Means are unbiased estimates of the exact noisy outputs,
    readout errors included, and their gradients of the exact gradients; second derivatives are
    not. The arithmetic has the promoted dtype of the inputs, float32 at least.

    Args:
        circuit: the circuit with its noise; without noise all trajectories are the same.
        num_trajectories: number of trajectories of each sample, at least 2.
        chunk: how many of them are simulated at once; a gradient keeps the states between gates
            of one chunk in memory. By default about 2^20 amplitudes over chunk and batch. Which
            trajectories are drawn does not depend on it.

    Raises:
        CircuitError: there are fewer than 2 trajectories, an empty chunk, or one of them is not an
            integer; or inputs of the function have the wrong shape.
    """
    where = f"Circuit '{circuit.name}'"
    num_trajectories = check_count(where, "num_trajectories", num_trajectories, 2)
    if chunk is not None:
        chunk = check_count(where, "chunk", chunk, 1)
    simulation = _Simulation.of(circuit)

    @jax.jit
    def estimate(
        key: PRNGKeyArray | UInt32[Array, "2"], weights: ArrayLike, features: ArrayLike
    ) -> Estimate:
        weights, features = circuit.checked_inputs(weights, features)
        if not len(features):
            return Estimate(circuit.no_outputs(weights), circuit.no_outputs(weights))
        numbers = 4.0 * 2**circuit.num_qubits * len(features)
        check_fits(
            circuit,
            numbers * weights.dtype.itemsize,
            f"one trajectory of a batch of {len(features)}",
        )
        angles = jax.vmap(circuit.angles, (0, None))(features, weights)
        size = chunk or max(1, _AMPLITUDES // (2**circuit.num_qubits * len(features)))
        num_chunks = -(-num_trajectories // size)
        size = -(-num_trajectories // num_chunks)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_chunks * size))
        # Without the checkpoint a gradient would keep the states of all chunks.
        run = jax.checkpoint(lambda keys: simulation(keys, angles))
        outputs, squared_norms = jax.lax.map(run, keys.reshape(num_chunks, size, *keys.shape[1:]))
        outputs = outputs.reshape(-1, *outputs.shape[2:])[:num_trajectories]
        squared_norms = squared_norms.reshape(-1, *squared_norms.shape[2:])[:num_trajectories]
        return _summary(outputs, squared_norms)

    return estimate


def _summary(
    outputs: Float[Array, "trajectories batch outputs"],
    squared_norms: Float[Array, "trajectories batch"],
) -> Estimate:
    count = len(outputs)
    fixed = jax.lax.stop_gradient(outputs)
    # Of value zero and mean gradient zero, since each baseline ignores its own trajectory.
    baseline = (jnp.sum(fixed, axis=0) - fixed) / (count - 1)
    score = squared_norms - jax.lax.stop_gradient(squared_norms)
    means = jnp.mean(outputs - baseline * score[..., None], axis=0)
    return Estimate(means, jnp.std(fixed, axis=0, ddof=1) / np.sqrt(count))


@dataclass(frozen=True, eq=False)
class _Mixture:
    """Unitaries drawn with fixed probabilities.

    Attributes:
        probabilities: shape [terms].
        factors: for each group of wires the unitaries of all terms, [terms, 2^k, 2^k].
    """

    probabilities: np.ndarray
    factors: tuple[tuple[tuple[int, ...], np.ndarray], ...]


@dataclass(frozen=True, eq=False)
class _Jump:
    """Kraus operators [terms, 2^k, 2^k] whose chances depend on the state."""

    wires: tuple[int, ...]
    kraus: np.ndarray


def _event(channel: Channel) -> _Mixture | _Jump:
    mixture = unitary_mixture(channel)
    if mixture is None:
        return _Jump(channel.wires, channel.kraus)
    probabilities, unitaries = mixture
    factors = tensor_factors(unitaries) if channel.num_wires == 2 else None
    if factors is None:
        return _Mixture(probabilities, ((channel.wires, unitaries),))
    pairs = zip(channel.wires, factors, strict=True)
    return _Mixture(probabilities, tuple(((wire,), factor) for wire, factor in pairs))


@dataclass(frozen=True, eq=False)
class _Simulation:
    """One pass of some trajectories through a circuit.

    Attributes:
        num_qubits: number of qubits.
        steps: gates and what follows each of them, in order of application.
        coefficients: [one-qubit gates, 3, 2, 2], see `GATE_COEFFICIENTS`.
        positions: for each one-qubit gate, 1 + its angle, 0 if it has none.
        observables: what is measured, with readout errors.
    """

    num_qubits: int
    steps: tuple[tuple[Gate, tuple[_Mixture | _Jump, ...]], ...]
    coefficients: np.ndarray
    positions: np.ndarray
    observables: tuple[Observable, ...]

    @classmethod
    def of(cls, circuit: Definition) -> "_Simulation":
        noise = circuit.noise or NoiseModel()
        single = [gate for gate in circuit.gates if len(gate.wires) == 1]
        coefficients = [GATE_COEFFICIENTS[gate.name] for gate in single]
        return cls(
            num_qubits=circuit.num_qubits,
            steps=tuple(
                (gate, tuple(_event(channel) for channel in noise.after(gate)))
                for gate in circuit.gates
            ),
            coefficients=np.array(coefficients, complex).reshape(-1, 3, 2, 2),
            positions=np.array([0 if g.angle is None else 1 + g.angle for g in single], int),
            observables=noise.noisy_observables(circuit.observables),
        )

    def __call__(
        self, keys: Shaped[Array, "trajectories ..."], angles: Float[Array, "batch angles"]
    ) -> tuple[Float[Array, "trajectories batch outputs"], Float[Array, "trajectories batch"]]:
        """Outputs of each trajectory, and squared norms of value 1 with gradient ∇ log p."""
        shape = (len(keys), len(angles))
        num_events = sum(len(events) for _, events in self.steps)
        draw = lambda key: jax.random.uniform(key, (num_events, len(angles)), angles.dtype)  # noqa: E731
        uniforms = iter(jnp.moveaxis(jax.vmap(draw)(keys), 1, 0))
        register = _Register(self.num_qubits, jnp.result_type(angles, jnp.complex64))
        matrices = iter(self._matrices(angles))
        for gate, events in self.steps:
            if len(gate.wires) == 1:
                register.wait(gate.wires, next(matrices))
            else:
                register.entangle(gate)
            for event in events:
                _apply(register, event, next(uniforms))
        states = jnp.broadcast_to(register.final(), (2**self.num_qubits, *shape))
        expectation = Expectation.of(self.observables, self.num_qubits)
        components = to_components(states.reshape(len(states), -1), 2)
        outputs = expectation(components).reshape(-1, *shape)
        return jnp.moveaxis(outputs, 0, -1), jnp.sum(jnp.real(jnp.conj(states) * states), axis=0)

    def _matrices(self, angles: Float[Array, "batch angles"]) -> Iterator[Operator]:
        """Matrices of the one-qubit gates, [2, 2, 1, batch] each."""
        half = jnp.pad(angles, ((0, 0), (1, 0))).T[self.positions, None, None] / 2
        dtype = jnp.result_type(angles, jnp.complex64)
        constant, cosine, sine = jnp.asarray(self.coefficients, dtype).swapaxes(0, 1)[..., None]
        matrices = constant + jnp.cos(half) * cosine + jnp.sin(half) * sine
        return iter(matrices[:, :, :, None])


class _Register:
    """State vectors while they are being followed, one for each trajectory and sample.

    Axes of trajectories and of the batch have size 1 as long as nothing depends on them.
    """

    def __init__(self, num_qubits: int, dtype: DTypeLike) -> None:
        self.dtype = dtype
        self._state: States = jnp.zeros((2**num_qubits, 1, 1), dtype).at[0].set(1)
        self._waiting: dict[int, Operator] = {}
        # Wires whose waiting operator is not unitary, so that it matters to other wires.
        self._damped: set[int] = set()

    def wait(self, wires: tuple[int, ...], matrix: Operator, *, unitary: bool = True) -> None:
        """Take an operator; on one wire it waits, on more it is applied at once."""
        if len(wires) > 1:
            self._flush(wires)
            self._state = _apply_matrix(self._state, matrix, wires)
            return
        (wire,) = wires
        before = self._waiting.get(wire)
        self._waiting[wire] = matrix if before is None else _product(matrix, before)
        if not unitary:
            self._damped.add(wire)

    def entangle(self, gate: Gate) -> None:
        """Apply a two-qubit gate."""
        self._flush(gate.wires)
        exposed, restore = _expose(self._state, gate.wires)
        if gate.name == "CNOT":
            exposed = jnp.concatenate([exposed[:1], jnp.flip(exposed[1:], axis=1)])
        elif gate.name == "SWAP":
            exposed = jnp.swapaxes(exposed, 0, 1)
        else:
            exposed = exposed.at[1, 1].multiply(-1)
        self._state = restore(exposed)

    def reduced(self, wires: tuple[int, ...]) -> Operator:
        """Reduced density matrix of some wires."""
        self._flush(self._damped - set(wires))
        if len(wires) > 1:
            self._flush(wires)
        exposed = _merge(_expose(self._state, wires)[0], len(wires))
        axes = tuple(range(2, exposed.ndim - 1))
        density = jnp.sum(exposed[:, None] * jnp.conj(exposed[None]), axis=axes)
        waiting = self._waiting.get(wires[0])
        if waiting is None:
            return density
        return _product(_product(waiting, density), jnp.conj(jnp.swapaxes(waiting, 0, 1)))

    def final(self) -> States:
        """The states after all operators."""
        self._flush(tuple(self._waiting))
        return self._state

    def _flush(self, wires: Sequence[int] | set[int]) -> None:
        for wire in sorted(wires):
            self._damped.discard(wire)
            matrix = self._waiting.pop(wire, None)
            if matrix is not None:
                self._state = _apply_matrix(self._state, matrix, (wire,))


def _apply(
    register: _Register, event: _Mixture | _Jump, uniform: Float[Array, "trajectories batch"]
) -> None:
    """Draw an operator of a channel and apply it."""
    if isinstance(event, _Mixture):
        bounds = jnp.asarray(np.cumsum(event.probabilities)[:-1], uniform.dtype)
        index = jnp.sum(uniform >= bounds[:, None, None], axis=0)
        for wires, unitaries in event.factors:
            register.wait(wires, _pick(unitaries, index, register.dtype))
        return
    # Fixed, as the estimator asks; see the module's docstring.
    density = jax.lax.stop_gradient(register.reduced(event.wires))
    effects = np.einsum("kba,kbc->kca", event.kraus.conj(), event.kraus)
    chances = _traces(effects, density)
    bounds = _traces(np.cumsum(effects, axis=0), density)
    index = jnp.sum(uniform * bounds[-1] >= bounds[:-1], axis=0)
    drawn = index == np.arange(len(effects))[:, None, None]
    chance = jnp.sum(chances, axis=0, where=drawn)
    jump = _pick(event.kraus, index, register.dtype) * jax.lax.rsqrt(chance)
    register.wait(event.wires, jump, unitary=False)


def _traces(operators: np.ndarray, density: Operator) -> Float[Array, "terms #trajectories #batch"]:
    """Tr(E ρ) for Hermitian operators E, given transposed, with shape [terms, dim, dim]."""
    products = jnp.asarray(operators, density.dtype)[..., None, None] * density
    return jnp.sum(jnp.real(products), axis=(1, 2))


def _pick(
    operators: np.ndarray, index: Int[Array, "trajectories batch"], dtype: DTypeLike
) -> Operator:
    """Of some operators [terms, dim, dim], one for each trajectory and sample."""
    table = jnp.asarray(np.moveaxis(operators, 0, -1), dtype)
    if len(operators) == 1:
        return table[..., None]
    return table.at[:, :, index].get(mode="promise_in_bounds")


def _product(left: Operator, right: Operator) -> Operator:
    return jnp.sum(left[:, :, None] * right[None], axis=1)


def _apply_matrix(state: States, matrix: Operator, wires: tuple[int, ...]) -> States:
    exposed, restore = _expose(state, wires)
    merged = _merge(exposed, len(wires))
    spread = matrix.reshape(*matrix.shape[:2], *[1] * (merged.ndim - 3), *matrix.shape[2:])
    result = jnp.sum(spread * merged[None], axis=1)
    return restore(result.reshape(*exposed.shape[:-2], *result.shape[-2:]))


def _merge(exposed: Complex[Array, "..."], num_wires: int) -> Complex[Array, "..."]:
    """The first axes, of size 2 each, as one."""
    return exposed.reshape(2**num_wires, *exposed.shape[num_wires:])


def _expose(
    state: States, wires: tuple[int, ...]
) -> tuple[Complex[Array, "..."], Callable[[Complex[Array, "..."]], States]]:
    """Give some wires axes of their own, in front and in their order.

    Returns:
        The state of shape [2, ..., 2, (other wires), trajectories, batch], and the way back.
    """
    order = sorted(wires)
    gaps = [after - before - 1 for before, after in zip([-1, *order], order, strict=False)]
    sizes = [size for gap in gaps for size in (2**gap, 2)]
    axes = [2 * order.index(wire) + 1 for wire in wires]
    front = range(len(wires))
    split = state.reshape(*sizes, state.shape[0] // int(np.prod(sizes)), *state.shape[1:])

    def restore(exposed: Complex[Array, "..."]) -> States:
        back = jnp.moveaxis(exposed, front, axes)
        return back.reshape(state.shape[0], *back.shape[-2:])

    return jnp.moveaxis(split, axes, front), restore
