"""The only imports from inside the library: when modules move, this is what to mend."""

import hqnn_jax.data.folder_set
import hqnn_jax.data.medmnist  # noqa: F401 - its builder is found among TFDS' subclasses
from hqnn_jax.ablation.file import load_ablation
from hqnn_jax.ablation.plan import Plan
from hqnn_jax.backbones.build import build_backbone
from hqnn_jax.circuits.sampling.trajectories import build as trajectories
from hqnn_jax.cli.app import app
from hqnn_jax.config import BACKBONE_NAMES, MIDDLE_NAMES
from hqnn_jax.config.model import BackboneConfig, ModelConfig
from hqnn_jax.models.classifier import HybridNetwork
from hqnn_jax.models.pure import Model

__all__ = [
    "BACKBONE_NAMES",
    "MIDDLE_NAMES",
    "BackboneConfig",
    "HybridNetwork",
    "Model",
    "ModelConfig",
    "Plan",
    "app",
    "build_backbone",
    "load_ablation",
    "trajectories",
]
