"""Writing a trained model in a format, checked before it is kept, with a description beside it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from hqnn_jax.circuits.engines import ENGINES
from hqnn_jax.config import CIRCUIT_MIDDLES
from hqnn_jax.errors import ExportError, HqnnError
from hqnn_jax.exporting.check import largest_difference
from hqnn_jax.exporting.onnx_model import onnx_program, to_onnx
from hqnn_jax.exporting.openqasm import to_openqasm3
from hqnn_jax.exporting.stablehlo import stablehlo_program, to_stablehlo
from hqnn_jax.trained.model import TrainedModel
from hqnn_jax.trained.structure import build_structure


@dataclasses.dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        make: from a model to the content of a file.
        program: from that content to a function of uint8 images, which is compared with the model;
            None where the file is no program of images.
        packages: those whose versions matter to who reads the file.
        batches: how many images the program is compared with the model on.
    """

    make: Callable[[TrainedModel], bytes]
    program: Callable[[bytes], Callable[[np.ndarray], np.ndarray]] | None
    packages: tuple[str, ...]
    batches: tuple[int, ...] = (5,)


FORMATS = {
    "stablehlo": Format(to_stablehlo, stablehlo_program, ("jax", "jaxlib")),
    "onnx": Format(to_onnx, onnx_program, ("jax2onnx", "onnx", "onnxruntime"), (1, 5)),
    "openqasm3": Format(lambda model: to_openqasm3(model).encode(), None, ("qiskit",)),
}


@dataclasses.dataclass(frozen=True)
class Exported:
    """A model in a format.

    Attributes:
        content: of the file.
        difference: the largest difference of a probability from the model's own, on random images;
            None where the file is no program of images.
    """

    content: bytes
    difference: float | None


def export_model(model: TrainedModel, name: str, engine: str | None = None) -> Exported:
    """Return a model in a format, after comparing what it says with what the model says.

    Args:
        model: the model.
        name: one of `SUFFIXES`.
        engine: what evaluates the circuit in the program; by default what the model says.

    Raises:
        ExportError: for a format that the model does not fit in, naming the operation, and the
            engine with which it would where there is one; for one that gives other probabilities.
        CircuitError: if the engine does not apply to the circuit.
    """
    chosen = model if engine is None else with_engine(model, engine)
    try:
        return _exported(chosen, name)
    except ExportError as error:
        other = None if engine is not None else _engine_that_does(model, name)
        advice = "" if other is None else f"; with --engine {other} the model can be exported"
        raise ExportError(f"{error}{advice}") from error


def _exported(model: TrainedModel, name: str) -> Exported:
    kind = FORMATS[name]
    content = kind.make(model)
    if kind.program is None:
        return Exported(content, None)
    program = kind.program(content)
    return Exported(content, largest_difference(model, program, name, kind.batches))


def with_engine(model: TrainedModel, engine: str) -> TrainedModel:
    """Return the model with another engine for its circuit.

    Raises:
        CircuitError: if it does not apply.
    """
    circuit = model.config.circuit.model_copy(update={"engine": engine})
    config = model.config.model_copy(update={"circuit": circuit})
    record = model.record.model_copy(update={"model": config})
    network, _ = build_structure(record, shots=record.shots)
    return dataclasses.replace(model, record=record, network=network)


def describe(model: TrainedModel, name: str, exported: Exported) -> dict[str, Any]:
    """Return what the file of a format is, as the JSON beside it says."""
    side, classes = model.resolution, len(model.class_names)
    given: dict[str, Any] = {
        "name": "images",
        "dtype": "uint8",
        "shape": ["batch", side, side, model.channels],
        "resize": model.record.images.resize,
    }
    returned: dict[str, Any] = {
        "name": "probabilities",
        "dtype": "float32",
        "shape": ["batch", classes],
        "calibrated": True,
    }
    if FORMATS[name].program is None:
        given = {"name": "features_k", "unit": "radians", "from": "the classical part of the model"}
        returned = {"name": "expectation values", "said": "in the comments at the head of the file"}
    return {
        "format": name,
        "sha256": hashlib.sha256(exported.content).hexdigest(),
        "input": given,
        "output": returned,
        "class_names": list(model.class_names),
        "trained_on": model.record.trained_on.model_dump(mode="json"),
        "largest_difference": exported.difference,
        "versions": {
            package: version(package) for package in ("hqnn-jax", *FORMATS[name].packages)
        },
    }


def _engine_that_does(model: TrainedModel, name: str) -> str | None:
    """The first engine with which a program of images can be made in the format."""
    if FORMATS[name].program is None or model.config.middle not in CIRCUIT_MIDDLES:
        return None
    # PennyLane's own simulator, which does the most, is the least likely: it comes last.
    for engine in reversed(ENGINES):
        if engine in ("auto", model.config.circuit.engine):
            continue
        try:
            _exported(with_engine(model, engine), name)
        except HqnnError:  # it does not apply, or the format does not take it either
            continue
        return engine
    return None
