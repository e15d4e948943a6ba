"""A benchmark from options to files."""

from __future__ import annotations

import dataclasses
import datetime
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hqnn_jax.benchmarks.machine import short_name
from hqnn_jax.benchmarks.options import Options
from hqnn_jax.benchmarks.plots import figure
from hqnn_jax.benchmarks.rows import select_rows
from hqnn_jax.benchmarks.simulators import ContenderName, machine, measure
from hqnn_jax.benchmarks.summary import compare, table
from hqnn_jax.files import write_atomically

SCHEMA = 1
RESULTS = Path(__file__).resolve().parent / "results"
# An engine that ends so is a bug or a missing capacity, not a property of the circuit.
_FAILURES = ("disagrees", "crashed", "failed")


def run(
    options: Options, report: Callable[[str], None], show: Callable[[str], None]
) -> tuple[Path, list[str]]:
    """Measure; return the JSON file and what went wrong with this project's engines.

    The file is written anew after each row, so that a benchmark that is stopped keeps its rows.

    Args:
        options: what to measure.
        report: gets lines about progress.
        show: gets the table of each row.

    Raises:
        ConfigurationError: a name or a batch size is wrong.
        RunFolderError: the output exists or cannot be written.
    """
    options.check()
    described = machine(rates=options.floor)
    accelerated = described["accelerator"] is not None
    if accelerated and not options.floor:
        described = machine(rates=True)
    rows = select_rows(
        options.circuits,
        options.batches,
        quick=options.quick,
        grid=options.grid,
        accelerator=accelerated,
    )
    document = _document(described, options)
    path = options.out or _new_path(described, document["date"])
    contenders = [ContenderName("engine", name) for name in options.engines]
    contenders += [ContenderName("peer", name) for name in options.peers]
    failures = []
    for record in measure(rows, contenders, options.settings, report):
        record["comparison"] = compare(record, described)
        document["rows"].append(record)
        show(table(record))
        failures += _failures(record)
        _write(path, document)
    return path, failures


def _document(described: dict[str, Any], options: Options) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "machine": described,
        "settings": {
            **dataclasses.asdict(options.settings),
            "dtype": "float32",
            "loss": "sum(cotangents * outputs)",
        },
        "rows": [],
    }


def _failures(record: dict[str, Any]) -> list[str]:
    where = f"{record['circuit']}, batch {record['batch']}"
    if record["status"] != "done":
        return [f"{where}: {record['status']}: {record['reason']}"]
    return [
        f"{where}: engine {c['name']} {c['status']}: {c['reason']}"
        for c in record["contenders"]
        if c["kind"] == "engine" and c["status"] in _FAILURES
    ]


def _new_path(described: dict[str, Any], date: str) -> Path:
    stem = f"{short_name(described)}-{date}"
    RESULTS.mkdir(exist_ok=True)
    number = 1
    while (path := RESULTS / f"{stem}{f'-{number}' if number > 1 else ''}.json").exists():
        number += 1
    return path


def _write(path: Path, document: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())
    image = io.BytesIO()
    figure(document).savefig(image, format="png", dpi=120, metadata={"Software": None})
    write_atomically(path.with_suffix(".png"), image.getvalue())
