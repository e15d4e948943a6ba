"""The map from a circuit's inputs to its final states, planned once and traced many times.

The first layer acts on |0…0⟩ and is a tensor product of one-qubit states. The other layers are
applied one after the other; runs of layers of one form are looped over by `lax.scan`, so that
compile time does not grow with depth. Arithmetic is real when every gate is.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hqnn_jax.circuits.angles import AngleFunction
from hqnn_jax.circuits.gates import REAL_GATES, Gate
from hqnn_jax.circuits.simulation.components import Components, real_matrices, to_components
from hqnn_jax.circuits.simulation.first_layer import FirstLayer
from hqnn_jax.circuits.simulation.layer import Parameters, Structure, Tables, has_fixed_factors
from hqnn_jax.circuits.simulation.rotations import Angles, RotationStack, is_per_sample, kronecker
from hqnn_jax.circuits.simulation.schedule import Layer, PhaseTerm

# A group's matrix on components has at most this many rows: larger ones cost more arithmetic,
# smaller ones more passes over the states.
_MAX_MATRIX_ROWS = 32
# Fewer layers of one form are unrolled: a loop costs some time in each step.
_MIN_SCANNED_LAYERS = 6
_MAX_PERIOD = 8


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive layers whose forms repeat.

    Attributes:
        layers: positions of the layers, [repeats, period].
        structures: the forms of one period.
        tables: for each of these, the tables of its layers, stacked.
    """

    layers: np.ndarray
    structures: tuple[Structure, ...]
    tables: tuple[Tables, ...]


@dataclass(frozen=True, eq=False)
class Evolution:
    """The plan of a circuit's evolution through some layers.

    Attributes:
        function: the circuit's angle function.
        components: 1 if every gate is real, else 2.
        first: the first layer's rotations.
        layers: the first layer without its rotations, then the others.
        segments: these layers by form.
        rotations: the rotations of these layers that are the same for all samples, layer by layer
            and wire by wire.
        sample_rotations: those that differ between samples, in the same order.
    """

    function: AngleFunction
    components: int
    first: FirstLayer
    layers: tuple[Layer, ...]
    segments: tuple[Segment, ...]
    rotations: RotationStack
    sample_rotations: RotationStack

    @classmethod
    def of(
        cls,
        layers: Sequence[Layer],
        gates: Sequence[Gate],
        num_qubits: int,
        angles: AngleFunction,
        *,
        from_encoding: bool = False,
    ) -> "Evolution":
        """Plan the evolution through the layers that some gates were arranged in.

        Args:
            layers: the layers.
            gates: the gates.
            num_qubits: number of qubits.
            angles: the circuit's angle function.
            from_encoding: whether gates of the first layer behind those that read features are
                left to `run`, which then starts from the encoded qubits.
        """
        components = 1 if all(gate.name in REAL_GATES for gate in gates) else 2
        first = FirstLayer.of(layers[0].rotations, num_qubits, angles)
        later = dict(zip(range(num_qubits), first.tail_gates, strict=True)) if from_encoding else {}
        start = Layer({wire: gates for wire, gates in later.items() if gates}, layers[0].entangler)
        is_empty = not start.rotations and start.entangler is None
        planned = layers[1:] if is_empty else (start, *layers[1:])
        structures = [_structure(layer, num_qubits, components, angles) for layer in planned]
        shared: list[tuple[Gate, ...]] = []
        per_sample: list[tuple[Gate, ...]] = []
        for layer, structure in zip(planned, structures, strict=True):
            per_sample += [layer.rotations[wire] for wire in structure.per_sample]
            for wire in range(num_qubits):
                reads = wire in structure.per_sample
                shared.append(() if reads else layer.rotations.get(wire, ()))
        segments = []
        for positions in _periods(structures):
            period = tuple(structures[position] for position in positions[0])
            tables = [
                [form.tables(planned[position].entangler, components) for position in column]
                for form, column in zip(period, positions.T, strict=True)
            ]
            stacked = tuple(jax.tree.map(lambda *rows: np.stack(rows), *rows) for rows in tables)
            segments.append(Segment(positions, period, stacked))
        return cls(
            function=angles,
            components=components,
            first=first,
            layers=tuple(planned),
            segments=tuple(segments),
            rotations=RotationStack.of(shared),
            sample_rotations=RotationStack.of(per_sample),
        )

    @property
    def reads_features_later(self) -> bool:
        """Whether anything behind the first layer's rotations reads features."""
        return any(reads_features(layer, self.function) for layer in self.layers)

    def initial_state(self, angles: Angles) -> Components:
        """The state [components, 2^n, columns] after the first layer's rotations.

        One column if no gate reads a feature, else one a sample.
        """
        encoded = self.first.encode(self.function, angles)
        state = self.first.state(self.function, angles, encoded, self.components)
        if self.reads_features_later:
            return jnp.broadcast_to(state, (*state.shape[:2], angles.batch))
        return state

    def parameters(self, angles: Angles) -> list[tuple[Parameters, ...]]:
        """What the layers apply: for each segment and form, stacked over its layers."""
        matrices = self._group_matrices(angles)
        rotations = self._sample_rotations(angles)
        return [
            tuple(
                self._parameters(form, column, matrices, rotations, angles)
                for form, column in zip(segment.structures, segment.layers.T, strict=True)
            )
            for segment in self.segments
        ]

    def run(self, state: Components, parameters: list[tuple[Parameters, ...]]) -> Components:
        """Apply all layers."""
        for segment, stacked in zip(self.segments, parameters, strict=True):
            state = _forward(segment, state, stacked)
        return state

    def run_reversibly(self) -> Callable[..., Components]:
        """`run` with a gradient that computes states anew by undoing layers, not from storage.

        Memory is that of a few states whatever the depth (adjoint differentiation, Jones &
        Gacon, arXiv:2009.02823). Reverse-mode derivatives of any order; no forward mode.
        """

        @jax.custom_vjp
        def run(state, parameters):
            return self.run(state, parameters)

        def forward(state, parameters):
            final = self.run(state, parameters)
            return final, (final, parameters)

        def backward(residuals, cotangent):
            state, parameters = residuals
            gradients = []
            for segment, stacked in reversed(list(zip(self.segments, parameters, strict=True))):
                state, cotangent, gradient = _backward(segment, state, cotangent, stacked)
                gradients.append(gradient)
            return cotangent, gradients[::-1]

        run.defvjp(forward, backward)
        return run

    def _parameters(
        self,
        form: Structure,
        positions: np.ndarray,
        matrices: dict[int, Float[Array, "layers groups dim dim"]],
        rotations: Float[Array, "layer_wires components 2 2 batch"] | None,
        angles: Angles,
    ) -> Parameters:
        chosen = []
        for size, stacked in matrices.items():
            flags = [s for s, (_, width) in zip(form.shared, form.groups, strict=True)
                     if width == size]  # fmt: skip
            chosen.append(stacked[positions][:, np.flatnonzero(flags)])
        own = None
        if form.per_sample:
            assert rotations is not None
            starts = np.array(
                [self._first_sample_rotation(int(position)) for position in positions]
            )
            own = rotations[starts[:, None] + np.arange(len(form.per_sample))]
        phases = None
        if form.num_phases:
            terms = [self._phase_terms(int(position)) for position in positions]
            phases = jnp.stack([self._phases(term, angles) for term in terms])
        return Parameters(tuple(chosen), own, phases)

    def _group_matrices(self, angles: Angles) -> dict[int, Float[Array, "layers groups dim dim"]]:
        """The matrix of each layer's groups of wires, by size of group."""
        forms = [form for segment in self.segments for form in segment.structures]
        if not any(any(form.shared) for form in forms):
            groups = forms[0].groups if forms else ()
            return {size: jnp.zeros((len(self.layers), 0, 0, 0)) for _, size in sorted(groups)}
        products = self.rotations.matrices(self.function, angles)[..., 0]
        products = products.reshape(len(self.layers), -1, 2, 2)
        result = {}
        for size in sorted({size for _, size in forms[0].groups}):
            starts = np.array([first for first, own in forms[0].groups if own == size])
            factors = products[:, starts[:, None] + np.arange(size)].reshape(-1, size, 2, 2)
            matrices = real_matrices(kronecker(factors), self.components)
            result[size] = matrices.reshape(len(self.layers), len(starts), *matrices.shape[1:])
        return result

    def _sample_rotations(
        self, angles: Angles
    ) -> Float[Array, "layer_wires components 2 2 batch"] | None:
        if not self.sample_rotations.angles:
            return None
        matrices = self.sample_rotations.matrices(self.function, angles)
        return jnp.moveaxis(to_components(matrices, self.components), 0, 1)

    def _first_sample_rotation(self, position: int) -> int:
        """Where the rotations of a layer begin in `sample_rotations`."""
        return sum(
            is_per_sample(gates, self.function)
            for layer in self.layers[:position]
            for gates in layer.rotations.values()
        )

    def _phase_terms(self, position: int) -> tuple[PhaseTerm, ...]:
        entangler = self.layers[position].entangler
        assert entangler is not None
        return entangler.phases

    def _phases(self, terms: Sequence[PhaseTerm], angles: Angles) -> Float[Array, "terms columns"]:
        coefficients = jnp.array([term.coefficient for term in terms], angles.dtype)[:, None]
        indices = [term.angle for term in terms if term.angle is not None]
        if not indices:
            return coefficients
        read = angles.values.read(self.function, indices)
        ones = jnp.ones((len(terms) - len(indices), read.shape[1]), angles.dtype)
        return coefficients * jnp.concatenate([read, ones])


def reads_features(layer: Layer, angles: AngleFunction) -> bool:
    """Whether a rotation or a phase of a layer depends on features."""
    phases = () if layer.entangler is None else layer.entangler.phases
    return any(is_per_sample(gates, angles) for gates in layer.rotations.values()) or any(
        term.angle is not None and angles.per_sample[term.angle] >= 0 for term in phases
    )


def _structure(layer: Layer, num_qubits: int, components: int, angles: AngleFunction) -> Structure:
    per_group = (_MAX_MATRIX_ROWS // components).bit_length() - 1
    groups = [
        (int(wires[0]), len(wires))
        for wires in np.array_split(np.arange(num_qubits), -(-num_qubits // per_group))
    ]
    per_sample = tuple(w for w, gates in layer.rotations.items() if is_per_sample(gates, angles))
    shared = set(layer.rotations) - set(per_sample)
    entangler = layer.entangler
    fixed = has_fixed_factors(entangler, num_qubits)
    terms = () if entangler is None or fixed else entangler.phases
    return Structure(
        num_qubits=num_qubits,
        levels=2,
        groups=tuple(groups),
        shared=tuple(not shared.isdisjoint(range(f, f + size)) for f, size in groups),
        per_sample=per_sample,
        permutes=entangler is not None and not entangler.source.is_identity,
        num_phases=len(terms),
        phases_per_sample=any(
            term.angle is not None and angles.per_sample[term.angle] >= 0 for term in terms
        ),
        has_factors=fixed,
    )


def _periods(structures: Sequence[Structure]) -> list[np.ndarray]:
    """Divide layers into segments, each given as positions [repeats, period]."""
    segments = []
    start = 0
    while start < len(structures):
        period, repeats = 1, 1
        for candidate in range(1, _MAX_PERIOD + 1):
            count = _repeats(structures[start:], candidate)
            long_enough = count > 1 and count * candidate >= _MIN_SCANNED_LAYERS
            if long_enough and count * candidate > period * repeats:
                period, repeats = candidate, count
        positions = np.arange(start, start + period * repeats)
        segments.append(positions.reshape(repeats, period))
        start += period * repeats
    return segments


def _repeats(structures: Sequence[Structure], period: int) -> int:
    """How often the first `period` structures stand one after the other."""
    count = 1
    while structures[count * period : (count + 1) * period] == structures[:period]:
        count += 1
    return count


def _forward(segment: Segment, state: Components, parameters: tuple[Parameters, ...]) -> Components:
    def period(state, xs):
        for form, tables, own in zip(segment.structures, *xs, strict=True):
            state = form.apply(tables, own, state)
        return state, None

    if len(segment.layers) == 1:
        return period(state, _only((segment.tables, parameters)))[0]
    return jax.lax.scan(period, state, (segment.tables, parameters))[0]


def _backward(
    segment: Segment,
    state: Components,
    cotangent: Components,
    parameters: tuple[Parameters, ...],
) -> tuple[Components, Components, tuple[Parameters, ...]]:
    """The state before the segment, its cotangent, and the gradient in the parameters."""

    def period(carry, xs):
        state, cotangent = carry
        gradients = []
        for form, tables, own in reversed(list(zip(segment.structures, *xs, strict=True))):
            gradient = jax.tree.map(jnp.zeros_like, own)
            # Stage by stage: only one intermediate state is held at a time.
            for stage in reversed(range(form.num_stages)):
                state = form.undo_stage(stage, tables, own, state)
                apply = functools.partial(form.apply_stage, stage, tables)
                _, transpose = jax.vjp(apply, own, state)
                own_gradient, cotangent = transpose(cotangent)
                gradient = jax.tree.map(jnp.add, gradient, own_gradient)
            gradients.append(gradient)
        return (state, cotangent), tuple(gradients[::-1])

    carry = state, cotangent
    if len(segment.layers) == 1:
        carry, gradients = period(carry, _only((segment.tables, parameters)))
        gradients = jax.tree.map(lambda leaf: leaf[None], gradients)
    else:
        carry, gradients = jax.lax.scan(period, carry, (segment.tables, parameters), reverse=True)
    return *carry, gradients


def _only(stacked):
    return jax.tree.map(lambda leaf: leaf[0], stacked)
