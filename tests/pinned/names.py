"""Names that others rely on: cell keys, leaves of checkpoints, TFDS builders, the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import tensorflow_datasets as tfds
import typer
from flax import nnx
from typer.testing import CliRunner

from tests.pinned import internal
from tests.pinned.store import Values

_RUN = """
dataset: {name: bloodmnist, resolution: 28}
model:
  backbone: {name: compact, image_size: 28}
  processor: {widths: [16], dropout: 0.1}
  circuit: {name: strongly_entangling, num_qubits: 4, num_layers: 2}
training: {epochs: 3, schedule: {name: cosine, warmup_epochs: 1}}
seeds: 3
"""
_ABLATIONS = {
    "grid": "axes: {middle: [quantum, matched, none], qubits: [4, 5], noise: [0, 0.01]}",
    "conditions": "axes: {shots: [exact, 64], noise: [0, 0.1], training_size: [all, 25]}",
    "one at a time": (
        "{design: one_at_a_time, axes: {circuit: [strongly_entangling, radhi2025], layers: [2, 3], "
        "label_noise: [0, 0.2], training.learning_rate.circuit: [0.001, 0.01]}}"
    ),
    "composed": (
        "{axes: {model.circuit: {a: {circuit: composed, embedding: iqp, ansatz: qcnn}, "
        "b: {circuit: composed, measurement: parity, entanglement: ring}}, image_size: [28, 32]}}"
    ),
    "listed, frozen": (
        "arms: {one: {model.backbone.frozen: true}, "
        "two: {model.backbone.frozen: true, middle: fourier}}"
    ),
}
_FAST = ("conditions", "listed, frozen")


def cells(folder: Path) -> Values:
    """Keys of cells, and of the trainings they share: the ablations that are laid out fast."""
    return _keys(folder, _FAST)


def more_cells(folder: Path) -> Values:
    """The same of all others."""
    return _keys(folder, tuple(name for name in _ABLATIONS if name not in _FAST))


def _keys(folder: Path, names: Sequence[str]) -> Values:
    found: dict[str, Any] = {}
    for name in names:
        ablation = _ABLATIONS[name]
        path = folder / "ablation.yaml"
        body = ablation if ablation.startswith("{") else "{" + ablation + "}"
        path.write_text(f"{_RUN}ablation: {body}\n", encoding="utf-8")
        plan = internal.Plan.of("pinned", internal.load_ablation(path, []))
        found[name] = "\n".join(f"{arm.label}: {arm.key} {arm.training_key}" for arm in plan.arms)
    return found


def leaves(_: Path) -> Values:
    """Names and shapes of the arrays of all backbones and of models with every middle."""
    found = {}
    for name in internal.BACKBONE_NAMES:
        config = internal.BackboneConfig(name=name, image_size=28 if "_" in name else 32)
        backbone = nnx.eval_shape(
            lambda config=config: internal.build_backbone(
                config, in_channels=3, key=jax.random.key(0)
            )
        )
        found[name] = _leaves(backbone)
    for middle in internal.MIDDLE_NAMES:
        config = internal.ModelConfig.model_validate(
            {
                "backbone": {"name": "compact"},
                "processor": {"widths": [6]},
                "middle": middle,
                "circuit": {"name": "radhi2025", "num_qubits": 4, "num_layers": 5},
                "feature_scaling": "standardised_tanh",
                "readout_width": 3,
                "classifier": {"widths": [5], "batch_norm": True},
            },
        )
        model = internal.HybridNetwork(
            config, backbone=None, num_features=8, num_classes=2, key=jax.random.key(0)
        )
        found[f"middle {middle}"] = _leaves(model)
    return found


def _leaves(module: nnx.Module) -> str:
    """Return a line for each module that holds arrays: their names, types and shapes."""
    _, variables = internal.Model.split(module)
    modules: dict[str, list[str]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        where, name = jax.tree_util.keystr(path[:-1]), jax.tree_util.keystr(path[-1:])
        modules.setdefault(where, []).append(f"{name}{leaf.dtype}{list(leaf.shape)}")
    return "\n".join(f"{where} {' '.join(names)}" for where, names in modules.items())


def builders(_: Path) -> Values:
    """TFDS builders with their versions and configurations: folders of prepared datasets."""
    found = {}
    for builder in _subclasses(tfds.core.GeneratorBasedBuilder):
        if builder.__module__.startswith("hqnn_jax."):
            configs = " ".join(sorted(config.name for config in builder.BUILDER_CONFIGS))
            found[builder.name] = f"{builder.VERSION}\n{configs}"
    return found


def _subclasses(parent: type) -> Iterator[Any]:
    for child in parent.__subclasses__():
        yield child
        yield from _subclasses(child)


def command_line(_: Path) -> Values:
    """What the command line says of itself, without boxes and colours."""
    commands = sorted(typer.main.get_command(internal.app).commands)  # type: ignore[attr-defined]
    calls = [[], *([name] for name in commands)]
    found = {" ".join([*call, "--help"]): _output(*call, "--help") for call in calls}
    return {**found, "list": _output("list")}


def _output(*arguments: str) -> str:
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    result = CliRunner().invoke(
        internal.app, list(arguments), env=environment, prog_name="experiment", color=False
    )
    assert result.exit_code == 0, result.output
    text = re.sub(r"\x1b\[[0-9;]*m", "", result.output)
    lines = (" ".join(re.sub(r"[\u2500-\u257f]", " ", x).split()) for x in text.splitlines())
    return "\n".join(line for line in lines if line)
