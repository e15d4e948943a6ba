"""Engines: ways of evaluating a circuit, one module each, all with the same signature.

Each module has `build(circuit)`, which returns
`evaluate(weights[weights_shape], features[batch, num_features]) -> [batch, num_outputs]` for
inputs of one float dtype.
"""

import difflib
from collections.abc import Callable

from jaxtyping import Array, Float

from hqnn_jax.circuits.definition import Circuit
from hqnn_jax.circuits.engines import pennylane, statevector, unitary
from hqnn_jax.errors import CircuitError

Evaluate = Callable[
    [Float[Array, "..."], Float[Array, "batch features"]], Float[Array, "batch outputs"]
]

_BUILDERS: dict[str, Callable[[Circuit], Evaluate]] = {
    "pennylane": pennylane.build,
    "statevector": statevector.build,
    "unitary": unitary.build,
}

ENGINES = ("auto", *_BUILDERS)
"""Names accepted by `Circuit.to_jax`."""


def build(circuit: Circuit, engine: str) -> Evaluate:
    """Return the circuit evaluated by the named engine; `auto` is `statevector`.

    Raises:
        CircuitError: there is no engine of that name.
    """
    if engine not in ENGINES:
        closest = difflib.get_close_matches(engine, ENGINES, n=1, cutoff=0.0)
        raise CircuitError(
            f"Circuit '{circuit.name}': no engine '{engine}'; expected one of "
            f"{', '.join(ENGINES)}. Did you mean '{closest[0]}'?"
        )
    return _BUILDERS["statevector" if engine == "auto" else engine](circuit)
