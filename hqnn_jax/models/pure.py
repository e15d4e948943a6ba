"""A model as a pure function of plain nested dictionaries of arrays.

The Flax NNX module is split once into graph definitions (static) and arrays; everything that is
compiled sees the latter.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float, Key, PyTree


@dataclasses.dataclass(frozen=True)
class Variables:
    """The arrays of a model, as nested dictionaries.

    Attributes:
        params: trainable parameters.
        batch_stats: batch statistics, and weights of a frozen circuit (see `FrozenWeights`).
    """

    params: PyTree
    batch_stats: PyTree


jax.tree_util.register_dataclass(Variables, ["params", "batch_stats"], [])


class TrainingOutputs(NamedTuple):
    """What a forward pass in training returns: logits, the middle's output, batch statistics."""

    logits: Float[Array, "batch num_classes"]
    representation: Float[Array, "batch num_outputs"]
    batch_stats: PyTree


@dataclasses.dataclass(frozen=True)
class Model:
    """The static structure of a model; together with `Variables` it is a pure function."""

    training_graph: nnx.GraphDef
    evaluation_graph: nnx.GraphDef

    @classmethod
    def split(cls, module: nnx.Module) -> tuple[Model, Variables]:
        """Split an NNX module into static structure and arrays."""
        module.train()
        training_graph, params, batch_stats = nnx.split(module, nnx.Param, nnx.BatchStat)  # type: ignore[misc]
        module.eval()
        model = cls(training_graph, nnx.graphdef(module))
        return model, Variables(nnx.to_pure_dict(params), nnx.to_pure_dict(batch_stats))

    def module(self, variables: Variables) -> Any:
        """Return the NNX module with these arrays, in evaluation."""
        # copy=True: modules must not be shared between trace levels.
        return nnx.merge(self.evaluation_graph, variables.params, variables.batch_stats, copy=True)

    def apply(
        self,
        variables: Variables,
        inputs: Float[Array, "batch *shape"],
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "batch outputs"]:
        """Evaluate with the stored batch statistics and without dropout.

        `key` is what shots are drawn with, for a HybridNetwork that has a number of them.
        """
        module = self.module(variables)
        return module(inputs) if key is None else module(inputs, nnx.Rngs(shots=key))

    def apply_training(
        self, variables: Variables, inputs: Float[Array, "batch *shape"], key: Key[Array, ""]
    ) -> TrainingOutputs:
        """Evaluate a HybridNetwork with statistics of this batch and dropout from `key`."""
        module = nnx.merge(self.training_graph, variables.params, variables.batch_stats, copy=True)
        rngs = nnx.Rngs(dropout=key)
        representation = module.represent(inputs, rngs)
        logits = module.classify(representation, rngs)
        batch_stats = nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))
        return TrainingOutputs(logits, representation, batch_stats)
