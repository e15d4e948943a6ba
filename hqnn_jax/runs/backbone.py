"""The backbone a finished run has trained, for another run to start from or to keep frozen.

Only the run's `config.yaml`, `metrics.json` and checkpoints are read: neither its dataset nor the
rest of its model is needed, and the folder may have been moved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from hqnn_jax.config import PRETRAINED_NAMES, BackboneConfig, Config
from hqnn_jax.config.loading import first_difference, load_config
from hqnn_jax.errors import PretrainedWeightsError, RunFolderError
from hqnn_jax.files import read_json
from hqnn_jax.models.pure import Variables
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.text import one_line
from hqnn_jax.training.checkpoints import Checkpoints, changed_leaves

_SAME = {"name", "image_size", "normalisation"}
"""Settings without which the same weights give other features."""


def trained_backbone(run: Path, config: BackboneConfig, fresh: Variables) -> Variables:
    """Return the backbone of a finished run: its first seed's, from the evaluated checkpoint.

    Where the run kept an average of its parameters, that is what was evaluated.

    Args:
        run: folder of the run.
        config: the backbone that is asked for; name, image size and normalisation must be the
            run's.
        fresh: variables of a backbone of this configuration, `Model.split(build_backbone(...))[1]`;
            only structure, shapes and dtypes are used, so `jax.ShapeDtypeStruct`s will do.

    Returns:
        Variables like `fresh`, on the default device.

    Raises:
        RunFolderError: if there is no such folder, its run has not finished, or a file is missing
            or damaged.
        PretrainedWeightsError: if its backbone is another one or was never trained.
        ConfigurationError: if its `config.yaml` is unusable.
    """
    stored = check_trained_backbone(run, config)
    which = ".average" if stored.training.average_decay > 0 else ".variables"
    wanted = _stored_names(fresh, which)
    leaves = _read_leaves(_evaluated_checkpoint(run, stored), set(wanted.values()))
    _require_shapes(run, fresh, wanted, leaves)

    def filled(path: Any, leaf: Any) -> jax.Array:
        return jnp.asarray(leaves[wanted[path]], leaf.dtype)

    return jax.tree_util.tree_map_with_path(filled, fresh)


def check_trained_backbone(run: Path, config: BackboneConfig) -> Config:
    """Check that a run has trained such a backbone, without reading it; returns its configuration.

    Raises:
        As `trained_backbone`.
    """
    stored = _finished_config(run)
    _require_trained(run, stored.model.backbone)
    _require_same(run, stored.model.backbone, config)
    return stored


def origin_config(config: BackboneConfig) -> BackboneConfig:
    """Return the configuration that says how images are prepared for a backbone.

    That of the run whose weights are taken (`from_run`), of the run that one took its weights from,
    and so on; without `from_run`, `config` itself. It names the pretrained weights at the start, if
    any, and so their number of channels and the mean and deviation of their images: what
    `Preprocessing.for_backbone` needs to know.

    Raises:
        RunFolderError: if a run on the way is missing or has not finished.
        ConfigurationError: if its `config.yaml` is unusable.
    """
    # Only of these can images be prepared in more than one way that `normalisation` does not tell.
    if config.from_run is None or config.name not in PRETRAINED_NAMES:
        return config
    origin = config
    seen: set[Path] = set()
    while origin.from_run is not None:
        if origin.from_run.resolve() in seen:
            raise RunFolderError(
                f"{origin.from_run}: this run has taken its backbone from itself, says its "
                "model.backbone.from_run; folders were renamed: name the run it was trained after"
            )
        seen.add(origin.from_run.resolve())
        origin = _finished_config(origin.from_run).model.backbone
    return origin


def with_backbone(variables: Variables, backbone: Variables) -> Variables:
    """Return the variables of a HybridNetwork with those of a backbone put in place of its own.

    Args:
        variables: of a HybridNetwork that has a backbone.
        backbone: of the backbone alone.

    Raises:
        ValueError: if the backbones differ in structure or shapes: a bug.
    """
    own = _backbone_part(variables)
    if _shapes(own) != _shapes(backbone):
        raise ValueError("the backbone is not the one of the classifier")
    return Variables(
        _with_part(variables.params, backbone.params),
        _with_part(variables.batch_stats, backbone.batch_stats),
    )


def _backbone_part(variables: Variables) -> Variables:
    # A tree without arrays of a kind (batch statistics of VGG-16) does not name the part.
    return Variables(
        variables.params.get("backbone", {}), variables.batch_stats.get("backbone", {})
    )


def _shapes(variables: Variables) -> Variables:
    shapes: Variables = jax.tree.map(lambda leaf: leaf.shape, variables)
    return shapes


def _with_part(tree: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    return {**tree, "backbone": part} if "backbone" in tree else tree


def _finished_config(run: Path) -> Config:
    if not run.is_dir():
        raise RunFolderError(
            f"{run}: no such folder; model.backbone.from_run expects the folder of a finished run"
        )
    files = RunFolder(run)
    if not files.config.exists():
        raise RunFolderError(
            f"{run}: holds no run (no config.yaml); model.backbone.from_run expects the folder of "
            "a finished run"
        )
    finished = False
    if files.metrics.exists():
        advice = f"delete it, then evaluate the run again with {files.how_to_resume()}"
        finished = read_json(files.metrics, RunFolderError, advice).get("status") == "finished"
    if not finished:
        raise RunFolderError(
            f"{run}: the run has not finished; end it with {files.how_to_resume()} before its "
            "backbone is taken"
        )
    return load_config(files.config)


def _require_trained(run: Path, stored: BackboneConfig) -> None:
    if stored.frozen:
        source = stored.from_run or stored.pretrained
        advice = (
            "choose a run that trained one"
            if source is None
            else f"take it from where that run did ({source})"
        )
        raise PretrainedWeightsError(
            f"{run}: this run kept its backbone frozen and has trained none; {advice}"
        )


def _require_same(run: Path, stored: BackboneConfig, config: BackboneConfig) -> None:
    difference = first_difference(
        stored.model_dump(include=_SAME), config.model_dump(include=_SAME)
    )
    if difference is not None:
        key, there, here = difference
        raise PretrainedWeightsError(
            f"{run}: model.backbone.{key} is {there!r} in this run, {here!r} here; set "
            f"model.backbone.{key}={there} or choose another run"
        )


def _evaluated_checkpoint(run: Path, config: Config) -> Path:
    """Return the folder of the checkpoint that the run has evaluated for its first seed."""
    folder = RunFolder(run).checkpoints(config.seed)
    step = None
    if folder.is_dir():
        try:
            with Checkpoints(folder, {}) as checkpoints:
                step = checkpoints.evaluated_step(config.evaluation.checkpoint)
        except Exception as error:  # Orbax raises many kinds for damaged files.
            raise _unreadable(folder, error) from error
    if step is None:
        raise RunFolderError(
            f"{folder}: no checkpoint of the finished run; copy the whole run folder, or run it "
            "again"
        )
    return folder / str(step) / "state"


def _stored_names(fresh: Variables, which: str) -> dict[Any, str]:
    """Return path of a leaf of `fresh` -> its name in a checkpoint; see `Checkpoints`."""
    names = {}
    for path, _ in jax.tree_util.tree_leaves_with_path(fresh):
        field, *rest = path
        inside = jax.tree_util.keystr((field, jax.tree_util.DictKey("backbone"), *rest))
        names[path] = which + inside
    return names


def _read_leaves(state: Path, names: set[str]) -> dict[str, np.ndarray]:
    """Return the leaves of these names that a stored state has, without reading the others."""
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            stored = checkpointer.metadata(state.resolve()).item_metadata.tree
            # As host arrays: the run may have been on other devices.
            how = {
                name: ocp.RestoreArgs(restore_type=np.ndarray)
                for name in names.intersection(stored)
            }
            leaves: dict[str, np.ndarray] = checkpointer.restore(
                state.resolve(),
                args=ocp.args.PyTreeRestore(
                    {name: stored[name] for name in how}, restore_args=how, partial_restore=True
                ),
            )
    except Exception as error:  # Orbax and TensorStore raise many kinds for damaged files.
        raise _unreadable(state.parent, error) from error
    changed = changed_leaves(state.parent, leaves)
    if changed:
        raise RunFolderError(
            f"{state.parent}: cannot read the checkpoint: {changed[0]} is not what was written; "
            "run it again"
        )
    return leaves


def _unreadable(path: Path, error: Exception) -> RunFolderError:
    reason = one_line(error)[:200]
    return RunFolderError(f"{path}: cannot read the checkpoint: {reason}; run it again")


def _require_shapes(
    run: Path, fresh: Variables, names: dict[Any, str], leaves: dict[str, np.ndarray]
) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(fresh):
        found = leaves.get(names[path])
        if found is None or found.shape != leaf.shape:
            there = "missing" if found is None else f"of shape {found.shape}"
            raise PretrainedWeightsError(
                f"{run}: {names[path]} is {there} in this run's checkpoint, expected shape "
                f"{leaf.shape}; choose a run on images with as many channels, made by this version"
            )
