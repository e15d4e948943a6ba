"""Hybrid quantum-classical neural networks for medical images, in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hqnn_jax.circuits import Circuit
    from hqnn_jax.trained.sources import load

__version__ = "0.1.0"
__all__ = ["Circuit", "load"]

# Imported when they are first asked for: with them comes JAX, whose import takes seconds.
_FROM = {"Circuit": "hqnn_jax.circuits", "load": "hqnn_jax.trained.sources"}


def __getattr__(name: str) -> Any:
    """Import what is in `__all__`."""
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_FROM[name]), name)


def __dir__() -> list[str]:
    """List what is in `__all__`, imported or not."""
    return sorted({*globals(), *__all__})
