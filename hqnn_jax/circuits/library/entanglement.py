"""Which pairs of qubits an ansatz or embedding entangles."""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Integer

from hqnn_jax.circuits.checks import as_integer
from hqnn_jax.circuits.gates import Wires
from hqnn_jax.circuits.library.choice import chosen
from hqnn_jax.errors import CircuitError

Entanglement = str | Sequence[Wires] | Integer[np.ndarray, "pairs 2"]
"""A name in `ENTANGLEMENTS`, or a coupling map: pairs (control, target) in order of application."""

ENTANGLEMENTS = ("none", "linear", "reverse_linear", "ring", "full")
"""Names accepted by `pairs`."""


def pairs(entanglement: Entanglement, num_qubits: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs (control, target) in order of application.

    For n qubits:

    - `none`: no pair.
    - `linear`: (q, q+1) for q = 0 … n-2; n - 1 pairs.
    - `reverse_linear`: the same pairs, last first, as in Qiskit's RealAmplitudes.
    - `ring`: `linear` and (n-1, 0); n pairs. On two qubits it is `linear`.
    - `full`: (q, r) for all q < r in lexicographic order; n(n-1)/2 pairs.
    - a coupling map, that is a list of pairs: as it is.

    Raises:
        CircuitError: an unknown name, or a pair that is not two different qubits of the circuit.
    """
    if not isinstance(entanglement, str):
        return _coupling_map(entanglement, num_qubits)
    linear = tuple(itertools.pairwise(range(num_qubits)))
    return chosen(
        "entanglement",
        entanglement,
        {
            "none": (),
            "linear": linear,
            "reverse_linear": linear[::-1],
            "ring": (*linear, (num_qubits - 1, 0)) if num_qubits > 2 else linear,
            "full": tuple(itertools.combinations(range(num_qubits), 2)),
        },
    )


def _coupling_map(
    coupling_map: Sequence[Wires] | Integer[np.ndarray, "pairs 2"], num_qubits: int
) -> tuple[tuple[int, int], ...]:
    chosen = []
    for pair in coupling_map:
        found = [as_integer(label) for label in pair]
        qubits = [q for q in found if q is not None and 0 <= q < num_qubits]
        if len(found) != 2 or len(set(qubits)) != 2:
            raise CircuitError(
                f"entanglement: {list(pair)} is not a pair of two different qubits; expected "
                f"[control, target] with qubits 0 to {num_qubits - 1}"
            )
        chosen.append((qubits[0], qubits[1]))
    return tuple(chosen)
