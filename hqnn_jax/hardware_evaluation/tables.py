"""The tables of an evaluation on a backend, and how its arms are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hqnn_jax.hardware_evaluation.results import EvaluatedArm, HardwareResults, ModelResult
from hqnn_jax.reporting import formatting
from hqnn_jax.reporting.document import Table
from hqnn_jax.reporting.formatting import UNDEFINED

Record = Mapping[str, Any]
"""What `HardwareResults.record` says, or its part for a model or an arm."""
MOST_OUTPUTS = 16
"""With more outputs only the worst are shown."""
NUM_WORST_OUTPUTS = 8
_ARM_NAMES = {
    "exact": "exact",
    "shots": "shots, no noise",
    "noise_model": "noise model",
    "backend": "backend, unmitigated",
    "stored": "stored predictions",
}


def arm_name(arm: EvaluatedArm) -> str:
    """Return how an arm is called on the page: `noise model`, `readout + twirling`."""
    return _ARM_NAMES.get(arm.kind) or arm.label.replace("+", " + ").replace("_", " ")


def shown_outputs(arms: Sequence[Record]) -> list[int]:
    """Return the positions of the outputs to show: all, or those with the largest RMSE in any arm.

    Args:
        arms: the arms of a model's record.
    """
    errors = [[output["rmse"] for output in arm["outputs"]] for arm in arms if arm["outputs"]]
    if not errors:
        return []
    worst = np.max(errors, axis=0)
    if len(worst) <= MOST_OUTPUTS:
        return list(range(len(worst)))
    return sorted(np.argsort(-worst, kind="stable")[:NUM_WORST_OUTPUTS].tolist())


def accuracy_table(results: HardwareResults, record: Record) -> Table:
    """Return one row per model and arm: scores, and the comparison with the exact arm."""
    decimals = results.decimals
    return Table(
        (
            _first_column(results),
            "Accuracy (%)",
            "Macro F1 (%)",
            "Difference from exact (points)",
            "McNemar p",
            "Agreement with exact (%)",
        ),
        tuple(
            (name, *_scores(entry, decimals), *_against_exact(entry, decimals))
            for name, entry in _rows(results, record)
        ),
        note="In brackets: 95 % intervals (Wilson’s for accuracy and agreement, the bootstrap for "
        "macro F1, Newcombe’s for the difference); after p: the images that only this arm : only "
        "the exact arm gets right. Difference: of the accuracies. Agreement: images with the same "
        "prediction, right or wrong.",
    )


def effort_table(results: HardwareResults, record: Record) -> Table:
    """Return one row per model and arm: error of the outputs, shots and time."""
    return Table(
        (_first_column(results), "Error of outputs", "from shots alone", "Shots", "Wall time"),
        tuple((name, *_effort(entry)) for name, entry in _rows(results, record)),
        note="Error of outputs: root mean square over the images of measured minus exact value, "
        "and what shots alone would make of it; means over the circuit’s outputs. Shots: of each "
        "measurement basis for each image. Wall time: queueing included.",
    )


def _first_column(results: HardwareResults) -> str:
    return "Model: arm" if len(results.models) > 1 else "Arm"


def _rows(results: HardwareResults, record: Record) -> list[tuple[str, Record]]:
    """Return every arm's name and record, named with its model where there are several."""
    several = len(results.models) > 1
    return [
        (f"{model.name}: {arm_name(arm)}" if several else arm_name(arm), entry)
        for model, shown in zip(results.models, record["models"], strict=True)
        for arm, entry in zip(model.arms, shown["arms"], strict=True)
    ]


def _scores(entry: Record, decimals: int) -> tuple[str, ...]:
    intervals = entry["intervals"]
    return tuple(
        formatting.with_interval(entry[metric], intervals[metric], decimals)
        for metric in ("accuracy", "macro_f1")
    )


def _against_exact(entry: Record, decimals: int) -> tuple[str, str, str]:
    found, same = entry["against_exact"], entry["agreement"]
    if found is None or same is None:
        return UNDEFINED, UNDEFINED, UNDEFINED
    only = " : ".join(formatting.count(found[key]) for key in ("only_arm", "only_reference"))
    return (
        formatting.points_with_interval(found["difference"], found["interval"], decimals),
        f"{formatting.p_value(found['p_value'])} ({only})",
        formatting.with_interval(same["share"], same["interval"], decimals),
    )


def _effort(entry: Record) -> tuple[str, ...]:
    outputs, shots = entry["outputs"], entry.get("shots")
    errors = tuple(
        formatting.fixed(float(np.mean([output[key] for output in outputs])), 4)
        if outputs and (shots or key == "rmse")
        else UNDEFINED
        for key in ("rmse", "standard_error")
    )
    return (
        *errors,
        formatting.count(shots or None),
        formatting.duration(entry.get("seconds")),
    )


def output_tables(model: ModelResult, shown: Record) -> tuple[Table, ...]:
    """Return a table per kind of error, one row per arm and one column per output.

    Kinds of error that no arm has (`raw_rmse` without mitigation) are left out; none at all for a
    model without values.
    """
    places = shown_outputs(shown["arms"])
    arms = [
        (arm, entry)
        for arm, entry in zip(model.arms, shown["arms"], strict=True)
        if entry["outputs"]
    ]
    found = []
    for key, title in _ERRORS.items():
        rows = [
            (arm_name(arm), *(_error(entry["outputs"][place][key], key) for place in places))
            for arm, entry in arms
            if any(output[key] is not None for output in entry["outputs"])
            and (entry.get("shots") or key != "standard_error")
        ]
        if rows:
            columns = (title, *(model.outputs[place] for place in places))
            found.append(Table(columns, tuple(rows), note=_ERROR_NOTES[key]))
    return tuple(found)


_ERRORS = {
    "rmse": "RMSE",
    "bias": "Bias",
    "standard_error": "Statistical error",
    "raw_rmse": "RMSE before the last step",
}
_ERROR_NOTES = {
    "rmse": "Root mean square over the images of measured minus exact value.",
    "bias": "Mean over the images of measured minus exact value.",
    "standard_error": "Root mean square over the images of the stated error from shots: about the "
    "RMSE if nothing else were wrong.",
    "raw_rmse": "RMSE of values from the same job before its last step of mitigation, where the "
    "job has them: before the extrapolation of zne (so with readout mitigation, if there is any), "
    "or before the sampler’s correction of the readout.",
}


def _error(value: float | None, key: str) -> str:
    return (formatting.signed if key == "bias" else formatting.fixed)(value, 4)


def compiled_table(models: Sequence[Record]) -> Table | None:
    """Return the compiled circuits of the models, one column each; None where there are none."""
    known = [model for model in models if model.get("compiled")]
    if not known:
        return None
    lines = [_compiled(model["compiled"]) for model in known]
    return Table(
        ("Compiled circuit", *(model["name"] for model in known)),
        tuple((key, *(line[key] for line in lines)) for key in lines[0]),
        note="Depth: the longest chain of gates. Expected fidelity: product of 1 − error over all "
        "gates and readouts, a rough guess of how much survives. Layout: wire → qubit.",
    )


def _compiled(compiled: Record) -> dict[str, str]:
    gates = sorted(compiled["gates"].items(), key=lambda pair: -pair[1])
    start, end = (_layout(compiled[key]) for key in ("initial_layout", "final_layout"))
    return {
        "Circuit": f"{compiled['circuit']}, {compiled['num_qubits']} qubits",
        "Depth": formatting.count(compiled["depth"]),
        "Two-qubit depth": formatting.count(compiled["two_qubit_depth"]),
        "Two-qubit gates": formatting.count(compiled["num_two_qubit_gates"]),
        "Inserted SWAPs": formatting.count(compiled["num_swaps"]),
        "Gates": ", ".join(f"{formatting.count(count)} {name}" for name, count in gates),
        "Layout": start if start == end else f"{start}; measured {end}",
        "Expected fidelity": formatting.fixed(compiled["expected_fidelity"], 3),
        "Transpiler seed": str(compiled["seed"]),
    }


def _layout(qubits: Sequence[int]) -> str:
    return ", ".join(f"{wire}→{qubit}" for wire, qubit in enumerate(qubits))


def plan_table(models: Sequence[Record]) -> Table | None:
    """Return what was planned to be sent, one row per model; None where nothing was planned."""
    plans = [(model["name"], model["plan"]) for model in models if model.get("plan")]
    if not plans:
        return None
    rows = [
        (
            name,
            formatting.count(plan["circuits"]),
            formatting.count(plan["shots"] or None),
            formatting.count(plan["total_shots"]) if plan["shots"] else UNDEFINED,
            formatting.count(plan["jobs"]),
            formatting.duration(plan["qpu_seconds"]),
        )
        for name, plan in plans
    ]
    return Table(
        ("Plan, without mitigation", "Circuits", "Shots each", "Shots in all", "Jobs", "QPU time"),
        tuple(rows),
        note="QPU time: an estimate for the device from its gate times, its delay between "
        "repetitions and 2 s a job; without calibration circuits and queueing.",
    )


def calibration_tables(calibration: Record, gates: Sequence[str]) -> tuple[Table, ...]:
    """Return a table of the qubits in use and one of their pairs, where there are any.

    Args:
        calibration: see `backends.calibration`.
        gates: names of the gates of the compiled circuits; only these are shown. All if empty.
    """
    qubits, pairs = calibration["qubits"], _pairs(calibration, gates)
    found = (_qubits_table(qubits, gates) if qubits else None, _pairs_table(pairs))
    return tuple(table for table in found if table is not None)


def _qubits_table(qubits: Sequence[Record], gates: Sequence[str]) -> Table:
    # A gate that never fails anywhere is a change of frame, not a pulse.
    names = sorted(
        {
            name
            for qubit in qubits
            for name, error in qubit["gate_errors"].items()
            if error and (not gates or name in gates)
        }
    )
    rows = tuple(
        (
            str(qubit["qubit"]),
            _scaled(qubit["t1"], 1e6, 1),
            _scaled(qubit["t2"], 1e6, 1),
            _scaled(qubit["readout_error"], 100.0, 2),
            *(_scaled(qubit["gate_errors"].get(name), 100.0, 4) for name in names),
        )
        for qubit in qubits
    )
    columns = ("Qubit", "T1 (µs)", "T2 (µs)", "Readout error (%)")
    return Table((*columns, *(f"{name} error (%)" for name in names)), rows)


def _pairs_table(pairs: Sequence[Record]) -> Table | None:
    if not pairs:
        return None
    rows = tuple(
        (
            "–".join(map(str, pair["qubits"])),
            pair["gate"],
            _scaled(pair["error"], 100.0, 3),
            _scaled(pair["duration"], 1e9, 0),
        )
        for pair in pairs
    )
    return Table(("Pair", "Gate", "Error (%)", "Duration (ns)"), rows)


def _pairs(calibration: Record, gates: Sequence[str]) -> list[Record]:
    """Pairs with gates in use; once where both directions are the same gate."""
    found: dict[tuple[Any, ...], Record] = {}
    for pair in calibration["pairs"]:
        if not gates or pair["gate"] in gates:
            same = (frozenset(pair["qubits"]), pair["gate"], pair["error"], pair["duration"])
            found.setdefault(same, pair)
    return list(found.values())


def fine_tuning_table(models: Sequence[Record]) -> Table | None:
    """Return what is known of the fine-tuning, one column per model; None without any."""
    known = {model["name"]: model["fine_tuning"] for model in models if model.get("fine_tuning")}
    # Curves are drawn.
    keys = dict.fromkeys(
        key
        for tuned in known.values()
        for key, value in tuned.items()
        if not isinstance(value, Mapping | list | tuple)
    )
    rows = tuple(
        (_TUNING_NAMES.get(key, key), *(_plain(tuned.get(key)) for tuned in known.values()))
        for key in keys
    )
    return Table(("Fine-tuning", *known), rows) if rows else None


_TUNING_NAMES = {
    "method": "Method",
    "evaluations": "Circuits evaluated",
    "shots": "Shots of each",
    "change": "Change of the weights (norm, radians)",
}


def _plain(value: Any) -> str:
    return formatting.short(value, 3) if isinstance(value, float) else formatting.inline(value)


def _scaled(value: float | None, factor: float, decimals: int) -> str:
    return formatting.fixed(None if value is None else factor * value, decimals)
