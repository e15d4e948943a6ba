"""Results of an evaluation on a backend that was never made."""

import numpy as np

from hqnn_jax.config.hardware import HardwareConfig
from hqnn_jax.hardware_evaluation.results import (
    EvaluatedArm,
    HardwareResults,
    ModelResult,
)

IMAGES = 40
NAMES = ("basophil", "monocyte", "platelet")
HOSTILE = r"<b>a_b & $x^2$</b>"
COMPILED = {
    "backend": "fake_five",
    "circuit": "radhi2025",
    "num_qubits": 3,
    "depth": 39,
    "two_qubit_depth": 4,
    "num_two_qubit_gates": 1010,
    "num_swaps": 2,
    "gates": {"rz": 94, "sx": 53, "ecr": 10},
    "initial_layout": [7, 5, 6],
    "final_layout": [7, 6, 5],
    "expected_fidelity": 0.81234,
    "seed": 17,
}


PLAN = {
    **COMPILED, "samples": 40, "bases": 2, "circuits": 80, "shots": 4096, "total_shots": 327680,
    "jobs": 3, "mitigation": "none", "qpu_seconds": 75.0,
}  # fmt: skip


CALIBRATION = {
    "backend": "fake_five",
    "device": "fake_five",
    "date": "2025-02-26T14:43:10-05:00",
    "qubits": [
        {"qubit": 5, "t1": 123.4e-6, "t2": 56.7e-6, "readout_error": 0.0211,
         "gate_errors": {"id": 3e-4, "rz": 0.0, "sx": 2.5e-4}},
        {"qubit": 6, "t1": None, "t2": None, "readout_error": None, "gate_errors": {}},
    ],
    "pairs": [
        {"qubits": [5, 6], "gate": "ecr", "error": 0.00745, "duration": 5.33e-7},
        {"qubits": [6, 5], "gate": "ecr", "error": 0.00745, "duration": 5.33e-7},
        {"qubits": [6, 7], "gate": "ecr", "error": None, "duration": None},
        {"qubits": [6, 7], "gate": "cz", "error": 0.5, "duration": None},
    ],
}  # fmt: skip


NO_DEVICE = {"backend": "aer", "date": None, "qubits": [], "pairs": []}


def labels_of(images, classes):
    return np.arange(images) % classes


def predicting(classes_of_images, classes):
    """Probabilities whose highest is that of the given class."""
    return np.eye(classes)[classes_of_images] * 0.7 + 0.3 / classes


def wrong(labels, count, classes):
    """Labels of which the first few are replaced by the next class."""
    return np.where(np.arange(len(labels)) < count, (labels + 1) % classes, labels)


def arm(kind, label, errors, *, classes=3, images=IMAGES, values=None, spread=0.0, **more):
    predicted = wrong(labels_of(images, classes), errors, classes)
    se = None if values is None else np.full_like(values, spread)
    return EvaluatedArm(kind, label, predicting(predicted, classes), values, se, **more)


def results(models, *, backend="fake_five", images=IMAGES, names=NAMES, **changes):
    fields = {
        "backend": backend,
        "models": tuple(models),
        "labels": labels_of(images, len(names)),
        "positions": np.arange(images),
        "class_names": tuple(names),
        "dataset": {"name": "cells", "split": "test", "synthetic": False, "images": 3421},
        "calibration": CALIBRATION,
        "settings": HardwareConfig(interval_samples=200).model_dump(mode="json"),
        "environment": {"python": "3.11.9", "versions": {"qiskit": "2.6.1"}},
    }
    return HardwareResults(**(fields | changes))


def five_arms():
    """A circuit in five arms; three images wrong exactly, one more on the backend."""
    exact = np.random.default_rng(0).uniform(-1, 1, (IMAGES, 3))
    on = {"shots": 4096, "seconds": 83.0}
    return (
        arm("exact", "exact", 3, values=exact),
        arm("shots", "shots", 3, values=exact + 0.01, spread=0.011, details={"shots": 4096}),
        arm("noise_model", "noise model", 4, values=0.8 * exact),
        arm("backend", "backend", 9, values=0.75 * exact - 0.125, spread=0.02,
            details={**on, "job_ids": ["job-1", "job-2"]}),
        arm("mitigated", "readout+dynamical_decoupling", 3, values=0.95 * exact, spread=0.03,
            raw_values=0.5 * exact, details={**on, "job_ids": ["job-3"]}),
    )  # fmt: skip


OUTPUTS = ("Z0", "X0Z2", "Y1")


def circuit_model(name="hybrid", **details):
    known = {"compiled": COMPILED, "plan": PLAN, "difference_from_run": 3e-7}
    return ModelResult(name, "6-qubit circuit", five_arms(), OUTPUTS, {**known, **details})


def classical():
    return ModelResult("matched", "a classical layer", (arm("stored", "as trained", 8),))
