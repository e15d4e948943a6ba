"""The arms of one trained circuit: simulated here, and as requests to a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import numpy as np
from jaxtyping import Float

from hqnn_jax.circuits import Circuit
from hqnn_jax.circuits.gates import Observable
from hqnn_jax.circuits.sampling.shots import standard_errors
from hqnn_jax.config.hardware import HardwareConfig
from hqnn_jax.hardware.compilation import CompiledCircuit, noisy_circuit
from hqnn_jax.hardware.execution import JobRequest, requests
from hqnn_jax.hardware.mitigation import Mitigation

MAX_NOISE_MODEL_QUBITS = 10
"""The exact noisy engine keeps 4^n numbers for each sample."""
_MAX_NUMBERS = 2**25
# Seeds of arms lie far apart, since jobs of one arm count up from its seed.
_SEEDS_OF_AN_ARM = 10_000

Values = tuple[Float[np.ndarray, "samples outputs"], Float[np.ndarray, "samples outputs"]]
"""Values of a circuit's outputs, and their standard errors."""


def exact_values(
    circuit: Circuit, weights: Float[np.ndarray, "..."], features: Float[np.ndarray, "samples f"]
) -> Values:
    """Return the exact values of a circuit, with its noise, in double precision."""
    size = 2**circuit.num_qubits if circuit.noise is None else 4**circuit.num_qubits
    with jax.enable_x64(True):
        evaluate = circuit.to_jax()
        values = _in_blocks(lambda _, block: evaluate(weights, block), features, size)
    return values, np.zeros_like(values)


def shot_values(
    circuit: Circuit,
    weights: Float[np.ndarray, "..."],
    features: Float[np.ndarray, "samples f"],
    shots: int,
    seed: int,
) -> Values:
    """Return values as measured with a number of shots without noise, and their exact errors."""
    key, size = jax.random.key(seed), 2**circuit.num_qubits
    with jax.enable_x64(True):
        draw, deviation = circuit.to_sampler(shots), standard_errors(circuit, shots)
        values = _in_blocks(
            lambda number, block: draw(jax.random.fold_in(key, number), weights, block),
            features,
            size,
        )
        errors = _in_blocks(lambda _, block: deviation(weights, block), features, size)
    return values, errors


def noise_model_values(
    compiled: CompiledCircuit,
    weights: Float[np.ndarray, "..."],
    features: Float[np.ndarray, "samples f"],
) -> Values:
    """Return the exact values of a compiled circuit under our model of its device's noise."""
    return exact_values(noisy_circuit(compiled), weights, features)


def has_noise_model(compiled: CompiledCircuit) -> bool:
    """Whether there is noise to model, on few enough qubits."""
    return (
        compiled.backend.device is not None and len(compiled.used_qubits) <= MAX_NOISE_MODEL_QUBITS
    )


def mitigations(config: HardwareConfig) -> Mapping[str, Mitigation]:
    """Return what is done against errors in each arm on the backend, by label; raw first."""
    found = {"none": Mitigation()}
    for text in config.mitigation:
        chosen = Mitigation(
            **dict.fromkeys(text.split("+"), True),
            noise_factors=config.zne.noise_factors,
            extrapolator=config.zne.extrapolator,
            num_randomizations=config.randomizations,
        )
        found[chosen.label()] = chosen
    return found


def arm_requests(
    compiled: CompiledCircuit,
    weights: Float[np.ndarray, "..."],
    features: Float[np.ndarray, "samples f"],
    config: HardwareConfig,
) -> Mapping[str, list[JobRequest]]:
    """Return the jobs of every arm on the backend, by the label of its mitigation.

    Raises:
        HardwareError: for mitigation that the backend or the primitive does not have.
    """
    return {
        label: requests(
            compiled,
            weights,
            features,
            shots=config.num_shots,
            mitigation=mitigation,
            primitive=config.primitive,
            seed=config.simulator_seed + _SEEDS_OF_AN_ARM * place,
        )
        for place, (label, mitigation) in enumerate(mitigations(config).items())
    }


def output_names(circuit: Circuit) -> tuple[str, ...]:
    """Return the outputs' names: `Z0` or `X0Z2` for Pauli words, else `output 3`."""
    return tuple(
        _output_name(observable, position)
        for position, observable in enumerate(circuit.observables)
    )


def _output_name(observable: Observable, position: int) -> str:
    if len(observable.terms) == 1 and observable.terms[0][0] == 1:
        word = observable.terms[0][1]
        name = "".join(f"{letter}{wire}" for wire, letter in enumerate(word) if letter != "I")
        return name or "1"
    return f"output {position}"


def _in_blocks(
    function: Callable[[int, Float[np.ndarray, "block f"]], jax.Array],
    features: Float[np.ndarray, "samples f"],
    numbers_per_sample: int,
) -> Float[np.ndarray, "samples outputs"]:
    """Evaluate samples in blocks of one shape; `function` is given the number of each block."""
    size = max(1, min(len(features), _MAX_NUMBERS // numbers_per_sample))
    # The last one is filled up, so that nothing is compiled twice.
    missing = -len(features) % size
    filled = np.pad(features, [(0, missing), (0, 0)], mode="edge")
    blocks = np.split(filled, len(filled) // size)
    found = [np.asarray(function(number, block)) for number, block in enumerate(blocks)]
    return np.concatenate(found)[: len(features)]
