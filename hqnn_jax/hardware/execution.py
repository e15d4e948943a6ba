"""Values of a compiled circuit for a batch, from jobs of IBM's primitives.

A `JobRequest` is what one job is asked for. It is independent of how the job is run, so that a job
can be collected by another process than the one that submitted it; see `jobs`.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from hqnn_jax.circuits import Circuit
from hqnn_jax.errors import HardwareError
from hqnn_jax.hardware.backends import Backend
from hqnn_jax.hardware.compilation import CompiledCircuit
from hqnn_jax.hardware.mitigation import Mitigation
from hqnn_jax.hardware.sampling import decode_samples, num_bases, sampler_pubs

if TYPE_CHECKING:
    from qiskit.primitives import BasePrimitiveJob

Primitive = Literal["estimator", "sampler"]
Mode = Literal["job", "batch", "session"]

MAX_EXECUTIONS = 10_000_000
"""Circuits times shots that IBM takes in one job; quantum.cloud.ibm.com/docs/guides/job-limits."""
# A PUB's arrays are held in memory several times over.
_MAX_EXECUTIONS_PER_PUB = 5_000_000


@dataclass(frozen=True)
class Estimates:
    """Values of a circuit's outputs for a batch, with their errors.

    Attributes:
        values: shape [batch, outputs], float64.
        standard_errors: statistical error of each value, of the same shape; 0 for exact values.
            Errors of outputs measured together are correlated.
        raw_values: values of the same job before the last step of mitigation: extrapolation, or
            the sampler's inversion of the readout; None if the job has none, as with the
            estimator's readout mitigation alone. Compare with a job without mitigation then.
        shots: measurements of each basis for each sample; 0 for exact values.
        seconds: wall-clock time from submission to result, queueing included.
        job_ids: the jobs the values are from.
        metadata: backend, primitive, mitigation and seed, ready for JSON.
    """

    values: Float[np.ndarray, "batch outputs"]
    standard_errors: Float[np.ndarray, "batch outputs"]
    raw_values: Float[np.ndarray, "batch outputs"] | None
    shots: int
    seconds: float
    job_ids: tuple[str, ...]
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class JobRequest:
    """What one job is asked for.

    Attributes:
        compiled: the circuit.
        weights: values of its weights.
        features: features of some samples, shape [batch, num_features], radians.
        shots: measurements of each basis for each sample.
        mitigation: what is done against errors.
        primitive: estimator or sampler.
        seed: seed of a simulator, no effect on a device.
    """

    compiled: CompiledCircuit
    weights: Float[np.ndarray, "..."]
    features: Float[np.ndarray, "batch features"]
    shots: int
    mitigation: Mitigation
    primitive: Primitive
    seed: int | None

    @cached_property
    def digest(self) -> str:
        """Hash of everything that determines the distribution of the answer (SHA-256, hex).

        The circuit enters with its gates and the angles of these samples, not as compiled: a
        device is calibrated anew every day, and with it the best layout changes.
        """
        source = self.compiled.source
        with jax.enable_x64(True):
            angles = np.asarray(
                jax.jit(jax.vmap(source.angles, (0, None)))(self.features, self.weights)
            )
        described = {
            "gates": [(gate.name, gate.wires, gate.angle) for gate in source.gates],
            "observables": [observable.terms for observable in source.observables],
            "backend": self.compiled.backend.name,
            "compilation": self.compiled.settings,
            "shots": self.shots,
            "mitigation": self.mitigation.settings(),
            "primitive": self.primitive,
            "seed": self.seed,
            "batch": len(self.features),
        }
        content = json.dumps(described, sort_keys=True).encode()
        # Adding 0 makes -0.0 and 0.0 the same.
        return hashlib.sha256(content + (np.round(angles, 10) + 0.0).tobytes()).hexdigest()

    def submit(self, within: Any = None, *, tag: str | None = None) -> BasePrimitiveJob:
        """Send the job and return it without waiting; local backends begin to simulate.

        Args:
            within: what `sending` yields; None sends the job by itself.
            tag: of the job, by which a service finds it again.

        Raises:
            HardwareError: the backend does not take the job.
        """
        backend = self.compiled.backend
        if backend.is_exact:
            from qiskit.primitives import StatevectorEstimator

            values = self.compiled.parameter_values(self.weights, self.features)
            observables = [list(self.compiled.observables)]
            return StatevectorEstimator().run(
                [(self.compiled.circuit, observables, values[:, None])]
            )
        pubs = self._pubs()
        try:
            return self._primitive(within or self._target(), tag).run(pubs)
        except HardwareError:
            raise
        except Exception as error:
            if backend.is_local:
                reason = str(error).split("\n", maxsplit=1)[0]
                raise HardwareError(
                    f"{backend.name} cannot simulate the job ({type(error).__name__}: {reason})"
                ) from error
            raise HardwareError(_refused(backend.name, "the job", error)) from None

    def decode(self, result: Any) -> dict[str, np.ndarray]:
        """Return `values`, `standard_errors` and, where there are any, `raw_values`.

        Each has the shape [batch, outputs]. It does not matter which process submitted the job.

        Raises:
            HardwareError: the result is not that of this request.
        """
        if self.primitive == "sampler" and not self.compiled.backend.is_exact:
            decoded = decode_samples(result, self.compiled.source, self.mitigation)
        else:
            decoded = self._decode_expectations(result)
        expected = (len(self.features), self.compiled.source.num_outputs)
        if decoded["values"].shape != expected:
            raise HardwareError(
                f"a job on {self.compiled.backend.name} returned values of shape "
                f"{decoded['values'].shape}, expected {expected}: it is not the job of this request"
            )
        return decoded

    def _decode_expectations(self, result: Any) -> dict[str, np.ndarray]:
        def joined(name: str) -> np.ndarray:
            return np.concatenate([np.asarray(getattr(pub.data, name)) for pub in result])

        if not self.mitigation.zne or self.compiled.backend.is_exact:
            return {"values": joined("evs"), "standard_errors": joined("stds")}
        by_factor = joined("evs_noise_factors")
        values, errors = self.mitigation.extrapolate(by_factor, joined("stds_noise_factors"))
        return {"values": values, "standard_errors": errors, "raw_values": by_factor[..., 0]}

    def _target(self) -> Any:
        """What the primitive runs on: a device, or a simulator of the qubits in use."""
        backend = self.compiled.backend
        return backend.simulator(self.compiled.used_qubits) if backend.is_local else backend.device

    def _pubs(self) -> list[tuple[Any, ...]]:
        backend = self.compiled.backend
        if backend.is_local:
            circuit, observables, measured = self.compiled.on_used_qubits()
        else:
            circuit, observables = self.compiled.circuit, self.compiled.observables
            measured = self.compiled.final_layout
        values = self.compiled.parameter_values(self.weights, self.features)
        # A simulator draws the same random numbers for every PUB, so that it gets only one.
        per_sample = self.shots * num_bases(self.compiled.source)
        size = len(values) if backend.is_local else max(1, _MAX_EXECUTIONS_PER_PUB // per_sample)
        blocks = [values[start : start + size] for start in range(0, len(values), size)]
        if self.primitive == "sampler":
            target = None if backend.device is None else self._target().target
            return sampler_pubs(
                circuit, self.compiled.source, measured, blocks, target, self.mitigation
            )
        return [(circuit, [list(observables)], block[:, None]) for block in blocks]

    def _primitive(self, where: Any, tag: str | None) -> Any:
        from qiskit_ibm_runtime.executor_estimator import EstimatorV2
        from qiskit_ibm_runtime.executor_sampler import SamplerV2

        kind, options = EstimatorV2, self.mitigation.estimator_options
        if self.primitive == "sampler":
            kind, options = SamplerV2, self.mitigation.sampler_options
        tags = {} if tag is None else {"environment": {"job_tags": [tag]}}
        return kind(mode=where, options=options(self.shots, self.seed) | tags)


def requests(
    compiled: CompiledCircuit,
    weights: ArrayLike,
    features: ArrayLike,
    *,
    shots: int = 4096,
    mitigation: Mitigation | None = None,
    primitive: Primitive | None = None,
    seed: int | None = None,
) -> list[JobRequest]:
    """Divide a batch into jobs: one, unless it is beyond what a device takes in one.

    Args:
        compiled: the circuit.
        weights: values of the weights, in the shape of the source's weights.
        features: shape [batch, num_features], radians.
        shots: measurements of each basis for each sample.
        mitigation: what is done against errors, nothing if None.
        primitive: None takes the sampler for circuits that return probabilities, which need one
            measurement basis, and the estimator for all others.
        seed: seed of a simulator; jobs after the first count up from it.

    Raises:
        CircuitError: the shapes do not fit.
        HardwareError: no sample, no shots, or mitigation that the primitive does not have.
    """
    mitigation = mitigation or Mitigation()
    trained, samples = np.asarray(weights, float), np.asarray(features, float)
    compiled.source.checked_inputs(trained, samples)
    if shots < 1 or not len(samples):
        raise HardwareError(f"{len(samples)} samples, shots={shots}; expected at least 1 of each")
    chosen = primitive or default_primitive(compiled.source)
    if compiled.backend.is_exact and not mitigation.is_none:
        raise HardwareError(
            f"{compiled.backend.name} has no errors to mitigate ({mitigation.label()}); leave "
            "mitigation out"
        )
    if compiled.backend.device is None and mitigation.dynamical_decoupling:
        raise HardwareError(
            f"{compiled.backend.name} has no durations of gates, so no idle times for dynamical "
            "decoupling; choose a device or switch it off"
        )
    if chosen == "sampler":
        mitigation.sampler_options(shots, seed)
    size = min(len(samples), samples_per_job(compiled, shots, mitigation))
    return [
        JobRequest(
            compiled,
            trained,
            samples[start : start + size],
            shots,
            mitigation,
            chosen,
            None if seed is None else seed + position,
        )
        for position, start in enumerate(range(0, len(samples), size))
    ]


def estimate(
    compiled: CompiledCircuit,
    weights: ArrayLike,
    features: ArrayLike,
    **options: Any,
) -> Estimates:
    """Run a batch and wait for the values.

    Arguments and errors are those of `requests`. Use `jobs.JobStore` for jobs that are to outlive
    the process.

    Raises:
        HardwareError: the backend does not take the job, or the job fails.
    """
    begun = time.monotonic()
    parts = requests(compiled, weights, features, **options)
    submitted = [request.submit() for request in parts]
    decoded = []
    for request, job in zip(parts, submitted, strict=True):
        try:
            result = job.result()
        except Exception as error:
            raise HardwareError(
                f"job {job.job_id()} on {compiled.backend.name} failed "
                f"({type(error).__name__}); see the job's page, and send it again"
            ) from error
        decoded.append(request.decode(result))
    ids = [job.job_id() for job in submitted]
    return gathered(parts, decoded, ids, time.monotonic() - begun)


def gathered(
    parts: Sequence[JobRequest],
    decoded: Sequence[dict[str, np.ndarray]],
    job_ids: Sequence[str],
    seconds: float,
) -> Estimates:
    """Join what `JobRequest.decode` returned for the jobs of one batch, in order."""
    first = parts[0]
    joined = {name: np.concatenate([part[name] for part in decoded]) for name in decoded[0]}
    return Estimates(
        values=joined["values"],
        standard_errors=joined["standard_errors"],
        raw_values=joined.get("raw_values"),
        shots=0 if first.compiled.backend.is_exact else first.shots,
        seconds=seconds,
        job_ids=tuple(job_ids),
        metadata={
            "backend": first.compiled.backend.name,
            "primitive": first.primitive,
            "mitigation": first.mitigation.settings(),
            "seed": first.seed,
        },
    )


def samples_per_job(compiled: CompiledCircuit, shots: int, mitigation: Mitigation) -> int:
    """How many samples a device takes in one job; a local backend takes any number."""
    if compiled.backend.is_local:
        return sys.maxsize
    per_sample = shots * num_bases(compiled.source) * mitigation.executions_per_circuit
    return max(1, MAX_EXECUTIONS // per_sample)


def default_primitive(circuit: Circuit) -> Primitive:
    """The sampler for circuits that return probabilities, the estimator for all others."""
    return "sampler" if any(map(_is_projector, circuit.observables)) else "estimator"


def _is_projector(observable: Any) -> bool:
    """Whether an observable is the projector on an outcome: 2^-m Σ ±P, the identity among them."""
    size = len(observable.terms)
    identity = any(set(word) == {"I"} for _, word in observable.terms)
    return identity and all(math.isclose(abs(c), 1 / size) for c, _ in observable.terms)


@contextmanager
def sending(backend: Backend, mode: Mode) -> Iterator[Any]:
    """Yield what `JobRequest.submit` sends jobs within: a batch or a session; None for single jobs.

    No job can be added after the block; those sent in it run to their end. Local backends have no
    batches or sessions, so that all modes are single jobs there.

    Raises:
        HardwareError: the service does not open it.
    """
    if mode == "job" or backend.is_local:
        yield None
        return
    from qiskit_ibm_runtime import Batch, Session

    try:
        opened = {"batch": Batch, "session": Session}[mode](backend=backend.device)
    except Exception as error:
        raise HardwareError(_refused(backend.name, f"the {mode}", error)) from None
    with opened:
        yield opened


def _refused(name: str, what: str, error: Exception) -> str:
    """Why something was not taken, without the service's own text, which may name the account."""
    code = getattr(error, "status_code", None) or getattr(error, "code", None)
    detail = f"{type(error).__name__}{'' if code is None else f', code {code}'}"
    return (
        f"{name} did not take {what} ({detail}); check the account's quota and plan, the device's "
        "status and the connection, and run again: what was sent is not sent again"
    )
