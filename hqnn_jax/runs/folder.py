"""The folder of one run: which files it holds, and writing them so that nothing is lost."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

import hqnn_jax
from hqnn_jax import commands
from hqnn_jax.config import Config
from hqnn_jax.config.loading import load_config, require_same
from hqnn_jax.errors import RunFolderError
from hqnn_jax.files import (
    contents,
    read_json,
    write_atomically,
    write_json,
)
from hqnn_jax.trained.layout import MODEL_FOLDER

_PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "pennylane", "numpy", "scipy",
    "scikit-learn", "tensorflow-datasets", "medmnist",
)  # fmt: skip

_ROUNDING = (
    "usable_cores", "processor", "xla_flags", "device", "device_platform", "device_count",
    "versions.jax", "versions.jaxlib",
)  # fmt: skip
"""On which of these the last digits of a result depend."""


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
        self.model = path / MODEL_FOLDER

    def checkpoints(self, seed: int) -> Path:
        """Return the folder with the checkpoints of one seed."""
        return self.path / "checkpoints" / f"seed_{seed}"

    def cross_predictions(self, dataset: str, number: int) -> Path:
        """Return the file of the predictions on another dataset, the `number`-th of its name."""
        name = re.sub(r"[^\w.-]+", "_", dataset)
        return self.path / f"cross_{name}{f'_{number}' if number > 1 else ''}.npz"

    def prepare(self, config: Config, *, resume: bool) -> list[str]:
        """Begin a run in the folder, or check that one can be resumed in it.

        The folder is to be held, see `files.locked`.

        Returns:
            What the user should be told, one sentence each.

        Raises:
            RunFolderError: if it holds a finished run, an unfinished one without `resume`,
                something else, or cannot be written. Nothing existing is touched.
        """
        again = self.how_to_resume()
        if self.metrics.exists():
            advice = f"(or see it with {commands.written('report', self.path)})"
            if self.lacks_report():
                advice = f"or write its report, which is missing, with {again}"
            raise RunFolderError(
                f"{self.path}: holds a finished run; choose another --out {advice}"
            )
        if self.was_trained() and not resume:
            raise RunFolderError(
                f"{self.path}: holds an unfinished run; go on with {again}, or choose another --out"
            )
        if resume:
            if not self.config.exists() or not (self.was_trained() or self._is_begun()):
                missing = "it was not begun" if self.config.exists() else "no config.yaml"
                raise RunFolderError(
                    f"{self.path}: no run to resume ({missing}); leave out --resume to start one"
                )
            self.require_same(config)
            return self.note_environment("resume")
        # A run that failed or was killed before its first step leaves these, nothing worth keeping;
        # a config.yaml alone is somebody's, so it is written last.
        own = {self.config, self.environment, self.splits} if self._is_begun() else set()
        if contents(self.path) - own:
            raise RunFolderError(
                f"{self.path}: the folder is not empty and holds no run; choose a new --out"
            )
        write_json(self.environment, describe_environment())
        write_atomically(self.config, config.to_yaml().encode())
        return []

    def _is_begun(self) -> bool:
        return "hqnn_jax" in (self._stored_environment() or {})

    def _stored_environment(self) -> dict[str, Any] | None:
        """Return what is noted of the process that began the run, None if missing or damaged."""
        try:
            stored = read_json(self.environment, RunFolderError, "")
        except RunFolderError:
            return None
        well_formed = isinstance(stored.get("versions", {}), dict)
        return stored if well_formed and isinstance(stored.get("later", []), list) else None

    def note_environment(self, command: str) -> list[str]:
        """Note where a command goes on with the run; how it was begun stays noted.

        Args:
            command: which one, `resume` or `evaluate`.

        Returns:
            What the user should be told, one sentence each.
        """
        here, begun = describe_environment(), self._stored_environment()
        if begun is None:
            write_json(self.environment, here)
            return [f"{self.environment}: was missing or damaged; written anew for this process"]
        changes = environment_changes(begun, here)
        if not changes:
            return []
        later = [*begun.get("later", ()), {"command": command, **{k: v for k, _, v in changes}}]
        write_json(self.environment, begun | {"later": later})
        listed = ", ".join(f"{name} {old} there, {new} here" for name, old, new in changes)
        return [f"note: the run was begun elsewhere ({listed}); results may differ in rounding"]

    def how_to_resume(self) -> str:
        """Return the command that goes on with the run, in backquotes."""
        return commands.written("run", self.config, "--out", self.path, "--resume")

    def lacks_report(self) -> bool:
        """Return whether the run has finished, but was stopped before its report was written."""
        return self.metrics.exists() and not self.report.exists()

    def was_trained(self) -> bool:
        """Return whether a run has begun training here."""
        return self.history.exists() or self.checkpoints(0).parent.exists()

    def require_same(
        self, config: Config, *, run: str = "the run", advice: str | None = None
    ) -> None:
        """Check that the run in the folder has this configuration.

        Args:
            config: what is asked for.
            run: how the message calls what is there.
            advice: what to do where it has another one; by default to resume with its own.

        Raises:
            RunFolderError: if it has another one.
            ConfigurationError: if its own cannot be used.
        """
        stored, given = (
            c.model_dump(mode="json", exclude={"dataset": {"data_dir", "path"}})
            for c in (load_config(self.config), config)
        )
        what = f"{self.path}: {run} has another configuration"
        advice = advice or f"resume with {self.config}, or choose another --out"
        require_same(stored, given, RunFolderError, what, advice)


def describe_environment() -> dict[str, Any]:
    """Return versions, device, cores and git commit of this process."""
    devices = jax.devices()
    return {
        "hqnn_jax": hqnn_jax.__version__,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "usable_cores": usable_cores(),
        "core_limit": _core_limit(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "device": devices[0].device_kind,
        "device_platform": devices[0].platform,
        "device_count": len(devices),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def environment_changes(
    begun: Mapping[str, Any], here: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Return what differs between two environments and changes how results are rounded.

    Returns:
        Name, value of `begun`, value of `here`; what `begun` does not have (earlier versions noted
        less) is left out.
    """
    flat = [
        {**environment, **{f"versions.{k}": v for k, v in environment.get("versions", {}).items()}}
        for environment in (begun, here)
    ]
    return [
        (name, flat[0][name], flat[1][name])
        for name in _ROUNDING
        if name in flat[0] and flat[0][name] != flat[1][name]
    ]


def usable_cores() -> int:
    """Return on how many cores this process may run: XLA divides sums among as many threads."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _core_limit() -> float | None:
    """Return how many cores' time a container grants, None without a limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _processor() -> str:
    """Return the name of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


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
