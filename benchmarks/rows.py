"""Which circuits at which batch sizes: the rows of a benchmark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hqnn_jax.config import CIRCUIT_NAMES
from hqnn_jax.errors import ConfigurationError

if TYPE_CHECKING:
    from hqnn_jax.circuits import Circuit

_SHORT = {"sel": "strongly_entangling"}
_SMALL = ("radhi2025", "sel4x3", "sel8x3")

DEFAULT_BATCHES = (32, 1024, 4096)
QUICK_ROWS = (("radhi2025", 32), ("sel4x3", 1024))
GRID_QUBITS = (4, 6, 8, 10, 12, 14, 16, 18, 20)
GRID_BATCHES = (1, 8, 32, 256, 1024, 4096)
# Amplitudes of a batch of states: the largest rows of the grid. Reverse-mode simulators keep one
# such batch per gate, 256 MiB of complex64 here for each 32 gates of depth.
GRID_AMPLITUDES = 2**20


@dataclass(frozen=True)
class Row:
    """A circuit by its name (see `make_circuit`) and a batch size."""

    circuit: str
    batch: int


DEFAULT_ROWS = (
    *(Row(circuit, batch) for circuit in _SMALL for batch in DEFAULT_BATCHES),
    Row("sel12x3", 32),
    Row("sel16x2", 8),
    Row("sel20x2", 1),
)
"""The rows for which this project has set itself figures."""

ACCELERATOR_ROWS = tuple(Row(f"sel{qubits}x2", 1) for qubits in (22, 24, 26, 28))
"""Added on an accelerator, where the share of its memory bandwidth is the figure."""


def make_circuit(name: str) -> Circuit:
    """Make a library circuit from `NAME` or `NAME-QxL`, Q qubits and L layers.

    `sel` is short for strongly_entangling, and the hyphen may be left out after a letter:
    `radhi2025`, `radhi2025-8x4`, `sel12x3`.

    Raises:
        ConfigurationError: there is no such circuit.
    """
    from hqnn_jax.circuits import CIRCUITS

    base, sizes = _parsed(name)
    return CIRCUITS[base](**sizes)


def _parsed(name: str) -> tuple[str, dict[str, int]]:
    match = re.fullmatch(r"(.+?)-?(\d+)x(\d+)", name)
    base = match[1] if match else name
    base = _SHORT.get(base, base)
    if base not in CIRCUIT_NAMES:
        known = ", ".join([*CIRCUIT_NAMES, *_SHORT])
        raise ConfigurationError(
            f"circuit '{name}': expected NAME or NAME-QUBITSxLAYERS (for example sel12x3) with a "
            f"name of {known}"
        )
    sizes = {} if match is None else {"num_qubits": int(match[2]), "num_layers": int(match[3])}
    return base, sizes


def select_rows(
    circuits: Sequence[str],
    batches: Sequence[int],
    *,
    quick: bool = False,
    grid: bool = False,
    accelerator: bool = False,
) -> list[Row]:
    """The rows asked for; those of `DEFAULT_ROWS` if neither circuits nor batches are given.

    Circuits without batches take the batches of `DEFAULT_ROWS` (`DEFAULT_BATCHES` if it has no
    such circuit), batches without circuits go with the three small circuits.

    Raises:
        ConfigurationError: there is no such circuit, or a batch is smaller than 1.
    """
    for batch in batches:
        if batch < 1:
            raise ConfigurationError(f"--batch {batch}: expected at least 1")
    if circuits:
        rows = [Row(name, batch) for name in circuits for batch in batches or _batches(name)]
    elif batches:
        rows = [Row(name, batch) for name in _SMALL for batch in batches]
    elif quick:
        rows = [Row(*row) for row in QUICK_ROWS]
    else:
        rows = _grid() if grid else list(DEFAULT_ROWS)
        rows += ACCELERATOR_ROWS if accelerator else ()
    for name in dict.fromkeys(row.circuit for row in rows):
        _parsed(name)
    return rows


def _batches(circuit: str) -> list[int]:
    default = [row.batch for row in DEFAULT_ROWS if row.circuit == circuit]
    return default or list(DEFAULT_BATCHES)


def _grid() -> list[Row]:
    return [
        Row(name, batch)
        for qubits in GRID_QUBITS
        for name in (f"radhi2025-{qubits}x4", f"sel{qubits}x3")
        for batch in GRID_BATCHES
        if batch * 2**qubits <= GRID_AMPLITUDES
    ]
