"""Trained models that take no training: small networks of drawn values."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from hqnn_jax import load
from hqnn_jax.config import ModelConfig
from hqnn_jax.trained.model import TrainedModel
from hqnn_jax.trained.structure import build_structure, filled, flat_names

TINY = {
    "backbone": {"name": "five_layer_cnn", "image_size": 16},
    "processor": {"widths": []},
    "circuit": {"name": "radhi2025", "num_qubits": 2, "num_layers": 1},
}


def small_model(
    sections: Mapping[str, Any] | None = None,
    *,
    resolution: int = 8,
    classes: int = 3,
    **record: Any,
) -> TrainedModel:
    """Return a model whose section of the configuration has what is given in place of `TINY`.

    Args:
        sections: `circuit`, `middle` and so on.
        resolution: of the images it takes.
        classes: how many there are.
        record: other changed fields of its record.
    """
    shipped = load("quickstart")
    images = shipped.record.images.model_copy(update={"resolution": resolution})
    changed = shipped.record.model_copy(
        update={
            "model": ModelConfig.model_validate({**TINY, **(sections or {})}),
            "class_names": shipped.class_names[:classes],
            "images": images,
            **record,
        }
    )
    network, shapes = build_structure(changed, shots=changed.shots)
    rng = np.random.default_rng(3)
    arrays = {name: _drawn(rng, name, leaf) for name, leaf in flat_names(shapes).items()}
    return TrainedModel(changed, network, filled(shapes, arrays), shipped.validation)


def _drawn(rng: np.random.Generator, name: str, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    if name.endswith("weights"):
        return rng.uniform(0, 2 * np.pi, leaf.shape)
    if name.endswith(("var", "scale")):
        return rng.uniform(0.5, 1.5, leaf.shape)
    # As networks are initialised, so that every image gives other values.
    return rng.normal(0, np.sqrt(2 / max(1, np.prod(leaf.shape[:-1]))), leaf.shape)
