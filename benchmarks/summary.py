"""What a row's measurements say: ratios to the best peer, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hqnn_jax.benchmarks.machine import exceeds_cache, floor
from hqnn_jax.benchmarks.measure import GRADIENT, VALUE

Record = dict[str, Any]


def first_result(contender: Record) -> float:
    """Seconds from the definition of the circuit to its first outputs and gradient.

    The sum of building, tracing, compiling and the first call; for an engine also the capture of
    the quantum function, which for a peer is not part of how it is used.
    """
    phases = contender[GRADIENT]
    seconds = sum(phases[phase] for phase in ("lower_s", "compile_s", "first_call_s"))
    capture = contender["capture_s"] if contender["kind"] == "engine" else 0.0
    return capture + contender["build_s"] + seconds


def best_peer(row: Record) -> Record | None:
    """The peer with the fastest steady outputs and gradient; None if no peer was timed."""
    peers = _timed(row, "peer")
    return min(peers, key=lambda peer: peer[GRADIENT]["median_s"], default=None)


def fastest_first(row: Record) -> Record | None:
    """The peer with the earliest first result; None if no peer was timed."""
    return min(_timed(row, "peer"), key=first_result, default=None)


def compare(row: Record, machine: Record) -> Record:
    """What follows from a row's measurements, by the name of the contender where there are several.

    `steady_ratio` and `first_result_ratio` are the best peer's seconds over the contender's: above
    1 the contender is faster. `floor_s` needs the machine's best rates, and `bandwidth_share` also
    states that exceed the caches: the bytes of `work` a second, over those of a copy.
    """
    peer, first = best_peer(row), fastest_first(row)
    found: Record = {
        "best_peer": peer["name"] if peer else None,
        "fastest_first_result_of_a_peer": first["name"] if first else None,
        "first_result_s": {c["name"]: first_result(c) for c in _timed(row)},
    }
    if peer is not None:
        steady = {c["name"]: c[GRADIENT]["median_s"] for c in _timed(row)}
        best = peer[GRADIENT]["median_s"]
        found["steady_ratio"] = {name: best / seconds for name, seconds in steady.items()}
        found["first_result_ratio"] = {
            name: first_result(peer) / seconds for name, seconds in found["first_result_s"].items()
        }
    if "copy_bytes_per_s" in machine and row["work"]:
        found["floor_s"] = floor(row["work"], row["batch"], machine)
        if exceeds_cache(row["work"], row["batch"], machine):
            moving = row["work"]["bytes"] * row["batch"] / machine["copy_bytes_per_s"]
            found["bandwidth_share"] = {
                c["name"]: moving / c[GRADIENT]["median_s"] for c in _timed(row)
            }
    return found


def table(row: Record) -> str:
    """A row as lines of text; `row` has its `comparison`."""
    found = row["comparison"]
    title = f"{row['circuit']} ({row['num_qubits']} qubits), batch {row['batch']}"
    if found["best_peer"]:
        first = found["fastest_first_result_of_a_peer"]
        title += (
            f": best peer {found['best_peer']}; earliest first result of a peer "
            f"{found['first_result_s'][first]:.2f} s ({first})"
        )
    if "floor_s" in found:
        title += f"; floor of state simulation {_milliseconds(found['floor_s'])} ms"
    heads = ["", "value+gradient ms", "(quartiles)", "x best peer", "value ms"]
    heads += ["first result s", "x best peer", "peak MB"]
    heads += ["bandwidth"] if "bandwidth_share" in found else []
    lines = [heads]
    notes = [] if row["status"] == "done" else [f"{row['status']}: {row['reason']}"]
    for contender in row["contenders"]:
        if contender["status"] == "timed":
            lines.append(_cells(contender, found))
        else:
            notes.append(f"{contender['name']}: {contender['status']}: {contender['reason']}")
    return "\n".join([title, *(_aligned(lines) if lines[1:] else ()), *(f"  {n}" for n in notes)])


def _cells(contender: Record, found: Record) -> list[str]:
    name, gradient = contender["name"], contender[GRADIENT]
    quartiles = (gradient["lower_quartile_s"], gradient["upper_quartile_s"])
    memory = gradient["step_peak_bytes"]
    cells = [
        name,
        _milliseconds(gradient["median_s"]),
        "({}-{})".format(*map(_milliseconds, quartiles)),
        _ratio(found.get("steady_ratio", {}).get(name)),
        _milliseconds(contender[VALUE]["median_s"]),
        f"{found['first_result_s'][name]:.2f}",
        _ratio(found.get("first_result_ratio", {}).get(name)),
        "-" if memory is None else f"{memory / 1e6:.1f}",
    ]
    if "bandwidth_share" in found:
        cells.append(f"{100 * found['bandwidth_share'][name]:.0f} %")
    return cells


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  "
        + first.ljust(widths[0])
        + "".join("  " + cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        for first, *rest in lines
    ]


def _timed(row: Record, kind: str | None = None) -> list[Record]:
    return [c for c in row["contenders"] if c["status"] == "timed" and kind in (None, c["kind"])]


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}" if seconds < 1 else f"{1e3 * seconds:.0f}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
