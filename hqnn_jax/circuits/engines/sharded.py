"""Exact simulation with every state spread over several devices (see `distributed`).

The plan is that of the statevector engine on the wires of one device, with tables that depend on
the device, and exchanges between its steps.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh, PartitionSpec
from jaxtyping import Array, Float

from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.engines.chunking import check_fits
from hqnn_jax.circuits.engines.statevector import held_states, measured_layers
from hqnn_jax.circuits.permutation import permute_states
from hqnn_jax.circuits.simulation.batch import nominal
from hqnn_jax.circuits.simulation.bits import BitMap, image_tables, labels, signs, split_signs
from hqnn_jax.circuits.simulation.components import Components, multiply
from hqnn_jax.circuits.simulation.distributed import LocalEntangler, distribute
from hqnn_jax.circuits.simulation.evolution import Evolution
from hqnn_jax.circuits.simulation.expectation import Expectation, Term
from hqnn_jax.circuits.simulation.first_layer import FirstLayer
from hqnn_jax.circuits.simulation.layer import LayerParameters, Structure, Tables
from hqnn_jax.circuits.simulation.rotations import Angles
from hqnn_jax.circuits.simulation.schedule import Entangler
from hqnn_jax.circuits.simulation.segments import Segment
from hqnn_jax.errors import CircuitError

_PRECISION = jax.lax.Precision.HIGHEST


def build(
    circuit: Definition,
    mesh: Mesh | AbstractMesh,
    axis: str | None = None,
    batch_axis: str | None = None,
) -> Callable[..., Float[Array, "batch outputs"]]:
    """Return `evaluate(weights, features[batch, num_features]) -> [batch, num_outputs]`.

    Each of the D devices along the axis holds 2^num_qubits / D amplitudes of every sample; no
    device ever holds a whole state. A layer takes one or two all-to-all messages of the size of
    the local state, rarely three; Pauli words with X or Y may take up to D - 1 more in all.
    Gradients undo the layers one by one, so that memory does not grow with depth.

    Args:
        circuit: the circuit, without noise.
        mesh: the devices.
        axis: name of the mesh axis that the states are spread over; needed if there are several.
        batch_axis: name of the mesh axis that the samples are divided over, None for none. It
            must divide the batch; features and outputs are sharded accordingly.

    Raises:
        CircuitError: an axis is missing or used twice, the number of devices for a state is not
            a power of two, or each would hold fewer amplitudes than there are devices.
    """
    axis, num_devices = _state_axis(circuit, mesh, axis)
    batch_parts = 1 if batch_axis is None else _axis_size(circuit, mesh, batch_axis)
    if batch_axis == axis:
        raise CircuitError(
            f"Circuit '{circuit.name}': states and batch on the same mesh axis '{axis}'; expected "
            "two different axes"
        )
    samples = PartitionSpec(batch_axis)
    sharded = jax.shard_map(
        _build_on_device(circuit, axis, num_devices),
        mesh=mesh,
        in_specs=(PartitionSpec(), samples),
        out_specs=samples,
        # The check would need to know how values vary under the project's own primitives.
        check_vma=False,
    )

    def evaluate(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "batch outputs"]:
        batch = features.shape[0]
        if batch % batch_parts:
            raise CircuitError(
                f"Circuit '{circuit.name}': a batch of {batch} samples; expected a "
                f"multiple of {batch_parts}, the size of mesh axis '{batch_axis}'"
            )
        if isinstance(mesh, Mesh):
            # Devices that are parts of one processor share its memory.
            shared = mesh.devices.flat[0].platform == "cpu"
            numbers = 2.0 * 2**circuit.num_qubits * nominal(batch) * held_states(circuit)
            check_fits(
                circuit,
                numbers * weights.dtype.itemsize / (1 if shared else num_devices * batch_parts),
                f"a batch of {nominal(batch)}",
            )
        return sharded(weights, features)

    return evaluate


def _build_on_device(
    circuit: Definition, axis: str, num_devices: int
) -> Callable[..., Float[Array, "batch outputs"]]:
    """What every device computes; the outputs are the same on all."""
    num_global = num_devices.bit_length() - 1
    num_local = circuit.num_qubits - num_global
    layers, expectation = measured_layers(circuit)
    distribution = distribute(layers, circuit.num_qubits, num_global)
    expectation = _read_from(expectation, distribution.source)
    beyond = FirstLayer.of(distribution.rotations, num_global, circuit.angles)
    plan = Evolution.of(distribution.layers, circuit.gates, num_local, circuit.angles)
    evolution = replace(plan, segments=tuple(_sharded_segments(plan, axis, num_devices)))
    run = evolution.run_reversibly()

    def evaluate_on_device(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "batch outputs"]:
        angles = Angles.of(circuit.angles, weights, features)
        state = evolution.initial_state(angles)
        if num_global:
            encoded = beyond.encode(circuit.angles, angles)
            outer = beyond.state(circuit.angles, angles, encoded, evolution.components)
            own = jax.lax.dynamic_slice_in_dim(outer, jax.lax.axis_index(axis), 1, axis=1)
            state = multiply(own, state)
        state = run(state, evolution.parameters(angles))
        outputs = _measure(expectation, state, axis, num_local)
        return jnp.broadcast_to(outputs.T, (features.shape[0], circuit.num_outputs))

    return evaluate_on_device


@dataclass(frozen=True)
class ShardedStructure(Structure):
    """The form of a step on each device's amplitudes, and perhaps an exchange at its end.

    Tables have a leading axis of devices.

    Attributes:
        axis: name of the mesh axis.
        num_devices: number of devices.
        exchanges: whether the devices' places are then swapped with the first local ones.
    """

    axis: str
    num_devices: int
    exchanges: bool

    @classmethod
    def of(
        cls, form: Structure, entangler: Entangler | None, axis: str, num_devices: int
    ) -> "ShardedStructure":
        """The form of a step, given the form of one device's part of it."""
        fields = dict(vars(form))
        exchanges = False
        if entangler is not None:
            assert isinstance(entangler, LocalEntangler)
            exchanges = entangler.exchanges
            fields["permutes"] |= any(entangler.offsets)
            # Stored factors would have the size of the whole state.
            fields["has_factors"] = False
            fields["num_phases"] = len(entangler.phases)
        return cls(**fields, axis=axis, num_devices=num_devices, exchanges=exchanges)

    def tables(self, entangler: Entangler | None, components: int) -> Tables:
        """The tables of every device for a step of this form."""
        tables = super().tables(entangler, components)
        if entangler is None:
            return tables
        assert isinstance(entangler, LocalEntangler)
        source, inverse, high, low = tables.source, tables.inverse, tables.high, tables.low
        if source is not None:
            assert isinstance(source, tuple)
            assert isinstance(inverse, tuple)
            source = np.asarray(source[0]), np.asarray(source[1])
            inverse = np.asarray(inverse[0]), np.asarray(inverse[1])
            undo = entangler.source.inverse()
            # source(l) ⊕ offset = source(l ⊕ shift), also where the table moves wires besides.
            shifts = np.array(
                [undo.image(entangler.offset(device)) for device in range(self.num_devices)],
                np.int32,
            )
            size = len(source[1])
            images = source[0][shifts // size] ^ source[1][shifts % size]
            source = self._shifted(source, images)
            inverse = self._shifted(inverse, shifts)
        if high is not None:
            assert low is not None
            num_global = self.num_devices.bit_length() - 1
            own = signs(entangler.device_masks, num_global)
            high, low = own.T[:, :, None] * high, np.stack([low] * self.num_devices)
        return Tables(source, inverse, None, high, low)

    @property
    def num_stages(self) -> int:
        """Number of parts that are applied, and undone, one by one; the exchange is the last."""
        return super().num_stages + self.exchanges

    def apply_stage(
        self, stage: int, tables: Tables, parameters: LayerParameters, state: Components
    ) -> Components:
        """Apply one part of the step."""
        if stage == super().num_stages:
            return _exchange(state, self.axis, self.num_devices)
        return super().apply_stage(stage, self._own(tables), parameters, state)

    def undo_stage(
        self, stage: int, tables: Tables, parameters: LayerParameters, state: Components
    ) -> Components:
        """Undo one part of the step."""
        if stage == super().num_stages:
            return _exchange(state, self.axis, self.num_devices)
        return super().undo_stage(stage, self._own(tables), parameters, state)

    def _own(self, tables: Tables) -> Tables:
        device = jax.lax.axis_index(self.axis)
        return jax.tree.map(lambda table: jnp.asarray(table)[device], tables)

    def _shifted(
        self, tables: tuple[np.ndarray, np.ndarray], added: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The tables of a linear map for each device, with a label added to every image."""
        high, low = tables
        return high ^ added[:, None], np.stack([low] * self.num_devices)


def _state_axis(
    circuit: Definition, mesh: Mesh | AbstractMesh, axis: str | None
) -> tuple[str, int]:
    """The mesh axis to spread states over, and its size."""
    if axis is None:
        if len(mesh.axis_names) != 1:
            raise CircuitError(
                f"Circuit '{circuit.name}': the mesh has the axes {mesh.axis_names}; name the one "
                "that states are spread over"
            )
        (axis,) = mesh.axis_names
    size = _axis_size(circuit, mesh, axis)
    most = 2 ** (circuit.num_qubits // 2)
    if size.bit_count() != 1 or size > most:
        raise CircuitError(
            f"Circuit '{circuit.name}': states of {circuit.num_qubits} qubits cannot be spread "
            f"over {size} devices (mesh axis '{axis}'); expected a power of two, at most {most}"
        )
    return axis, size


def _axis_size(circuit: Definition, mesh: Mesh | AbstractMesh, axis: str) -> int:
    if axis not in mesh.axis_names:
        raise CircuitError(
            f"Circuit '{circuit.name}': no mesh axis '{axis}'; expected one of {mesh.axis_names}"
        )
    return mesh.shape[axis]


def _sharded_segments(plan: Evolution, axis: str, num_devices: int) -> list[Segment]:
    """The segments of one device's plan, divided further where the devices' forms differ."""
    segments = []
    entanglers = plan.entanglers
    for segment in plan.segments:
        rows = [
            tuple(
                ShardedStructure.of(form, entanglers[position], axis, num_devices)
                for form, position in zip(segment.structures, positions, strict=True)
            )
            for positions in segment.layers
        ]
        start = 0
        for forms, group in itertools.groupby(rows):
            positions = segment.layers[start : start + len(list(group))]
            start += len(positions)
            segments.append(Segment.of(positions, forms, entanglers, plan.components))
    return segments


def _exchange(state: Components, axis: str, num_devices: int) -> Components:
    """Swap the bits of the device's number with the first bits of the label."""
    parts = state.reshape(len(state), num_devices, -1, state.shape[-1])
    received = jax.lax.all_to_all(parts, axis, split_axis=1, concat_axis=1, tiled=True)
    return received.reshape(state.shape)


def _read_from(expectation: Expectation, source: BitMap) -> Expectation:
    """The same outputs where the amplitude of j is found at source(j); any words."""
    inverse = source.inverse()
    terms = {
        source.image(flips): tuple(
            Term(word.output, inverse.pull_back(word.mask), word.coefficient) for word in words
        )
        for flips, words in expectation.terms.items()
    }
    return replace(expectation, terms=terms)


def _measure(
    expectation: Expectation, state: Components, axis: str, num_local: int
) -> Float[Array, "outputs batch"]:
    """Expectation values of the whole state, the same on all devices."""
    total = jnp.zeros((expectation.num_outputs, state.shape[-1]), state.dtype)
    # One message serves all words that flip the same bits of the device's number.
    by_device = sorted(expectation.terms, key=lambda flips: flips >> num_local)
    for device_flips, group in itertools.groupby(by_device, lambda flips: flips >> num_local):
        received = _from_device(state, device_flips, axis)
        for flips in group:
            words = expectation.terms[flips]
            flipped = _flip_local(received, flips & ((1 << num_local) - 1), num_local)
            outputs = np.array([word.output for word in words])
            total = total.at[outputs].add(_values(words, state, flipped, axis))
    return jax.lax.psum(total, axis)


def _from_device(state: Components, flips: int, axis: str) -> Components:
    """What the device holds whose number differs in the bits of `flips`."""
    if not flips:
        return state
    devices = range(jax.lax.axis_size(axis))
    return jax.lax.ppermute(state, axis, [(h, h ^ flips) for h in devices])


def _flip_local(state: Components, flips: int, num_local: int) -> Components:
    """new[l] = ψ[l ⊕ flips]."""
    if not flips:
        return state
    high, low = image_tables(BitMap.identity(num_local))
    source = labels(high ^ np.int32(flips), low)
    return permute_states(state, source, source)


def _values(
    words: Sequence[Term], state: Components, flipped: Components, axis: str
) -> Float[Array, "words batch"]:
    """Each word's Re Σ_j c (-1)^parity(j & mask) conj(ψ[j]) ψ[j ⊕ flips] over this device's j."""
    num_local = state.shape[1].bit_length() - 1
    num_global = jax.lax.axis_size(axis).bit_length() - 1
    device_signs = signs([word.mask >> num_local for word in words], num_global)
    factors = np.array([[word.coefficient] for word in words]) * device_signs
    real, imag = (jnp.asarray(part, state.dtype)[:, jax.lax.axis_index(axis), None]
                  for part in (factors.real, factors.imag))  # fmt: skip
    masks = [word.mask & ((1 << num_local) - 1) for word in words]
    total = jnp.zeros((len(words), state.shape[2]), state.dtype)
    if np.any(factors.real):
        products = state[0] * flipped[0]
        if len(state) == 2:
            products += state[1] * flipped[1]
        total += real * _signed_sums(masks, products)
    if np.any(factors.imag) and len(state) == 2:
        products = state[0] * flipped[1] - state[1] * flipped[0]
        total -= imag * _signed_sums(masks, products)
    return total


def _signed_sums(
    masks: Sequence[int], products: Float[Array, "states batch"]
) -> Float[Array, "masks batch"]:
    """Σ_j (-1)^parity(j & mask) products[j] for each mask."""
    high, low = split_signs(masks, len(products).bit_length() - 1)
    split = products.reshape(high.shape[1], low.shape[1], -1)
    lower = jnp.einsum("kl,hlb->khb", jnp.asarray(low, split.dtype), split, precision=_PRECISION)
    return jnp.sum(jnp.asarray(high, split.dtype)[..., None] * lower, axis=1)
