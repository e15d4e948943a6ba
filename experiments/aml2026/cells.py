"""The cells of aml2026: what an arm came to at one size, in a file each that is written once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hqnn_jax.errors import RunFolderError
from hqnn_jax.files import read_json, write_atomically
from hqnn_jax.progress import Progress


class StoredCell(BaseModel):
    """What an arm's results must be; see `ArmOutcome`."""

    size: int
    arm: str
    accuracies: list[float]
    predictions: list[list[int]]
    labels: list[list[int]]
    train_seconds: float
    compile_seconds: float
    parameters: int | None
    losses: list[list[float]] | None = None
    epochs: list[int] | None = None
    weights: list[list[float]] | None = None


class StoredVariance(BaseModel):
    """What the principal components of a size keep, of each seed."""

    size: int
    arm: str
    retained: list[float]


@dataclass(frozen=True)
class Cells:
    """Files named by what they depend on, in a folder that this process holds."""

    folder: Path
    progress: Progress

    def kept(
        self,
        name: str,
        expected: type[BaseModel],
        compute: Callable[[], dict[str, Any]],
        *,
        weights: bool = False,
    ) -> dict[str, Any]:
        """Return the content of a file; computed, and written, where it is missing or damaged.

        Args:
            name: of the file, without suffix; with a hash of what its content depends on.
            expected: what the content must be.
            compute: gives the content.
            weights: whether it must have weights, which earlier versions left out.
        """
        path = self.folder / f"{name}.json"
        stored = self._read(path, expected)
        if stored is not None and weights and "weights" not in stored:
            self.progress.line(f"{path.name}: has no weights of the circuit; computing it anew")
            stored = None
        if stored is None:
            stored = compute()
            write_atomically(path, json.dumps(stored, allow_nan=False).encode())
        return stored

    def _read(self, path: Path, expected: type[BaseModel]) -> dict[str, Any] | None:
        """Return what is stored; None if it is missing or damaged, which is told."""
        if not path.exists():
            return None
        try:
            stored = read_json(path, RunFolderError, "damaged result: computing it anew", expected)
        except RunFolderError as error:
            self.progress.line(str(error))
            return None
        size, arm = stored["size"], stored["arm"]
        self.progress.line(f"{size} images per class: {arm}: read from {path.name}")
        return stored
