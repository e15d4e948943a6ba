"""All engines by name: each name of the configuration is that of a module beside this one."""

import pkgutil

from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.engines.chunking import Evaluate, fitting
from hqnn_jax.circuits.engines.engine import Engine
from hqnn_jax.config.names import ENGINE_NAMES

ENGINES = ENGINE_NAMES
"""Names accepted by `Circuit.to_jax`."""

# The names are the configuration's because a wrong one is answered without importing JAX.
TABLE: dict[str, Engine] = {
    name: pkgutil.resolve_name(f"{__package__}.{name}:ENGINE") for name in ENGINES if name != "auto"
}
"""The engines, in the order of preference where estimated times are equal."""


def why_not(circuit: Definition, engine: str) -> str | None:
    """Why an engine cannot evaluate the circuit and what to use instead, None if it can."""
    if circuit.is_noisy and not TABLE[engine].follows_noise:
        others = ", ".join(f"'{name}'" for name, other in TABLE.items() if other.follows_noise)
        return f"it evaluates ideal circuits only; with noise use {others} or trajectories"
    return TABLE[engine].why_not(circuit)


def build(circuit: Definition, engine: str) -> Evaluate:
    """Return the circuit evaluated by an engine that applies, in chunks where memory asks it."""
    chosen = TABLE[engine]
    evaluate = chosen.build(circuit)
    return (
        evaluate if chosen.memory is None else fitting(evaluate, circuit, *chosen.memory(circuit))
    )
