"""The parameter groups of a model, each of which has its own learning rate."""

from __future__ import annotations

from typing import Any, Literal

import jax
from jaxtyping import PyTree

from hqnn_jax.config import CIRCUIT_MIDDLES

Group = Literal["backbone", "circuit", "classical"]
GROUPS: tuple[Group, ...] = ("backbone", "circuit", "classical")


def parameter_groups(params: dict[str, Any], middle: str) -> PyTree:
    """Return a tree like `params` with the group name of every parameter.

    The trainable weights of a circuit are `circuit`; a classical middle is `classical`, like
    processor, projection, readout and classifier. A frozen circuit has no parameters.

    Raises:
        ValueError: for a parameter that no group covers: a bug, never a default.
    """
    groups: dict[str, Group] = {
        "backbone": "backbone",
        "processor": "classical",
        "projection": "classical",
        "angle_norm": "classical",
        "middle": "circuit" if middle in CIRCUIT_MIDDLES else "classical",
        "readout": "classical",
        "classifier": "classical",
        "logits": "classical",
    }
    unknown = sorted(set(params) - set(groups))
    if unknown:
        raise ValueError(f"parameters without a group: {unknown}")
    return {
        part: jax.tree.map(lambda _, group=groups[part]: group, subtree)
        for part, subtree in params.items()
    }


def count_parameters(params: dict[str, Any], middle: str) -> dict[str, int]:
    """Return the number of parameters per group and in `total`."""
    labels = jax.tree.leaves(parameter_groups(params, middle))
    sizes = [leaf.size for leaf in jax.tree.leaves(params)]
    counts: dict[str, int] = dict.fromkeys(GROUPS, 0)
    for label, size in zip(labels, sizes, strict=True):
        counts[label] += int(size)
    return {**counts, "total": sum(sizes)}
