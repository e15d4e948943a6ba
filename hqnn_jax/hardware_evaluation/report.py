"""The page of an evaluation on a backend: does the trained circuit survive the device?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from hqnn_jax.config.yaml_text import dump_yaml
from hqnn_jax.hardware_evaluation import figures, tables
from hqnn_jax.hardware_evaluation.answer import answer, date_of, fine_tuning_effects
from hqnn_jax.hardware_evaluation.results import ArmKind, EvaluatedArm, HardwareResults, ModelResult
from hqnn_jax.hardware_evaluation.tables import Record
from hqnn_jax.reporting import formatting
from hqnn_jax.reporting.document import (
    Document,
    Picture,
    Preformatted,
    Section,
    Table,
    write_document,
)
from hqnn_jax.text import plural


def write_hardware_report(
    path: Path, results: HardwareResults, drawings: Sequence[tuple[str, Figure]]
) -> Path:
    """Write the page of `hardware_document`; an earlier one is replaced in one step.

    Raises:
        RunFolderError: the file cannot be written.
    """
    return write_document(path, hardware_document(results, drawings))


def hardware_document(results: HardwareResults, drawings: Sequence[tuple[str, Figure]]) -> Document:
    """Return the page of an evaluation on a backend; its `data` are `results.record()`.

    Args:
        results: what was measured.
        drawings: captions and pictures of the compiled circuits, see `CompiledCircuit.draw`.
    """
    record = results.record()
    dataset = results.dataset
    return Document(
        title=f"{results.models[0].name} on {results.backend}",
        reference=f"{_images(results)} of {dataset['name']}, {len(results.class_names)} classes",
        sections=(
            answer(results, record),
            _accuracy(results, record),
            *_pictures(results, record),
            *_outputs(results, record),
            *_compiled(record, drawings),
            _calibration(results.backend, record),
            Section("How to read it", _explanations(results)),
            Section("Settings", (_yaml(record["settings"]),)),
            *_jobs(results),
            Section("Environment", (_yaml(record["environment"]),)),
        ),
        synthetic=bool(dataset["synthetic"]),
        data=record,
    )


def _yaml(values: Record) -> Preformatted:
    return Preformatted(dump_yaml(values).rstrip())


def _images(results: HardwareResults) -> str:
    chosen, available = len(results.labels), results.dataset["images"]
    kind = "synthetic " if results.dataset["synthetic"] else ""
    split = results.dataset["split"]
    if chosen == available:
        return f"all {formatting.count(chosen)} {kind}{split} images"
    settings = results.settings["images"]
    how = "stratified by class" if settings["stratified"] else "drawn at random"
    counts = f"{formatting.count(chosen)} of {formatting.count(available)}"
    return f"{counts} {kind}{split} images ({how}, seed {settings['seed']})"


def _accuracy(results: HardwareResults, record: Record) -> Section:
    """Return the tables of all arms, after what the models are."""
    described = [f"{model.name}: {model.description}." for model in results.models]
    checks = [
        f"{model['name']}: probabilities from exact values differ by at most "
        f"{formatting.short(model['difference_from_run'], 1)} from those its training run had "
        "stored."
        for model in record["models"]
        if model.get("difference_from_run") is not None
    ]
    found = (tables.accuracy_table(results, record), tables.effort_table(results, record))
    return Section("Accuracy and agreement", (*described, *checks, *found))


def _pictures(results: HardwareResults, record: Record) -> Iterable[Section]:
    caption = (
        "Accuracy with its 95 % interval (Wilson) over the images; dotted: exact simulation of "
        "the same model."
    )
    found = [Picture(caption, figures.accuracy_by_arm(results, record))]
    for model in results.models:
        for arm in _compared(model):
            figure = figures.predicted_classes(
                arm,
                model.reference,
                results.class_names,
                title=f"Predictions, exact and on {results.backend}{_of(results, model)}",
            )
            caption = (
                f"{model.name}: classes predicted from exact values and from the backend’s. "
                "Off the diagonal are the images whose prediction the backend changed."
            )
            found.append(Picture(caption, figure))
    yield Section("Accuracy by arm and changed predictions", tuple(found))
    losses = {
        model["name"]: model["fine_tuning"]["losses"]
        for model in record["models"]
        if (model.get("fine_tuning") or {}).get("losses")
    }
    table = tables.fine_tuning_table(record["models"])
    if losses or table:
        caption = "Loss of each iteration’s own batch, so it scatters from batch to batch."
        drawn = figures.fine_tuning(losses, backend=results.backend)
        yield Section(
            "Fine-tuning on the backend",
            (
                *fine_tuning_effects(results),
                *((table,) if table else ()),
                *((Picture(caption, drawn),) if losses else ()),
            ),
        )


def _compared(model: ModelResult) -> list[EvaluatedArm]:
    """Return the raw arm, or the first mitigated one where a model has no other."""
    raw = [arm for arm in model.arms if arm.kind == "backend"]
    return (raw or [arm for arm in model.arms if arm.kind == "mitigated"])[:1]


def _of(results: HardwareResults, model: ModelResult) -> str:
    return f": {model.name}" if len(results.models) > 1 else ""


def _outputs(results: HardwareResults, record: Record) -> Iterable[Section]:
    """Return figures and tables of the circuit's outputs, a section per model that has any."""
    for model, shown in zip(results.models, record["models"], strict=True):
        found: tuple[Table, ...] = tables.output_tables(model, shown)
        if not found:
            continue
        of, number = _of(results, model), len(tables.shown_outputs(shown["arms"]))
        errors = figures.output_errors(model, shown, title=f"Error of each output{of}")
        against = figures.measured_against_exact(model, title=f"Measured against exact outputs{of}")
        drawn = (
            (_ERRORS_CAPTION, errors),
            (f"A dot per output and image. {_slopes(model)}", against),
        )
        fewer = (
            f"Tables and the first figure have the {number} with the largest RMSE of "
            f"{len(model.outputs)} outputs."
        )
        yield Section(
            f"Outputs of the circuit{of}",
            (
                *((fewer,) if number < len(model.outputs) else ()),
                *found,
                *(Picture(caption, figure) for caption, figure in drawn if figure is not None),
            ),
        )


_ERRORS_CAPTION = (
    "RMSE beyond the dash is systematic: more shots would not remove it. Bias is its mean over the "
    "images, where damping of values of both signs cancels."
)


def _slopes(model: ModelResult) -> str:
    """Write the fitted slope of every arm, for those who cannot see the figure."""
    exact = model.reference.values
    told = [
        f"{tables.arm_name(arm)} {formatting.fixed(line.slope, 3)}"
        for arm in model.arms[1:]
        if exact is not None and arm.values is not None
        if (line := figures.fitted_line(arm.values, exact)) is not None
    ]
    return f"Slope below 1: damping. Slopes: {', '.join(told)}." if told else ""


def _compiled(record: Record, drawings: Sequence[tuple[str, Figure]]) -> Iterable[Section]:
    found = (tables.compiled_table(record["models"]), tables.plan_table(record["models"]))
    shown = tuple(table for table in found if table is not None)
    if shown or drawings:
        level = record["settings"]["compilation"]["optimization_level"]
        tries = record["settings"]["compilation"]["tries"]
        text = (
            f"Qiskit’s transpiler, optimisation level {level}; of {plural(tries, 'seed')} the one "
            "with the lowest two-qubit depth."
        )
        pictures = (Picture(caption, figure) for caption, figure in drawings)
        yield Section("The compiled circuit", (text, *shown, *pictures))


def _calibration(backend: str, record: Record) -> Section:
    title, calibration = "Calibration of the day", record["calibration"]
    gates = {
        name
        for model in record["models"]
        for name in (model.get("compiled") or {}).get("gates", ())
    }
    found = tables.calibration_tables(calibration, sorted(gates))
    if "device" not in calibration:
        return Section(title, (f"There is none: {backend} has no device behind it.",))
    stored = " A stored snapshot: the device is another today." * backend.startswith("fake_")
    device = calibration["device"]
    return Section(title, (f"{device}, calibrated {date_of(calibration)}.{stored}", *found))


def _explanations(results: HardwareResults) -> tuple[str, ...]:
    """Say what the arms that are there mean, and what the intervals do."""
    kinds = {arm.kind for model in results.models for arm in model.arms}
    return (
        *(text for kind, text in _ARMS.items() if kind in kinds),
        "All arms of a model have the same weights, see the same images and have the same "
        "classical layers around the circuit; weights fine-tuned on the backend are a model of "
        "their own.",
        "Intervals (95 %): other images of the same kind might give accuracies and differences "
        "in these ranges (Wilson’s for accuracies and the agreement, the percentile bootstrap over "
        "the images for F1, Newcombe’s paired interval for differences). They do not cover other "
        "shots, another calibration, another training seed or other hospitals.",
        "McNemar’s exact test counts the images that only one of two arms gets right. Its "
        "p-values are not corrected for the number of arms; the unmitigated backend arm is the "
        "question that was asked, the others stand beside it. A large p-value is no proof of "
        "equality: the interval says which differences these images leave open.",
    )


_ARMS: Mapping[ArmKind, str] = {
    "exact": "Exact: the circuit’s expectation values without noise and without shots, from the "
    "JAX engine the model was trained with.",
    "shots": "Shots, no noise: the ideal circuit, measured as often as on the backend. It shows "
    "what the number of shots costs.",
    "noise_model": "Noise model: exact values of the compiled circuit with depolarising noise, "
    "thermal relaxation and readout errors from the calibration data. It leaves out crosstalk, "
    "idle qubits, coherent errors, leakage, drift and the error from shots.",
    "backend": "Backend, unmitigated: jobs of IBM’s primitives on the compiled circuit, with "
    "nothing done against errors.",
    "mitigated": "Mitigated: the same with the named methods: readout (undoes errors of the "
    "readout), twirling (random Paulis around gates and readout), dynamical decoupling (pulses on "
    "idle qubits; in a simulation, which has no noise on these, it can only add noise) and zne "
    "(zero-noise extrapolation from longer circuits). They reduce bias at the price of larger "
    "statistical errors.",
    "stored": "Stored predictions: what the training run of a classical model had stored for the "
    "same images; nothing of it runs on the backend.",
}


def _jobs(results: HardwareResults) -> Iterable[Section]:
    lines = [
        f"{model.name}, {tables.arm_name(arm)}: {', '.join(arm.details['job_ids'])}"
        for model in results.models
        for arm in model.arms
        if arm.details.get("job_ids")
    ]
    if lines:
        yield Section("Jobs", (Preformatted("\n".join(lines)),))
