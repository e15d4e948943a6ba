"""The plan of a circuit, noise included, as real linear maps of Pauli vectors.

Layers are as in `schedule`, but on 4^n Pauli coefficients: one-qubit gates and channels are a
matrix on each wire, and what acts on two qubits either permutes Pauli words up to a factor
(CNOT, CZ, SWAP, depolarising) or is a fixed matrix on a pair of wires.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hqnn_jax.circuits.angles import AngleFunction
from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.gates import Gate
from hqnn_jax.circuits.simulation.components import Components
from hqnn_jax.circuits.simulation.layer import LayerParameters, Structure, Tables, wire_groups
from hqnn_jax.circuits.simulation.pauli import Chain, ChainStack, two_qubit_transfer
from hqnn_jax.circuits.simulation.rotations import Angles, is_per_sample, kronecker

_PRECISION = jax.lax.Precision.HIGHEST
# Wires whose transfer matrices are applied as one: 16 rows were best of 4, 16 and 64 on CPU.
_GROUP_SIZE = 2


@dataclass(frozen=True, eq=False)
class PairMap:
    """A fixed transfer matrix [16, 16] on two wires."""

    wires: tuple[int, int]
    matrix: np.ndarray

    @property
    def permutes_words(self) -> bool:
        """Whether every Pauli word comes from a single one."""
        return bool(np.all(np.count_nonzero(_nonzero(self.matrix), axis=1) == 1))


@dataclass
class _StepDraft:
    chains: dict[int, list[Gate | np.ndarray]] = field(default_factory=dict)
    pairs: list[PairMap] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _WireMaps:
    """The chains of a layer that has any.

    Attributes:
        number: how many layers with chains there are before.
        shared: by wire, chains that are the same for all samples.
        per_sample: by wire, those that differ.
    """

    number: int
    shared: Mapping[int, Chain]
    per_sample: Mapping[int, Chain]

    @classmethod
    def of(cls, draft: _StepDraft, number: int, function: AngleFunction) -> "_WireMaps":
        chains = {wire: Chain.of(items) for wire, items in sorted(draft.chains.items())}
        per_sample = {w: chain for w, chain in chains.items() if chain.is_per_sample(function)}
        shared = {w: chain for w, chain in chains.items() if w not in per_sample}
        return cls(number, shared, per_sample)


@dataclass(frozen=True, eq=False)
class Step:
    """Part of a layer: matrices on wires, then a permutation of Pauli words with factors.

    Attributes:
        structure: its form.
        tables: permutation and factors.
        chains: which of the layers with chains gives the matrices; None without any.
    """

    structure: Structure
    tables: Tables
    chains: int | None


@dataclass(frozen=True, eq=False)
class Transfer:
    """The plan of a circuit's evolution in the Pauli basis.

    Attributes:
        circuit: the circuit.
        first: items on each wire before any two-qubit gate, in order of application.
        steps: the first layer's two-qubit maps and the other layers.
        num_sample_steps: number of steps up to the last that reads features.
        chains: chains that are the same for all samples, of each layer that has any, wire by wire.
        sample_chains: those that differ between samples, in the same order.
    """

    circuit: Definition
    first: tuple[tuple[Gate | np.ndarray, ...], ...]
    steps: tuple[Step | PairMap, ...]
    num_sample_steps: int
    chains: ChainStack
    sample_chains: ChainStack

    @classmethod
    def of(cls, circuit: Definition) -> "Transfer":
        """Plan a circuit with its noise."""
        first, *later = _arrange(circuit)
        num_qubits = circuit.num_qubits
        steps = _steps(None, first.pairs, num_qubits)
        num_sample_steps = 0
        layers: list[_WireMaps] = []
        for draft in later:
            maps = None
            if draft.chains:
                maps = _WireMaps.of(draft, len(layers), circuit.angles)
                layers.append(maps)
            steps += _steps(maps, draft.pairs, num_qubits)
            if maps is not None and maps.per_sample:
                num_sample_steps = len(steps)
        shared = [maps.shared.get(wire, Chain()) for maps in layers for wire in range(num_qubits)]
        per_sample = [chain for maps in layers for chain in maps.per_sample.values()]
        return cls(
            circuit=circuit,
            first=tuple(tuple(first.chains.get(wire, ())) for wire in range(num_qubits)),
            steps=tuple(steps),
            num_sample_steps=num_sample_steps,
            chains=ChainStack.of(shared),
            sample_chains=ChainStack.of(per_sample),
        )

    def parameters(self, angles: Angles) -> list[LayerParameters | None]:
        """The matrices of each step; None for a fixed one."""
        function = self.circuit.angles
        matrices = rotations = None
        if self.chains.unitaries:
            flat = self.chains.matrices(function, angles)[..., 0]
            matrices = flat.reshape(-1, self.circuit.num_qubits, 4, 4)
        if self.sample_chains.unitaries:
            rotations = self.sample_chains.matrices(function, angles)[:, None]
        result: list[LayerParameters | None] = []
        used = 0
        for step in self.steps:
            if isinstance(step, PairMap):
                result.append(None)
                continue
            structure, own = step.structure, None
            if structure.per_sample:
                assert rotations is not None
                own = rotations[used : used + len(structure.per_sample)]
                used += len(structure.per_sample)
            groups: dict[int, Float[Array, "groups dim dim"]] = {}
            if any(structure.shared):
                assert matrices is not None
                groups = _group_matrices(structure, matrices[step.chains])
            result.append(LayerParameters(groups, own, None))
        return result

    def apply(
        self, state: Components, parameters: Sequence[LayerParameters | None], steps: range
    ) -> Components:
        """Apply some steps to Pauli vectors [1, 4^n, batch]."""
        for number in steps:
            step, own = self.steps[number], parameters[number]
            if isinstance(step, PairMap):
                state = _apply_pair(step.matrix, step.wires, state)
            else:
                assert own is not None
                state = step.structure.apply(step.tables, own, state)
        return state

    def pull_back(
        self, observables: Components, parameters: Sequence[LayerParameters | None], steps: range
    ) -> Components:
        """Apply the transposes of some steps, last first, to observables [1, 4^n, outputs]."""
        for number in reversed(steps):
            step, own = self.steps[number], parameters[number]
            if isinstance(step, PairMap):
                observables = _apply_pair(step.matrix.T, step.wires, observables)
            else:
                assert own is not None
                # All maps are real, so that undoing a layer by conjugate matrices transposes it.
                observables = step.structure.undo(step.tables, own, observables)
        return observables


def reads_features_once(circuit: Definition) -> bool:
    """Whether no gate behind the first two-qubit gate on its wire reads features."""
    return not any(
        isinstance(item, Gate) and is_per_sample([item], circuit.angles)
        for draft in _arrange(circuit)[1:]
        for chain in draft.chains.values()
        for item in chain
    )


def _arrange(circuit: Definition) -> list[_StepDraft]:
    """Arrange gates and channels in as few layers as their order on each wire allows."""
    drafts = [_StepDraft()]
    next_chain = [0] * circuit.num_qubits
    next_pair = [0] * circuit.num_qubits
    for item in _items(circuit):
        wires = item.wires if isinstance(item, PairMap) else (item[0],)
        free = next_pair if isinstance(item, PairMap) else next_chain
        level = max(free[wire] for wire in wires)
        while len(drafts) <= level:
            drafts.append(_StepDraft())
        if isinstance(item, PairMap):
            drafts[level].pairs.append(item)
        else:
            drafts[level].chains.setdefault(item[0], []).append(item[1])
        for wire in wires:
            next_pair[wire] = level
            next_chain[wire] = level + isinstance(item, PairMap)
    return drafts


def _items(circuit: Definition) -> list[PairMap | tuple[int, Gate | np.ndarray]]:
    """Gates and channels in order of application; two-qubit ones as transfer matrices."""
    items: list[PairMap | tuple[int, Gate | np.ndarray]] = []
    for gate in circuit.gates:
        if len(gate.wires) == 2:
            first, second = gate.wires
            items.append(PairMap((first, second), two_qubit_transfer(gate.name)))
        else:
            items.append((gate.wires[0], gate))
        for channel in circuit.noise.after(gate) if circuit.noise is not None else ():
            if len(channel.wires) == 2:
                first, second = channel.wires
                items.append(PairMap((first, second), channel.transfer_matrix))
            else:
                items.append((channel.wires[0], channel.transfer_matrix))
    return items


def _steps(
    maps: _WireMaps | None, pairs: Sequence[PairMap], num_qubits: int
) -> list[Step | PairMap]:
    """The steps of a layer: consecutive maps that permute words become one permutation."""
    steps: list[Step | PairMap] = []
    if maps is not None:
        # The matrices on the wires come with the permutation that follows, if one does.
        leading = list(itertools.takewhile(lambda pair: pair.permutes_words, pairs))
        steps.append(_step(maps, leading, num_qubits))
        pairs = pairs[len(leading) :]
    for permutes, group in itertools.groupby(pairs, lambda pair: pair.permutes_words):
        run = list(group)
        steps += [_step(None, run, num_qubits)] if permutes else run
    return steps


def _step(maps: _WireMaps | None, run: Sequence[PairMap], num_qubits: int) -> Step:
    """The maps of wires, then those of pairs, which all permute words."""
    shared = () if maps is None else maps.shared
    groups = wire_groups(num_qubits, _GROUP_SIZE)
    structure = Structure(
        num_qubits=num_qubits,
        levels=4,
        groups=groups,
        shared=tuple(any(f <= wire < f + size for wire in shared) for f, size in groups),
        per_sample=() if maps is None else tuple(maps.per_sample),
        permutes=bool(run),
        num_phases=0,
        phases_per_sample=False,
        has_factors=bool(run),
    )
    return Step(structure, _tables(structure, run), None if maps is None else maps.number)


def _tables(structure: Structure, run: Sequence[PairMap]) -> Tables:
    if not run:
        return Tables(None, None, None, None, None)
    num_qubits = structure.num_qubits
    source = np.arange(4**num_qubits)
    factors = np.ones(source.size)
    for pair in run:
        before, factor = _word_map(pair, num_qubits)
        source, factors = source[before], factor * factors[before]
    if structure.moves_last:
        size = structure.groups[-1][1]
        # The order of the wires when the last group leads: the state is read in that order.
        grid = np.arange(source.size).reshape((4,) * num_qubits)
        place = np.empty(source.size, int)
        leading = range(num_qubits - size, num_qubits)
        place[np.moveaxis(grid, leading, range(size)).ravel()] = np.arange(source.size)
        source = place[source]
    inverse = np.argsort(source)
    return Tables(source.astype(np.int32), inverse.astype(np.int32), factors[None], None, None)


def _nonzero(matrix: np.ndarray) -> np.ndarray:
    return np.abs(matrix) > 1e-12


def _word_map(pair: PairMap, num_qubits: int) -> tuple[np.ndarray, np.ndarray]:
    """For each Pauli word, the one that a pair's map takes to it, and the factor."""
    words = np.arange(4**num_qubits)
    shifts = [2 * (num_qubits - 1 - wire) for wire in pair.wires]
    letters = [(words >> shift) & 3 for shift in shifts]
    local = 4 * letters[0] + letters[1]
    before = np.argmax(_nonzero(pair.matrix), axis=1)
    factor = pair.matrix[np.arange(16), before]
    rest = words & ~sum(3 << shift for shift in shifts)
    source = rest | (before[local] // 4 << shifts[0]) | (before[local] % 4 << shifts[1])
    return source, factor[local]


def _group_matrices(
    structure: Structure, matrices: Float[Array, "wires 4 4"]
) -> dict[int, Float[Array, "groups dim dim"]]:
    """The matrices of a layer's groups; see `LayerParameters.matrices`."""
    result = {}
    for size in sorted({size for _, size in structure.groups}):
        starts = [structure.groups[group][0] for group in structure.matrix_groups(size)]
        result[size] = kronecker(matrices[np.array(starts, int)[:, None] + np.arange(size)])
    return result


def _apply_pair(matrix: np.ndarray, wires: tuple[int, int], state: Components) -> Components:
    num_qubits = (state.shape[1].bit_length() - 1) // 2
    split = state[0].reshape(*(4,) * num_qubits, -1)
    moved = jnp.moveaxis(split, wires, (0, 1))
    product = jnp.matmul(
        jnp.asarray(matrix, state.dtype), moved.reshape(16, -1), precision=_PRECISION
    )
    back = jnp.moveaxis(product.reshape(moved.shape), (0, 1), wires)
    return back.reshape(state.shape)
