"""Reading an ablation: a configuration file, and axes on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hqnn_jax.ablation.axes import AXES
from hqnn_jax.ablation.config import AblationFile
from hqnn_jax.config.loading import read_yaml, validated
from hqnn_jax.config.yaml_text import parse_yaml
from hqnn_jax.errors import ConfigurationError


def load_ablation(path: Path, arguments: Sequence[str]) -> AblationFile:
    """Read the configuration of an ablation.

    Args:
        path: a YAML file with an `ablation` section, or that of a run.
        arguments: `AXIS=V1,V2,…` adds an axis or replaces its values; a named axis may have one
            value. Anything else is `KEY=VALUE`, as for a run.

    Raises:
        ConfigurationError: one line.
    """
    data = read_yaml(path)
    axes, overrides = _divided(arguments)
    section = data.setdefault("ablation", {})
    if not isinstance(section, dict):
        raise ConfigurationError(f"{path}: ablation: expected a section, got {section!r:.60}")
    if axes and section.get("arms"):
        raise ConfigurationError(
            f"{path}: ablation: the file lists its arms; axes cannot be added (got "
            f"{next(iter(axes))!r})"
        )
    if axes:
        section["axes"] = {**(section.get("axes") or {}), **axes}
    if not section and not overrides:
        raise ConfigurationError(
            f"{path}: nothing to compare: it has no ablation section; give an axis, for example "
            "middle=quantum,matched,none"
        )
    return validated(data, overrides, AblationFile, str(path))


def _divided(arguments: Sequence[str]) -> tuple[dict[str, list[Any]], list[str]]:
    """Return axes with their values, and the other arguments."""
    axes: dict[str, list[Any]] = {}
    overrides = []
    for argument in arguments:
        key, separator, text = argument.partition("=")
        key = key.strip()
        parts = _split(text)
        if not separator or (key not in AXES and len(parts) < 2):
            overrides.append(argument)
            continue
        where = f"axis {key!r}"
        if key in axes:
            raise ConfigurationError(f"{where} is given twice; list all its values in one argument")
        if not all(part.strip() for part in parts):
            raise ConfigurationError(f"{where}: a value is empty; expected {key}=V1,V2,…")
        axes[key] = [parse_yaml(part, where) for part in parts]
    return axes, overrides


def _split(text: str) -> list[str]:
    """Split at the commas that are in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
