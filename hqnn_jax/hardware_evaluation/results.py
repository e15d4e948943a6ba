"""What an evaluation on a backend has measured: arms of trained circuits on the same images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from hqnn_jax.evaluation.metrics import compute_metrics
from hqnn_jax.evaluation.statistics import mcnemar, wilson_interval

ArmKind = Literal["exact", "shots", "noise_model", "backend", "mitigated", "stored"]
"""`exact`: the JAX engine. `shots`: the ideal circuit with as many shots. `noise_model`: exact
values under our model of the device's noise. `backend`: a job without mitigation. `mitigated`: one
with. `stored`: predictions that a run with a classical middle had stored."""
FINE_TUNED = ", fine-tuned"
"""What follows the name of a model whose weights were trained on the backend."""
SHOWN_METRICS = ("accuracy", "macro_f1", "weighted_f1")


@dataclass(frozen=True, eq=False)
class EvaluatedArm:
    """One way of evaluating one model on the images.

    Attributes:
        kind: see `ArmKind`.
        label: what tables call it: the kind, or the mitigation joined by +.
        probabilities: of the classes, float64.
        values: the circuit's outputs, one row per sample; None for `stored`. A sample is one view
            of an image; all images of the first view come first.
        standard_errors: statistical errors of `values`; 0 for exact ones.
        raw_values: values of the same job without mitigation, where the job has them.
        details: `shots`, `seconds`, `job_ids`, `mitigation` and whatever else was recorded, ready
            for JSON.
    """

    kind: ArmKind
    label: str
    probabilities: Float[np.ndarray, "images classes"]
    values: Float[np.ndarray, "samples outputs"] | None = None
    standard_errors: Float[np.ndarray, "samples outputs"] | None = None
    raw_values: Float[np.ndarray, "samples outputs"] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def predicted(self) -> Int[np.ndarray, " images"]:
        """The class of highest probability of each image."""
        return self.probabilities.argmax(axis=1)


@dataclass(frozen=True, eq=False)
class ModelResult:
    """A trained model in every arm it was evaluated in.

    Attributes:
        name: of the run, followed by `FINE_TUNED` for weights trained on the backend.
        description: what it is, for people.
        arms: `exact` first, or one `stored` arm.
        outputs: names of the circuit's outputs, e.g. `Z0`; empty for a classical model.
        details: `compiled` (see `CompiledCircuit.summary`), `plan` (see `planning.plan`),
            `fine_tuning`, ready for JSON.
    """

    name: str
    description: str
    arms: tuple[EvaluatedArm, ...]
    outputs: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reference(self) -> EvaluatedArm:
        """What the other arms are compared with."""
        return self.arms[0]


@dataclass(frozen=True, eq=False)
class HardwareResults:
    """Everything an evaluation on a backend shows.

    Attributes:
        backend: name of the backend.
        models: the evaluated models; the first is the one asked for.
        labels: true classes of the images.
        positions: of the images in their split.
        class_names: names of the classes.
        dataset: `name`, `split`, `synthetic`, `images` in the split.
        calibration: see `backends.calibration`.
        settings: the `HardwareConfig`, ready for JSON.
        environment: versions, see `runs.folder.describe_environment`.
    """

    backend: str
    models: tuple[ModelResult, ...]
    labels: Int[np.ndarray, " images"]
    positions: Int[np.ndarray, " images"]
    class_names: tuple[str, ...]
    dataset: Mapping[str, Any]
    calibration: Mapping[str, Any]
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]

    @property
    def decimals(self) -> int:
        """Decimals of a share of the images in per cent: 2 where one image is below 0.1 points."""
        return 2 if len(self.labels) >= 1000 else 1

    def record(self) -> dict[str, Any]:
        """Return every figure of the report but the arrays, ready for JSON."""
        samples, seed = self.settings["interval_samples"], self.settings["images"]["seed"]
        return {
            "status": "finished",
            "backend": self.backend,
            "dataset": dict(self.dataset),
            "class_names": list(self.class_names),
            "settings": dict(self.settings),
            "calibration": dict(self.calibration),
            "environment": dict(self.environment),
            "models": [
                {
                    "name": model.name,
                    "description": model.description,
                    **model.details,
                    "arms": [
                        {
                            "kind": arm.kind,
                            "label": arm.label,
                            **arm.details,
                            **scores(arm, self.labels, self.class_names, samples, seed),
                            "agreement": agreement(arm, model.reference),
                            "against_exact": accuracy_difference(arm, model.reference, self.labels),
                            "outputs": output_errors(model, arm),
                        }
                        for arm in model.arms
                    ],
                }
                for model in self.models
            ],
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of all arms by name, `MODEL_ARM_WHAT` with positions as numbers."""
        found = {"labels": self.labels, "positions": self.positions}
        for number, model in enumerate(self.models):
            for place, arm in enumerate(model.arms):
                for what in ("probabilities", "values", "standard_errors", "raw_values"):
                    if (array := getattr(arm, what)) is not None:
                        found[f"{number}_{place}_{what}"] = array
        return found


def scores(
    arm: EvaluatedArm,
    labels: Int[np.ndarray, " images"],
    class_names: Sequence[str],
    num_resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return each of `SHOWN_METRICS`, and their 95 % `intervals` (see `compute_metrics`).

    They say how much other images would change the figure, not how much other shots would.
    """
    found = compute_metrics(
        arm.probabilities, labels, class_names, bootstrap_samples=num_resamples, seed=seed
    )
    return {
        **{metric: found[metric] for metric in SHOWN_METRICS},
        "intervals": {metric: found["intervals"][metric] for metric in SHOWN_METRICS},
    }


def agreement(arm: EvaluatedArm, reference: EvaluatedArm) -> dict[str, Any] | None:
    """Return the share of images that get the reference's class, with Wilson's 95 % interval.

    None for the reference itself.
    """
    if arm is reference:
        return None
    same, total = int(np.sum(arm.predicted == reference.predicted)), len(arm.predicted)
    return {"share": same / total, "interval": wilson_interval(same, total)}


def accuracy_difference(
    arm: EvaluatedArm, reference: EvaluatedArm, labels: Int[np.ndarray, " images"]
) -> dict[str, Any] | None:
    """Compare the accuracies of two arms image by image; None for the reference itself.

    Returns:
        `difference` (arm minus reference), its 95 % `interval`, the images that are right in only
        one of them (`only_arm`, `only_reference`), and `p_value` of McNemar's exact test.
    """
    if arm is reference:
        return None
    right, right_there = arm.predicted == labels, reference.predicted == labels
    both, neither = int(np.sum(right & right_there)), int(np.sum(~right & ~right_there))
    only_arm, only_reference = int(np.sum(right & ~right_there)), int(np.sum(right_there & ~right))
    return {
        "difference": (only_arm - only_reference) / len(labels),
        "interval": paired_interval(both, only_arm, only_reference, neither),
        "only_arm": only_arm,
        "only_reference": only_reference,
        "p_value": mcnemar(only_arm, only_reference),
    }


def paired_interval(both: int, only_first: int, only_second: int, neither: int) -> list[float]:
    """Return a 95 % interval of the difference of two shares counted on the same images.

    Unlike a bootstrap it does not collapse where few images differ. Source: Newcombe 1998,
    "Improved confidence intervals for the difference between binomial proportions based on paired
    data", method 10.

    Args:
        both, only_first, only_second, neither: images that count for both, for one, for none.
    """
    total = both + only_first + only_second + neither
    first, second = both + only_first, both + only_second
    p, q = first / total, second / total
    bounds = [wilson_interval(count, total) or [0.0, 1.0] for count in (first, second)]
    (p_low, p_high), (q_low, q_high) = bounds
    covariance = float(both * neither - only_first * only_second)
    if covariance > 0:
        covariance = max(covariance - total / 2, 0.0)  # correction for continuity
    margins = float(first * (total - first) * second * (total - second))
    correlation = covariance / math.sqrt(margins) if margins else 0.0

    def combined(x: float, y: float) -> float:
        return math.sqrt(max(x**2 - 2 * correlation * x * y + y**2, 0.0))

    return [p - q - combined(p - p_low, q_high - q), p - q + combined(p_high - p, q - q_low)]


def output_errors(model: ModelResult, arm: EvaluatedArm) -> list[dict[str, Any]]:
    """Return, for each output, how far an arm's values are from the exact ones.

    - `bias`, `rmse`: mean, and root of the mean square, of value minus exact value over samples.
    - `standard_error`: root of the mean square of the stated statistical errors: without any
      systematic error, `rmse` is about as large.
    - `raw_rmse`: that of the same job without its mitigation, None where it is not known.

    Empty for the exact arm, and for models without a circuit.
    """
    exact = model.reference.values
    if arm is model.reference or exact is None or arm.values is None:
        return []
    errors = arm.standard_errors if arm.standard_errors is not None else np.zeros_like(arm.values)
    raw: Sequence[float | None] = [None] * len(model.outputs)
    if arm.raw_values is not None:
        raw = _root_mean_square(arm.raw_values - exact).tolist()
    bias, rmse = (arm.values - exact).mean(axis=0), _root_mean_square(arm.values - exact)
    return [
        {
            "output": name,
            "bias": float(bias[place]),
            "rmse": float(rmse[place]),
            "standard_error": float(_root_mean_square(errors)[place]),
            "raw_rmse": raw[place],
        }
        for place, name in enumerate(model.outputs)
    ]


def _root_mean_square(
    values: Float[np.ndarray, "samples outputs"],
) -> Float[np.ndarray, " outputs"]:
    return np.sqrt(np.mean(values**2, axis=0))
