"""What is known of one engine, said beside its code: the record `ENGINE` of its module."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.engines.chunking import Evaluate
from hqnn_jax.circuits.engines.cost import Shape, Work


class Memory(NamedTuple):
    """How many state vectors of one sample, in complex numbers, exist at the same time.

    Attributes:
        held: while its outputs are computed.
        stored: while their gradient is computed.
    """

    held: float
    stored: float


@dataclass(frozen=True)
class Engine:
    """A way of evaluating a circuit.

    Attributes:
        build: `build(circuit)` returns `evaluate(weights[weights_shape],
            features[batch, num_features]) -> [batch, num_outputs]` for inputs of one float dtype,
            in which it computes.
        why_not: why the engine cannot evaluate a circuit and what to use instead, None if it can.
        follows_noise: whether it evaluates noisy circuits too.
        memory: by which batches that would not fit the device are divided; None where no
            state vectors are made of the samples.
        work: what a batch of so many samples costs with its gradient; None if `auto` is never to
            take the engine.
        may_be_fastest: whether `auto` is to consider the engine for a circuit at all.
    """

    build: Callable[[Definition], Evaluate]
    why_not: Callable[[Definition], str | None] = lambda circuit: None
    follows_noise: bool = False
    memory: Callable[[Definition], Memory] | None = None
    work: Callable[[Shape, int], Work] | None = None
    may_be_fastest: Callable[[Definition], bool] = lambda circuit: True
