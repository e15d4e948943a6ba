"""Several finished runs on one page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from hqnn_jax.errors import RunFolderError
from hqnn_jax.evaluation.metrics import LABELS, METRICS
from hqnn_jax.reporting import formatting
from hqnn_jax.reporting.document import Document, Notice, Section, Table, TableCell, write_document
from hqnn_jax.runs.described import brief_model
from hqnn_jax.runs.finished import FinishedRun, load_run
from hqnn_jax.text import plural

_NOTE = (
    "Test split, per cent: mean over seeds ± standard deviation over seeds where there are "
    "several, and below it the 95 % interval over the test images of one trained model: Wilson’s "
    "for proportions, else the percentile bootstrap, as each run’s report says."
)
_OTHER_DATA = Notice(
    "Not the same data.",
    "These runs do not share one dataset (their fingerprints differ), so their metrics cannot be "
    "compared directly.",
)


def compare_runs(run_dirs: Sequence[Path], out: Path) -> Path:
    """Write one HTML page with several finished runs side by side.

    Args:
        run_dirs: folders of finished runs, in the order of the rows.
        out: file to write; links to the runs' reports are relative to it.

    Returns:
        `out`.

    Raises:
        RunFolderError: without folders, when one is not that of a finished run, or when `out`
            cannot be written.
        ConfigurationError: for an unusable `config.yaml`.
    """
    if not run_dirs:
        raise RunFolderError("compare: no run folder given; expected at least one finished run")
    runs = [load_run(run_dir) for run_dir in run_dirs]
    links = tuple(_link(run.files.report, out) for run in runs)
    table = Table(
        (
            "Run", "Dataset", "Model", "Seeds", *(LABELS[metric] for metric in METRICS),
            "Parameters", "Training",
        ),
        tuple(_row(run, linked=link is not None) for run, link in zip(runs, links, strict=True)),
        note=_NOTE,
        links=links,
        words=("Dataset", "Model"),
    )  # fmt: skip
    fingerprints = {run.metrics["dataset"]["fingerprint"] for run in runs}
    document = Document(
        title=f"Comparison of {plural(len(runs), 'run')}",
        sections=(Section("", (table,)),),
        synthetic=any(run.metrics["dataset"]["synthetic"] for run in runs),
        about_synthetic="Runs marked “synthetic” were trained and tested on images drawn by a "
        "program; their figures say nothing about real blood cells.",
        notices=(_OTHER_DATA,) if len(fingerprints) > 1 else (),
    )
    return write_document(out, document)


def _row(run: FinishedRun, *, linked: bool) -> tuple[str | TableCell, ...]:
    metrics, test = run.metrics, run.metrics["test"]
    found = test["standard_deviation"] if len(run.seeds) > 1 else {}
    deviations = {metric: f" ± {formatting.percent(value)}" for metric, value in found.items()}
    return (
        TableCell(run.name, "" if linked else "no report yet"),
        TableCell(
            metrics["dataset"]["name"], "synthetic" if metrics["dataset"]["synthetic"] else ""
        ),
        TableCell(*brief_model(run.config.model)),
        str(len(run.seeds)),
        *(
            TableCell(
                formatting.percent(test[metric]) + deviations.get(metric, ""),
                formatting.interval(test["intervals"][metric]),
            )
            for metric in METRICS
        ),
        TableCell(
            formatting.count(metrics["parameters"]["total"]),
            f"circuit {formatting.count(metrics['parameters']['circuit'])}",
        ),
        formatting.duration(metrics["time"]["train_s"]),
    )


def _link(report: Path, page: Path) -> str | None:
    """Return the relative, URL-quoted link from `page` to a report, None if it is not there."""
    if not report.is_file():
        return None
    relative = Path(os.path.relpath(report.resolve(), page.resolve().parent))
    return quote(relative.as_posix())
