"""What an ablation has found: every arm's seeds, and each arm against its reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from hqnn_jax.evaluation.comparison import Comparison, Summary


@dataclass(frozen=True)
class ArmResult:
    """One arm: a configuration, trained and evaluated once per seed.

    Attributes:
        name: short and unique, fit for a file name; `label`: how tables call it.
        settings: axis -> its value in this arm, as written in tables; axes in the order of the
            ablation. Empty where arms were listed one by one.
        seeds: in the order of all sequences below.
        validation, test: metric (`RECORDED_METRICS`) -> one fraction per seed; NaN where it is
            undefined.
        predicted, labels: predicted and true class of every test image.
        parameters: trained parameters by group (backbone, circuit, classical) and in `total`.
        best_epochs: epoch of the evaluated checkpoint.
        history: one record per seed and epoch: seed, epoch, train_loss, train_accuracy,
            validation_loss, validation_accuracy and, where asked for, insights (name -> value).
        train_seconds: time of training divided by the seeds trained together; without compilation.
        compile_seconds: of all programs of the arm.
        summary: of the compared metric on the test split.
    """

    name: str
    label: str
    settings: Mapping[str, str]
    seeds: tuple[int, ...]
    validation: Mapping[str, Sequence[float]]
    test: Mapping[str, Sequence[float]]
    predicted: Int[np.ndarray, "seeds samples"]
    labels: Int[np.ndarray, " samples"]
    parameters: Mapping[str, int]
    best_epochs: Sequence[int]
    history: Sequence[Mapping[str, Any]]
    train_seconds: float
    compile_seconds: float
    summary: Summary

    @property
    def correct(self) -> tuple[int, ...]:
        """How many test images every seed gives their class."""
        return tuple(np.sum(self.predicted == self.labels, axis=1).tolist())


@dataclass(frozen=True)
class AblationResults:
    """Everything an ablation has found.

    Attributes:
        name: of the ablation's configuration file, without suffix.
        metric, level: what is compared, and the confidence level.
        axes: axis -> its values as written in tables, in order; empty where arms were listed.
        arms: in order.
        reference: name of an arm -> name of the arm it is compared with; references are no keys.
        comparisons: name of an arm -> its comparison; empty where nothing is tested.
        verdicts: sentences that follow from the comparisons: one per compared arm, then of all.
        dataset: as in metrics.json (name, synthetic, class_names, counts, warnings, citation, …).
        environment: versions, device and git commit.
        config_text: the ablation's configuration as YAML, everything resolved.
    """

    name: str
    metric: str
    level: float
    axes: Mapping[str, tuple[str, ...]]
    arms: tuple[ArmResult, ...]
    reference: Mapping[str, str]
    comparisons: Mapping[str, Comparison]
    verdicts: tuple[str, ...]
    dataset: Mapping[str, Any]
    environment: Mapping[str, Any]
    config_text: str

    def arm(self, name: str) -> ArmResult:
        """Return the arm of a name."""
        return next(arm for arm in self.arms if arm.name == name)
