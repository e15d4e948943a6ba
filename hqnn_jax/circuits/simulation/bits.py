"""Linear maps of basis-state labels over GF(2), and parities of their bits.

CNOT and SWAP permute basis states linearly in this sense, so that n integers describe what any
sequence of them does to 2^n states. Wire 0 is the most significant bit of a label.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int


@dataclass(frozen=True)
class BitMap:
    """The map j -> XOR of `columns[q]` over the wires q whose bit is set in j."""

    columns: tuple[int, ...]

    @classmethod
    def identity(cls, num_qubits: int) -> "BitMap":
        """The map that leaves every label as it is."""
        return cls(tuple(bit(wire, num_qubits) for wire in range(num_qubits)))

    @classmethod
    def reordering(cls, wires: Sequence[int]) -> "BitMap":
        """The map after which the bit of `wires[k]` stands where that of wire k stood."""
        num_qubits = len(wires)
        place = {wire: k for k, wire in enumerate(wires)}
        return cls(tuple(bit(place[wire], num_qubits) for wire in range(num_qubits)))

    @property
    def is_identity(self) -> bool:
        """Whether every label stays as it is."""
        return self == BitMap.identity(len(self.columns))

    def image(self, label: int) -> int:
        """The image of one label."""
        result = 0
        for wire, column in enumerate(self.columns):
            if label & bit(wire, len(self.columns)):
                result ^= column
        return result

    def after(self, first: "BitMap") -> "BitMap":
        """The map that applies `first`, then this one."""
        return BitMap(tuple(self.image(column) for column in first.columns))

    def inverse(self) -> "BitMap":
        """The inverse map, by elimination on the columns."""
        num_qubits = len(self.columns)
        # Pairs (image, label); reduced until the images are the single bits.
        pairs = [(c, bit(q, num_qubits)) for q, c in enumerate(self.columns)]
        for wire in range(num_qubits):
            wanted = bit(wire, num_qubits)
            pivot = next(k for k in range(wire, num_qubits) if pairs[k][0] & wanted)
            pairs[wire], pairs[pivot] = pairs[pivot], pairs[wire]
            image, label = pairs[wire]
            pairs = [
                (i ^ image, x ^ label) if k != wire and i & wanted else (i, x)
                for k, (i, x) in enumerate(pairs)
            ]
        return BitMap(tuple(label for _, label in pairs))

    def pull_back(self, mask: int) -> int:
        """The mask m' such that the parity of m' & j is that of `mask` & image(j)."""
        num_qubits = len(self.columns)
        return sum(
            bit(wire, num_qubits)
            for wire, column in enumerate(self.columns)
            if (column & mask).bit_count() % 2
        )


def bit(wire: int, num_qubits: int) -> int:
    """The label with the bit of one wire set."""
    return 1 << (num_qubits - 1 - wire)


def image_tables(map_: BitMap) -> tuple[np.ndarray, np.ndarray]:
    """The images of the higher and of the lower half of the bits, as int32.

    The image of a label is the XOR of its halves' images: 2^n labels from 2 √(2^n) integers.
    """
    num_qubits = len(map_.columns)
    tables = []
    for columns in (map_.columns[: num_qubits // 2], map_.columns[num_qubits // 2 :]):
        images = np.zeros(1, np.int32)
        for column in columns:
            images = np.stack([images, images ^ np.int32(column)], axis=1).ravel()
        tables.append(images)
    return tables[0], tables[1]


def labels(
    high: Int[Array, " high"] | np.ndarray, low: Int[Array, " low"] | np.ndarray
) -> Int[Array, " states"]:
    """The images of all labels in order, from `image_tables`."""
    return (jnp.asarray(high)[:, None] ^ jnp.asarray(low)).ravel()


def signs(masks: Sequence[int], num_bits: int) -> np.ndarray:
    """(-1)^parity(mask & j) for each mask and label j of `num_bits` bits, [masks, 2^bits] int8."""
    counts = np.bitwise_count(np.array(masks, np.int64)[:, None] & np.arange(2**num_bits))
    return (1 - 2 * (counts % 2)).astype(np.int8)


def split_signs(masks: Sequence[int], num_qubits: int) -> tuple[np.ndarray, np.ndarray]:
    """The two factors of `signs`: on the higher and on the lower half of the bits.

    `signs[k, high, low] = first[k, high] * second[k, low]`, in memory √(2^n) for each mask.
    """
    low_bits = num_qubits - num_qubits // 2
    lower = (1 << low_bits) - 1
    high = signs([mask >> low_bits for mask in masks], num_qubits - low_bits)
    return high, signs([mask & lower for mask in masks], low_bits)
