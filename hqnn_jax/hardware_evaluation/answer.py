"""What an evaluation on a backend has found, in words that follow from its figures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from hqnn_jax.hardware_evaluation import tables
from hqnn_jax.hardware_evaluation.figures import fitted_line
from hqnn_jax.hardware_evaluation.results import (
    FINE_TUNED,
    ArmKind,
    EvaluatedArm,
    HardwareResults,
    ModelResult,
    accuracy_difference,
)
from hqnn_jax.hardware_evaluation.tables import Record
from hqnn_jax.reporting import formatting
from hqnn_jax.reporting.document import Section, lead
from hqnn_jax.text import plural

_SIGNIFICANT = 0.05
_MOST_SENTENCES = 3


def answer(results: HardwareResults, record: Record) -> Section:
    """Return the answer in words: of the model that was asked for, then of the others.

    The lead is about the backend without mitigation, whatever the other arms gave.

    Args:
        results: what was measured.
        record: `results.record()`.
    """
    model, shown = results.models[0], record["models"][0]
    raw = _pairs(model, shown, "backend")
    if raw:
        first = f"On {_backend_in_brief(results.backend)} {_sentence(results, model, *raw[0])}"
    else:
        first = _without_backend_arm(results, model, shown)
    paragraphs = (
        _mitigated(results, model, shown),
        _steps(results, model, shown),
        _distortion(model, raw),
        *_other_models(results, record),
        _baseline(results),
        _backend_in_full(results.backend, record["calibration"]),
    )
    return Section("The answer", (lead(first), *filter(None, paragraphs)))


def _pairs(model: ModelResult, shown: Record, *kinds: ArmKind) -> list[tuple[EvaluatedArm, Record]]:
    """Return the arms of some kinds with what the record says of them."""
    arms = zip(model.arms, shown["arms"], strict=True)
    return [(arm, entry) for arm, entry in arms if arm.kind in kinds]


def _sentence(
    results: HardwareResults, model: ModelResult, arm: EvaluatedArm, entry: Record
) -> str:
    """Say how the raw arm compares with the exact one, and what may be concluded."""
    images, split, decimals = len(results.labels), results.dataset["split"], results.decimals
    kind = "synthetic " if results.dataset["synthetic"] else ""
    found, same = entry["against_exact"], entry["agreement"]
    start = (
        f"the trained circuit of {model.name} gets "
        f"{formatting.percent(entry['accuracy'], decimals)} % (95 % interval "
        f"{formatting.interval(entry['intervals']['accuracy'], decimals)}) of "
        f"{formatting.count(images)} {kind}{split} images right"
    )
    if found is None or same is None:
        return f"{start}; there is no exact arm to compare it with."
    exact = float(np.mean(model.reference.predicted == results.labels))
    return (
        f"{start}, exact simulation {formatting.percent(exact, decimals)} %: difference "
        f"{_difference(found, decimals)}; {formatting.percent(same['share'], decimals)} % "
        f"({formatting.interval(same['interval'], decimals)}) of the predictions agree. "
        f"{_conclusion(found)}"
    )


def _with_interval(entry: Record, decimals: int) -> str:
    bounds = formatting.interval(entry["intervals"]["accuracy"], decimals)
    return f"{formatting.percent(entry['accuracy'], decimals)} % ({bounds})"


def _difference(found: Record, decimals: int) -> str:
    bounds = formatting.points_interval(found["interval"], decimals)
    p = formatting.p_equals(found["p_value"])
    return f"{formatting.points(found['difference'], decimals)} points ({bounds}; McNemar {p})"


def _conclusion(found: Record) -> str:
    if not found["only_arm"] + found["only_reference"]:
        return "Each image is right in both or wrong in both."
    if found["p_value"] >= _SIGNIFICANT:
        return (
            "The accuracies do not differ significantly, which does not show that they are equal: "
            "the interval is what these images leave open."
        )
    direction = "lower" if found["difference"] < 0 else "higher"
    return f"Its accuracy is {direction} by more than chance explains."


def _short(entry: Record, decimals: int) -> str:
    found = entry["against_exact"]
    text = f"accuracy {_with_interval(entry, decimals)}"
    return (
        text if found is None else f"{text}, difference from exact {_difference(found, decimals)}"
    )


def _without_backend_arm(results: HardwareResults, model: ModelResult, shown: Record) -> str:
    first = shown["arms"][0]
    what = "stored predictions" if model.reference.kind == "stored" else "exact simulation"
    return (
        f"There is no unmitigated evaluation of {model.name} on {results.backend} here. Its "
        f"{what} reaches an accuracy of {_with_interval(first, results.decimals)}."
    )


def _mitigated(results: HardwareResults, model: ModelResult, shown: Record) -> str:
    """Say what every mitigated arm of a model gave, or from where to where they all go."""
    pairs, decimals = _pairs(model, shown, "mitigated"), results.decimals
    if len(pairs) <= _MOST_SENTENCES:
        told = [f"{tables.arm_name(arm)}: {_short(entry, decimals)}" for arm, entry in pairs]
        return f"With mitigation — {'; '.join(told)}." if told else ""
    accuracies = [entry["accuracy"] for _, entry in pairs]
    low, high = (formatting.percent(bound(accuracies), decimals) for bound in (min, max))
    return (
        f"The {len(pairs)} mitigated arms reach accuracies from {low} to {high} %. Of several arms "
        "one is highest by chance alone; each stands in the table."
    )


def _steps(results: HardwareResults, model: ModelResult, shown: Record) -> str:
    """Say what shots alone and our model of the noise would have given."""
    told = [
        f"{_STEPS[arm.kind]} {_with_interval(entry, results.decimals)}"
        for arm, entry in _pairs(model, shown, "shots", "noise_model")
    ]
    return f"Accuracy expected beforehand: {'; '.join(told)}." if told else ""


_STEPS = {
    "shots": "with finite shots and no noise",
    "noise_model": "with the modelled noise and no error from shots",
}


def _distortion(model: ModelResult, raw: Sequence[tuple[EvaluatedArm, Record]]) -> str:
    """Say how the measured outputs of the raw arm differ from the exact ones."""
    exact = model.reference.values
    if not raw or not raw[0][1]["outputs"] or raw[0][0].values is None or exact is None:
        return ""
    outputs = raw[0][1]["outputs"]
    rmse, expected = (
        formatting.fixed(float(np.mean([output[key] for output in outputs])), 4)
        for key in ("rmse", "standard_error")
    )
    line = fitted_line(raw[0][0].values, exact)
    slope = "" if line is None else (
        f" They follow the exact ones with a slope of {formatting.fixed(line.slope, 2)} "
        "(1 is undamped)."
    )  # fmt: skip
    return (
        f"Without mitigation the circuit’s outputs are off by {rmse} (RMSE, mean over "
        f"{plural(len(outputs), 'output')}), where shots alone explain {expected}.{slope}"
    )


def _other_models(results: HardwareResults, record: Record) -> list[str]:
    """Say what each further model gave on the backend, or as it was trained."""
    decimals, told = results.decimals, []
    for model, shown in zip(results.models[1:], record["models"][1:], strict=True):
        for arm, entry in _pairs(model, shown, "backend", "stored"):
            how = (
                "without mitigation" if arm.kind == "backend" else "as trained, not on the backend"
            )
            told.append(f"{model.name}, {how}: {_short(entry, decimals)}.")
    return told


def fine_tuning_effects(results: HardwareResults) -> tuple[str, ...]:
    """Say for each fine-tuned model what it gains on the backend over the weights before."""
    decimals, told = results.decimals, []
    raw = {
        model.name: arm for model in results.models for arm in model.arms if arm.kind == "backend"
    }
    for name, after in raw.items():
        before = raw.get(name.removesuffix(FINE_TUNED))
        if before is None or before is after:
            continue
        found = accuracy_difference(after, before, results.labels)
        if found is not None:
            told.append(
                f"{name}, against the weights before, both on the backend without mitigation: "
                f"{_difference(found, decimals)}."
            )
    return tuple(told)


def _baseline(results: HardwareResults) -> str:
    counts = np.bincount(results.labels, minlength=len(results.class_names))
    share = formatting.percent(float(counts.max() / len(results.labels)), results.decimals)
    name = results.class_names[int(counts.argmax())]
    return f"Answering “{name}” every time would be right for {share} % of these images."


def _backend_in_brief(backend: str) -> str:
    if backend.startswith("fake_"):
        return f"{backend} (a stored snapshot of a device, simulated here)"
    if backend == "statevector":
        return "statevector (exact values, no device)"
    if backend == "aer":
        return "aer (simulated shots, no device and no noise)"
    if backend.startswith("aer:"):
        return f"{backend} (simulated here with that device’s noise)"
    return f"the device {backend}"


def _backend_in_full(backend: str, calibration: Record) -> str:
    if "device" not in calibration:
        return f"No quantum hardware ran: {_backend_in_brief(backend)}."
    date = date_of(calibration)
    if backend.startswith(("fake_", "aer:")):
        return (
            f"No quantum hardware ran: {backend} was simulated on this machine with the noise "
            f"that Qiskit Aer derives from the calibration of {date}. A real device drifts, and "
            "has errors that no calibration data describe."
        )
    return f"The jobs ran on quantum hardware, calibrated {date}."


def date_of(calibration: Record) -> str:
    """Write the date of calibration data: `2025-02-26 14:43 UTC-05:00`."""
    date = calibration["date"]
    if date is None:
        return "at an unknown date"
    return datetime.fromisoformat(date).strftime("%Y-%m-%d %H:%M %Z").strip()
