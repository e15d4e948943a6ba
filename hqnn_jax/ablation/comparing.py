"""Each arm of an ablation against its reference, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from hqnn_jax.ablation.results import ArmResult
from hqnn_jax.evaluation.comparison import Comparison, adjust, compare
from hqnn_jax.evaluation.metrics import METRICS
from hqnn_jax.reporting.verdict import overall, verdict


class ComparedArm(NamedTuple):
    """What a comparison needs of an arm; see `results.ArmResult` for the attributes."""

    name: str
    label: str
    test: Mapping[str, Sequence[float]]
    predicted: Int[np.ndarray, "seeds samples"]
    labels: Int[np.ndarray, " samples"]


def compare_arms(
    arms: Sequence[ComparedArm | ArmResult],
    reference: Mapping[str, str],
    *,
    metric: str,
    level: float,
) -> dict[str, Comparison]:
    """Compare the test metric of every arm with that of its reference, after Holm's correction.

    Args:
        arms: of one study, over the same seeds.
        reference: name of an arm -> name of the arm it is compared with.
        metric, level: what is compared, and the confidence level.

    Returns:
        Name of an arm -> its comparison, in the order of `reference`.
    """
    by_name = {arm.name: arm for arm in arms}
    comparisons = {}
    for name, other in reference.items():
        arm, base = by_name[name], by_name[other]
        comparisons[name] = compare(
            np.asarray(arm.test[metric], np.float64),
            np.asarray(base.test[metric], np.float64),
            arm.predicted,
            base.predicted,
            arm.labels,
            counted=METRICS[metric].counted,
            level=level,
        )
    return adjust(comparisons, level=level)


def verdicts(
    arms: Sequence[ComparedArm | ArmResult],
    reference: Mapping[str, str],
    comparisons: Mapping[str, Comparison],
    *,
    metric: str,
    level: float,
) -> tuple[str, ...]:
    """Return the sentences that follow: one per compared arm, then of all; none without any.

    Args:
        comparisons: what `compare_arms` returned; the others as there.
    """
    if not comparisons:
        return ()
    labels = {arm.name: arm.label for arm in arms}
    metric_name = METRICS[metric].label
    sentences = [
        verdict(
            labels[name],
            labels[reference[name]],
            comparison,
            metric_name=metric_name,
            level=level,
            num_comparisons=len(comparisons),
        )
        for name, comparison in comparisons.items()
    ]
    together = overall(comparisons, labels=labels, metric_name=metric_name, level=level)
    return (*sentences, together)
