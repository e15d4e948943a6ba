"""What is compared: this project's engines, other simulators, and a caller's own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from hqnn_jax.config import ENGINE_NAMES
from hqnn_jax.errors import ConfigurationError

if TYPE_CHECKING:
    from hqnn_jax.circuits import Circuit

Evaluate = Callable[[Any, Any], Any]
"""`evaluate(weights[weights_shape], features[batch, num_features]) -> [batch, num_outputs]`, a
function that `jax.jit` and `jax.grad` accept."""


@runtime_checkable
class EagerSimulator(Protocol):
    """A simulator outside JAX: holds the inputs, and returns when the results are there."""

    def load(self, weights: np.ndarray, features: np.ndarray, cotangents: np.ndarray) -> None:
        """Take the float32 inputs of the calls that follow."""

    def value(self) -> Any:
        """Outputs of shape [batch, num_outputs]."""

    def value_and_gradient(self) -> tuple[Any, Any, Any]:
        """Outputs, and the gradient of sum(cotangents * outputs) in weights and in features."""


Build = Callable[["Circuit"], Evaluate | EagerSimulator]

# `pennylane` is left out: it is the peer pennylane_vmap under another name.
DEFAULT_ENGINES = tuple(name for name in ENGINE_NAMES if name != "pennylane")
# What each peer imports, so that the import is not counted as its building.
_IMPORTS = {
    "pennylane_vmap": (),
    "pennylane_broadcast": (),
    "pennylane_torch": ("torch",),
    "lightning": ("torch", "pennylane_lightning"),
    "tensorcircuit": ("tensorcircuit",),
    "qujax": ("qujax",),
}
PEERS = tuple(_IMPORTS)


def builder(kind: str, name: str) -> Build:
    """Return the function that makes a contender of a circuit.

    Args:
        kind: "engine" or "peer".
        name: an engine's name; a name of `PEERS`; or `package.module:function` of a simulator
            of the caller's own.

    Raises:
        ConfigurationError: there is no such engine, peer or function.
        ModuleNotFoundError: a package is not installed.
    """
    if kind == "engine":
        return lambda circuit: circuit.to_jax(name)
    module, separator, function = name.partition(":")
    if not separator:
        check_names((), (name,))
        module, function = "hqnn_jax.benchmarks.peers", name
        for package in _IMPORTS[name]:
            importlib.import_module(package)
    build = getattr(importlib.import_module(module), function, None)
    if build is None:
        raise ConfigurationError(f"peer '{name}': {module} has no function '{function}'")
    return build


def check_names(engines: tuple[str, ...], peers: tuple[str, ...]) -> None:
    """Raise ConfigurationError for a name that is neither known nor `package.module:function`."""
    for name in engines:
        if name not in ENGINE_NAMES:
            raise ConfigurationError(f"engine '{name}': expected one of {', '.join(ENGINE_NAMES)}")
    for name in peers:
        if name not in PEERS and ":" not in name:
            raise ConfigurationError(
                f"peer '{name}': expected one of {', '.join(PEERS)}, or package.module:function"
            )
