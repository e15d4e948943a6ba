"""Exact simulation on a batch of state vectors, layer by layer (see `evolution`)."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.engines.cost import PASSES, Shape, Work
from hqnn_jax.circuits.engines.engine import Engine, Memory
from hqnn_jax.circuits.gates import REAL_GATES
from hqnn_jax.circuits.simulation.components import from_components
from hqnn_jax.circuits.simulation.evolution import Evolution, group_size
from hqnn_jax.circuits.simulation.expectation import Expectation
from hqnn_jax.circuits.simulation.rotations import Angles
from hqnn_jax.circuits.simulation.schedule import Entangler, Layer, schedule

# From here on the states that backpropagation stores cost more time than computing them anew.
_MIN_ADJOINT_QUBITS = 12


def build(
    circuit: Definition, adjoint: bool | None = None
) -> Callable[..., Float[Array, "batch outputs"]]:
    """Return `evaluate(weights, features[batch, num_features]) -> [batch, num_outputs]`.

    The inputs have one float dtype, which is that of the arithmetic and of the output.

    Args:
        circuit: an ideal circuit.
        adjoint: whether gradients compute states anew by undoing layers, in the memory of a few
            states, and without forward-mode derivatives; by default from 12 qubits on.
    """
    layers, expectation = measured_layers(circuit)
    evolution = Evolution.of(layers, circuit.gates, circuit.num_qubits, circuit.angles)
    if adjoint is None:
        adjoint = uses_adjoint(circuit)
    run = evolution.run_reversibly() if adjoint else evolution.run

    def evaluate(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "batch outputs"]:
        angles = Angles.of(circuit.angles, weights, features)
        state = run(evolution.initial_state(angles), evolution.parameters(angles))
        return jnp.broadcast_to(expectation(state).T, (features.shape[0], circuit.num_outputs))

    return evaluate


def build_state(circuit: Definition) -> Callable[..., Inexact[Array, "batch states"]]:
    """Return `state(weights, features[batch, num_features]) -> [batch, 2^num_qubits]`.

    The final states are defined up to a global phase. They are real where every gate of the
    circuit is real, else complex, in the precision of the inputs.
    """
    layers = schedule(circuit.gates, circuit.num_qubits)
    evolution = Evolution.of(layers, circuit.gates, circuit.num_qubits, circuit.angles)

    def state(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Inexact[Array, "batch states"]:
        angles = Angles.of(circuit.angles, weights, features)
        final = evolution.run(evolution.initial_state(angles), evolution.parameters(angles))
        states = from_components(final)
        return jnp.broadcast_to(states.T, (features.shape[0], states.shape[0]))

    return state


def measured_layers(circuit: Definition) -> tuple[tuple[Layer, ...], Expectation]:
    """The layers that the measurements need, and the measurements after them.

    Phases do not change probabilities, and permuting the signs of a diagonal observable instead
    of the state costs nothing: the last entangler is then left out.
    """
    layers = schedule(circuit.gates, circuit.num_qubits)
    expectation = Expectation.of(circuit.observables, circuit.num_qubits)
    last: Entangler | None = layers[-1].entangler
    if last is not None and expectation.is_diagonal:
        expectation = expectation.before_permutation(last.source)
        layers = (*layers[:-1], Layer(layers[-1].rotations, None))
    return layers, expectation


def uses_adjoint(circuit: Definition) -> bool:
    """Whether gradients are computed by undoing layers unless asked otherwise."""
    return circuit.num_qubits >= _MIN_ADJOINT_QUBITS


def stored_states(circuit: Definition) -> float:
    """States of one sample that are held at the same time while its gradient is computed."""
    flips = _flipped_states(circuit)
    if uses_adjoint(circuit):
        return 6.0 + 3.5 * flips
    layers = schedule(circuit.gates, circuit.num_qubits)
    # One before each group's matrix and each permutation; groups have at least three wires.
    return 4.0 + len(layers) * (1 + circuit.num_qubits / 3) + 3.5 * flips


def held_states(circuit: Definition) -> float:
    """States of one sample that are held at the same time while its outputs are computed."""
    real = all(gate.name in REAL_GATES for gate in circuit.gates)
    return (1.0 if real else 2.0) + _flipped_states(circuit)


def _flipped_states(circuit: Definition) -> int:
    """Copies of the state with bits flipped, all of which the compiler makes at once."""
    return len(Expectation.of(circuit.observables, circuit.num_qubits).terms.keys() - {0})


def work(shape: Shape, batch: int) -> Work:
    """Every layer multiplies each group of wires and moves all numbers a few times."""
    groups = -(-shape.num_qubits // group_size(shape.components))
    rows = shape.components * 2 ** (shape.num_qubits / groups)
    state = shape.components * 2**shape.num_qubits * batch
    return Work(
        operations=PASSES * (shape.layers * (2 * groups + 1) + 14),
        multiply_adds=PASSES * state * (shape.layers * groups * rows + shape.outputs),
        numbers=PASSES * state * (2 * shape.layers * groups + 4),
    )


ENGINE = Engine(
    build=build,
    memory=lambda circuit: Memory(held_states(circuit), stored_states(circuit)),
    work=work,
)
