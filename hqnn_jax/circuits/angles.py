"""The pure function from features and weights to the angles of a circuit's gates."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from hqnn_jax.circuits.permutation import read_rows

# Primitives that only move elements about: applied to an array of positions they tell which input
# element ends up where.
_REARRANGING = frozenset(
    [
        "broadcast_in_dim",
        "concatenate",
        "copy",
        "expand_dims",
        "reshape",
        "rev",
        "slice",
        "split",
        "squeeze",
        "stack",
        "transpose",
        "unstack",
    ]
)


class Inputs(enum.Flag):
    """The inputs an angle depends on; `Inputs(0)` for a fixed angle."""

    FEATURES = enum.auto()
    WEIGHTS = enum.auto()


@dataclass(frozen=True, eq=False)
class AngleFunction:
    """Angles of a circuit's gates as a function of (features, weights).

    An angle is an input element, a constant, or computed by a jaxpr. The first two kinds, nearly
    all of them in practice, are read with one gather instead of one slice each: with thousands
    of angles the slices' gradients alone would dominate compile and run time.

    Attributes:
        num_features: number of features of one sample.
        weights_shape: shape of the weights.
        inputs: what each angle depends on.
        shared: for each angle, its position in `shared_angles`; -1 where it depends on features.
        per_sample: for each angle, its position in `sample_angles`; -1 where it does not.
    """

    num_features: int
    weights_shape: tuple[int, ...]
    inputs: tuple[Inputs, ...]
    shared: np.ndarray
    per_sample: np.ndarray
    _shared_pool: np.ndarray
    _sample_pool: np.ndarray
    _constants: np.ndarray
    _shared_computed: tuple[int, ...]
    _sample_computed: tuple[int, ...]
    _jaxpr: ClosedJaxpr
    _trace: Callable[[DTypeLike], ClosedJaxpr]

    @property
    def num_angles(self) -> int:
        """Length of the flat vector of angles."""
        return len(self.inputs)

    def feature_positions(self) -> list[int | None]:
        """For each angle the feature it equals, None where it is anything else."""
        pool = [self._sample_pool[place] if place >= 0 else None for place in self.per_sample]
        return [
            int(source) if source is not None and source < self.num_features else None
            for source in pool
        ]

    def shared_angles(self, weights: Float[Array, "..."]) -> Float[Array, " shared"]:
        """Angles that do not depend on features, in radians and in the dtype of `weights`."""
        pool = [weights.ravel(), jnp.asarray(self._constants, weights.dtype)]
        if self._shared_computed:
            # Any features do: the outputs kept do not depend on them.
            features = jnp.zeros(self.num_features, weights.dtype)
            pool.append(self._computed(features, weights, self._shared_computed))
        return read_rows(jnp.concatenate(pool), self._shared_pool)

    def sample_angles(
        self, features: Float[Array, "batch features"], weights: Float[Array, "..."]
    ) -> Float[Array, "batch per_sample"]:
        """Angles that depend on features (and perhaps on weights), in radians, for each sample."""
        pool = [features]
        if self._sample_computed:
            compute = partial(self._computed, outputs=self._sample_computed)
            pool.append(jax.vmap(compute, (0, None))(features, weights))
        return read_rows(jnp.concatenate(pool, axis=1).T, self._sample_pool).T

    def __call__(
        self, features: Float[Array, " features"], weights: Float[Array, "..."]
    ) -> Float[Array, " angles"]:
        """All angles of one sample, in radians, in the order `Gate.angle` refers to."""
        shared = self.shared_angles(weights)
        per_sample = self.sample_angles(features[None], weights)[0]
        position = np.where(self.shared >= 0, self.shared, len(shared) + self.per_sample)
        return jnp.concatenate([shared, per_sample])[position]

    def _computed(
        self,
        features: Float[Array, " features"],
        weights: Float[Array, "..."],
        outputs: tuple[int, ...],
    ) -> Float[Array, " computed"]:
        """Some outputs of the jaxpr, chosen before stacking.

        The compiler then drops the others, and a derivative of theirs that is not finite cannot
        turn a zero cotangent into NaN.
        """
        dtype = weights.dtype
        # Constants and intermediate results of a float32 trace would round a float64 circuit.
        jaxpr = self._jaxpr if dtype == jnp.float32 else self._trace(dtype)
        results = jaxpr_as_fun(jaxpr)(features, weights)
        return jnp.stack([results[output].astype(dtype) for output in outputs])


def angle_function(
    trace: Callable[[DTypeLike], ClosedJaxpr],
    constants: Mapping[int, float],
    *,
    num_angles: int,
    num_features: int,
    weights_shape: tuple[int, ...],
) -> AngleFunction:
    """Build an `AngleFunction` from a traced function.

    Args:
        trace: gives for a float dtype the jaxpr (features, weights) -> the angles that are not
            constants, in order, each a scalar.
        constants: value in radians of each constant angle, by its position among all angles.
        num_angles: number of angles, constants included.
        num_features: number of features of one sample.
        weights_shape: shape of the weights.
    """
    jaxpr = trace(jnp.float32)
    positions = _input_positions(jaxpr)
    depends = dependence(jaxpr)
    num_weights = int(np.prod(weights_shape))
    pools = _Pools(num_features, num_weights, tuple(constants.values()))
    traced = [angle for angle in range(num_angles) if angle not in constants]
    output_of = {angle: output for output, angle in enumerate(traced)}

    inputs: list[Inputs] = []
    for angle in range(num_angles):
        if angle in constants:
            inputs.append(Inputs(0))
            pools.add_constant(list(constants).index(angle))
        else:
            output = output_of[angle]
            inputs.append(depends[output])
            pools.add_traced(output, depends[output], positions[output])
    return AngleFunction(
        num_features=num_features,
        weights_shape=weights_shape,
        inputs=tuple(inputs),
        shared=np.array(pools.shared_position, np.int32),
        per_sample=np.array(pools.sample_position, np.int32),
        _shared_pool=np.array(pools.shared, np.int32),
        _sample_pool=np.array(pools.sample, np.int32),
        _constants=np.array(pools.constants, float),
        _shared_computed=tuple(pools.shared_computed),
        _sample_computed=tuple(pools.sample_computed),
        _jaxpr=jaxpr,
        _trace=trace,
    )


class _Pools:
    """Where each angle is read from.

    The shared pool is [weights, constants, computed outputs], the pool of one sample is
    [features, computed outputs].
    """

    def __init__(self, num_features: int, num_weights: int, constants: Sequence[float]) -> None:
        self.num_features = num_features
        self.num_weights = num_weights
        self.constants = constants
        self.shared: list[int] = []
        self.sample: list[int] = []
        self.shared_position: list[int] = []
        self.sample_position: list[int] = []
        self.shared_computed: list[int] = []
        self.sample_computed: list[int] = []

    def add_constant(self, index: int) -> None:
        self._add_shared(self.num_weights + index)

    def add_traced(self, output: int, dependence: Inputs, position: int | None) -> None:
        """Add an angle that output `output` of the jaxpr gives.

        `position` is the element of [features, weights] that it equals, None if computed.
        """
        if position is None and Inputs.FEATURES in dependence:
            self._add_sample(self.num_features + len(self.sample_computed))
            self.sample_computed.append(output)
        elif position is None:
            computed = len(self.shared_computed)
            self._add_shared(self.num_weights + len(self.constants) + computed)
            self.shared_computed.append(output)
        elif position < self.num_features:
            self._add_sample(position)
        else:
            self._add_shared(position - self.num_features)

    def _add_shared(self, index: int) -> None:
        self.shared_position.append(len(self.shared))
        self.sample_position.append(-1)
        self.shared.append(index)

    def _add_sample(self, index: int) -> None:
        self.shared_position.append(-1)
        self.sample_position.append(len(self.sample))
        self.sample.append(index)


def _input_positions(closed: ClosedJaxpr) -> list[int | None]:
    """For each output, the element of concat(features, ravelled weights) it equals, or None."""
    jaxpr = closed.jaxpr
    known: dict[object, np.ndarray] = {}
    start = 0
    for var in jaxpr.invars:
        size = int(np.prod(var.aval.shape))
        known[var] = np.arange(start, start + size, dtype=np.int32).reshape(var.aval.shape)
        start += size
    for eqn in jaxpr.eqns:
        arguments = [known.get(var) if not isinstance(var, Literal) else None for var in eqn.invars]
        if eqn.primitive.name not in _REARRANGING or any(a is None for a in arguments):
            continue
        outputs = eqn.primitive.bind(*map(jnp.asarray, arguments), **eqn.params)
        outputs = outputs if eqn.primitive.multiple_results else [outputs]
        known.update(zip(eqn.outvars, map(np.asarray, outputs), strict=True))
    found = [known.get(var) if not isinstance(var, Literal) else None for var in jaxpr.outvars]
    return [None if position is None else int(position) for position in found]


def dependence(closed: ClosedJaxpr) -> list[Inputs]:
    """Return what each output of a jaxpr of (features, weights) depends on.

    An equation's outputs are taken to depend on all it reads.
    """
    jaxpr = closed.jaxpr
    known: dict[object, Inputs] = dict(
        zip(jaxpr.invars, (Inputs.FEATURES, Inputs.WEIGHTS), strict=True)
    )

    def of(var: object) -> Inputs:
        return Inputs(0) if isinstance(var, Literal) else known.get(var, Inputs(0))

    for eqn in jaxpr.eqns:
        union = Inputs(0)
        for var in eqn.invars:
            union |= of(var)
        known.update((var, union) for var in eqn.outvars)
    return [of(var) for var in jaxpr.outvars]
