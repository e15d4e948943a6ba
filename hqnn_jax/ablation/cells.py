"""Cells: what one arm gave for one seed, each in a file of its own that is written once.

A cell's name is a hash of everything its content depends on, so a changed configuration never
meets the cell of another. A lock per (training, seed) keeps two processes from computing the same
one; the operating system releases it when a process dies.
"""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from jaxtyping import Float32, Int16, Int32

import hqnn_jax
from hqnn_jax.ablation.plan import FORMAT, Arm
from hqnn_jax.errors import RunFolderError
from hqnn_jax.files import write_atomically


@dataclass(frozen=True)
class Cell:
    """One arm, trained and evaluated with one seed.

    **Attributes:**

    - `record`: seed, best_epoch, parameters, validation and test metrics, history, times,
      dataset; ready for JSON.
    - `probabilities`: class probabilities of the test images.
    - `labels`: their true classes.
    """

    record: Mapping[str, Any]
    probabilities: Float32[np.ndarray, "samples classes"]
    labels: Int32[np.ndarray, " samples"]

    @property
    def predicted(self) -> Int16[np.ndarray, " samples"]:
        """The predicted class of every test image."""
        return self.probabilities.argmax(axis=1).astype(np.int16)

    def to_bytes(self) -> bytes:
        """Return the content of the cell's file."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            allow_pickle=False,
            record=np.asarray(json.dumps(dict(self.record))),
            probabilities=self.probabilities,
            labels=self.labels,
        )
        return buffer.getvalue()

    @classmethod
    def read(cls, path: Path) -> Cell:
        """Read a cell's file.

        **Raises:** `RunFolderError` if it is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                record = json.loads(str(arrays["record"]))
                return cls(record, arrays["probabilities"], arrays["labels"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise RunFolderError(
                f"{path}: damaged cell ({' '.join(str(error).split())}); delete the file and run "
                "the same command again"
            ) from error


class CellStore:
    """The cells in the folder of an ablation."""

    def __init__(self, folder: Path):
        """Name the folder; nothing is read or written yet."""
        self.folder = folder
        self._cells = folder / "cells"
        self._manifest = folder / "ablation.json"

    def prepare(self) -> None:
        """Create the folder, or check that it is one of this version.

        **Raises:** `RunFolderError` if it holds something else or cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            empty = not any(self.folder.iterdir())
        except OSError as error:
            raise RunFolderError(
                f"{self.folder}: cannot create the folder: {error.strerror}; choose a writable "
                "--out"
            ) from error
        version = {"format": FORMAT, "hqnn_jax": hqnn_jax.__version__}
        if not self._manifest.exists() and not empty:
            raise RunFolderError(
                f"{self.folder}: the folder is not empty and holds no ablation; choose another "
                "--out"
            )
        found = self._read_manifest() if self._manifest.exists() else version
        if found != version:
            raise RunFolderError(
                f"{self.folder}: holds an ablation of hqnn_jax "
                f"{found.get('hqnn_jax', 'an unknown version')}, this is "
                f"{hqnn_jax.__version__}; its cells could not be compared with new ones: choose "
                "another --out"
            )
        if not self._manifest.exists():
            write_atomically(self._manifest, json.dumps(version).encode())
        self._cells.mkdir(exist_ok=True)

    def _read_manifest(self) -> dict[str, Any]:
        try:
            content = json.loads(self._manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(
                f"{self._manifest}: cannot be read; choose another --out"
            ) from error
        return content if isinstance(content, dict) else {}

    def path(self, arm: Arm, seed: int) -> Path:
        """Return the file of a cell."""
        return self._cells / f"{arm.key}_{seed}.npz"

    def unfinished(self, arm: Arm, seed: int) -> Path:
        """Return the folder of a run that becomes a cell when it ends."""
        return self._cells / f"{arm.key}_{seed}"

    def missing(self, arms: Sequence[Arm], seed: int) -> bool:
        """Return whether a seed has no cell yet in one of the arms."""
        return not all(self.path(arm, seed).exists() for arm in arms)

    def write(self, arm: Arm, seed: int, content: bytes) -> None:
        """Write the file of a cell, atomically."""
        write_atomically(self.path(arm, seed), content)

    def read(self, arm: Arm, seed: int) -> Cell:
        """Read a cell."""
        return Cell.read(self.path(arm, seed))

    @contextlib.contextmanager
    def claim(self, arms: Sequence[Arm], seeds: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Claim what is missing of `arms` and no other process is computing; yields the seeds.

        The arms are of one training key.
        """
        with contextlib.ExitStack() as held:
            claimed = []
            for seed in seeds:
                if not self.missing(arms, seed):
                    continue
                name = f".{arms[0].training_key}_{seed}.lock"
                lock = filelock.FileLock(self._cells / name, blocking=False)
                try:
                    held.enter_context(lock)
                except filelock.Timeout:
                    continue
                # Another process may have finished it before the lock was free.
                if self.missing(arms, seed):
                    claimed.append(seed)
            yield tuple(claimed)
