"""Cells: what one arm gave for one seed, each in a file of its own that is written once.

A cell's name is a hash of everything its content depends on, so a changed configuration never
meets the cell of another. A lock per (training, seed) keeps two processes from computing the same
one; the operating system releases it when a process dies.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import filelock
import numpy as np
from jaxtyping import Float32, Int16, Int32, Shaped
from pydantic import BaseModel, Field

import hqnn_jax
from hqnn_jax.ablation.plan import FORMAT, Arm
from hqnn_jax.errors import RunFolderError
from hqnn_jax.files import (
    contents,
    locked,
    read_arrays,
    read_json,
    unexpected,
    write_atomically,
    write_json,
)
from hqnn_jax.text import one_line


class _CellTime(BaseModel):
    train_s: float
    compile_s: float
    seeds_together: int


class _CellDataset(BaseModel):
    name: str
    synthetic: bool
    class_names: list[str]
    counts: dict[str, int]
    fingerprint: str
    shared_images: list[dict[str, Any]]
    warnings: list[str]
    licence: str
    citation: str


class _Record(BaseModel):
    """What is needed of a cell's record; it has more."""

    seed: int
    best_epoch: int
    parameters: dict[str, int]
    validation: dict[str, float | None]
    test: dict[str, float | None]
    history: list[dict[str, Any]]
    time: _CellTime
    dataset: _CellDataset


class _Manifest(BaseModel):
    format: int
    hqnn_jax: str
    together: Annotated[int, Field(ge=1)] | None = None
    programs: dict[str, Annotated[int, Field(ge=1)]] = {}


_ARRAYS = {
    "record": Shaped[np.ndarray, ""],
    "probabilities": Float32[np.ndarray, "samples classes"],
    "labels": Int32[np.ndarray, " samples"],
}


@dataclass(frozen=True)
class Cell:
    """One arm, trained and evaluated with one seed.

    Attributes:
        record: seed, best_epoch, parameters, validation and test metrics, history, times, dataset;
            ready for JSON.
        probabilities: class probabilities of the test images.
        labels: their true classes.
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

        Raises:
            RunFolderError: if it is damaged.
        """
        advice = "delete the file and run the same command again"
        arrays = read_arrays(path, RunFolderError, f"damaged cell: {advice}", _ARRAYS)
        try:
            record = json.loads(str(arrays["record"]))
            wrong = unexpected(record, _Record)
        except (ValueError, RecursionError) as error:
            wrong = one_line(error)
        if wrong is not None:
            raise RunFolderError(f"{path}: damaged cell ({wrong}); {advice}")
        return cls(record, arrays["probabilities"], arrays["labels"])


def chunks_of(seeds: Sequence[int], size: int) -> tuple[tuple[int, ...], ...]:
    """Divide seeds into as few parts of at most `size` as possible, as equal as possible."""
    count = math.ceil(len(seeds) / size)
    return tuple(tuple(map(int, part)) for part in np.array_split(np.asarray(seeds), count))


@dataclass(frozen=True)
class Claim:
    """Cells that no other process computes as long as they are claimed.

    Attributes:
        seeds: those with a cell missing.
        chunks: the seeds of each program they are trained in, `chunks_of` those of the study;
            finished ones are among them, since a program of fewer seeds gives other digits.
        decided: whether the chunks are fixed. If not, there is one, of all seeds of the study, and
            this process is to divide it.
    """

    seeds: tuple[int, ...]
    chunks: tuple[tuple[int, ...], ...]
    decided: bool = True

    def parts(self) -> list[Claim]:
        """Return a claim for each chunk."""
        return [
            Claim(tuple(s for s in chunk if s in self.seeds), (chunk,), self.decided)
            for chunk in self.chunks
        ]


class CellStore:
    """The cells in the folder of an ablation, and how many seeds its programs train together.

    That number changes the sixth digit of a probability, so it is fixed: `ablation.json` holds
    `together`, what the study was begun with (None: what memory allows), and `programs`, what it
    came to for each training key.
    """

    def __init__(self, folder: Path):
        """Name the folder; nothing is read or written yet."""
        self.folder = folder
        self._cells = folder / "cells"
        self._manifest = folder / "ablation.json"

    def prepare(self) -> None:
        """Create the folder, or check that it is one of this version.

        Raises:
            RunFolderError: if it holds something else or cannot be written.
        """
        with locked(self.folder, wait=True):
            if not self._manifest.exists() and contents(self.folder):
                raise RunFolderError(
                    f"{self.folder}: the folder is not empty and holds no ablation; choose another "
                    "--out"
                )
            version = {"format": FORMAT, "hqnn_jax": hqnn_jax.__version__}
            found = self._read_manifest() if self._manifest.exists() else version
            if {key: found.get(key) for key in version} != version:
                raise RunFolderError(
                    f"{self.folder}: holds an ablation of hqnn_jax "
                    f"{found.get('hqnn_jax', 'an unknown version')}, this is "
                    f"{hqnn_jax.__version__}; its cells could not be compared with new ones: "
                    "choose another --out"
                )
            if not self._manifest.exists():
                write_json(self._manifest, version)
            with contextlib.suppress(FileExistsError):
                self._cells.mkdir()
        with locked(self._cells, wait=True):
            pass  # half-written cells of killed processes are removed

    def write_text(self, name: str, text: str) -> None:
        """Write a file beside the cells, atomically."""
        with locked(self.folder, wait=True):
            write_atomically(self.folder / name, text.encode())

    def fix_together(
        self, together: int | None, groups: Sequence[Sequence[Arm]], seeds: Sequence[int]
    ) -> int | None:
        """Return how many seeds are trained in one program at most; None is what memory allows.

        It is what the folder's first cells were computed with. Without any, `together` is noted.

        Args:
            together: what is asked for, None for no number in particular.
            groups, seeds: of the study, arms of one training key in each group.

        Raises:
            RunFolderError: if another number is asked for.
        """
        with self._changing_manifest() as manifest:
            if not any(self._cells.glob("*.npz")):
                manifest |= {"together": together, "programs": {}}
            elif "together" in manifest:
                _require_same(self.folder, manifest["together"], together)
            else:
                # Begun by a version that left no number but in the cells.
                first = None if together is None else len(chunks_of(seeds, together)[0])
                for arms in groups:
                    _require_same(self.folder, self.size(arms) or first, first)
                manifest |= {"together": together, "programs": {}}
            return manifest["together"]

    def size(self, arms: Sequence[Arm]) -> int | None:
        """Return how many seeds of these arms are trained in one program; None if undecided.

        The arms are of one training key.
        """
        size = self._read_manifest().get("programs", {}).get(arms[0].training_key)
        if size is not None:
            return size
        finished = [path for arm in arms for path in self._cells.glob(f"{arm.key}_*.npz")]
        sizes = [Cell.read(path).record["time"]["seeds_together"] for path in finished]
        return max(sizes, default=None)

    def fix_size(self, arms: Sequence[Arm], size: int) -> None:
        """Note how many seeds of these arms are trained in one program, where that is undecided."""
        with self._changing_manifest() as manifest:
            manifest.setdefault("programs", {}).setdefault(arms[0].training_key, size)

    @contextlib.contextmanager
    def _changing_manifest(self) -> Iterator[dict[str, Any]]:
        """Yield the manifest and write it if it is changed; other processes wait."""
        with locked(self.folder, wait=True):
            manifest = self._read_manifest()
            before = copy.deepcopy(manifest)
            yield manifest
            if manifest != before:
                write_json(self._manifest, manifest)

    def _read_manifest(self) -> dict[str, Any]:
        return read_json(self._manifest, RunFolderError, "choose another --out", _Manifest)

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
        with locked(self._cells, wait=True):
            write_atomically(self.path(arm, seed), content)

    def read(self, arm: Arm, seed: int) -> Cell:
        """Read a cell."""
        return Cell.read(self.path(arm, seed))

    @contextlib.contextmanager
    def claim(self, arms: Sequence[Arm], seeds: Sequence[int]) -> Iterator[Claim]:
        """Claim the programs that something is missing of and no other process is computing.

        Args:
            arms: of one training key.
            seeds: all seeds of the study.
        """
        with contextlib.ExitStack() as held:
            size, mine = self.size(arms), True
            if size is None:
                # One process decides, and no other begins before it has.
                mine = self._locked(held, f"{arms[0].training_key}")
                size = self.size(arms) if mine else None
            divided = (tuple(seeds),) if size is None else chunks_of(seeds, size)
            chunks = tuple(c for c in divided if mine and self._claimed(held, arms, c))
            missing = tuple(s for chunk in chunks for s in chunk if self.missing(arms, s))
            yield Claim(missing, chunks, size is not None)

    def _claimed(
        self, held: contextlib.ExitStack, arms: Sequence[Arm], chunk: Sequence[int]
    ) -> bool:
        """Lock all seeds of a chunk, if one is missing and no other process has locked any."""
        with contextlib.ExitStack() as locks:
            if (
                any(self.missing(arms, seed) for seed in chunk)
                and all(self._locked(locks, f"{arms[0].training_key}_{seed}") for seed in chunk)
                # Another process may have finished it before the lock was free.
                and any(self.missing(arms, seed) for seed in chunk)
            ):
                held.enter_context(locks.pop_all())
                return True
        return False

    def _locked(self, held: contextlib.ExitStack, name: str) -> bool:
        """Lock a name as long as `held` is open; False where another process has it."""
        try:
            held.enter_context(filelock.FileLock(self._cells / f".{name}.lock", blocking=False))
        except filelock.Timeout:
            return False
        return True


def _require_same(folder: Path, used: int | None, together: int | None) -> None:
    if together is not None and together != used:
        number = "as many seeds as fit into memory" if used is None else f"{used} seeds"
        raise RunFolderError(
            f"{folder}: was begun with {number} in one program, not {together}, which would give "
            "other digits; leave out --together, or choose another --out"
        )
