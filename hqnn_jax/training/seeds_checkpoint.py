"""The checkpoint of seeds that are trained together: one file, replaced now and then."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from hqnn_jax.errors import RunFolderError
from hqnn_jax.files import locked, read_arrays, write_atomically
from hqnn_jax.training.state import like, plain

_INTERVAL_SECONDS = 30.0
"""Less is not worth a write, and no more is lost by a kill."""


class SeedsCheckpoint:
    """Arrays and notes of a training that may be killed; kept in one file, written atomically."""

    def __init__(self, path: Path, *, interval: float = _INTERVAL_SECONDS):
        """Name the file; it is written at most once in `interval` seconds."""
        self._path = path
        self._interval = interval
        self._written = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last write is long enough ago."""
        return time.monotonic() - self._written >= self._interval

    def save(self, arrays: PyTree, notes: dict[str, Any]) -> None:
        """Replace the file; `notes` are JSON."""
        leaves = [np.asarray(plain(leaf)) for leaf in jax.tree.leaves(arrays)]
        buffer = io.BytesIO()
        np.savez(
            buffer,
            allow_pickle=False,
            notes=np.asarray(json.dumps(notes)),
            **{str(number): leaf for number, leaf in enumerate(leaves)},
        )
        # Beside it are cells that other processes write.
        with locked(self._path.parent, wait=True):
            write_atomically(self._path, buffer.getvalue())
        self._written = time.monotonic()

    def restore(self, template: PyTree) -> tuple[PyTree, dict[str, Any]] | None:
        """Return arrays with the structure of `template`, and the notes; None where there are none.

        A damaged file, or one of other shapes, counts as none: training starts anew.
        """
        own, structure = jax.tree.flatten(template)
        try:
            stored = read_arrays(self._path, RunFolderError, "")
            notes = json.loads(str(stored["notes"]))
            leaves = [stored[str(number)] for number in range(len(own))]
        except (RunFolderError, ValueError, KeyError, RecursionError):
            return None
        if not isinstance(notes, dict) or any(
            (leaf.shape, leaf.dtype) != (plain(other).shape, plain(other).dtype)
            for leaf, other in zip(leaves, own, strict=True)
        ):
            return None
        restored = [like(leaf, other) for leaf, other in zip(leaves, own, strict=True)]
        return jax.tree.unflatten(structure, restored), notes

    def delete(self) -> None:
        """Remove the file, if there is one."""
        self._path.unlink(missing_ok=True)
