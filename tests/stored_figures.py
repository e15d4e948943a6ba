"""The figures of stored results, written as README and the configurations write them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hqnn_jax.evaluation.statistics import t_interval

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
BENCHMARKS = ROOT / "benchmarks" / "results"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def percent(fraction: float, decimals: int = 2) -> str:
    return f"{100 * fraction:.{decimals}f}"


def signed(fraction: float) -> str:
    return f"{100 * fraction:+.2f}"


def mean_and_range(fractions: Sequence[float]) -> str:
    """Several seeds: `97.43 % (97.28 - 97.63)`, mean, smallest and largest."""
    mean = sum(fractions) / len(fractions)
    return f"{percent(mean)} % ({percent(min(fractions))} - {percent(max(fractions))})"


def with_interval(fraction: float, bounds: Sequence[float]) -> str:
    """One model: `97.22 % (96.64 - 97.75)`, with its 95 % interval."""
    return f"{percent(fraction)} % ({percent(bounds[0])} - {percent(bounds[1])})"


def of_run(folder: Path) -> Iterator[str]:
    metrics = read(folder / "metrics.json")
    for metric in ("accuracy", "macro_f1"):
        values = [entry["test"][metric] for entry in metrics["seeds"]]
        if len(values) > 1:
            yield mean_and_range(values)
        else:
            yield with_interval(values[0], metrics["test"]["intervals"][metric])
    time = metrics["time"]
    yield f"{time['train_s'] / 60:.1f} min"
    yield f"{time['epoch_s']:.1f} s"
    yield f"{time['train_s']:.0f} s"
    yield f"{metrics['parameters']['total']:,} parameters"


def of_paper(folder: Path) -> Iterator[str]:
    results = read(folder / "results.json")
    for arm in results.get("arms", {}).values():
        for metric in ("accuracy", "macro_f1"):
            yield mean_and_range(arm["test"][metric])
            yield f"{percent(sum(arm['test'][metric]) / len(arm['test'][metric]))} %"
        yield f"{arm['time']['train_s']:.0f} s"
        yield f"{arm['parameters']['total']:,} parameters"
    for cell in results.get("cells", ()):
        if cell["size"] == 250:  # a class, the size the paper's table is of
            mean = sum(cell["accuracies"]) / len(cell["accuracies"])
            yield f"{cell['arm'].replace('_', ' ')} {percent(mean, 1)} %"


def of_study(folder: Path) -> Iterator[str]:
    """`frozen 96.03 %`, `frozen -0.50 points (-0.72 to -0.28)` and the like."""
    study = read(folder / "study.json")
    arms = {arm["name"]: arm for arm in study["arms"]}
    for arm in arms.values():
        mean, deviation = arm["summary"]["mean"], arm["summary"]["deviation"]
        yield f"{arm['label']} {percent(mean)} %"
        yield f"{arm['label']} {percent(mean)} % (standard deviation {percent(deviation)})"
    for name, comparison in study["comparisons"].items():
        label, (low, high) = arms[name]["label"], comparison["t_interval"]
        yield f"{label} {signed(comparison['mean'])} points ({signed(low)} to {signed(high)})"
        yield f"p = {comparison['adjusted']:.2g}"


def of_evaluation(folder: Path) -> Iterator[str]:
    """Arms of an evaluation on a backend: `exact 91.0 % (87.0 - 94.0)`, `device 90.2 %`."""
    for model in read(folder / "results.json")["models"]:
        for arm in model["arms"]:
            accuracy, bounds = arm["accuracy"], arm["intervals"]["accuracy"]
            label = "device" if arm["kind"] == "backend" else arm["label"]
            yield f"{percent(accuracy, 1)} %"
            yield f"{label} {percent(accuracy, 1)} %"
            yield f"{percent(accuracy, 1)} % ({percent(bounds[0], 1)} - {percent(bounds[1], 1)})"
            if arm["agreement"] is not None:
                yield f"{percent(arm['agreement']['share'], 1)} %"


def summaries(name: str) -> Iterator[str]:
    """Statements over several arms of a study."""
    study = read(RESULTS / name / "study.json")
    arms = {arm["name"]: arm for arm in study["arms"]}
    accuracies = {key: np.asarray(arm["test"]["accuracy"]) for key, arm in arms.items()}
    if name == "ablation_training_size":
        pairs = study["reference"].items()
        yield f"averaged over sizes by {_points([accuracies[a] - accuracies[b] for a, b in pairs])}"
    if name == "ablation_noise_aware":
        for key, comparison in study["comparisons"].items():
            if arms[key]["settings"]["evaluation"] == "with noise":
                yield f"{arms[key]['settings']['circuit']} by {_written(comparison)}"
    if name == "ablation_qubits_layers":
        size = {
            key: [int(a["settings"][n]) for n in ("qubits", "layers")] for key, a in arms.items()
        }
        (reference,) = set(study["reference"].values())
        qubits, layers = size[reference]
        yield f"{qubits} × {layers} ({percent(arms[reference]['summary']['mean'])} %)"
        for label, chosen in (
            ("2 qubits", [2]),
            ("3 qubits", [3]),
            ("from 4 qubits on", range(4, 9)),
        ):
            means = [arms[key]["summary"]["mean"] for key, (q, _) in size.items() if q in chosen]
            text = f"{label} {percent(min(means))} to {percent(max(means))} %"
            yield from (text, text.capitalize())
        wide = {key: layers for key, (qubits, layers) in size.items() if qubits >= 4}
        offsets = {key: layers - np.mean(list(wide.values())) for key, layers in wide.items()}
        # The least-squares slope of each seed.
        total = sum(offset**2 for offset in offsets.values())
        slopes = sum(offsets[key] * accuracies[key] for key in wide) / total
        yield _points([slopes]).replace("points", "points a layer")


def _points(differences: Sequence[np.ndarray]) -> str:
    """Write the mean over several differences and over the seeds, with its t interval."""
    seeds = np.mean(differences, axis=0)
    interval = t_interval(seeds)
    assert interval is not None
    return _written({"mean": seeds.mean(), "t_interval": interval})


def _written(comparison: Mapping[str, Any]) -> str:
    low, high = comparison["t_interval"]
    return f"{signed(comparison['mean'])} points ({signed(low)} to {signed(high)})"


_CIRCUITS = {
    "radhi2025": "radhi2025, 6 qubits",
    "sel4x3": "4 qubits × 3 layers",
    "sel8x3": "8 × 3",
    "sel12x3": "12 × 3",
    "sel16x2": "16 × 2",
    "sel20x2": "20 × 2",
}
_PEERS = {
    "tensorcircuit": "TensorCircuit-NG",
    "pennylane_vmap": "PennyLane vmap",
    "pennylane_broadcast": "PennyLane broadcast",
}


def speed_rows() -> Iterator[str]:
    """The rows of README's table of speed, from the two stored benchmarks with peers."""
    for path in (BENCHMARKS / f"2-cpu-cores-2026-11-21{part}.json" for part in ("", "-small")):
        for row in read(path)["rows"]:
            found = row["comparison"]
            steady = {
                contender["name"]: 1000 * contender["value_and_gradient"]["median_s"]
                for contender in row["contenders"]
                if "value_and_gradient" in contender
            }
            peer, first = found["best_peer"], found["first_result_s"]
            cells = (
                _CIRCUITS[row["circuit"]],
                str(row["batch"]),
                f"{steady['auto']:.3g} ms",
                f"{_PEERS[peer]} {steady[peer]:.3g} ms",
                f"**{found['steady_ratio']['auto']:.1f}**",
                f"{first['auto']:.2f} s",
                f"{first[peer]:.2f} s",
                f"**{found['first_result_ratio']['auto']:.1f}**",
            )
            yield f"| {' | '.join(cells)} |"


def of_seeds_together() -> Iterator[str]:
    """By how much longer eight seeds in one program take than one."""
    for path in (BENCHMARKS / "seeds").glob("*.json"):
        for row in read(path)["rows"]:
            yield f"{row['ratio']:.1f} times"
