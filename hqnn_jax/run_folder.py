"""The folder of one run: which files it holds, and writing them so that nothing is lost."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

import hqnn_jax
from hqnn_jax.config import Config
from hqnn_jax.config_loading import first_difference, load_config
from hqnn_jax.errors import RunFolderError
from hqnn_jax.files import write_atomically, write_json

_PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "pennylane", "numpy", "scipy",
    "scikit-learn", "tensorflow-datasets", "medmnist",
)  # fmt: skip


class RunFolder:
    """Paths and files of one run."""

    def __init__(self, path: Path):
        """Name the folder; nothing is read or written yet."""
        self.path = path
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.json"
        self.history = path / "history.jsonl"
        self.predictions = path / "predictions.npz"
        self.explanations = path / "explanations.npz"
        self.environment = path / "environment.json"
        self.splits = path / "splits.json"
        self.report = path / "report.html"

    def checkpoints(self, seed: int) -> Path:
        """Return the folder with the checkpoints of one seed."""
        return self.path / "checkpoints" / f"seed_{seed}"

    def cross_predictions(self, dataset: str, number: int) -> Path:
        """Return the file of the predictions on another dataset, the `number`-th of its name."""
        return self.path / f"cross_{dataset}{f'_{number}' if number > 1 else ''}.npz"

    def prepare(self, config: Config, *, resume: bool) -> None:
        """Create the folder for a new run, or check that a run can be resumed in it.

        **Raises:** `RunFolderError` if it holds a finished run, an unfinished one without
        `resume`, something else, or cannot be written. Nothing existing is touched.
        """
        if self.metrics.exists():
            raise RunFolderError(
                f"{self.path}: holds a finished run; choose another --out (or see it with "
                f"`python -m experiment report {self.path}`)"
            )
        if self.was_trained() and not resume:
            raise RunFolderError(
                f"{self.path}: holds an unfinished run; go on with `python -m experiment run "
                f"{self.config} --out {self.path} --resume`, or choose another --out"
            )
        if resume and not self.config.exists():
            raise RunFolderError(
                f"{self.path}: no run to resume (no config.yaml); leave out --resume to start one"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # A run that failed before its first step leaves these, nothing worth keeping; a
            # config.yaml alone is somebody's.
            own = {self.config, self.environment, self.splits}
            own = own if self.environment.exists() else set()
            foreign = not resume and set(self.path.iterdir()) - own
        except OSError as error:
            raise RunFolderError(
                f"{self.path}: cannot create the run folder: {error.strerror}; choose a writable "
                "--out"
            ) from error
        if foreign:
            raise RunFolderError(
                f"{self.path}: the folder is not empty and holds no run; choose a new --out"
            )
        if resume:
            self._require_same(config)
        else:
            write_atomically(self.config, config.to_yaml().encode())
        write_json(self.environment, describe_environment())

    def was_trained(self) -> bool:
        """Return whether a run has begun training here."""
        return self.history.exists() or self.checkpoints(0).parent.exists()

    def _require_same(self, config: Config) -> None:
        stored, given = (
            c.model_dump(mode="json", exclude={"dataset": {"data_dir"}})
            for c in (load_config(self.config), config)
        )
        difference = first_difference(stored, given)
        if difference is not None:
            key, old, new = difference
            raise RunFolderError(
                f"{self.path}: the unfinished run has another configuration: {key} is {old!r} "
                f"there, {new!r} here; resume with {self.config}, or choose another --out"
            )

    def read_history(self, seed: int | None = None) -> list[dict[str, Any]]:
        """Return one record per finished epoch, of one seed or of all, in order.

        A half-written last line is left out.
        """
        if not self.history.exists():
            return []
        records = []
        for line in self.history.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return [record for record in records if seed is None or record["seed"] == seed]

    def append_history(self, record: Mapping[str, Any]) -> None:
        """Add the record of one epoch."""
        try:
            with self.history.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise RunFolderError(
                f"{self.history}: cannot write: {error.strerror}; free space, then resume with "
                "--resume"
            ) from error

    def trim_history(self, seed: int, epochs: int) -> None:
        """Drop the records of a seed after its first `epochs` epochs, and broken lines.

        An epoch whose checkpoint was not on disk at a kill is trained, and recorded, again.
        """
        kept = [r for r in self.read_history() if r["seed"] != seed or r["epoch"] <= epochs]
        write_atomically(self.history, "".join(json.dumps(r) + "\n" for r in kept).encode())


def describe_environment() -> dict[str, Any]:
    """Return versions, device and git commit of this process."""
    devices = jax.devices()
    return {
        "hqnn_jax": hqnn_jax.__version__,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "device": devices[0].device_kind,
        "device_platform": devices[0].platform,
        "device_count": len(devices),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _git_commit() -> str | None:
    """Return the commit of the checkout the package is imported from, `+dirty` if changed."""
    root = Path(hqnn_jax.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ("git", "-C", str(root))
    try:
        commit = subprocess.run(
            (*command, "rev-parse", "HEAD"), capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            (*command, "status", "--porcelain"), capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+dirty" if changed else "")
