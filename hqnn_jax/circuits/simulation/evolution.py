"""The map from a circuit's inputs to its final states, planned once and traced many times.

The first layer acts on |0…0⟩ and is a tensor product of one-qubit states. The other layers are
applied one after the other (see `segments`). Arithmetic is real when every gate is.
"""

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
from hqnn_jax.circuits.simulation.layer import (
    LayerParameters,
    Structure,
    has_fixed_factors,
    wire_groups,
)
from hqnn_jax.circuits.simulation.rotations import Angles, RotationStack, is_per_sample, kronecker
from hqnn_jax.circuits.simulation.schedule import Entangler, Layer, PhaseTerm
from hqnn_jax.circuits.simulation.segments import Segment, divide

# A group's matrix on components has at most this many rows: larger ones cost more arithmetic,
# smaller ones more passes over the states.
_MAX_MATRIX_ROWS = 32


@dataclass(frozen=True, eq=False)
class PlannedLayer:
    """A layer with its form.

    Attributes:
        layer: its gates.
        form: how they are applied.
    """

    layer: Layer
    form: Structure

    @classmethod
    def of(
        cls, layer: Layer, num_qubits: int, components: int, angles: AngleFunction
    ) -> "PlannedLayer":
        """Find the form of a layer.

        Args:
            layer: the layer.
            num_qubits: number of qubits.
            components: 1 if every gate of the circuit is real, else 2.
            angles: the circuit's angle function.
        """
        groups = wire_groups(num_qubits, group_size(components))
        per_sample = tuple(
            wire for wire, gates in layer.rotations.items() if is_per_sample(gates, angles)
        )
        shared = set(layer.rotations) - set(per_sample)
        entangler = layer.entangler
        fixed = has_fixed_factors(entangler, num_qubits)
        terms = () if entangler is None or fixed else entangler.phases
        form = Structure(
            num_qubits=num_qubits,
            levels=2,
            groups=groups,
            shared=tuple(not shared.isdisjoint(range(f, f + size)) for f, size in groups),
            per_sample=per_sample,
            permutes=entangler is not None and not entangler.source.is_identity,
            num_phases=len(terms),
            phases_per_sample=any(_reads_features(term, angles) for term in terms),
            has_factors=fixed,
        )
        return cls(layer, form)

    @property
    def sample_gates(self) -> list[tuple[Gate, ...]]:
        """The gates on each of the wires `form.per_sample`."""
        return [self.layer.rotations[wire] for wire in self.form.per_sample]

    @property
    def shared_gates(self) -> list[tuple[Gate, ...]]:
        """The gates on every wire, none where they differ between samples."""
        return [
            () if wire in self.form.per_sample else self.layer.rotations.get(wire, ())
            for wire in range(self.form.num_qubits)
        ]

    @property
    def phases(self) -> tuple[PhaseTerm, ...]:
        """The phases of the entangler."""
        return () if self.layer.entangler is None else self.layer.entangler.phases


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
    layers: tuple[PlannedLayer, ...]
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
        tails = first.tail_gates if from_encoding else ()
        start = Layer(
            {wire: gates for wire, gates in enumerate(tails) if gates}, layers[0].entangler
        )
        is_empty = not start.rotations and start.entangler is None
        planned = tuple(
            PlannedLayer.of(layer, num_qubits, components, angles)
            for layer in (layers[1:] if is_empty else (start, *layers[1:]))
        )
        return cls(
            function=angles,
            components=components,
            first=first,
            layers=planned,
            segments=_segments(planned, components),
            rotations=RotationStack.of([g for layer in planned for g in layer.shared_gates]),
            sample_rotations=RotationStack.of([g for layer in planned for g in layer.sample_gates]),
        )

    @property
    def entanglers(self) -> list[Entangler | None]:
        """The entangler of each layer."""
        return [planned.layer.entangler for planned in self.layers]

    @property
    def reads_features_later(self) -> bool:
        """Whether anything behind the first layer's rotations reads features."""
        return any(reads_features(planned.layer, self.function) for planned in self.layers)

    def initial_state(self, angles: Angles) -> Components:
        """The state [components, 2^n, columns] after the first layer's rotations.

        One column if no gate reads a feature, else one a sample.
        """
        encoded = self.first.encode(self.function, angles)
        state = self.first.state(self.function, angles, encoded, self.components)
        if self.reads_features_later:
            return jnp.broadcast_to(state, (*state.shape[:2], angles.batch))
        return state

    def parameters(self, angles: Angles) -> list[tuple[LayerParameters, ...]]:
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

    def run(self, state: Components, parameters: list[tuple[LayerParameters, ...]]) -> Components:
        """Apply all layers."""
        for segment, stacked in zip(self.segments, parameters, strict=True):
            state = segment.apply(stacked, state)
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
                state, cotangent, gradient = segment.undo_with_gradient(stacked, state, cotangent)
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
    ) -> LayerParameters:
        chosen = {}
        for size, stacked in matrices.items():
            every = [group for group, (_, width) in enumerate(form.groups) if width == size]
            rows = np.array([every.index(group) for group in form.matrix_groups(size)], int)
            chosen[size] = stacked[positions][:, rows]
        own = None
        if form.per_sample:
            assert rotations is not None
            counts = [len(planned.form.per_sample) for planned in self.layers]
            starts = (np.cumsum(counts) - counts)[positions]
            own = rotations[starts[:, None] + np.arange(len(form.per_sample))]
        phases = None
        if form.num_phases:
            terms = [self.layers[position].phases for position in positions]
            phases = jnp.stack([self._phases(own_terms, angles) for own_terms in terms])
        return LayerParameters(chosen, own, phases)

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
        _reads_features(term, angles) for term in phases
    )


def group_size(components: int) -> int:
    """The most wires whose rotations are applied as one matrix."""
    return (_MAX_MATRIX_ROWS // components).bit_length() - 1


def _reads_features(term: PhaseTerm, angles: AngleFunction) -> bool:
    return term.angle is not None and bool(angles.per_sample[term.angle] >= 0)


def _segments(planned: Sequence[PlannedLayer], components: int) -> tuple[Segment, ...]:
    forms = [layer.form for layer in planned]
    entanglers = [layer.layer.entangler for layer in planned]
    return tuple(
        Segment.of(positions, tuple(forms[p] for p in positions[0]), entanglers, components)
        for positions in divide(forms)
    )
