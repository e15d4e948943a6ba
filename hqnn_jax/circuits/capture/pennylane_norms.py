"""Normalisation in PennyLane's state preparations, with a value for every vector.

`qml.AmplitudeEmbedding` and `qml.StatePrep` divide by the norm where `normalize=True` or `pad_with`
asks for it. For a vector of zeros, such as the features of a black image, that gives NaN, of which
one in a batch spoils the gradient of all weights; and so does a norm whose square leaves the range
of its type.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml

from hqnn_jax.circuits.capture.state_preparation import normalised

# All threads share PennyLane's class.
_LOCK = threading.RLock()


@contextmanager
def defined_norms() -> Iterator[None]:
    """Within it, a state preparation that normalises gives |0…0⟩ for a vector of zeros.

    The derivative there is zero. Other vectors keep their direction, whatever their norm.
    """
    with _LOCK:
        original = qml.StatePrep._preprocess

        def preprocess(
            state: Any, wires: Any, pad_with: Any, normalize: bool, validate_norm: bool
        ) -> Any:
            if isinstance(state, list | tuple):
                state = qml.math.array(state)
            shape = qml.math.shape(state)
            missing = 2 ** len(qml.wires.Wires(wires)) - (shape[-1] if shape else 0)
            fits = missing == 0 or (missing > 0 and pad_with is not None)
            if not fits or not (normalize or pad_with is not None):
                return original(state, wires, pad_with, normalize, validate_norm)
            if missing:
                filling = np.full((*shape[:-1], missing), pad_with)
                state = qml.math.hstack([state, qml.math.convert_like(filling, state)])
            if isinstance(state, jax.Array):
                state = normalised(state.astype(jnp.result_type(state, jnp.float32)))
                return original(state, wires, None, False, False)
            return original(_in_range(np.asarray(state)), wires, None, True, validate_norm)

        # Nowhere else is the vector known before it is divided by its norm.
        qml.StatePrep._preprocess = staticmethod(preprocess)
        try:
            yield
        finally:
            qml.StatePrep._preprocess = staticmethod(original)


def _in_range(state: np.ndarray) -> np.ndarray:
    """Known amplitudes, scaled where the square of their norm may leave the range of its type."""
    largest = np.max(np.abs(state), axis=-1, keepdims=True)
    limits = np.finfo(np.result_type(state, np.float32))
    if np.all((limits.tiny**0.25 < largest) & (largest < limits.max**0.25)):
        return state
    first = np.arange(state.shape[-1]) == 0
    return np.where(largest == 0, first, state / np.where(largest == 0, 1, largest))
