"""The files of a finished ablation: a page, tables for papers, and everything as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from pydantic_core import to_jsonable_python

from hqnn_jax.ablation import axis_figures, epoch_figures, figures, predictions, tables
from hqnn_jax.ablation.results import AblationResults, ArmResult
from hqnn_jax.errors import RunFolderError
from hqnn_jax.evaluation.metrics import METRICS
from hqnn_jax.evaluation.sign_flips import EXACT_UP_TO, NUM_FLIPS
from hqnn_jax.files import write_arrays, write_atomically
from hqnn_jax.reporting import exports, formatting, style
from hqnn_jax.reporting.document import (
    Document,
    Picture,
    Preformatted,
    Section,
    lead,
    write_document,
)
from hqnn_jax.text import plural

_MOST_VERDICTS_ON_TOP = 12


def write_reports(results: AblationResults, folder: Path) -> Path:
    """Write every file of a finished ablation; earlier ones are replaced, each in one step.

    - `report.html`: verdicts, figures, tables and method on one self-contained page.
    - `arms.csv`, `comparisons.csv`: fractions and seconds in full precision.
    - `arms.tex`, `comparisons.tex`: booktabs tabulars, rounded by the width of the intervals.
    - `forest.png`, `forest.svg`: the paired differences; without any, the means of the arms.
    - `study.json`: everything but the predicted classes; NaN and infinity are null.
    - `predictions.npz`: the predicted classes, for recomputing it all; see `predictions`.

    Args:
        results: see `AblationResults`; `comparisons` and `verdicts` may be empty.
        folder: created where it does not exist.

    Returns:
        The path of `report.html`, which is written last.

    Raises:
        RunFolderError: where a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"{folder}: cannot create the folder: {error.strerror}; choose a writable --out"
        ) from error
    arms, comparisons = tables.arm_records(results), tables.comparison_records(results)
    columns = list(dict.fromkeys(column for record in arms for column in record))
    study = json.dumps(describe(results), ensure_ascii=False, allow_nan=False)
    texts = {
        "arms.csv": exports.to_csv(columns, arms),
        "comparisons.csv": exports.to_csv(tables.COMPARISON_COLUMNS, comparisons),
        "arms.tex": tables.arms_latex(results),
        "comparisons.tex": tables.comparisons_latex(results),
        "study.json": study + "\n",
    }
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    write_arrays(folder / predictions.FILE_NAME, predictions.prediction_arrays(results))
    forest, synthetic = _forest(results), bool(results.dataset.get("synthetic"))
    for kind in ("png", "svg"):
        content = style.image_file(forest, kind, synthetic=synthetic)
        write_atomically(folder / f"forest.{kind}", content)
    document = Document(
        title=f"Ablation: {results.name.removeprefix('ablation_')}",
        reference=_subtitle(results),
        sections=sections(results, forest),
        synthetic=synthetic,
    )
    return write_document(folder / "report.html", document)


def describe(results: AblationResults) -> dict[str, Any]:
    """Return everything that was found, ready for JSON; NaN and infinity become None.

    Of the predictions it has their number (`images`) and how many of them are right (`correct`).
    The history of an arm is name -> values of every epoch, for each seed, with 7 digits; where an
    earlier arm was the same training, it is that one's name.
    """
    content = {
        field.name: getattr(results, field.name)
        for field in dataclasses.fields(results)
        if field.name not in ("arms", "comparisons")
    }
    arms = [
        {
            **{
                field.name: getattr(arm, field.name)
                for field in dataclasses.fields(arm)
                if field.name not in ("predicted", "labels")
            },
            "images": len(arm.labels),
            "correct": arm.correct,
        }
        for arm in results.arms
    ]
    different: list[ArmResult] = []
    for arm, described in zip(results.arms, arms, strict=True):
        same = next((other for other in different if other.history == arm.history), None)
        described["history"] = _columns(arm) if same is None else same.name
        if same is None:
            different.append(arm)
    found = {**content, "comparisons": results.comparisons, "arms": arms}
    plain: dict[str, Any] = to_jsonable_python(
        found, inf_nan_mode="null", fallback=lambda array: array.tolist()
    )
    return plain


def _columns(arm: ArmResult) -> dict[str, list[list[float]]]:
    """Return the records of an arm's history by name: values of each epoch, for each seed."""
    columns: dict[str, list[list[float]]] = {}
    for index, seed in enumerate(arm.seeds):
        for record in arm.history:
            if record["seed"] != seed:
                continue
            rates = {f"learning_rate/{k}": v for k, v in record.get("learning_rate", {}).items()}
            for name, value in {**record, **rates}.items():
                if name in ("seed", "epoch", "learning_rate"):
                    continue
                rows = columns.setdefault(name, [[] for _ in arm.seeds])
                rows[index].append(float(f"{value:.7g}"))
    return columns


def sections(results: AblationResults, forest: Figure) -> tuple[Section, ...]:
    """Return the page's sections; `forest` is drawn below the verdict."""
    differences, axes = _differences(results, forest), _axes(results)
    many = len(results.arms) > figures.MOST_LINES
    return (
        _verdict(results),
        # Pictures of a large grid say more than a row for each of its cells.
        *((*axes, differences) if many else (differences, *axes)),
        *_cost(results),
        *_comparisons(results),
        Section("Arms", (tables.arms_table(results), tables.metrics_table(results))),
        *_training(results),
        Section("Method", _method(results)),
        _dataset(results),
        Section("Environment", (_listing(results.environment),)),
        Section("Configuration", (Preformatted(results.config_text),)),
    )


def _forest(results: AblationResults) -> Figure:
    return figures.forest(results) if results.comparisons else figures.arm_means(results)


def _subtitle(results: AblationResults) -> str:
    seeds = sorted({len(arm.seeds) for arm in results.arms})
    counts = " to ".join(map(str, (seeds[0], seeds[-1]) if len(seeds) > 1 else seeds))
    return (
        f"{plural(len(results.arms), 'arm')}, {counts} seed{'s' if seeds[-1] != 1 else ''} each, "
        f"compared by test {tables.metric_label(results.metric)} on {results.dataset['name']}"
    )


def why_no_comparisons(results: AblationResults) -> str:
    """Return a sentence that says why nothing was compared."""
    seeds = min(len(arm.seeds) for arm in results.arms)
    if len(results.arms) == 1:
        reason = "there is one arm, and nothing to compare it with"
    elif seeds < 2:
        reason = "with a single seed a difference cannot be told from chance; give seeds=10"
    else:
        reason = "the configuration asks for none (ablation.tests: false)"
    return f"No differences were tested: {reason}. The means below stand on their own."


def _verdict(results: AblationResults) -> Section:
    """Return the answer in words: of all arms together, then of each unless there are many."""
    if not results.comparisons:
        return Section("Verdict", (lead(why_no_comparisons(results)), *results.verdicts))
    # The verdict on the whole study comes last in `verdicts`; a reader wants it first.
    each, overall = results.verdicts[:-1], results.verdicts[-1:]
    shown = each if len(each) <= _MOST_VERDICTS_ON_TOP else ()
    return Section("Verdict", (lead("".join(overall)), *shown))


def _differences(results: AblationResults, forest: Figure) -> Section:
    level = tables.level_label(results)
    if not results.comparisons:
        caption = f"Mean over seeds with its {level} t interval; dots are seeds."
        return Section("Means of the arms", (Picture(caption, forest),))
    caption = (
        f"Mean paired difference from {tables.reference_label(results)} with its {level} t "
        "interval, and its Holm-adjusted permutation p-value. Dots are seeds."
    )
    return Section("Paired differences", (Picture(caption, forest),))


def _comparisons(results: AblationResults) -> tuple[Section, ...]:
    if not results.comparisons:
        return ()
    each = results.verdicts[:-1]
    words = each if len(each) > _MOST_VERDICTS_ON_TOP else ()
    return (
        Section("Comparisons", (tables.comparisons_table(results),)),
        *((Section("Verdict on each arm", words),) if words else ()),
    )


def _axes(results: AblationResults) -> tuple[Section, ...]:
    """Return figures along axes of numbers, and heat maps of a grid of two axes."""
    found = []
    level = tables.level_label(results)
    for axis in axis_figures.curve_axes(results):
        sizes = axis in axis_figures.TRAINING_SIZE_AXES
        title = "Learning curves" if sizes else f"Along {axis}"
        caption = (
            f"Mean over seeds; band: {level} t interval. Values joined by a dotted line have no "
            "place on the scale and stand beside it."
        )
        found.append(Section(title, (Picture(caption, axis_figures.curves(results, axis)),)))
    if axis_figures.is_complete_grid(results):
        caption = "Mean over seeds of every combination."
        if results.comparisons:
            caption += (
                " Right: paired difference from the reference (ref.); * Holm-adjusted p below "
                f"{formatting.short(1 - results.level, 2)}."
            )
        found.append(Section("Two axes", (Picture(caption, axis_figures.heat_maps(results)),)))
    return tuple(found)


def _cost(results: AblationResults) -> tuple[Section, ...]:
    figure = figures.cost(results)
    if figure is None:
        return ()
    caption = (
        f"Mean over seeds with its {tables.level_label(results)} t interval. Seconds are of one "
        "seed, where several were trained together the whole divided by their number, without "
        "compilation."
    )
    title = f"{METRICS[results.metric].label} against cost"
    return (Section(title, (Picture(caption, figure),)),)


def _training(results: AblationResults) -> tuple[Section, ...]:
    """Return validation curves, and what else was recorded of the model in training."""
    found = []
    how = "Mean over seeds; bands around lines are from smallest to largest."
    figure = epoch_figures.training(results)
    if figure is not None:
        found.append(Section("Training", (Picture(how, figure),)))
    drawn = [
        Picture(f"{prefix.replace('_', ' ').capitalize()} after each epoch. {how}", figure)
        for prefix in epoch_figures.insight_names(results)
        if (figure := epoch_figures.insight(results, prefix)) is not None
    ]
    if drawn:
        found.append(Section("Insight into training", tuple(drawn)))
    return tuple(found)


def _method(results: AblationResults) -> tuple[str, ...]:
    level, metric = tables.level_label(results), tables.metric_label(results.metric)
    common = (
        "Pairing: for one seed all arms share the split, the order of the training images, their "
        "augmentation and the initial values of the parts they have in common, so arms are "
        "compared seed by seed. The evaluated epoch is chosen on the validation split or is "
        "the last, as configured; the test split is read once, at the end.",
        f"Intervals ({level}) describe how the mean over seeds varies with the randomness of "
        "training, on these very test images. They do not describe other test images, other "
        "hospitals or other choices of hyperparameters.",
    )
    if not results.comparisons:
        return common
    return (
        *common,
        f"Tests: the two-sided permutation test flips the signs of the differences in test "
        f"{metric}, {_flips(results)}; the paired t-test and Wilcoxon’s signed-rank test stand "
        f"beside it. Holm’s correction is over all "
        f"{plural(len(results.comparisons), 'comparison')} of the study. "
        "Cohen’s d is the mean difference divided by the standard deviation of the differences.",
        "McNemar’s test counts the predictions of all seeds together that only one of the two "
        "arms got right. It takes them as independent; models of different seeds see the same "
        "test images and err on the same ones, so its p-value is too small where they agree. It "
        "is not part of the verdict.",
        "Detectable: the true difference that this study would find in 80 of 100 repetitions, by "
        "the rule of the verdict (permutation test and Holm’s correction). Repetitions are "
        "simulated: the differences of a seed are normal with the observed covariance over the "
        "comparisons, and all other comparisons have their observed means. Spread and means are "
        "estimates from few seeds, so the figure is rough. A difference that is not significant "
        "is not shown to be zero; the interval says which differences are left open.",
    )


def _flips(results: AblationResults) -> str:
    """Say how exact the permutation test is."""
    if METRICS[results.metric].counted:
        return "counted in images and exact"
    seeds = max(len(arm.seeds) for arm in results.arms)
    if seeds <= EXACT_UP_TO:
        return f"all 2^{seeds} choices of signs"
    return f"{formatting.count(NUM_FLIPS)} choices of signs drawn at random"


def _dataset(results: AblationResults) -> Section:
    dataset = results.dataset
    shown = ("name", "synthetic", "class_names", "counts", "licence", "citation", "fingerprint")
    pairs = {key: dataset[key] for key in shown if key in dataset}
    shared = [pair for pair in dataset.get("shared_images", ()) if pair["images"]]
    notes = [
        f"Byte-identical images across splits: {pair['images']} of {pair['second']} also in "
        f"{pair['first']} ({pair['different_labels']} with another label)."
        for pair in shared
    ]
    warnings = [f"Note: {warning}" for warning in dataset.get("warnings", ())]
    return Section("Dataset", (*notes, *warnings, _listing(pairs)))


def _listing(pairs: Mapping[str, Any]) -> Preformatted:
    """Write one line per key, and one per key of the mappings inside."""
    lines = []
    for key, value in pairs.items():
        if isinstance(value, Mapping):
            lines += [
                f"{key}:",
                *(f"  {name}: {formatting.inline(v)}" for name, v in value.items()),
            ]
        else:
            lines.append(f"{key}: {formatting.inline(value)}")
    return Preformatted("\n".join(lines))
