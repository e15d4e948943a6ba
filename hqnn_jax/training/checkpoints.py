"""Checkpoints of one seed: the whole training state, kept as `last` and `best`, with Orbax."""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from hqnn_jax.config.loading import require_same
from hqnn_jax.errors import CheckpointError
from hqnn_jax.files import read_json
from hqnn_jax.text import one_line
from hqnn_jax.training.orbax_noise import silence_orbax
from hqnn_jax.training.state import TrainState, like, plain

_Rank = tuple[float, float, float]


def rank(metrics: Mapping[str, Any]) -> _Rank:
    """Order checkpoints: higher validation accuracy, then lower validation loss, then earlier.

    The one rule by which runs and ablations choose an epoch. Growth (`circuit_size`) and the arms
    of aml2026 (`fit_with_patience`, `cobyla`) go by a loss alone, the earliest of equal ones.
    """
    # Checkpoints of earlier versions do not have the step.
    return metrics["validation_accuracy"], -metrics["validation_loss"], -metrics.get("step", 0.0)


class Checkpoints:
    """The checkpoints of one seed in one folder; writing is atomic.

    Two are kept: the last one, and the best one of those saved at the end of an epoch (highest
    validation accuracy, ties by lower validation loss). A checkpoint is a `TrainState` and the
    `description` of what it belongs to.

    Writing takes a good part of a second, more than an epoch of a small model: within `interval`
    seconds of the last write, states are kept in memory. After a kill some epochs are trained, and
    come out, again; which checkpoints are best and last does not depend on the interval.
    """

    def __init__(self, folder: Path, description: dict[str, Any], *, interval: float = 10.0):
        """Open or create the folder; `description` (JSON) must equal that of what is restored."""
        self._interval = interval
        self._written = -math.inf
        self._waiting: dict[int, tuple[TrainState, dict[str, float]]] = {}
        silence_orbax()
        self._folder = folder
        self._description = description
        self._check_metrics()
        self._manager = ocp.CheckpointManager(
            folder.resolve(),
            options=ocp.CheckpointManagerOptions(
                best_fn=rank,  # Without it, metrics are not stored.
                preservation_policy=policies.AnyPreservationPolicy(
                    [
                        policies.LatestN(1),
                        policies.BestN(
                            get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False
                        ),
                    ]
                ),
                cleanup_tmp_directories=True,
                # A failed write must stop the run here, not print from a thread.
                enable_async_checkpointing=False,
            ),
        )

    def _check_metrics(self) -> None:
        """Check what the best checkpoint is chosen by; those of mid-epoch have none."""
        for path in self._folder.glob("[0-9]*/metrics/metrics"):
            step = path.parent.parent.name
            advice = f"delete the folder {step} to go on from an earlier checkpoint"
            found = read_json(path, CheckpointError, advice)
            for name in ("validation_accuracy", "validation_loss"):
                if not isinstance(found.get(name), int | float):
                    raise CheckpointError(f"{path}: lacks {name}; {advice}")

    def __enter__(self) -> Checkpoints:
        """Return self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write what is waiting, and close the folder."""
        try:
            if not isinstance(error, CheckpointError):
                self.flush()
        finally:
            self._manager.close()

    def latest_step(self) -> int | None:
        """Return the optimiser step of the last checkpoint on disk, None where there is none."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """Return the optimiser step of the best checkpoint on disk at the end of an epoch."""
        return self._manager.best_step()

    def evaluated_step(self, which: Literal["best", "last"]) -> int | None:
        """Return the optimiser step of the checkpoint that a run evaluates, None without one."""
        return self.best_step() if which == "best" else self.latest_step()

    def save(self, state: TrainState, metrics: dict[str, float] | None) -> None:
        """Keep the state; `metrics` are those of a finished epoch, None in mid-epoch.

        It is written at once in mid-epoch and after `interval` seconds without a write, otherwise
        with the next one, by `flush`, or when the folder is closed.
        """
        if metrics is None:
            self.flush()
            self._write(state, None)
            return
        metrics = {**metrics, "step": float(state.step)}
        due = time.monotonic() - self._written >= self._interval
        # The next step donates this state's buffers.
        self._waiting[int(state.step)] = (state if due else jax.tree.map(jnp.copy, state), metrics)
        best = max(self._waiting, key=lambda step: rank(self._waiting[step][1]))
        self._waiting = {
            step: waiting
            for step, waiting in self._waiting.items()
            if step in (best, int(state.step))
        }
        if due:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting: the best state and the last one."""
        for _, (state, metrics) in sorted(self._waiting.items()):
            self._write(state, metrics)
        self._waiting = {}

    def _write(self, state: TrainState, metrics: dict[str, float] | None) -> None:
        step = int(state.step)
        if step == self.latest_step():
            return
        arrays = _storable(state)
        self._require_space(sum(array.nbytes for array in arrays.values()))
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(arrays),
                    description=ocp.args.JsonSave(self._description),
                    digests=ocp.args.JsonSave(_digests(arrays)),
                ),
                metrics=metrics,
            )
        except (OSError, ValueError) as error:
            raise self._not_written(one_line(error, 200)) from error
        self._written = time.monotonic()

    def _require_space(self, num_bytes: int) -> None:
        # The old checkpoint is deleted only after the new one is complete.
        free = shutil.disk_usage(self._folder).free
        if free < 1.1 * num_bytes + 2**20:
            raise self._not_written(
                f"{num_bytes / 2**20:.1f} MiB needed, {free / 2**20:.1f} MiB free"
            )

    def _not_written(self, reason: str) -> CheckpointError:
        return CheckpointError(
            f"{self._folder}: cannot write a checkpoint: {reason}; earlier checkpoints are "
            "intact: free space or choose another --out, then --resume"
        )

    def restore(self, step: int, template: TrainState) -> TrainState:
        """Return the state saved at `step`.

        Args:
            step: from `latest_step` or `best_step`.
            template: a state of the same structure and shapes.

        Raises:
            CheckpointError: if it is damaged, or belongs to another configuration or dataset (the
                message names the first difference).
        """
        self._check_description(step)
        target = jax.tree.map(ocp.tree.to_shape_dtype_struct, _storable(template))
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
            )["state"]
        except Exception as error:  # Orbax and TensorStore raise many kinds for damaged files.
            raise self._unreadable(step, one_line(error, 200)) from error
        changed = changed_leaves(self._folder / str(step), restored)
        if changed:
            raise self._unreadable(step, f"{changed[0]} is not what was written")
        return _from_storable(restored, template)

    def _unreadable(self, step: int, reason: str) -> CheckpointError:
        return CheckpointError(
            f"{self._folder / str(step)}: cannot read the checkpoint: {reason}; delete that folder "
            "to go on from an earlier one"
        )

    def _check_description(self, step: int) -> None:
        try:
            stored = self._manager.restore(
                step, args=ocp.args.Composite(description=ocp.args.JsonRestore())
            )["description"]
        except Exception as error:  # As above.
            raise self._unreadable(step, one_line(error, 200)) from error
        what = f"{self._folder / str(step)}: the checkpoint belongs to another configuration"
        advice = "resume with the stored config.yaml, or choose another --out"
        require_same(stored, self._description, CheckpointError, what, advice)


def changed_leaves(checkpoint: Path, leaves: Mapping[str, Any]) -> list[str]:
    """Return which leaves of a checkpoint are not those that were written.

    TensorStore checks its index, not the numbers: a flipped bit gives other weights.

    Args:
        checkpoint: folder of one step; those of earlier versions have no digests to compare with.
        leaves: arrays by the names in the checkpoint, all of them or some.

    Raises:
        CheckpointError: if the digests cannot be read.
    """
    path = checkpoint / "digests" / "metadata"
    if not path.parent.exists():
        return []
    written = read_json(path, CheckpointError, "delete the folder of this checkpoint")
    return [name for name, digest in _digests(leaves).items() if written.get(name) != digest]


def _digests(arrays: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        for name, array in arrays.items()
    }


def _storable(state: TrainState) -> dict[str, Any]:
    """Return plain arrays under names: typed keys and empty trees are not Orbax's to store."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): plain(leaf) for path, leaf in leaves}


def _from_storable(arrays: dict[str, Any], template: TrainState) -> TrainState:
    def restored(path: Any, leaf: jax.Array) -> jax.Array:
        return like(arrays[jax.tree_util.keystr(path)], leaf)

    return jax.tree_util.tree_map_with_path(restored, template)
