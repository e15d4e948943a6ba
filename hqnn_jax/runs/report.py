"""The self-contained HTML report of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from hqnn_jax.data.dataset import SPLIT_NAMES
from hqnn_jax.evaluation.label_metrics import EACH_LABEL, LABEL_METRICS
from hqnn_jax.evaluation.metrics import CLASS_METRICS, LABELS, metrics_of
from hqnn_jax.evaluation.published import Published
from hqnn_jax.reporting import formatting
from hqnn_jax.reporting.document import (
    Block,
    Card,
    Cards,
    Document,
    Heading,
    Notice,
    Pairs,
    Preformatted,
    Section,
    Styled,
    Table,
    TableCell,
    Text,
    note,
    write_document,
)
from hqnn_jax.runs.beside_published import published_section
from hqnn_jax.runs.described import brief_model
from hqnn_jax.runs.finished import FinishedRun, load_run
from hqnn_jax.runs.pictures import cross_picture, pictures
from hqnn_jax.runs.stored_metrics import interval_method


def write_report(
    run_dir: Path, *, circuit_figure: Figure | None = None, published: Published | None = None
) -> Path:
    """Write `report.html` into the folder of a finished run.

    The page needs no network, no JavaScript and no other file: figures are embedded. An earlier
    report is replaced in one step.

    Args:
        run_dir: folder with `config.yaml`, `metrics.json`, `history.jsonl`, `predictions.npz` and
            `environment.json`.
        circuit_figure: drawing of the circuit; None leaves that figure out.
        published: figures to show beside ours; None leaves that section out.

    Returns:
        The path of the report.

    Raises:
        RunFolderError: when the folder is not that of a finished run or cannot be written.
        ConfigurationError: when its `config.yaml` cannot be used.
    """
    run = load_run(run_dir, any_task=True)
    return write_document(run.files.report, run_document(run, circuit_figure, published))


def run_document(
    run: FinishedRun, circuit_figure: Figure | None, published: Published | None
) -> Document:
    """Return the page of `write_report`."""
    metrics, dataset, seeds = run.metrics, run.metrics["dataset"], run.seeds
    kind = "labels" if run.several_labels else "classes"
    summary = (
        f"{dataset['name']}, {len(dataset['class_names'])} {kind}",
        *brief_model(run.config.model),
        f"{formatting.count(metrics['parameters']['total'])} parameters",
        f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}",
    )
    return Document(
        title=f"{run.name} – {dataset['name']}",
        heading=run.name,
        reference=" · ".join(summary),
        sections=(
            _test_split(run),
            *(() if published is None else (published_section(run, published),)),
            Section("Metrics by split", (*_by_split(run), *_own_metrics(run))),
            _by_class(run),
            Section("Figures", pictures(run, circuit_figure)),
            *(_cross_dataset(run, entry) for entry in metrics.get("cross_datasets", ())),
            _parameters_and_time(metrics),
            _dataset(dataset),
            Section("Environment", (Pairs(run.environment),)),
            Section("Configuration", (Preformatted(run.config_text),)),
        ),
        synthetic=dataset["synthetic"],
        about_synthetic="Every image of this run was drawn by a program. The figures below test "
        "the software; they say nothing about real blood cells and must not be quoted as results.",
        wide=False,
    )


def _card(name: str, figures: Mapping[str, Any], metric: str, *, several: bool) -> Card:
    return Card(
        name,
        formatting.percent(figures[metric]),
        formatting.percent(figures["standard_deviation"][metric]) if several else "",
        formatting.interval(figures["intervals"][metric]),
        interval_method(figures, metric),
    )


def _cell(figures: Mapping[str, Any], metric: str) -> TableCell:
    """Write a metric with its interval below."""
    return TableCell(
        formatting.percent(figures[metric]), formatting.interval(figures["intervals"][metric])
    )


def _shown(run: FinishedRun) -> Mapping[str, str]:
    """Return the metrics of the run's task that it was evaluated with, and what they are called."""
    if run.several_labels:
        return LABEL_METRICS
    known = metrics_of(run.config.dataset.task_name)
    return {name: LABELS[name] for name in known if name in run.metrics["test"]}


def _test_split(run: FinishedRun) -> Section:
    evaluation, several = run.config.evaluation, len(run.seeds) > 1
    resamples = formatting.count(evaluation.bootstrap_samples)
    text = (
        (
            f"Mean ± standard deviation over seeds {', '.join(map(str, run.seeds))}; below it the "
            if several
            else "Below each figure its "
        )
        + "95 % interval over the test images, the uncertainty of one trained model, and how it is "
        f"made: Wilson’s for proportions, or the percentile bootstrap ({resamples} resamples)"
        + ("; bounds are averaged over seeds" if several else "")
        + f". The evaluated parameters are those of the {evaluation.checkpoint} epoch"
        + (f" by validation {_chosen_by(run)}" if evaluation.checkpoint == "best" else "")
        + "."
    )
    test = run.metrics["test"]
    shown = _shown(run).items()
    cards = (_card(label, test, metric, several=several) for metric, label in shown)
    return Section("Test split", (Cards(tuple(cards)), note(text)))


def _by_split(run: FinishedRun) -> Iterator[Block]:
    metrics, shown = run.metrics, _shown(run)
    heads = (
        TableCell(label, interval_method(metrics["test"], metric))
        for metric, label in shown.items()
    )
    rows: tuple[tuple[str | TableCell, ...], ...] = tuple(
        (
            split,
            formatting.count(_images(metrics[split])),
            *(_cell(metrics[split], metric) for metric in shown),
        )
        for split in SPLIT_NAMES
    )
    text = (
        f"All in per cent, with 95 % intervals, made as the head of the column says. "
        f"{_about_labels() if run.several_labels else _about_classes(run)}"
    )
    yield Table(("Split", "Images", *heads), rows, note=text)
    if len(run.seeds) > 1:
        yield Heading("Test split, seed by seed")
        yield Table(
            ("Seed", "Evaluated epoch", *shown.values()),
            tuple(
                (
                    str(entry["seed"]),
                    str(entry["best_epoch"]),
                    *(_cell(entry["test"], metric) for metric in shown),
                )
                for entry in metrics["seeds"]
            ),
        )


def _own_metrics(run: FinishedRun) -> Iterator[Block]:
    """Yield the table of the metrics of the user's own, if there are any."""
    known = run.metrics["test"]["intervals"]
    names = [name for name in run.config.evaluation.metrics if name in known]
    if names:
        yield Heading("Own metrics")
        rows: tuple[tuple[str | TableCell, ...], ...] = tuple(
            (name, *(_own_cell(run, split, name) for split in SPLIT_NAMES)) for name in names
        )
        text = "As they are, with 95 % bootstrap intervals" + (
            ", means over seeds." if len(run.seeds) > 1 else "."
        )
        yield Table(("Metric", *(split.capitalize() for split in SPLIT_NAMES)), rows, note=text)


def _own_cell(run: FinishedRun, split: str, name: str) -> TableCell:
    """Write a metric that need be no fraction, with its interval and deviation over seeds."""
    figures = run.metrics[split]
    text = formatting.fixed(figures[name], 4)
    if len(run.seeds) > 1:
        text += f" ± {formatting.fixed(figures['standard_deviation'][name], 4)}"
    low, high = figures["intervals"][name] or (None, None)
    return TableCell(text, f"{formatting.fixed(low, 4)}–{formatting.fixed(high, 4)}")


def _images(figures: Mapping[str, Any]) -> int:
    """Return how many images a split has; each of them is of one class, or `images` counts them."""
    found: int = figures.get("images") or sum(entry["support"] for entry in figures["per_class"])
    return found


def _chosen_by(run: FinishedRun) -> str:
    return "loss" if run.several_labels else "accuracy"


def _about_labels() -> str:
    return (
        "An image has any number of labels; each is predicted where its probability is above a "
        "half. Macro averages: means over the labels for which they are defined."
    )


def _about_classes(run: FinishedRun) -> str:
    return (
        f"{_about_areas(run.metrics)} Calibration error: expected calibration error over "
        f"{run.config.evaluation.calibration_bins} bins; its interval is biased upwards for a "
        "nearly calibrated model."
    )


def _about_areas(metrics: Mapping[str, Any]) -> str:
    """Say of which classes the area under the ROC curve is."""
    names = metrics["dataset"]["class_names"]
    if len(names) == 2:
        return f"ROC-AUC: that of {names[1]}."
    told = ", ".join(
        f"{split} {metrics[split]['roc_auc_classes']} of {len(names)}"
        for split in SPLIT_NAMES
        if "roc_auc_classes" in metrics[split]
    )
    return f"ROC-AUC: mean over the classes against all others{f': {told}' if told else ''}."


def _by_class(run: FinishedRun) -> Section:
    test, each = run.metrics["test"], EACH_LABEL if run.several_labels else CLASS_METRICS
    heads = [TableCell(label, interval_method(test, metric)) for metric, label in each.items()]
    rows = [
        (
            entry["class"],
            formatting.count(entry["support"]),
            *(_cell(entry, metric) for metric in each),
        )
        for entry in test["per_class"]
    ]
    if run.several_labels:
        return Section(
            "Test metrics by label", (Table(("Label", "Images with it", *heads), tuple(rows)),)
        )
    against = (formatting.percent(entry["accuracy"]) for entry in test["per_class"])
    with_accuracy = tuple((*row, share) for row, share in zip(rows, against, strict=True))
    table = Table(("Class", "Images", *heads, "Accuracy, one-vs-rest"), with_accuracy)
    return Section("Test metrics by class", (table,))


def _cross_dataset(run: FinishedRun, entry: Mapping[str, Any]) -> Section:
    """Return the section of the evaluation on another dataset."""
    several = len(run.seeds) > 1
    cards = (
        ("Accuracy, all classes", entry["open"], "accuracy"),
        ("Accuracy, mapped classes", entry["closed"], "accuracy"),
        ("Macro F1, mapped classes", entry["closed"], "macro_f1"),
    )
    drawn = (Notice("Synthetic data.", "These images were drawn by a program."),)
    about = note(f"About these images: {'; '.join(entry['warnings'])}.")
    reading = (
        "All classes: the answer may be any class of the model. Mapped classes: only the mapped "
        "ones may be answered, their probabilities divided by their sum. "
        f"{'Mean ± standard deviation over seeds. ' if several else ''}Below, recall in both "
        f"readings, with 95 % intervals ({interval_method(entry['open'], 'recall')})."
    )
    origin = {
        "Licence": entry["licence"],
        "Citation": entry["citation"],
        "Fingerprint (SHA-256)": entry["fingerprint"],
    }
    return Section(
        f"On another dataset: {entry['name']}",
        (
            *(drawn if entry["synthetic"] else ()),
            _which_images(entry, several=several),
            *((about,) if entry["warnings"] else ()),
            Cards(tuple(_card(*card, several=several) for card in cards)),
            note(reading),
            _recalls(entry),
            cross_picture(entry),
            Pairs(origin),
        ),
        synthetic=entry["synthetic"],
    )


def _which_images(entry: Mapping[str, Any], *, several: bool) -> Text:
    parts: list[str | Styled] = [
        f"The model{'s' if several else ''}, unchanged, on all "
        f"{formatting.count(sum(entry['counts'].values()))} images of the mapped classes, stored "
        f"at {entry['resolution']} px. "
    ]
    if entry["left_out"]:
        left_out = formatting.inline(entry["left_out"])
        parts.append(f"Left out, since not in the class map: {left_out}. ")
    if entry["trained_on"]:
        same = (
            f"{formatting.count(entry['trained_on'])} of these images are, byte for byte, in the "
            "training split."
        )
        parts.append(Styled(same, "strong"))
    return Text(tuple(parts))


def _recalls(entry: Mapping[str, Any]) -> Table:
    there: dict[str, list[str]] = {}
    for theirs, ours in entry["config"]["class_map"].items():
        there.setdefault(ours, []).append(theirs)
    readings: Sequence[Any] = (entry["open"]["per_class"], entry["closed"]["per_class"])
    rows = tuple(
        (
            of_all["class"],
            formatting.inline(there[of_all["class"]]),
            formatting.count(of_all["support"]),
            _cell(of_all, "recall"),
            _cell(of_mapped, "recall"),
        )
        for of_all, of_mapped in zip(*readings, strict=True)
    )
    columns = (
        "Class of the model", "Class there", "Images", "Recall, all classes",
        "Recall, mapped classes",
    )  # fmt: skip
    return Table(columns, rows, words=("Class there",))


def _parameters_and_time(metrics: Mapping[str, Any]) -> Section:
    parameters, time = metrics["parameters"], metrics["time"]
    groups = ("backbone", "circuit", "classical", "total")
    values = {f"{group} parameters": formatting.count(parameters[group]) for group in groups} | {
        "Compilation": formatting.duration(time["compile_s"]),
        "Training": formatting.duration(time["train_s"]),
        "One epoch": formatting.duration(time["epoch_s"]),
    }
    return Section("Parameters and time", (Pairs(values),))


def _dataset(dataset: Mapping[str, Any]) -> Section:
    values = {
        "Name": dataset["name"] + (" (synthetic)" if dataset["synthetic"] else ""),
        "Classes": dataset["class_names"],
        "Images": dataset["counts"],
        "Licence": dataset["licence"],
        "Citation": dataset["citation"],
        **{k.capitalize(): dataset[k] for k in ("url", "description") if k in dataset},
        "Fingerprint (SHA-256)": dataset["fingerprint"],
    }
    shared = "; ".join(
        f"{formatting.count(pair['images'])} of {pair['second']} also in {pair['first']} "
        f"({formatting.count(pair['different_labels'])} with another label)"
        for pair in dataset["shared_images"]
        if pair["images"]
    )
    head = Styled("Byte-identical images across splits:", "strong")
    warnings = dataset.get("warnings", ())
    return Section(
        "Dataset",
        (
            Pairs(values),
            Text((head, f" {shared or 'none'}.")),
            *(Text((Styled("Note:", "strong"), f" {warning}")) for warning in warnings),
        ),
    )
