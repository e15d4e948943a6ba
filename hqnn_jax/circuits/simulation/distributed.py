"""A circuit's layers for a state that is spread over several devices.

Of a basis state's n bits the first g number the device, the other n - g the amplitude on it: wires
stand in g global and n - g local places. One-qubit gates act on local places. An exchange, one
all-to-all message, swaps the global places with the first g local ones. Since everything else
between gates is linear over GF(2), a layer becomes a few steps that each device takes alone, with
exchanges between them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hqnn_jax.circuits.gates import Gate
from hqnn_jax.circuits.simulation.bits import BitMap, bit
from hqnn_jax.circuits.simulation.schedule import Entangler, Layer, PhaseTerm


@dataclass(frozen=True)
class LocalEntangler(Entangler):
    """What device h does to its amplitudes l, and whether an exchange follows.

    ψ'[l] = exp(i Σ_k θ_k parity(mask_k & l ⊕ device_mask_k & h)) ψ[source(l) ⊕ offset(h)]

    Attributes:
        offsets: for each global place, what its bit in h contributes to offset(h).
        device_masks: for each phase, the bits of h in its parity.
        exchanges: whether the global places are then swapped with the first local ones.
    """

    offsets: tuple[int, ...]
    device_masks: tuple[int, ...]
    exchanges: bool

    def offset(self, device: int) -> int:
        """What the number of the device adds to the labels it reads."""
        result = 0
        for place, label in enumerate(self.offsets):
            if device & bit(place, len(self.offsets)):
                result ^= label
        return result


@dataclass(frozen=True, eq=False)
class Distribution:
    """The steps of a circuit on every device.

    Attributes:
        layers: the steps, on local places counted from 0; entanglers are `LocalEntangler`. The
            rotations of the first act on |0…0⟩.
        rotations: the first layer's gates on the global places, which act on |0…0⟩ too.
        source: where the final amplitudes are: ψ[j] is held at label source(j).
    """

    layers: tuple[Layer, ...]
    rotations: dict[int, tuple[Gate, ...]]
    source: BitMap


def distribute(layers: Sequence[Layer], num_qubits: int, num_global: int) -> Distribution:
    """Divide layers into steps on several devices.

    After each layer the wires stand in their own places, or with the exchange undone one layer
    later, whichever takes fewer exchanges: layers of rotations and diagonal gates take one.

    Args:
        layers: the layers of the circuit.
        num_qubits: number of qubits.
        num_global: number of bits of a device's number, at most half of the qubits.
    """
    standard = BitMap.identity(num_qubits)
    swapped = _exchange(num_qubits, num_global)
    layout = standard
    steps: list[Layer] = []
    for number, layer in enumerate(layers):
        rotations = {_place(layout, w): gates for w, gates in layer.rotations.items()}
        local = {p - num_global: gates for p, gates in rotations.items() if p >= num_global}
        outside = {p: gates for p, gates in rotations.items() if p < num_global}
        if number == 0:
            first = outside
        elif outside:
            steps.append(Layer(local, _local(standard, num_global, (), exchanges=True)))
            # What stood in global place p now stands in local place p.
            local, layout = outside, swapped.after(layout)
        permuted = layout if layer.entangler is None else layout.after(layer.entangler.source)
        if number == len(layers) - 1:
            # Reading out from other labels costs less than moving the amplitudes.
            target, factors = permuted, [standard]
        else:
            target, factors = min(
                ((new, _factors(permuted.after(new.inverse()), num_global))
                 for new in (standard, swapped)),
                key=lambda choice: len(choice[1]),
            )  # fmt: skip
        steps += _steps(local, layer.entangler, permuted, factors, num_global)
        layout = target
    return Distribution(tuple(steps), first, layout)


def _place(layout: BitMap, wire: int) -> int:
    """The place of a wire in a layout that only reorders wires."""
    return len(layout.columns) - layout.columns[wire].bit_length()


def _steps(
    rotations: dict[int, tuple[Gate, ...]],
    entangler: Entangler | None,
    permuted: BitMap,
    factors: Sequence[BitMap],
    num_global: int,
) -> list[Layer]:
    """Rotations, then the permutation that is the product of `factors` with exchanges between.

    `permuted` tells where label j of the layer's result is found before the permutation.
    """
    phases = () if entangler is None else entangler.phases
    # All phases are applied in the first step, to labels that later steps still permute.
    back = permuted.inverse().after(factors[0])
    moved = [PhaseTerm(back.pull_back(t.mask), t.coefficient, t.angle) for t in phases]
    steps = []
    for number, factor in enumerate(factors):
        last = number == len(factors) - 1
        terms = moved if number == 0 else ()
        if number and last and factor.is_identity:
            break
        idle = last and factor.is_identity and not terms
        own = None if idle else _local(factor, num_global, terms, exchanges=not last)
        steps.append(Layer(rotations if number == 0 else {}, own))
    return steps


def _local(
    map_: BitMap, num_global: int, phases: Sequence[PhaseTerm], *, exchanges: bool
) -> LocalEntangler:
    """A map that keeps the global bits, and phases, as each device applies them."""
    num_local = len(map_.columns) - num_global
    low = (1 << num_local) - 1
    return LocalEntangler(
        source=BitMap(map_.columns[num_global:]),
        phases=tuple(PhaseTerm(t.mask & low, t.coefficient, t.angle) for t in phases),
        offsets=tuple(column & low for column in map_.columns[:num_global]),
        device_masks=tuple(t.mask >> num_local for t in phases),
        exchanges=exchanges,
    )


def _exchange(num_qubits: int, num_global: int) -> BitMap:
    """Swap the global places with the first local ones."""
    middle = 2 * num_global
    return BitMap.reordering(
        [*range(num_global, middle), *range(num_global), *range(middle, num_qubits)]
    )


def _factors(source: BitMap, num_global: int) -> list[BitMap]:
    """Write a map as P₀ Σ P₁ Σ … with exchanges Σ and maps P that keep the global bits.

    As few as possible: one, two or three maps. ψ'[j] = ψ[source(j)] applies P₀ first.
    """
    num_qubits = len(source.columns)
    units = BitMap.identity(num_qubits).columns
    kept = list(units[:num_global])
    wanted = [source.pull_back(place) for place in kept]
    if wanted == kept:
        return [source]
    if _independent([*kept, *wanted]):
        # The global bits of source(j) are those that Σ takes from the first local places.
        last = _completed(wanted, num_qubits)
        rest = last.inverse().after(_exchange(num_qubits, num_global))
        return [source.after(rest), last]
    # Any functionals that are independent of both sets let one exchange do the rest. They exist:
    # no vector space is the union of two proper subspaces, so of two units, one outside each
    # span, either lies outside both or their sum does.
    candidates = [*units[num_global:], *units[:num_global]]
    candidates += [a ^ b for a in units for b in units if a < b]
    chosen: list[int] = []
    for candidate in candidates:
        grown = [*chosen, candidate]
        if len(chosen) < num_global and all(
            _independent([*others, *grown]) for others in (kept, wanted)
        ):
            chosen = grown
    last = _completed(chosen, num_qubits)
    rest = last.inverse().after(_exchange(num_qubits, num_global))
    return [*_factors(source.after(rest), num_global), last]


def _completed(functionals: Sequence[int], num_qubits: int) -> BitMap:
    """An invertible map that keeps the global bits and reads `functionals` in the next places.

    The other places keep their bits where that is possible.
    """
    num_global = len(functionals)
    units = BitMap.identity(num_qubits).columns
    rows: list[int | None] = [*units[:num_global], *functionals]
    for place in range(2 * num_global, num_qubits):
        keeps = _independent([*filter(None, rows), units[place]])
        rows.append(units[place] if keeps else None)
    for place, row in enumerate(rows):
        if row is None:
            known = list(filter(None, rows))
            rows[place] = next(u for u in units if _independent([*known, u]))
    columns = [
        sum(unit for unit, row in zip(units, rows, strict=True) if row and row & column)
        for column in units
    ]
    return BitMap(tuple(columns))


def _independent(vectors: Iterable[int]) -> bool:
    """Whether bit vectors are linearly independent."""
    basis: list[int] = []
    for vector in vectors:
        rest = vector
        for element in basis:
            rest = min(rest, rest ^ element)
        if not rest:
            return False
        basis.append(rest)
    return True
