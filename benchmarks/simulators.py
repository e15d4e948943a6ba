"""Engines and other simulators side by side: agreement first, then turns at the clock.

Each contender has a process of its own on each row, for clean memory and a first call that owes
nothing to another's. The processes compute one at a time, turn by turn, so that whatever else the
machine does meets all of them alike.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hqnn_jax.benchmarks.measure import GRADIENT, VALUE
from hqnn_jax.benchmarks.options import Settings
from hqnn_jax.benchmarks.processes import WorkerProcess
from hqnn_jax.benchmarks.reference import Results, disagreement
from hqnn_jax.benchmarks.rows import Row
from hqnn_jax.benchmarks.summary import first_result

_OPENING_LIMIT = 300.0  # seconds to import packages, which is nobody's measurement
_REFERENCE_LIMIT = 1800.0

Record = dict[str, Any]


@dataclass(frozen=True)
class ContenderName:
    """An engine or a peer, by name; see `hqnn_jax.benchmarks.contenders`."""

    kind: str
    name: str


@dataclass
class _Entrant:
    """A contender on a row: its process, what is known of it so far, its calls' seconds."""

    worker: WorkerProcess
    record: Record
    durations: dict[str, list[float]] = field(default_factory=lambda: {GRADIENT: [], VALUE: []})
    seconds: float = 0.0


def machine(*, rates: bool) -> Record:
    """Describe the machine, from a process of its own; with its best rates if asked for."""
    with closing(WorkerProcess({})) as worker:
        answer = worker.ask("machine", _OPENING_LIMIT, rates=rates)
    if answer["status"] != "done":
        raise RuntimeError(f"cannot describe the machine: {answer['reason']}")
    return answer["machine"]


def measure(
    rows: Sequence[Row],
    contenders: Sequence[ContenderName],
    settings: Settings,
    report: Callable[[str], None],
) -> Iterator[Record]:
    """Yield the record of each row as it is finished.

    A record has the circuit, its qubits, the batch, `work` (see `machine.work`), and one
    record per contender with its `status`: "timed", or with a `reason` "not installed", "refused"
    (the engine says why), "disagrees", "over the limit", "crashed" or "failed".
    """
    missing: dict[ContenderName, Record] = {}
    for number, row in enumerate(rows, 1):
        report(f"{row.circuit}, batch {row.batch} ({number} of {len(rows)})")
        with tempfile.TemporaryDirectory() as scratch:
            record = _measure_row(row, contenders, settings, Path(scratch), missing, report)
        yield record


def _measure_row(
    row: Row,
    contenders: Sequence[ContenderName],
    settings: Settings,
    scratch: Path,
    missing: dict[ContenderName, Record],
    report: Callable[[str], None],
) -> Record:
    record: Record = {"circuit": row.circuit, "batch": row.batch, "contenders": []}
    expected, answer = _reference(row, scratch)
    record.update(num_qubits=answer.get("num_qubits"), work=answer.get("work"))
    if expected is None:
        report(f"  no reference: {answer['status']}, {answer['reason']}")
        return {**record, "status": "no reference", "reason": answer["reason"]}
    entrants: list[_Entrant] = []
    try:
        for contender in contenders:
            known = missing.get(contender)
            entrant = None
            if known is None:
                known, entrant = _enter(contender, row, expected, settings, scratch)
            if known["status"] == "not installed":
                missing[contender] = known
            record["contenders"].append(known)
            report(f"  {contender.name}: {_outcome(known)}")
            if entrant is not None:
                entrants.append(entrant)
        _take_turns(entrants, settings)
    finally:
        for entrant in entrants:
            entrant.worker.close()
    return {**record, "status": "done"}


def _reference(row: Row, scratch: Path) -> tuple[Results | None, dict[str, Any]]:
    path = scratch / "reference.npz"
    job = {"circuit": row.circuit, "batch": row.batch, "results": str(path)}
    with closing(WorkerProcess(job)) as worker:
        answer = worker.ask("open", _OPENING_LIMIT)
        if answer["status"] == "done":
            answer = worker.ask("reference", _REFERENCE_LIMIT)
    return (_load(path) if answer["status"] == "done" else None), answer


def _enter(
    contender: ContenderName, row: Row, expected: Results, settings: Settings, scratch: Path
) -> tuple[Record, _Entrant | None]:
    """Take a contender through its first results and the agreement check."""
    path = scratch / f"{contender.kind}-{contender.name}.npz".replace(":", "-")
    record: Record = {"kind": contender.kind, "name": contender.name}
    job = {**record, "circuit": row.circuit, "batch": row.batch, "results": str(path)}
    worker = WorkerProcess(job)
    steps: tuple[tuple[str, float, dict[str, str]], ...] = (
        ("open", _OPENING_LIMIT, {}),
        ("build", settings.limit_seconds, {}),
        ("start", settings.limit_seconds, {"quantity": GRADIENT}),
        ("start", settings.limit_seconds, {"quantity": VALUE}),
    )
    for do, limit, request in steps:
        answer = worker.ask(do, limit, **request)
        status = answer.pop("status")
        if status == "done" and request.get("quantity") == GRADIENT:
            difference = disagreement(_load(path), expected)
            if difference is not None:
                status, answer["reason"] = "disagrees", difference
        if status != "done":
            worker.close()
            return {**record, "status": status, "reason": answer["reason"]}, None
        if request:
            record[request["quantity"]] = answer
        else:
            record.update(answer)
    record["status"] = "timed"
    return record, _Entrant(worker, record)


def _take_turns(entrants: Sequence[_Entrant], settings: Settings) -> None:
    """Time calls turn by turn, and add their quartiles to the records."""
    active = list(entrants)
    for _ in range(settings.rounds):
        for entrant in list(active):
            for quantity in (GRADIENT, VALUE):
                answer = entrant.worker.ask(
                    "time",
                    settings.limit_seconds,
                    quantity=quantity,
                    seconds=settings.turn_seconds,
                )
                if answer["status"] != "done":
                    entrant.record.update(status=answer["status"], reason=answer["reason"])
                    active.remove(entrant)
                    break
                entrant.durations[quantity] += answer["durations"]
                entrant.seconds += sum(answer["durations"])
            else:
                # What was measured until here stands: fewer calls, no other treatment.
                if entrant.seconds > settings.limit_seconds:
                    active.remove(entrant)
    for entrant in entrants:
        if entrant.record["status"] == "timed":
            for quantity, durations in entrant.durations.items():
                entrant.record[quantity].update(_quartiles(durations))


def _quartiles(durations: Sequence[float]) -> Record:
    low, median, high = np.percentile(durations, [25, 50, 75]).tolist()
    return {
        "median_s": median,
        "lower_quartile_s": low,
        "upper_quartile_s": high,
        "calls": len(durations),
    }


def _outcome(record: Record) -> str:
    if record["status"] != "timed":
        return f"{record['status']}: {record['reason']}"
    return f"agrees, first result after {first_result(record):.2f} s"


def _load(path: Path) -> Results:
    with np.load(path) as file:
        return Results(*(file[name] for name in Results._fields))
