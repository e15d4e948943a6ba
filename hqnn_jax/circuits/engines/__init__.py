"""Engines: ways of evaluating a circuit, one module each, which `table` knows by their names.

A new one is a module here with the record `ENGINE` (see `engine`) and its name in
`hqnn_jax.config.names.EngineName`. `auto` chooses among them by what they say they cost.
"""

from jax.sharding import Mesh

from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.engines import auto, sharded, table
from hqnn_jax.circuits.engines.chunking import Evaluate
from hqnn_jax.circuits.engines.table import ENGINES, why_not
from hqnn_jax.errors import CircuitError
from hqnn_jax.text import closest

__all__ = ["ENGINES", "build", "why_not"]


def build(circuit: Definition, engine: str, mesh: Mesh | None = None) -> Evaluate:
    """Return the circuit evaluated by the named engine.

    A batch whose states would not fit the device is evaluated in chunks.

    Args:
        circuit: the circuit.
        engine: one of `ENGINES`.
        mesh: devices that states are spread over.

    Raises:
        CircuitError: there is no engine of that name, or it does not apply to the circuit.
    """
    if engine not in ENGINES:
        raise CircuitError(
            f"Circuit '{circuit.name}': no engine '{engine}'; expected one of "
            f"{', '.join(ENGINES)}. Did you mean '{closest(str(engine), ENGINES, cutoff=0.0)}'?"
        )
    if engine == "auto" and mesh is None:
        return auto.build(circuit)
    reason = why_not(circuit, engine) if mesh is None else _why_not_on_a_mesh(circuit, engine)
    if reason is not None:
        raise CircuitError(f"Circuit '{circuit.name}': engine '{engine}' does not apply: {reason}")
    return table.build(circuit, engine) if mesh is None else sharded.build(circuit, mesh)


def _why_not_on_a_mesh(circuit: Definition, engine: str) -> str | None:
    if engine not in ("auto", "statevector"):
        return "with a mesh only 'statevector' applies"
    return why_not(circuit, "statevector")
