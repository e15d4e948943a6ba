"""What is between processor and classifier: a circuit, a variant of it, or a classical control."""

from __future__ import annotations

import functools
import inspect
import pkgutil
from collections.abc import Callable

from flax import nnx
from jaxtyping import Array, Float

from hqnn_jax.circuits import (
    CIRCUITS,
    Circuit,
    NoiseModel,
    ReadoutError,
    amplitude_damping,
    depolarizing,
)
from hqnn_jax.config import CircuitConfig, ModelConfig
from hqnn_jax.config.names import middle_record
from hqnn_jax.config.noise import NoiseConfig
from hqnn_jax.errors import CircuitError, ConfigurationError, HardwareError
from hqnn_jax.models.controls import build_control
from hqnn_jax.own_parts import import_own
from hqnn_jax.text import one_line

CIRCUIT_LAYER = "evaluate_samples"
"""Name of the function of `Circuit.to_jax` in a trace."""


class FrozenWeights(nnx.BatchStat):
    """Weights of a circuit that are never trained.

    They travel with the batch statistics (`Variables.batch_stats`), which no optimiser, weight
    decay or count of parameters sees.
    """


class QuantumLayer(nnx.Module):
    """A variational circuit with its weights, evaluated exactly or with a number of shots."""

    def __init__(
        self,
        circuit: Circuit,
        engine: str,
        *,
        rngs: nnx.Rngs,
        shots: int | None = None,
        frozen: bool = False,
    ):
        """Draw the initial weights the circuit prescribes; `frozen` ones are not trained.

        With `shots`, outputs are estimates from that many measurements of each group of commuting
        words, drawn from the exact distribution, and `engine` is not used; the arrays are the same.
        """
        weights = circuit.init_weights(rngs.params())
        self.weights = FrozenWeights(weights) if frozen else nnx.Param(weights)
        self.shots = shots
        self.evaluate: Callable[..., Array] = (
            circuit.to_jax(engine=engine) if shots is None else circuit.to_sampler(shots)
        )

    def __call__(
        self, features: Float[Array, "batch num_features"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch num_outputs"]:
        """Return the circuit's expectation values; features are angles in radians.

        Raises:
            ValueError: with shots and without `rngs.shots`, the key they are drawn with.
        """
        if self.shots is None:
            return self.evaluate(self.weights[...], features)
        if rngs is None or "shots" not in rngs:
            raise ValueError(
                f"the circuit is evaluated with {self.shots} shots, which take a key: give "
                "nnx.Rngs(shots=key), or Model.apply its key"
            )
        return self.evaluate(rngs.shots(), self.weights[...], features)


def build_middle(
    config: ModelConfig, circuit: Circuit, *, rngs: nnx.Rngs, shots: int | None = None
) -> nnx.Module | None:
    """Return the middle of a model, None for `none`; see `ModelConfig.middle`.

    Args:
        circuit: `build_circuit(config.circuit)`.
        shots: see `QuantumLayer`; no effect on classical middles.

    Raises:
        ConfigurationError: if the circuit has no such variant or control; with the noise of a
            device, also as `build_middle_circuit`.
    """
    record = middle_record(config.middle)
    if record.kind == "nothing":
        return None
    if record.kind == "control":
        return build_control(config.middle, circuit, rngs=rngs)
    return QuantumLayer(
        _evaluated(config, circuit),
        config.circuit.engine,
        rngs=rngs,
        shots=shots,
        frozen=not record.trained,
    )


def build_middle_circuit(config: ModelConfig) -> Circuit | None:
    """Return the circuit that the model evaluates, variant and noise included.

    With the noise of a device it is the circuit in the device's gates and on its qubits, with the
    weights and features of the ideal one. None where the middle is classical.

    Raises:
        ConfigurationError: as `build_circuit` and `build_middle`, and where Qiskit is missing.
        HardwareError: for a device that cannot be had, or on which the circuit does not fit.
    """
    if middle_record(config.middle).kind != "circuit":
        return None
    return _evaluated(config, build_circuit(config.circuit))


def _evaluated(config: ModelConfig, circuit: Circuit) -> Circuit:
    noise = config.circuit.noise
    if noise is None or noise.device is None:
        return _variant(config.middle, circuit)
    # Nothing that makes no difference to the gates, so that they are compiled once.
    sized = config.circuit.model_copy(update={"growth": None, "engine": "auto"})
    middle = config.middle if middle_record(config.middle).made_by else "quantum"
    return _on_device(middle, sized)


# Cached: a model is built several times in a run, and compiling takes seconds. All of them then
# have the same calibration of a real device, too.
@functools.lru_cache(maxsize=32)
def _on_device(middle: str, config: CircuitConfig) -> Circuit:
    """The variant of a circuit, compiled for the device of its noise as on hardware."""
    from hqnn_jax.hardware.backends import open_backend
    from hqnn_jax.hardware.compilation import compile_for, noisy_circuit

    noise = config.noise
    assert noise is not None
    assert noise.device is not None
    try:
        compiled = compile_for(
            _variant(middle, build_circuit(config)),
            open_backend(noise.device),
            optimization_level=noise.optimization_level,
            seed=noise.layout_seed,
        )
        return noisy_circuit(compiled)
    except HardwareError as error:
        raise HardwareError(f"noise.device: {error}") from error


def _variant(middle: str, circuit: Circuit) -> Circuit:
    made_by = middle_record(middle).made_by
    if made_by is None:
        return circuit
    try:
        variant: Circuit = pkgutil.resolve_name(made_by)(circuit)
    except CircuitError as error:
        raise ConfigurationError(f"model.middle '{middle}': {error}") from error
    return variant


def build_circuit(config: CircuitConfig) -> Circuit:
    """Return the configured circuit, from the library or from `package.module:function`.

    It has the configured noise, but not that of a device, which belongs to the compiled circuit:
    see `build_middle_circuit`.

    Raises:
        ConfigurationError: if the name cannot be imported or returns no `Circuit`, or if the
            circuit does not take the asked number of qubits or layers, or the chosen parts.
    """
    factory: Callable[..., Circuit] = CIRCUITS.get(config.name) or import_own(
        "model.circuit.name", config.name, "a function that returns a circuit"
    )
    arguments = {
        "num_qubits": config.num_qubits,
        "num_layers": config.num_layers,
        **config.parts(),
    }
    given = ", ".join(f"{key}={value}" for key, value in arguments.items())
    try:
        inspect.signature(factory).bind(**arguments)
        circuit = factory(**arguments)
    except (TypeError, ValueError, CircuitError) as error:
        raise ConfigurationError(
            f"model.circuit: {config.name!r} does not accept {given}: {one_line(error)}"
        ) from error
    except (Exception, SystemExit) as error:
        if config.name in CIRCUITS:
            raise
        # Somebody else's code.
        raise ConfigurationError(
            f"model.circuit: {config.name!r} raised {type(error).__name__} for {given}: "
            f"{one_line(error)}; expected a circuit"
        ) from error
    if not isinstance(circuit, Circuit):
        raise ConfigurationError(
            f"model.circuit.name: {config.name!r} returned {type(circuit).__name__}; expected "
            "hqnn_jax.circuits.Circuit (make one with Circuit.from_function)"
        )
    noise = None if config.noise is None else noise_model(config.noise)
    return circuit if noise is None else circuit.with_noise(noise)


def noise_model(config: NoiseConfig) -> NoiseModel | None:
    """Return the noise of a circuit, None where every strength is zero, as with a device.

    After each gate: depolarizing on its qubits together, then amplitude damping on each of them.
    """
    damping = (amplitude_damping(config.amplitude_damping),) if config.amplitude_damping else ()
    one_qubit = (depolarizing(config.one_qubit),) if config.one_qubit else ()
    two_qubit = (depolarizing(config.two_qubit, 2),) if config.two_qubit else ()
    noise = NoiseModel(
        one_qubit=(*one_qubit, *damping),
        two_qubit=(*two_qubit, *damping),
        readout=ReadoutError(config.readout, config.readout) if config.readout else None,
    )
    return None if noise.is_trivial else noise
