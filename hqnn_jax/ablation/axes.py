"""The axes of an ablation: named ones, and every configuration key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import JsonValue

from hqnn_jax.ablation.config import Settings
from hqnn_jax.config import Config, NoiseConfig
from hqnn_jax.config.loading import all_keys
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.text import did_you_mean


def _key(key: str, **words: JsonValue) -> Callable[[JsonValue], Settings]:
    """Return the settings of one key; `words` are names of values, as `all` for None."""

    def settings(value: JsonValue) -> Settings:
        return {key: words.get(value, value) if isinstance(value, str) else value}

    return settings


def _noise(value: JsonValue) -> Settings:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value <= 1:
            raise ConfigurationError(
                f"axis noise: {value} is no probability; expected 0 to 1, or a section like "
                "model.circuit.noise"
            )
        value = NoiseConfig.of_strength(float(value)).model_dump(mode="json")
    return {"evaluation.noise": value}


AXES: Mapping[str, Callable[[JsonValue], Settings]] = {
    "middle": _key("model.middle"),
    "qubits": _key("model.circuit.num_qubits"),
    "layers": _key("model.circuit.num_layers"),
    "circuit": _key("model.circuit.name"),
    "embedding": _key("model.circuit.embedding"),
    "ansatz": _key("model.circuit.ansatz"),
    "entanglement": _key("model.circuit.entanglement"),
    "measurement": _key("model.circuit.measurement"),
    "reuploading": _key("model.circuit.reuploading"),
    "training_size": _key("training.images_per_class", all=None),
    "label_noise": _key("training.label_noise"),
    "image_size": _key("model.backbone.image_size"),
    "noise": _noise,
    "shots": _key("evaluation.shots", exact=None),
}
"""Axis -> the configuration keys a value stands for.

- `training_size`: images of each class, or `all`.
- `noise`: strength of `NoiseConfig.of_strength`, in evaluation; the trained circuit is the same.
- `shots`: in evaluation, or `exact`.
"""


def settings_of(axis: str, value: JsonValue) -> Settings:
    """Return the configuration keys that a value of an axis stands for.

    Raises:
        ConfigurationError: for an axis that does not exist, naming the closest.
    """
    if axis in AXES:
        return AXES[axis](value)
    keys = all_keys(Config)
    if axis not in keys:
        hint = did_you_mean(axis, [*AXES, *keys], cutoff=0.5)
        raise ConfigurationError(
            f"ablation: no axis {axis!r}; {hint}expected one of: {', '.join(AXES)}, or a "
            "configuration key"
        )
    return {axis: value}


def written(value: JsonValue) -> str:
    """Return a value as tables show it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None or not isinstance(value, int | float):
        return json.dumps(value, separators=(",", ":")) if value is not None else "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def updated(data: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return nested configuration data with the values of dotted keys replaced."""
    result = dict(data)
    for key, value in settings.items():
        first, _, rest = key.partition(".")
        if not rest:
            result[first] = value
            continue
        inner = result.get(first)
        result[first] = updated(inner if isinstance(inner, dict) else {}, {rest: value})
    return result
