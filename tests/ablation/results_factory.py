"""Made-up results of ablations, as realistic as a report needs them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from hqnn_jax.ablation.results import AblationResults, ArmResult
from hqnn_jax.evaluation.comparison import Comparison, Summary
from hqnn_jax.evaluation.statistics import t_interval

METRICS = ("accuracy", "macro_f1", "weighted_f1", "roc_auc", "expected_calibration_error")
DATASET = {
    "name": "bloodmnist",
    "synthetic": False,
    "class_names": ["basophil", "<b>eosinophil</b>", "platelet & more"],
    "counts": {"train": 11959, "validation": 1712, "test": 200},
    "fingerprint": "0f" * 32,
    "shared_images": [
        {"first": "train", "second": "test", "images": 5, "different_labels": 1},
    ],
    "warnings": ["one class is small"],
    "licence": "CC BY 4.0",
    "citation": "Someone et al., 2023",
}
ENVIRONMENT = {
    "hqnn_jax": "0.5",
    "git_commit": None,
    "device": "cpu",
    "device_count": 1,
    "versions": {"jax": "0.10.2", "flax": "0.12.8"},
}


def summarise(values: np.ndarray) -> Summary:
    bounds = t_interval(values)
    several = len(values) > 1
    return Summary(
        mean=float(np.mean(values)),
        deviation=float(np.std(values, ddof=1)) if several else None,
        t_interval=bounds,
    )


def compare(ours: np.ndarray, theirs: np.ndarray, number: int) -> Comparison:
    differences = ours - theirs
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    low, high = t_interval(differences)
    p = float(stats.ttest_rel(ours, theirs).pvalue)
    return Comparison(
        differences=tuple(map(float, differences)),
        counts=None,
        mean=mean,
        deviation=deviation,
        t_interval=(low, high),
        t_test=p,
        wilcoxon=min(1.0, 1.1 * p),
        permutation=min(1.0, 1.2 * p),
        adjusted=min(1.0, number * p),
        effect_size=mean / deviation if deviation else None,
        mcnemar=min(1.0, 0.5 * p),
        only_arm_right=140 + round(1000 * max(mean, 0)),
        only_reference_right=140 - round(1000 * min(mean, 0)),
        detectable=3.0 * deviation / math.sqrt(len(differences)),
    )


def _history(
    rng: np.random.Generator, seeds: int, epochs: int, final: float, insights: bool
) -> list[dict]:
    records = []
    for seed, epoch in itertools.product(range(seeds), range(1, epochs + 1)):
        accuracy = final - 0.5 * 0.6**epoch + rng.normal(0, 0.004)
        loss = 2.0 * 0.6**epoch + 1.2 - final + abs(rng.normal(0, 0.02))
        record = {
            "seed": seed,
            "epoch": epoch,
            "train_loss": 0.8 * loss,
            "train_accuracy": accuracy + 0.01,
            "validation_loss": loss,
            "validation_accuracy": accuracy,
            "learning_rate": {"circuit": 1e-3},
            "seconds": 0.5,
        }
        if insights:
            record |= {
                f"gradient_norm/{group}": scale * 0.8**epoch * math.exp(rng.normal(0, 0.1))
                for group, scale in (("backbone", 1.0), ("circuit", 0.05), ("classical", 0.4))
            }
            record["entangling_capability"] = 0.6 + 0.02 * epoch + rng.normal(0, 0.01)
            record |= {
                f"fourier_spectrum/degree_{degree}": 0.5 / (degree + 1) + rng.normal(0, 0.01)
                for degree in range(4)
            }
        records.append(record)
    return records


def make_arm(
    rng: np.random.Generator,
    label: str,
    *,
    mean: float,
    seeds: int = 10,
    epochs: int = 8,
    settings: Mapping[str, str] | None = None,
    insights: bool = False,
    parameters: tuple[int, int] = (2000, 24),
    seconds: float = 12.0,
    spread: float = 0.004,
    shared: np.ndarray | None = None,
) -> ArmResult:
    """Return an arm; `shared` moves the seeds of all arms together, as pairing does."""
    values = mean + rng.normal(0, spread, seeds) + (0 if shared is None else shared)
    values = np.clip(values, 0, 1)
    test = {metric: list(map(float, values - 0.01 * i)) for i, metric in enumerate(METRICS)}
    total, circuit = parameters
    return ArmResult(
        name="".join(c if c.isalnum() else "_" for c in label) or "arm",
        label=label,
        settings=settings or {},
        seeds=tuple(range(seeds)),
        validation={metric: [v + 0.002 for v in row] for metric, row in test.items()},
        test=test,
        predicted=rng.integers(0, 3, (seeds, 20)),
        labels=np.arange(20) % 3,
        parameters={
            "backbone": 0,
            "circuit": circuit,
            "classical": total - circuit,
            "total": total,
        },
        best_epochs=[epochs - seed % 3 for seed in range(seeds)],
        history=_history(rng, seeds, epochs, mean, insights),
        train_seconds=seconds,
        compile_seconds=8.0,
        summary=summarise(values),
    )


def make_results(
    arms: Sequence[ArmResult],
    *,
    axes: Mapping[str, tuple[str, ...]] | None = None,
    reference: Callable[[ArmResult], str | None] | None = None,
    name: str = "ablation_test",
    synthetic: bool = False,
) -> AblationResults:
    """Return results; `reference` gives the name of an arm's reference, by default the first."""
    choose = reference or (lambda arm: None if arm is arms[0] else arms[0].name)
    by_name = {arm.name: arm for arm in arms}
    references = {arm.name: found for arm in arms if (found := choose(arm)) is not None}
    compared = references if min(len(arm.seeds) for arm in arms) > 1 else {}
    comparisons = {
        ours: compare(
            np.asarray(by_name[ours].test["accuracy"]),
            np.asarray(by_name[theirs].test["accuracy"]),
            len(compared),
        )
        for ours, theirs in compared.items()
    }
    verdicts = [
        f"{by_name[ours].label}: {100 * c.mean:+.2f} points against “{by_name[theirs].label}”."
        for (ours, theirs), c in zip(compared.items(), comparisons.values(), strict=True)
    ]
    overall = "Overall: no arm differs from its reference; 0.6 points cannot be excluded."
    return AblationResults(
        name=name,
        metric="accuracy",
        level=0.95,
        axes=axes or {},
        arms=tuple(arms),
        reference=references,
        comparisons=comparisons,
        verdicts=(*verdicts, overall) if comparisons else (),
        dataset={**DATASET, "synthetic": synthetic},
        environment=ENVIRONMENT,
        config_text="dataset:\n  name: bloodmnist\n# <script>alert(1)</script>\n",
    )


def eight_arms(seeds: int = 10, **options) -> AblationResults:
    """Return the middles of a circuit study; the linear one is clearly worse."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.003, seeds)
    means = {
        "quantum": 0.906, "matched": 0.9065, "none": 0.908, "frozen": 0.902,
        "unentangled": 0.905, "product": 0.9045, "fourier": 0.9075, "linear": 0.893,
    }  # fmt: skip
    arms = [
        make_arm(
            rng, label, mean=mean, seeds=seeds, settings={"middle": label}, insights=True,
            parameters=(2000 + 97 * i, 24 if label in ("quantum", "unentangled") else 0),
            seconds=4.0 + 3 * i, shared=shared,
        )
        for i, (label, mean) in enumerate(means.items())
    ]  # fmt: skip
    return make_results(arms, axes={"middle": tuple(means)}, name="ablation_bloodmnist", **options)


def grid(seeds: int = 5, rows: Sequence[int] = (2, 3, 4, 5, 6, 7, 8)) -> AblationResults:
    """Return a grid of qubits and layers against its smallest cell."""
    rng = np.random.default_rng(1)
    shared = rng.normal(0, 0.003, seeds)
    layers = range(1, 7)
    arms = [
        make_arm(
            rng, f"qubits {q}, layers {n}", mean=0.85 + 0.05 * (1 - math.exp(-q / 3)) + 0.002 * n,
            seeds=seeds, settings={"qubits": str(q), "layers": str(n)}, insights=q % 2 == 0,
            parameters=(1500 + 3 * q * n, 3 * q * n), seconds=1.0 + 0.2 * q * n, shared=shared,
            epochs=12,
        )
        for q in rows
        for n in layers
    ]  # fmt: skip
    axes = {"qubits": tuple(map(str, rows)), "layers": tuple(map(str, layers))}
    return make_results(arms, axes=axes, name="ablation_qubits_layers")


def training_size(seeds: int = 6) -> AblationResults:
    """Return quantum against matched at six sizes of the training set."""
    rng = np.random.default_rng(2)
    sizes = ("25", "50", "100", "200", "400", "all")
    arms = []
    for (i, size), middle in itertools.product(enumerate(sizes), ("quantum", "matched")):
        arms.append(
            make_arm(
                rng, f"middle {middle}, training_size {size}",
                mean=0.92 - 0.3 * 0.5**i + (0.003 if middle == "quantum" else 0),
                seeds=seeds, settings={"middle": middle, "training_size": size},
                spread=0.02 * 0.7**i, seconds=2.0 * 2**i,
            )
        )  # fmt: skip

    def reference(arm: ArmResult) -> str | None:
        return arm.name.replace("quantum", "matched") if "quantum" in arm.name else None

    axes = {"middle": ("quantum", "matched"), "training_size": sizes}
    return make_results(arms, axes=axes, reference=reference, name="ablation_training_size")


def noise(seeds: int = 10) -> AblationResults:
    """Return one trained circuit under growing noise; the strongest ruins it."""
    rng = np.random.default_rng(3)
    means = {"0": 0.906, "0.001": 0.906, "0.003": 0.905, "0.01": 0.902, "0.03": 0.88, "0.1": 0.45}
    shared = rng.normal(0, 0.003, seeds)
    arms = [
        make_arm(
            rng, value, mean=mean, seeds=seeds, settings={"noise": value}, spread=0.001,
            shared=shared,
        )
        for value, mean in means.items()
    ]  # fmt: skip
    return make_results(arms, axes={"noise": tuple(means)}, name="ablation_noise")


def one_arm() -> AblationResults:
    """Return a single arm with a single seed."""
    rng = np.random.default_rng(4)
    return make_results([make_arm(rng, "quantum", mean=0.9, seeds=1)], name="ablation_one")


def undefined(results: AblationResults) -> AblationResults:
    """Return results whose second arm has no metric, no comparison that is a number, no time."""
    first, second, *rest = results.arms
    nan, seeds = math.nan, len(second.seeds)
    broken = replace(
        second,
        test={metric: [nan] * seeds for metric in second.test},
        validation={metric: [nan] * seeds for metric in second.validation},
        history=[{**record, "validation_loss": nan} for record in second.history],
        train_seconds=nan,
        summary=Summary(nan, nan, None),
    )
    comparison = Comparison(
        (nan,) * seeds, None, nan, nan, (nan, nan), nan, nan, nan, nan, None, nan, 0, 0, nan
    )
    comparisons = dict(results.comparisons)
    if second.name in comparisons:
        comparisons[second.name] = comparison
    return replace(results, arms=(first, broken, *rest), comparisons=comparisons)
