"""The network of a trained model without values: nothing is drawn, downloaded or compiled."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.tree_util import DictKey

from hqnn_jax.backbones.build import abstract_backbone
from hqnn_jax.models.classifier import HybridNetwork
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.trained.record import ModelRecord


def build_structure(record: ModelRecord, *, shots: int | None) -> tuple[Model, Variables]:
    """Return the static structure of a model, and its variables as shapes and dtypes.

    The backbone is part of the network, also where it was frozen in training.

    Raises:
        ConfigurationError: where a circuit or part of one's own cannot be imported.
    """
    backbone: Any = abstract_backbone(
        record.model.backbone, in_channels=record.images.network_channels
    )
    if record.backbone_variant is not None:
        backbone.set_variant(record.backbone_variant)
    module = HybridNetwork(
        record.model,
        backbone=backbone,
        num_features=backbone.num_features,
        num_classes=len(record.class_names),
        key=jax.random.key(0),
        shots=shots,
    )
    return Model.split(module)


def flat_names(variables: Variables) -> dict[str, Any]:
    """Return the arrays of a model by flat names: `backbone.stem.kernel`, `logits.bias`."""
    return {name_of(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(variables)}


def name_of(path: Any) -> str:
    """Return the flat name of a leaf of `Variables`.

    Whether it is a parameter or a statistic is not part of it: no module has both of one name.
    """
    return ".".join(str(part.key) for part in path if isinstance(part, DictKey))


def filled(variables: Variables, arrays: dict[str, np.ndarray]) -> Variables:
    """Return variables with the values of arrays of these names and shapes, on the device."""

    def value(path: Any, leaf: Any) -> jax.Array:
        return jax.numpy.asarray(arrays[name_of(path)], leaf.dtype)

    return jax.tree_util.tree_map_with_path(value, variables)
