"""What a run will need of memory, told before anything is compiled; what cannot fit is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
import psutil
from jax.extend.core import ClosedJaxpr

from hqnn_jax.circuits import Circuit
from hqnn_jax.circuits.engines.needs import gradient_bytes, value_bytes
from hqnn_jax.config import Config
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.models.middles import CIRCUIT_LAYER, build_middle_circuit
from hqnn_jax.runs.setup import Setup
from hqnn_jax.training.liveness import peak_bytes
from hqnn_jax.training.memory import available_memory
from hqnn_jax.training.program import TrainingData
from hqnn_jax.training.state import TrainState

_COPIES = 1.25
"""What the compiler takes for activations beyond those that must be there at once: convolutions
have working space, and not every chain of operations is one pass. Measured with the shipped
configurations."""


_COMPILER = 0.5 * 2**30
"""What compiling, checkpoints and figures take of the process, whatever the model."""


@dataclass(frozen=True)
class Needs:
    """Bytes that a run needs at its peak, by what for.

    Attributes:
        libraries: Python, all it has loaded and the compiler; 0 on an accelerator.
        images: images or features, in memory and on the device.
        state: parameters and the optimiser's moments.
        circuit: states of the circuit.
        activations: what else a step computes.
    """

    libraries: float
    images: float
    state: float
    circuit: float
    activations: float

    @property
    def ahead(self) -> float:
        """What is not taken yet."""
        return self.circuit + self.activations

    @property
    def total(self) -> float:
        """All together."""
        return self.libraries + self.images + self.state + self.ahead

    def __str__(self) -> str:
        """Write them in GiB: `about 1.2 GiB of memory (images 0.3, …)`."""
        named = {
            "libraries": self.libraries,
            "images": self.images,
            "parameters and optimiser": self.state,
            "circuit": self.circuit,
            "activations": self.activations,
        }
        shown = (f"{name} {_gib(size)}" for name, size in named.items() if size >= 0.05 * 2**30)
        parts = ", ".join(shown)
        return f"about {_gib(self.total)} GiB of memory{f' ({parts})' if parts else ''}"


def check_needs(
    setup: Setup, state: TrainState, data: TrainingData
) -> Callable[[ClosedJaxpr], None]:
    """Return what is to be called with the trace of training, before it is compiled.

    It tells what the run needs.

    Raises:
        ConfigurationError: from here, where the circuit does not fit with a single image, and from
            what is returned, where a batch does not; naming the most that would fit.
    """
    config = setup.config
    circuit = build_middle_circuit(config.model)
    available = available_memory(cpu_share=1.0)
    if circuit is not None:
        _check_one_image(config, circuit, available)

    def check(traced: ClosedJaxpr) -> None:
        needs = _needs(setup, state, data, circuit, traced)
        setup.progress.line(f"needs {needs}")
        if needs.ahead > available:
            raise ConfigurationError(_too_large(needs, config, circuit, available))

    return check


def _check_one_image(config: Config, circuit: Circuit, available: int) -> None:
    needed = gradient_bytes(circuit, config.model.circuit.engine, 1)
    if needed <= available:
        return
    most = max(1, circuit.num_qubits - math.ceil(math.log2(needed / max(1, available))))
    raise ConfigurationError(
        f"model.circuit: the gradient of one image on {circuit.num_qubits} qubits needs about "
        f"{_gib(needed)} GiB of memory, and {_gib(available)} GiB are free; {most} qubits would fit"
    )


def _needs(
    setup: Setup,
    state: TrainState,
    data: TrainingData,
    circuit: Circuit | None,
    traced: ClosedJaxpr,
) -> Needs:
    config = setup.config
    peak = peak_bytes(traced, CIRCUIT_LAYER)
    of_circuit = 0.0
    if circuit is not None:
        # Engines that make no states of samples are judged by their trace alone.
        of_circuit = max(peak.named, _circuit_bytes(config, circuit, config.training.batch_size))
    images = _image_bytes(setup, data)
    of_state = sum(_bytes(leaf) for leaf in jax.tree.leaves(state))
    on_cpu = jax.default_backend() == "cpu"
    process = psutil.Process().memory_info().rss + _COMPILER if on_cpu else 0
    return Needs(
        libraries=max(0.0, process - images - of_state),
        images=images,
        state=of_state,
        circuit=of_circuit,
        activations=_COPIES * peak.other,
    )


def _circuit_bytes(config: Config, circuit: Circuit, batch: int) -> float:
    """Return what the circuit takes in training, or in evaluation where that is more."""
    engine = config.model.circuit.engine
    evaluated = config.evaluation.batch_size
    return max(gradient_bytes(circuit, engine, batch), value_bytes(circuit, engine, evaluated))


def _too_large(needs: Needs, config: Config, circuit: Circuit | None, available: int) -> str:
    """Return what is told of a batch that does not fit."""
    batch, engine = config.training.batch_size, config.model.circuit.engine

    def fits(size: int) -> bool:
        states = 0.0 if circuit is None else gradient_bytes(circuit, engine, size)
        return states + needs.activations * size / batch <= available

    sizes = (2**power for power in reversed(range(1, batch.bit_length())))
    largest = next((size for size in sizes if size < batch and fits(size)), None)
    advice = "use fewer qubits or a smaller model.backbone.image_size"
    if largest is not None:
        advice = f"training.batch_size={largest} would fit"
        states = 0.0 if circuit is None else value_bytes(circuit, engine, largest)
        evaluated = config.evaluation.batch_size
        if circuit is not None and value_bytes(circuit, engine, evaluated) > max(available, states):
            advice += f", with evaluation.batch_size={largest}"
    return (
        f"training.batch_size: {batch} needs {needs}, of which {_gib(needs.ahead)} GiB are still "
        f"to be taken and {_gib(available)} GiB are free; {advice}"
    )


def _image_bytes(setup: Setup, data: TrainingData) -> float:
    """Return the bytes of images and features: on the device, and on CPU those beside it."""
    on_device = [getattr(part, "inputs", None) for part in (data.train, data.validation)]
    arrays = {id(array): array for array in on_device if array is not None}
    if jax.default_backend() == "cpu":
        splits = (split.images for split in setup.dataset.splits().values())
        loaded = [*splits, *setup.inputs.values()]
        arrays |= {id(array): array for array in loaded if isinstance(array, np.ndarray)}
    return float(sum(array.nbytes for array in arrays.values()))


def _bytes(leaf: jax.Array) -> float:
    return float(leaf.size * leaf.dtype.itemsize)


def _gib(size: float | int) -> str:
    return f"{size / 2**30:.2g}" if size < 10 * 2**30 else f"{size / 2**30:.0f}"
